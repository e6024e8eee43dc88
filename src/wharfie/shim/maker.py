"""The maker: a child of the shim that makes sandbox and root file system, and then turns into the container's first
process; or, for an exec, into one more of a running container.

Making a container reads, parses and allocates a great deal; done in the shim it would leave every idle one of them a
megabyte and a half larger for good. Here it goes away with the execve.

    shim                                        maker
    clone (new pid namespace, cgroup)  ------>  closes everything but the channel
    prepare {launch, directory}  ------------>
                        <---------------------  ok + fds: the sandbox's, netlink, rootfs
    create {spec} + stdio  ------------------>
                        <---------------------  ok {filter, cgroup, start_time}, having written init.json; from here
                                                on the birth of runtime.channel
    (or, a maker of its own) exec {...} + fds:
     stdio, init's pidfd, the namespaces  --->  likewise, without an ok
"""

from __future__ import annotations

import _socket
import json
import os
import select
import sys

from wharfie.base import errors, paths, points
from wharfie.drivers import contract, native
from wharfie.kernel import cgroups, overlay, process
from wharfie.oci import spec as oci_spec
from wharfie.runtime import channel as channels
from wharfie.runtime import faults, sandbox

from . import filters, record, wire
from .wire import Launch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

_SIGKILL = 9


def run(channel: int, here: tuple[str, ...]) -> NoReturn:
    """Serve the channel until it closes, or until this process has become another. `here`: the kinds of namespaces it
    was cloned with."""
    process.pdeathsig(_SIGKILL)
    if channel != 3:
        os.dup2(channel, 3, inheritable=False)
    process.close_range(4)
    if _alone(3):
        os._exit(0)
    process.set_title("wharfie-maker")
    sock = _socket.socket(fileno=3)
    maker = Maker(sock, here)
    while (got := wire.recv(sock)) is not None:
        message, fds = got
        try:
            result, out = maker.serve(message, fds)
            wire.send(sock, wire.ok(0, result, list(out)), out.values())
        except Exception as error:  # the shim has to hear of everything
            if not isinstance(error, (errors.WharfieError, OSError)):
                sys.excepthook(*sys.exc_info())
            wire.send(sock, wire.refusal(0, error))
        wire.close_all(fds)
    os._exit(0)


def _alone(channel: int) -> bool:
    """Whether the shim ended before the parent-death signal was set. (Its pid says nothing in another pid
    namespace.)"""
    poll = select.poll()
    poll.register(channel, 0)
    return bool(poll.poll(0))


