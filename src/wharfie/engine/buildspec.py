"""Record, identity, mounts and host → the OCI runtime spec of a container: pure."""

from __future__ import annotations

from typing import Any

from wharfie.base.value import Value
from wharfie.oci import defaults

from . import merge, mounts, resources, security
from .model import Container, HostConfig, Ulimit
from .users import Identity

OCI_VERSION = "1.2.0"
INIT = "/sbin/docker-init"
_UMASK = 0o022


class Devices(Value):
    """Device nodes for the container and the cgroup rules that let it use them."""

    nodes: tuple[dict[str, Any], ...] = ()
    rules: tuple[dict[str, Any], ...] = ()


class Parts(Value):
    """What the spec is made of beside the record.

    planned    mounts with `source` a host path, in order
    files      destination → host path of hosts, hostname, resolv.conf
    joined     namespace kind → path, for namespaces of other containers
    """

    identity: Identity
    hostname: str
    planned: tuple[mounts.Planned, ...]
    files: tuple[tuple[str, str], ...]
    joined: tuple[tuple[str, str], ...]
    devices: Devices
    host: resources.Host
    ulimits: tuple[Ulimit, ...] = ()
    use_init: bool = False
    shm_size: int = defaults.SHM_SIZE


def build(record: Container, parts: Parts) -> dict[str, Any]:
    """The config.json of one start."""
    host = record.host_config
    private_uts = host.uts_mode != "host"
    spec: dict[str, Any] = {
        "ociVersion": OCI_VERSION,
        "process": _first_process(record, parts),
        "root": {"path": "rootfs", "readonly": host.readonly_rootfs},
        "mounts": _mounts(record, parts),
        "linux": _linux(record, parts),
        "annotations": dict(host.annotations or {}),
    }
    if private_uts:
        spec["hostname"] = parts.hostname
        if record.config.domainname:
            spec["domainname"] = record.config.domainname
    return spec


def _first_process(record: Container, parts: Parts) -> dict[str, Any]:
    config = record.config
    argv = [record.path, *record.args]
    if parts.use_init:
        argv = [INIT, "--", *argv]
    env = merge.environment(config, hostname=parts.hostname, home=parts.identity.home)
    made = process(record, parts.identity, argv, env, config.working_dir or "/", ulimits=parts.ulimits,
                   devices=parts.host.devices)
    made["terminal"] = config.tty
    if record.host_config.console_size and config.tty:
        height, width = record.host_config.console_size
        made["consoleSize"] = {"height": height, "width": width}
    return made


def process(
    record: Container, identity: Identity, argv: list[str], env: list[str], cwd: str, *,
    ulimits: tuple[Ulimit, ...] = (), privileged: bool = False, devices: bool = True,
) -> dict[str, Any]:
    """An OCI process object with the container's rights; `privileged` is that of an exec, `devices` says whether this
    host can keep device rules."""
    host = record.host_config
    caps = list(security.capabilities(
        host.cap_add, host.cap_drop, privileged=host.privileged or privileged, devices=devices))
    return {
        "user": {"uid": identity.uid, "gid": identity.gid, "additionalGids": list(identity.groups), "umask": _UMASK},
        "args": argv,
        "env": env,
        "cwd": cwd,
        # Inheritable stays empty (CVE-2022-24769); no ambient ones: a user other than root loses them at execve.
        "capabilities": {"bounding": caps, "effective": caps, "permitted": caps, "inheritable": [], "ambient": []},
        "rlimits": resources.rlimits(host.ulimits, list(ulimits)),
        "noNewPrivileges": security.parse_options(host.security_opt).no_new_privileges,
        "oomScoreAdj": host.oom_score_adj,
    }


def _mounts(record: Container, parts: Parts) -> list[dict[str, Any]]:
    host = record.host_config
    taken = {m.destination for m in parts.planned}
    out = [_widened(m, host) for m in _base(host, parts.shm_size) if m["destination"] not in taken]
    own: list[dict[str, Any]] = []
    if parts.use_init:
        own.append({"destination": INIT, "type": "wharfie-init", "source": "wharfie-init"})
    writing = "ro" if host.readonly_rootfs else "rw"
    own += [
        {"destination": target, "type": "bind", "source": source, "options": ["rbind", writing, "rprivate"]}
        for target, source in parts.files if target not in taken
    ]
    own += [_planned(m) for m in parts.planned]
    # Parents first, ours among the user's: a volume on /etc must not hide /etc/hosts.
    return out + sorted(own, key=lambda m: str(m["destination"]).count("/"))


