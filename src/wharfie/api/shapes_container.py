"""Containers as the API shows them: the engine's record in Docker's two shapes, long (inspect) and short (list)."""

from __future__ import annotations

from typing import Any

import msgspec

from wharfie.base import units, when
from wharfie.engine import model
from wharfie.oci import defaults

_Omitted = msgspec.UnsetType | int


class Port(msgspec.Struct, kw_only=True):
    """One line of the short shape's ports."""

    ip: str | msgspec.UnsetType = msgspec.field(default=msgspec.UNSET, name="IP")
    private_port: int = msgspec.field(name="PrivatePort")
    public_port: _Omitted = msgspec.field(default=msgspec.UNSET, name="PublicPort")
    type: str = msgspec.field(name="Type")


class SummaryHostConfig(msgspec.Struct, rename="pascal"):
    network_mode: str


class SummaryNetworks(msgspec.Struct, rename="pascal"):
    networks: dict[str, model.EndpointSettings]


class Summary(msgspec.Struct, rename="pascal"):
    """One element of GET /containers/json."""

    id: str
    names: list[str]
    image: str
    image_id: str = msgspec.field(name="ImageID")
    command: str
    created: int
    ports: list[Port]
    labels: dict[str, str]
    state: str
    status: str
    host_config: SummaryHostConfig
    network_settings: SummaryNetworks
    mounts: list[dict[str, Any]]
    size_rw: _Omitted = msgspec.UNSET
    size_root_fs: _Omitted = msgspec.UNSET


def summary(record: model.Container, now: int, image: str) -> Summary:
    """The short shape; `now` in ns, `image` the name to show."""
    state = record.state
    return Summary(
        record.id, [f"/{record.name}"], image, record.image, command(record), record.created // 10**9,
        _port_list(record), record.config.labels or {}, state.status, status(state, now),
        SummaryHostConfig(network_mode(record)), SummaryNetworks(networks(record)),
        [mount_point(m) for m in record.mounts],
    )


def command(record: model.Container) -> str:
    """Path and arguments in one line; arguments with blanks in single quotes, as dockerd joins them."""
    if not record.args:
        return record.path
    return " ".join([record.path, *(f"'{a}'" if " " in a else a for a in record.args)])


def status(state: model.State, now: int) -> str:
    """"Up 3 minutes", "Exited (0) 2 hours ago": container.State.String of dockerd."""
    word = state.status
    if word in ("running", "paused"):
        up = f"Up {units.human_duration((now - state.started_at) / 1e9)}"
        return f"{up} (Paused)" if word == "paused" else up
    ago = units.human_duration((now - state.finished_at) / 1e9)
    if word == "restarting":
        return f"Restarting ({state.exit_code}) {ago} ago"
    if word == "removing":
        return "Removal In Progress"
    if word == "dead":
        return "Dead"
    if word == "created":
        return "Created"
    return f"Exited ({state.exit_code}) {ago} ago" if state.finished_at else ""


def network_mode(record: model.Container) -> str:
    """The mode as Docker shows it: "default" reads "bridge" once the container exists."""
    mode = record.host_config.network_mode
    return "bridge" if mode in ("", "default") else mode


def networks(record: model.Container) -> dict[str, model.EndpointSettings]:
    """Network name → place in it. A container without addresses still names its networks, empty."""
    if record.endpoints:
        return record.endpoints
    mode = network_mode(record)
    if mode.startswith("container:"):
        return {}
    wished = record.networking.endpoints_config or {}
    return {("bridge" if n == "default" else n): e or model.EndpointSettings() for n, e in wished.items()} or {
        mode: model.EndpointSettings()
    }


def _port_list(record: model.Container) -> list[Port]:
    if not record.state.running:
        return []
    out = [
        Port(ip=p.host_ip, private_port=p.container_port, public_port=p.host_port, type=p.proto) for p in record.ports
    ]
    published = {(p.container_port, p.proto) for p in record.ports}
    for text in record.config.exposed_ports or ():
        number, _, proto = text.partition("/")
        if number.isdecimal() and (int(number), proto or "tcp") not in published:
            out.append(Port(private_port=int(number), type=proto or "tcp"))
    return out


def port_map(record: model.Container) -> dict[str, list[dict[str, str]] | None]:
    """NetworkSettings.Ports of a running container: `{"80/tcp": [{"HostIp": "", "HostPort": "1"}], "81/tcp": null}`."""
    if not record.state.running:
        return {}
    out: dict[str, list[dict[str, str]] | None] = {
        (p if "/" in p else f"{p}/tcp"): None for p in record.config.exposed_ports or ()
    }
    for port in record.ports:
        key = f"{port.container_port}/{port.proto}"
        bindings = out.get(key) or []
        bindings.append({"HostIp": port.host_ip, "HostPort": str(port.host_port)})
        out[key] = bindings
    return out


