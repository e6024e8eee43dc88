"""The maker: a throw-away child of the shim that makes sandbox, root file system and processes.

Making a container reads, parses and allocates a great deal; done in the shim it would leave every idle one of them a
megabyte and a half larger for good. The processes it makes are the shim's children, not its own (CLONE_PARENT), so the
parent-death signal watches the shim.

    shim                                        maker
    fork  ----------------------------------->  closes everything but the channel
    prepare {namespaces, rootfs}  ----------->
                        <---------------------  ok + fds: the sandbox's, netlink, rootfs
    start {launch, spec, directory} + stdio ->
                        <---------------------  ok {pid, ...} + fds: pidfd, console, the namespaces
    (or, a maker of its own) exec {...} + fds:
     stdio, init's pidfd, the namespaces  --->
                        <---------------------  ok {pid, ...} + fds: pidfd, console
    closes the channel  --------------------->  ends
"""

from __future__ import annotations

import _socket
import json
import os
import sys

from wharfie.base import errors, paths, points
from wharfie.drivers import contract, native
from wharfie.kernel import cgroups, overlay, process
from wharfie.oci import spec as oci_spec
from wharfie.runtime import sandbox

from . import filters, record, wire
from .wire import Launch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

    Answer = tuple[dict[str, Any], list[str], list[int]]

_SIGKILL = 9


def run(channel: int, parent: int) -> NoReturn:
    """Serve the channel until it closes. `parent` is the shim's pid: the maker does not outlive it."""
    process.pdeathsig(_SIGKILL)
    if os.getppid() != parent:
        os._exit(0)
    if channel != 3:
        os.dup2(channel, 3, inheritable=False)
    process.close_range(4)
    process.set_title("wharfie-maker")
    sock = _socket.socket(fileno=3)
    maker = Maker()
    while (got := wire.recv(sock)) is not None:
        message, fds = got
        try:
            result, names, out = maker.serve(message, fds)
            reply = wire.ok(0, result, names)
        except Exception as error:  # the shim has to hear of everything
            if not isinstance(error, (errors.WharfieError, OSError)):
                sys.excepthook(*sys.exc_info())
            reply, out = wire.refusal(0, error), []
        wire.send(sock, reply, out)
        wire.close_all(fds)
    os._exit(0)


class Maker:
    """What prepare has made is kept for start."""

    def __init__(self) -> None:
        self._driver: contract.Driver = native.Native(sibling=True)
        self._made: sandbox.Made | None = None
        self._rootfs = -1

    def serve(self, message: dict[str, Any], fds: list[int]) -> Answer:
        """One request. Raises WharfieError, OSError."""
        verb = {wire.PREPARE: self._prepare, wire.START: self._start, wire.EXEC: self._exec,
                wire.BYE: self._nothing}[message["op"]]
        return verb(message, fds)

    def _nothing(self, _message: dict[str, Any], _fds: list[int]) -> Answer:
        return {}, [], []

    def _prepare(self, message: dict[str, Any], _fds: list[int]) -> Answer:
        namespaces = message["namespaces"]
        self._made = made = sandbox.make(namespaces, idmap(namespaces.get("user")))
        points.reach("shim.sandbox.made")
        self._rootfs = overlay.mount(overlay.Rootfs.from_dict(message["rootfs"]), made.sandbox.user)
        points.reach("shim.rootfs.made")
        named = {"net": made.sandbox.net, "netlink": made.netlink, "rootfs": self._rootfs}
        named = {k: v for k, v in named.items() if v >= 0}
        return {}, list(named), list(named.values())

    def _start(self, message: dict[str, Any], fds: list[int]) -> Answer:
        assert self._made is not None
        launch, home = Launch.from_dict(message["launch"]), paths.RunDirectory(message["directory"])
        with open(f"{home.root}/{os.path.basename(message['spec'])}", "rb") as f:
            spec = oci_spec.parse(json.loads(f.read()))
        filter = filters.ensure(launch.seccomp_dir or home.root, spec.linux.seccomp) if spec.linux.seccomp else ""
        cgroup = _make_cgroup(launch, spec)
        points.reach("shim.cgroup.made")
        created = self._driver.create(contract.Bundle(
            id=launch.id, spec=spec, rootfs=self._rootfs, sandbox=self._made.sandbox, cgroup=cgroup,
            seccomp=filters.read(filter), idmap=idmap(launch.namespaces.user), terminal_size=launch.console_size,
        ), contract.Stdio(*_stdio(message, fds)))
        container, init = created.container, created.process
        record.write_init(home, init.pid, init.start_time)
        self._driver.start(created)
        spaces = dict(container.namespaces)
        return ({"pid": init.pid, "start_time": init.start_time, "filter": filter, "cgroup": cgroup is not None},
                *_given(init, spaces))

    def _exec(self, message: dict[str, Any], fds: list[int]) -> Answer:
        stdio = _stdio(message, fds)
        init, *rest = fds[len(message["stdio"]):]
        spaces = tuple(zip(message["namespaces"], rest, strict=True))
        cgroup = cgroups.Cgroup(message["cgroup"]) if message["cgroup"] else None
        container = contract.Container(message["id"], contract.Process(0, init, 0), spaces, cgroup)
        made = self._driver.exec(container, oci_spec.parse_process(message["process"], "process"),
                                 contract.Stdio(*stdio), tuple(message["size"]), filters.read(message["filter"]))
        return {"pid": made.pid, "start_time": made.start_time}, *_given(made, {})


def _make_cgroup(launch: Launch, spec: oci_spec.Spec) -> cgroups.Cgroup | None:
    """The container's group with its limits, None where the host has none (limits that were asked for are refused)."""
    if not launch.cgroup:
        return None
    made = cgroups.Cgroup(launch.cgroup)
    if made.layout.mode == "none":
        if any((spec.linux.resources or {}).get(k) for k in ("memory", "cpu", "pids", "blockIO")):
            raise errors.Unsupported("limits were asked for and this host has no control groups")
        return None
    made.create()
    if spec.linux.resources:
        made.apply(spec.linux.resources)
    return made


def _stdio(message: dict[str, Any], fds: list[int]) -> list[int]:
    """The descriptors of stdin, stdout, stderr: `stdio` says which of them were sent."""
    sent = dict(zip(message["stdio"], fds, strict=False))
    return [sent.get(n, -1) for n in (0, 1, 2)]


def _given(made: contract.Process, spaces: dict[str, int]) -> tuple[list[str], list[int]]:
    named = {"pidfd": made.pidfd, **({"console": made.console} if made.console >= 0 else {}), **spaces}
    return list(named), list(named.values())


def idmap(user: dict[str, Any] | None) -> overlay.IdMap | None:
    """The map of a launch's "user", None without one. Raises KeyError, TypeError for what is none."""
    return overlay.IdMap.from_dict({"uids": user["uid_map"], "gids": user["gid_map"]}) if user else None
