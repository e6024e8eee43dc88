"""What the engine remembers and accepts, in the JSON shapes of Docker's Engine API v1.50.

Field names are Docker's (pascal case) in JSON and snake case here. What Go marks as a pointer or leaves null when
unset is `T | None` here, so that "not given" and "given as zero" stay apart exactly where Docker keeps them apart.
"""

from __future__ import annotations

from typing import Any

import msgspec


class Shape(msgspec.Struct, rename="pascal", kw_only=True):
    """Base of what crosses the API."""


class HealthConfig(Shape):
    """HEALTHCHECK in nanoseconds."""

    test: list[str] | None = None
    interval: int = 0
    timeout: int = 0
    retries: int = 0
    start_period: int = 0
    start_interval: int = 0


class Config(Shape):
    """ContainerConfig: what travels with an image too."""

    hostname: str = ""
    domainname: str = ""
    user: str = ""
    attach_stdin: bool = False
    attach_stdout: bool = False
    attach_stderr: bool = False
    exposed_ports: dict[str, dict[str, Any]] | None = None
    tty: bool = False
    open_stdin: bool = False
    stdin_once: bool = False
    env: list[str] | None = None
    cmd: list[str] | None = None
    healthcheck: HealthConfig | None = None
    args_escaped: bool | None = None
    image: str = ""
    volumes: dict[str, dict[str, Any]] | None = None
    working_dir: str = ""
    entrypoint: list[str] | None = None
    network_disabled: bool | None = None
    mac_address: str = ""
    on_build: list[str] | None = None
    labels: dict[str, str] | None = None
    stop_signal: str = ""
    stop_timeout: int | None = None
    shell: list[str] | None = None


class LogConfig(Shape):
    type: str = ""
    config: dict[str, str] | None = None


class RestartPolicy(Shape):
    name: str = ""
    maximum_retry_count: int = 0


class PortBinding(Shape):
    host_ip: str = ""
    host_port: str = ""


class DeviceMapping(Shape):
    path_on_host: str = ""
    path_in_container: str = ""
    cgroup_permissions: str = ""


class DeviceRequest(Shape):
    driver: str = ""
    count: int = 0
    device_ids: list[str] | None = msgspec.field(default=None, name="DeviceIDs")
    capabilities: list[list[str]] | None = None
    options: dict[str, str] | None = None


class ThrottleDevice(Shape):
    path: str = ""
    rate: int = 0


class WeightDevice(Shape):
    path: str = ""
    weight: int = 0


class Ulimit(Shape):
    name: str = ""
    soft: int = 0
    hard: int = 0


class BindOptions(Shape):
    propagation: str = ""
    non_recursive: bool = False
    create_mountpoint: bool = False
    read_only_non_recursive: bool = False
    read_only_force_recursive: bool = False


class DriverConfig(Shape):
    name: str = ""
    options: dict[str, str] | None = None


class VolumeOptions(Shape):
    no_copy: bool = False
    labels: dict[str, str] | None = None
    driver_config: DriverConfig | None = None
    subpath: str = ""


class TmpfsOptions(Shape):
    size_bytes: int = 0
    mode: int = 0
    options: list[list[str]] | None = None


class ImageOptions(Shape):
    subpath: str = ""


class Mount(Shape):
    """One entry of HostConfig.Mounts."""

    target: str = ""
    source: str = ""
    type: str = ""
    read_only: bool = False
    consistency: str = ""
    bind_options: BindOptions | None = None
    volume_options: VolumeOptions | None = None
    image_options: ImageOptions | None = None
    tmpfs_options: TmpfsOptions | None = None
    cluster_options: dict[str, Any] | None = None