class Maker:
    """What prepare has made is kept for create."""

    def __init__(self, sock: _socket.socket, here: tuple[str, ...]) -> None:
        self._sock = sock
        self._here = here
        self._driver: contract.Driver = native.Native()
        self._launch = Launch(id="")
        self._home = paths.RunDirectory("")
        self._made: sandbox.Made | None = None
        self._rootfs = -1

    def serve(self, message: dict[str, Any], fds: list[int]) -> tuple[dict[str, Any], dict[str, int]]:
        """One request: its result and descriptors by name; or no return. Raises WharfieError, OSError."""
        op = message["op"]
        if op == wire.PREPARE:
            return {}, self._prepare(message)
        if op == wire.CREATE:
            self._create(message, fds)
        if op == wire.EXEC:
            self._exec(message, fds)
        raise errors.Unsupported(f"a maker knows no {op!r}")

    def _prepare(self, message: dict[str, Any]) -> dict[str, int]:
        self._launch = launch = Launch.from_dict(message["launch"])
        self._home = paths.RunDirectory(message["directory"])
        namespaces = launch.namespaces
        self._made = made = sandbox.make(namespaces.asdict(), idmap(namespaces.user), stay=True)
        _check_owners(namespaces.owners)
        points.reach("shim.sandbox.made")
        self._rootfs = overlay.mount(overlay.Rootfs.from_dict(launch.rootfs), made.sandbox.user)
        points.reach("shim.rootfs.made")
        named = {"net": made.sandbox.net, "netlink": made.netlink, "rootfs": self._rootfs}
        return {name: fd for name, fd in named.items() if fd >= 0}

    def _create(self, message: dict[str, Any], fds: list[int]) -> NoReturn:
        assert self._made is not None
        launch, home = self._launch, self._home
        with open(f"{home.root}/{os.path.basename(message['spec'])}", "rb") as f:
            spec = oci_spec.parse(json.loads(f.read()))
        filter = filters.ensure(launch.seccomp_dir or home.root, spec.linux.seccomp) if spec.linux.seccomp else ""
        cgroup = _limited(launch, spec)
        bundle = contract.Bundle(
            id=launch.id, spec=spec, rootfs=self._rootfs, sandbox=self._made.sandbox, cgroup=cgroup,
            seccomp=filters.read(filter), idmap=idmap(launch.namespaces.user), terminal_size=launch.console_size,
            here=(*self._here, *self._made.here),
        )
        known = _record(launch, home)
        wire.send(self._sock, wire.ok(0, {"filter": filter, "cgroup": cgroup is not None, **known}, []))
        self._driver.become(bundle, contract.Stdio(*_stdio(message, fds)), channels.adopt(self._sock.detach()))

    def _exec(self, message: dict[str, Any], fds: list[int]) -> NoReturn:
        channel = channels.adopt(self._sock.detach())
        try:
            stdio = contract.Stdio(*_stdio(message, fds))
            init, *rest = fds[len(message["stdio"]):]
            spaces = tuple(zip(message["namespaces"], rest, strict=True))
            cgroup = cgroups.Cgroup(message["cgroup"]) if message["cgroup"] else None
            container = contract.Container(message["id"], contract.Process(0, init, 0), spaces, cgroup)
            wanted, filter = oci_spec.parse_process(message["process"], "process"), filters.read(message["filter"])
        except Exception as error:
            channel.send({"failed": faults.describe(error, "read the request")})
            os._exit(1)
        self._driver.join(container, wanted, stdio, tuple(message["size"]), filter, channel)


def _check_owners(owners: dict[str, int]) -> None:
    """The namespaces of other containers have been opened by their pids: who lives now, and started then, had that pid
    all the time. Raises Conflict when one of them has ended."""
    for pid, started in owners.items():
        try:
            fields = process.stat_fields(int(pid))
        except OSError:
            fields = []
        if not fields or fields[0] in (b"Z", b"X") or int(fields[19]) != started:
            raise errors.Conflict("cannot join the namespaces of a container that has ended")


def _record(launch: Launch, home: paths.RunDirectory) -> dict[str, int]:
    """Who this process is, which will be init, on disk and for the shim: every page that it would dirty by finding out
    itself is its own for good. Nothing where another one is going to be forked (runtime.plan)."""
    if launch.namespaces.user or launch.namespaces.pid.startswith("/"):
        return {}
    pid = int(os.readlink("/proc/self"))  # as the host numbers it
    started = process.start_time(pid)
    record.write_init(home, pid, started)
    return {"start_time": started}


def _limited(launch: Launch, spec: oci_spec.Spec) -> cgroups.Cgroup | None:
    """The container's group, whose v2 half the shim has made, with its limits; None where the host has none (limits
    that were asked for are refused)."""
    if not launch.cgroup:
        return None
    made = cgroups.Cgroup(launch.cgroup)
    if made.layout.mode == "none":
        if any((spec.linux.resources or {}).get(k) for k in ("memory", "cpu", "pids", "blockIO")):
            raise errors.Unsupported("limits were asked for and this host has no control groups")
        return None
    made.furnish()
    points.reach("shim.cgroup.made")
    if spec.linux.resources:
        made.apply(spec.linux.resources)
    return made


def _stdio(message: dict[str, Any], fds: list[int]) -> list[int]:
    """The descriptors of stdin, stdout, stderr: `stdio` says which of them were sent."""
    sent = dict(zip(message["stdio"], fds, strict=False))
    return [sent.get(n, -1) for n in (0, 1, 2)]


def idmap(user: dict[str, Any] | None) -> overlay.IdMap | None:
    """The map of a launch's "user", None without one. Raises KeyError, TypeError for what is none."""
    return overlay.IdMap.from_dict({"uids": user["uid_map"], "gids": user["gid_map"]}) if user else None
