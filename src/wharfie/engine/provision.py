"""What a start needs beside sandbox and rootfs: who the user is, the three files, the namespaces to join, the spec."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Callable
from typing import Any

from wharfie.base import atomic, errors
from wharfie.network import files
from wharfie.network import model as network_model
from wharfie.oci import defaults
from wharfie.shim import wire

from . import buildspec, devices, mounts, users
from .live import Live
from .model import Container
from .services import Services

_LIMIT = users.MAX_FILE


class Provision:
    """Gathers the parts of a spec. `find` looks up a container whose namespaces are joined."""

    def __init__(self, services: Services, settings: network_model.Settings, find: Callable[[str], Container]) -> None:
        self._services = services
        self._settings = settings
        self._find = find

    def namespaces(self, record: Container) -> wire.Namespaces:
        """Which namespaces the shim makes. Raises Conflict when a container to be joined does not run."""
        host = record.host_config
        joined = self.joined(record)
        net = host.network_mode if host.network_mode in ("host", "none") else "new"
        return wire.Namespaces(
            net=joined.get("network", net),
            ipc="host" if host.ipc_mode == "host" else "new",
            uts="host" if host.uts_mode == "host" else "new",
            pid=joined.get("pid", "host" if host.pid_mode == "host" else "new"),
            cgroup="host" if host.cgroupns_mode == "host" else "new",
            owners={str(o.state.pid): o.state.start_time for o in self._owners(record) if o.state.start_time},
        )

    def _owners(self, record: Container) -> list[Container]:
        modes = (record.host_config.network_mode, record.host_config.pid_mode)
        return [self._find(m.partition(":")[2]) for m in modes if m.startswith("container:")]

    def joined(self, record: Container) -> dict[str, str]:
        """OCI namespace kind → path of the namespace of another container."""
        out = {}
        for kind, mode, link in (
            ("network", record.host_config.network_mode, "net"), ("pid", record.host_config.pid_mode, "pid"),
        ):
            if mode.startswith("container:"):
                other = self._find(mode.partition(":")[2])
                if not other.state.running or other.state.pid <= 1:
                    raise errors.Conflict(f"cannot join the {kind} namespace of a non running container: {other.id}",
                                          name=other.id)
                out[kind] = f"/proc/{other.state.pid}/ns/{link}"
        return out

    def identity(self, record: Container, rootfs: int, user: str) -> users.Identity:
        """Who `user` is by the image's own files. Blocking: call it in a thread."""
        passwd = self._services.read_file(rootfs, "/etc/passwd", _LIMIT)
        group = self._services.read_file(rootfs, "/etc/group", _LIMIT)
        return users.resolve(user, passwd, group, record.host_config.group_add)

    def spec(self, live: Live, rootfs: int) -> dict[str, Any]:
        """The OCI spec of this start, after writing the three files. Blocking: call it in a thread."""
        record, host = live.record, live.record.host_config
        identity = self.identity(record, rootfs, record.config.user)
        use_init = host.init if host.init is not None else self._services.settings.init
        hostname = self.hostname(record)
        planned = self._planned(record)
        written = self._files(live, hostname)
        return buildspec.build(record, buildspec.Parts(
            identity=identity, hostname=hostname, planned=tuple(planned),
            files=tuple((t, s) for t, s in written.items() if _has_place(t, planned)),
            joined=tuple(self.joined(record).items()),
            devices=devices.gather(host), host=self._services.host, ulimits=self._services.settings.ulimits,
            use_init=bool(use_init) and host.pid_mode in ("", "private"), shm_size=defaults.SHM_SIZE,
        ))

    def hostname(self, record: Container) -> str:
        mode = record.host_config.network_mode
        if record.config.hostname:
            return record.config.hostname
        if mode.startswith("container:"):
            return self.hostname(self._find(mode.partition(":")[2]))
        return os.uname().nodename

    def _planned(self, record: Container) -> list[mounts.Planned]:
        """The mounts with volumes as host paths. Raises NotFound, Invalid when a source has vanished."""
        out = []
        for plain in record.planned:
            one = _planned(plain)
            if one.kind == mounts.VOLUME:
                one = one.replace(source=self._services.volumes.path(one.source))
            elif one.kind == mounts.BIND and not os.path.exists(one.source):
                if not one.create:
                    raise errors.Invalid('invalid mount config for type "bind": bind source path does not exist: '
                                         f"{one.source}", name=one.source)
                os.makedirs(one.source, 0o755, exist_ok=True)
            out.append(one)
        return out

    def _files(self, live: Live, hostname: str) -> dict[str, str]:
        """Write hosts, hostname and resolv.conf; destination → host path."""
        record = live.record
        mode = record.host_config.network_mode
        if mode.startswith("container:"):
            directory = self._services.data.container(mode.partition(":")[2])
        else:
            directory = self._services.data.container(record.id)
            contents = self._contents(live, hostname)
            for name, content in contents.items():
                path = f"{directory}/{name}"
                atomic.rewrite(path, content)
        return {f"/etc/{name}": f"{directory}/{name}" for name in ("resolv.conf", "hostname", "hosts")}

    def _contents(self, live: Live, hostname: str) -> dict[str, bytes]:
        host, config, endpoint = live.record.host_config, live.record.config, live.endpoint
        on_host = host.network_mode == "host"
        gateway = endpoint.gateway if endpoint is not None else ""
        if on_host and any(e.endswith(":host-gateway") for e in host.extra_hosts or []):
            gateway = "127.0.0.1"
        hosts = files.hosts(
            hostname, domain=config.domainname, ips=[endpoint.ip] if endpoint is not None and endpoint.ip else [],
            extra=host.extra_hosts or [], gateway=gateway, host_text=_text("/etc/hosts") if on_host else None,
        )
        wished = host.dns or host.dns_search or host.dns_options
        if on_host and not wished:
            resolv = _text("/etc/resolv.conf").encode()
        else:
            resolv = files.resolv_conf(files.resolver(
                self._settings, _text("/etc/resolv.conf"), _text(files.UPSTREAM_PATH), dns=host.dns or (),
                search=host.dns_search or (), options=host.dns_options or (),
            ))
        return {"hosts": hosts, "hostname": files.hostname(hostname), "resolv.conf": resolv}


def _has_place(target: str, planned: list[mounts.Planned]) -> bool:
    """Whether `target` can be mounted upon: what the user mounts read-only above it must have it, for nobody can make
    it there."""
    above = [m for m in planned if target.startswith(m.destination + "/")]
    if not above or not above[-1].readonly:
        return True
    deepest = above[-1]
    return bool(deepest.source) and os.path.exists(deepest.source + target.removeprefix(deepest.destination))


def _text(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read(files.MAX_BYTES)
    except OSError:
        return ""


def _planned(plain: dict[str, Any]) -> mounts.Planned:
    """A Planned as it was kept in the record."""
    known = {k: v for k, v in plain.items() if k in mounts.Planned._fields_}
    for name in ("driver_options", "labels"):
        known[name] = tuple((str(k), str(v)) for k, v in known.get(name, ()))
    known["options"] = tuple(known.get("options", ()))
    return mounts.Planned(**known)


def working_directory(record: Container, wished: str) -> str:
    """Where a process starts: its wish, relative to nothing, else the container's, else "/"."""
    return "/" + posixpath.normpath(wished or record.config.working_dir or "/").lstrip("/")