class HostConfig(Shape):
    """Resources and everything that binds a container to this host. Every field of v1.50 is here; the ones that are
    not honoured are refused by `engine.honoured`, never ignored."""

    # Resources
    cpu_shares: int = 0
    memory: int = 0
    cgroup_parent: str = ""
    blkio_weight: int = 0
    blkio_weight_device: list[WeightDevice] | None = None
    blkio_device_read_bps: list[ThrottleDevice] | None = None
    blkio_device_write_bps: list[ThrottleDevice] | None = None
    blkio_device_read_iops: list[ThrottleDevice] | None = msgspec.field(default=None, name="BlkioDeviceReadIOps")
    blkio_device_write_iops: list[ThrottleDevice] | None = msgspec.field(default=None, name="BlkioDeviceWriteIOps")
    cpu_period: int = 0
    cpu_quota: int = 0
    cpu_realtime_period: int = 0
    cpu_realtime_runtime: int = 0
    cpuset_cpus: str = ""
    cpuset_mems: str = ""
    devices: list[DeviceMapping] | None = None
    device_cgroup_rules: list[str] | None = None
    device_requests: list[DeviceRequest] | None = None
    kernel_memory: int = 0
    kernel_memory_tcp: int = msgspec.field(default=0, name="KernelMemoryTCP")
    memory_reservation: int = 0
    memory_swap: int = 0
    memory_swappiness: int | None = None
    nano_cpus: int = 0
    oom_kill_disable: bool | None = None
    init: bool | None = None
    pids_limit: int | None = None
    ulimits: list[Ulimit] | None = None
    cpu_count: int = 0
    cpu_percent: int = 0
    io_maximum_iops: int = msgspec.field(default=0, name="IOMaximumIOps")
    io_maximum_bandwidth: int = msgspec.field(default=0, name="IOMaximumBandwidth")
    # for all platforms
    binds: list[str] | None = None
    container_id_file: str = msgspec.field(default="", name="ContainerIDFile")
    log_config: LogConfig = msgspec.field(default_factory=LogConfig)
    network_mode: str = ""
    port_bindings: dict[str, list[PortBinding] | None] | None = None
    restart_policy: RestartPolicy = msgspec.field(default_factory=RestartPolicy)
    auto_remove: bool = False
    volume_driver: str = ""
    volumes_from: list[str] | None = None
    mounts: list[Mount] | None = None
    console_size: list[int] | None = None
    annotations: dict[str, str] | None = None
    # for Linux
    cap_add: list[str] | None = None
    cap_drop: list[str] | None = None
    cgroupns_mode: str = ""
    dns: list[str] | None = None
    dns_options: list[str] | None = None
    dns_search: list[str] | None = None
    extra_hosts: list[str] | None = None
    group_add: list[str] | None = None
    ipc_mode: str = ""
    cgroup: str = ""
    links: list[str] | None = None
    oom_score_adj: int = 0
    pid_mode: str = ""
    privileged: bool = False
    publish_all_ports: bool = False
    readonly_rootfs: bool = False
    security_opt: list[str] | None = None
    storage_opt: dict[str, str] | None = None
    tmpfs: dict[str, str] | None = None
    uts_mode: str = msgspec.field(default="", name="UTSMode")
    userns_mode: str = ""
    shm_size: int = 0
    sysctls: dict[str, str] | None = None
    runtime: str = ""
    isolation: str = ""
    masked_paths: list[str] | None = None
    readonly_paths: list[str] | None = None


class EndpointIPAMConfig(Shape):
    ipv4_address: str = msgspec.field(default="", name="IPv4Address")
    ipv6_address: str = msgspec.field(default="", name="IPv6Address")
    link_local_ips: list[str] | None = msgspec.field(default=None, name="LinkLocalIPs")


class EndpointSettings(Shape):
    """One container's place in one network: the wish (first half) and what came of it (second half)."""

    ipam_config: EndpointIPAMConfig | None = msgspec.field(default=None, name="IPAMConfig")
    links: list[str] | None = None
    aliases: list[str] | None = None
    mac_address: str = ""
    driver_opts: dict[str, str] | None = None
    gw_priority: int = 0
    network_id: str = msgspec.field(default="", name="NetworkID")
    endpoint_id: str = msgspec.field(default="", name="EndpointID")
    gateway: str = ""
    ip_address: str = msgspec.field(default="", name="IPAddress")
    ip_prefix_len: int = msgspec.field(default=0, name="IPPrefixLen")
    ipv6_gateway: str = msgspec.field(default="", name="IPv6Gateway")
    global_ipv6_address: str = msgspec.field(default="", name="GlobalIPv6Address")
    global_ipv6_prefix_len: int = msgspec.field(default=0, name="GlobalIPv6PrefixLen")
    dns_names: list[str] | None = msgspec.field(default=None, name="DNSNames")