def mount_point(mount: model.MountPoint) -> dict[str, Any]:
    """A mount; name and driver only where there is one."""
    out: dict[str, Any] = {"Type": mount.type}
    if mount.name:
        out["Name"] = mount.name
    out |= {"Source": mount.source, "Destination": mount.destination}
    if mount.driver:
        out["Driver"] = mount.driver
    return out | {"Mode": mount.mode, "RW": mount.rw, "Propagation": mount.propagation}


_CONFIG_OMITTED = (
    "ExposedPorts", "Healthcheck", "ArgsEscaped", "NetworkDisabled", "MacAddress", "StopSignal", "StopTimeout", "Shell",
)
_HOST_OMITTED = (
    "Mounts", "Annotations", "StorageOpt", "Tmpfs", "Sysctls", "Init", "KernelMemory", "KernelMemoryTCP",
)


def without_empty(obj: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    """Drop the keys that Go marks `omitempty` when they are empty."""
    for name in names:
        if not obj.get(name) and obj.get(name) is not False:
            obj.pop(name, None)
        elif obj[name] is False and name in ("NetworkDisabled", "ArgsEscaped"):
            del obj[name]
    return obj


def config(value: model.Config) -> dict[str, Any]:
    """ContainerConfig as inspect shows it."""
    out: dict[str, Any] = msgspec.to_builtins(value)
    stop_timeout = out.get("StopTimeout")
    without_empty(out, _CONFIG_OMITTED)
    if stop_timeout is not None:
        out["StopTimeout"] = stop_timeout
    return out


def host_config(value: model.HostConfig) -> dict[str, Any]:
    """HostConfig as inspect shows it; the paths that are masked or read-only for want of other words are named."""
    out = without_empty(msgspec.to_builtins(value), _HOST_OMITTED)
    if not value.privileged:
        for name, usual in (("MaskedPaths", defaults.MASKED_PATHS), ("ReadonlyPaths", defaults.READONLY_PATHS)):
            if out[name] is None:
                out[name] = list(usual)
    return out


def state(value: model.State) -> dict[str, Any]:
    """State as inspect shows it."""
    return {
        "Status": value.status, "Running": value.running, "Paused": value.paused, "Restarting": value.restarting,
        "OOMKilled": value.oom_killed, "Dead": value.dead, "Pid": value.pid if value.running else 0,
        "ExitCode": value.exit_code, "Error": value.error, "StartedAt": when.rfc3339(value.started_at),
        "FinishedAt": when.rfc3339(value.finished_at),
    }


def _network_settings(record: model.Container) -> dict[str, Any]:
    found = networks(record)
    bridge = record.endpoints.get("bridge") or model.EndpointSettings()
    return {
        "Bridge": "", "SandboxID": record.id if record.state.running else "", "SandboxKey": "",
        "Ports": port_map(record), "HairpinMode": False, "LinkLocalIPv6Address": "", "LinkLocalIPv6PrefixLen": 0,
        "SecondaryIPAddresses": None, "SecondaryIPv6Addresses": None, "EndpointID": bridge.endpoint_id,
        "Gateway": bridge.gateway, "GlobalIPv6Address": bridge.global_ipv6_address,
        "GlobalIPv6PrefixLen": bridge.global_ipv6_prefix_len, "IPAddress": bridge.ip_address,
        "IPPrefixLen": bridge.ip_prefix_len, "IPv6Gateway": bridge.ipv6_gateway, "MacAddress": bridge.mac_address,
        "Networks": found,
    }


def inspect(
    record: model.Container, version: int, execs: list[str], size: tuple[int, int] | None = None
) -> dict[str, Any]:
    """The long shape; `size` is (SizeRw, SizeRootFs) where it was asked for."""
    directory = record.log_path.rpartition("/")[0]
    out: dict[str, Any] = {
        "Id": record.id, "Created": when.rfc3339(record.created), "Path": record.path, "Args": record.args,
        "State": state(record.state), "Image": record.image, "ResolvConfPath": f"{directory}/resolv.conf",
        "HostnamePath": f"{directory}/hostname", "HostsPath": f"{directory}/hosts", "LogPath": record.log_path,
        "Name": f"/{record.name}", "RestartCount": record.restart_count, "Driver": "overlay2",
        "Platform": record.platform, "MountLabel": "", "ProcessLabel": "", "AppArmorProfile": "",
        "ExecIDs": execs or None, "HostConfig": host_config(record.host_config),
        "GraphDriver": {"Data": None, "Name": "overlay2"}, "Mounts": [mount_point(m) for m in record.mounts],
        "Config": config(record.config), "NetworkSettings": _network_settings(record),
    }
    if version >= 44:
        out["Config"].pop("MacAddress", None)
    if size is not None:
        out["SizeRw"], out["SizeRootFs"] = size
    return out