def _base(host: HostConfig, shm_size: int) -> list[dict[str, Any]]:
    """Docker's default mounts as the IPC mode wants them."""
    if host.ipc_mode == "none":
        return defaults.mounts(shm_size=0)
    out = defaults.mounts(shm_size=host.shm_size or shm_size)
    if host.ipc_mode == "host":  # a new mqueue mount shows the host's queues: they belong to the namespace
        out = [m for m in out if m["destination"] != "/dev/shm"]
        out.append({"destination": "/dev/shm", "type": "bind", "source": "/dev/shm", "options": ["rbind", "rprivate"]})
    return out


def _widened(mount: dict[str, Any], host: HostConfig) -> dict[str, Any]:
    """A privileged container may write to /sys and its cgroups, unless it may write nowhere."""
    if host.privileged and not host.readonly_rootfs and mount["type"] in ("sysfs", "cgroup"):
        return {**mount, "options": [o for o in mount["options"] if o != "ro"]}
    return mount


def _planned(m: mounts.Planned) -> dict[str, Any]:
    if m.kind == mounts.TMPFS:
        return {"destination": m.destination, "type": "tmpfs", "source": "tmpfs", "options": list(m.options)}
    options = ["rbind" if m.recursive else "bind", "ro" if m.readonly else "rw", m.propagation or "rprivate"]
    if m.readonly and m.recursive and m.deep_readonly:
        options.append("rro")
    return {"destination": m.destination, "type": "bind", "source": m.source, "options": options}


def namespaces(host: HostConfig, *, network: str, joined: dict[str, str]) -> list[dict[str, str]]:
    """OCI linux.namespaces. What is shared with the host is not listed."""
    out = [{"type": "mount"}]
    for kind, shared in (
        ("network", network == "host"), ("ipc", host.ipc_mode == "host"), ("uts", host.uts_mode == "host"),
        ("pid", host.pid_mode == "host"), ("cgroup", host.cgroupns_mode == "host"),
    ):
        if not shared:
            out.append({"type": kind, "path": joined[kind]} if kind in joined else {"type": kind})
    return out


def _linux(record: Container, parts: Parts) -> dict[str, Any]:
    host = record.host_config
    out: dict[str, Any] = {
        "namespaces": namespaces(host, network=host.network_mode, joined=dict(parts.joined)),
        "cgroupsPath": record.cgroup,
        "resources": resources.resources(host, list(parts.devices.rules), swap=parts.host.swap),
        "devices": list(parts.devices.nodes),
        "sysctl": _sysctl(host),
        "maskedPaths": _paths(host.masked_paths, defaults.MASKED_PATHS, privileged=host.privileged),
        "readonlyPaths": _paths(host.readonly_paths, defaults.READONLY_PATHS, privileged=host.privileged),
    }
    caps = security.capabilities(
        host.cap_add, host.cap_drop, privileged=host.privileged, devices=parts.host.devices)
    profile = security.seccomp(
        security.parse_options(host.security_opt), caps, privileged=host.privileged, machine=parts.host.machine,
        kernel=parts.host.kernel,
    )
    if profile is not None:
        out["seccomp"] = profile
    return out


def _paths(asked: list[str] | None, usual: tuple[str, ...], *, privileged: bool) -> list[str]:
    if asked is not None:
        return list(asked)
    return [] if privileged else list(usual)


def _sysctl(host: HostConfig) -> dict[str, str]:
    """Docker lets containers bind low ports and send pings without a capability, in network namespaces of their own."""
    mode = host.network_mode
    own_network = mode != "host" and not mode.startswith("container:")
    usual = {"net.ipv4.ip_unprivileged_port_start": "0", "net.ipv4.ping_group_range": "0 2147483647"}
    return {**(usual if own_network else {}), **{k.replace("/", "."): v for k, v in (host.sysctls or {}).items()}}