class NetworkingConfig(Shape):
    endpoints_config: dict[str, EndpointSettings | None] | None = None


class MountPoint(Shape):
    """A mount as `docker inspect` lists it. `type` is bind, volume or tmpfs; `mode` is the text after the target."""

    type: str = "bind"
    name: str = ""
    source: str = ""
    destination: str = ""
    driver: str = ""
    mode: str = ""
    rw: bool = msgspec.field(default=True, name="RW")
    propagation: str = ""


class State(msgspec.Struct, kw_only=True):
    """`status` is a word of `engine.states`; instants are nanoseconds since 1970, 0 for never."""

    status: str = "created"
    pid: int = 0
    start_time: int = 0
    exit_code: int = 0
    error: str = ""
    oom_killed: bool = False
    started_at: int = 0
    finished_at: int = 0

    @property
    def running(self) -> bool:
        """Docker's Running: true while paused and while restarting too."""
        return self.status in ("running", "paused", "restarting")

    @property
    def paused(self) -> bool:
        return self.status == "paused"

    @property
    def restarting(self) -> bool:
        return self.status == "restarting"

    @property
    def dead(self) -> bool:
        return self.status == "dead"


class PublishedPort(msgspec.Struct, kw_only=True):
    """One host port in use for a container: `proto` tcp or udp."""

    proto: str
    host_ip: str
    host_port: int
    container_port: int


class Container(msgspec.Struct, kw_only=True):
    """The record of one container, as it stands in the database."""

    id: str
    name: str
    created: int
    path: str = ""
    args: list[str] = []
    image: str = ""  # digest of the image's config
    image_name: str = ""  # as the user wrote it
    platform: str = "linux"
    config: Config
    host_config: HostConfig
    networking: NetworkingConfig = msgspec.field(default_factory=NetworkingConfig)
    state: State = msgspec.field(default_factory=State)
    mounts: list[MountPoint] = []
    restart_count: int = 0
    stopped_by_user: bool = False
    layers: list[str] = []  # diff ids, lowest first
    log_path: str = ""
    endpoints: dict[str, EndpointSettings] = {}  # by network name, while it has an address
    ports: list[PublishedPort] = []
    cgroup: str = ""
    anonymous: list[str] = []  # names of the volumes made for this container alone
    planned: list[dict[str, Any]] = []  # engine.mounts.Planned as made, with volume names filled in
    endpoint: dict[str, Any] | None = None  # network.model.Endpoint, while it has one
    published: list[dict[str, Any]] = []  # network.model.Published, in the order of the shim's listeners


class ExecConfig(Shape):
    """Body of POST /containers/{id}/exec."""

    attach_stdin: bool = False
    attach_stdout: bool = False
    attach_stderr: bool = False
    console_size: list[int] | None = None
    detach_keys: str = ""
    detach: bool = False
    tty: bool = False
    env: list[str] | None = None
    cmd: list[str] | None = None
    privileged: bool = False
    user: str = ""
    working_dir: str = ""


class Exec(msgspec.Struct, kw_only=True):
    """One exec of a container. `exit_code` is None until it has ended."""

    id: str
    container_id: str
    config: ExecConfig
    running: bool = False
    started: bool = False
    pid: int = 0
    exit_code: int | None = None


class AttachOptions(msgspec.Struct, kw_only=True, frozen=True):
    """What a client of attach wants. `mux` is chosen by the api: frames for containers without terminal."""

    stdin: bool = False
    stdout: bool = False
    stderr: bool = False
    logs: bool = False
    stream: bool = True
    detach_keys: str = ""
    mux: bool = True


class WaitResult(msgspec.Struct, kw_only=True, frozen=True):
    """How a container ended; `error` is non-empty when the engine could not tell."""

    code: int
    error: str = ""


class Event(msgspec.Struct, kw_only=True, frozen=True):
    """One thing that happened. `time` in nanoseconds."""

    type: str
    action: str
    actor_id: str
    attributes: dict[str, str]
    time: int
