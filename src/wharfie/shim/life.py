"""The life of the one container of this shim, as a table of states:

    born ──prepare──▶ prepared ──start──▶ running ──(init ends)──▶ exited ──▶ the shim leaves
                          │                                          ▲
                          └────────────── start fails ───────────────┘

prepare makes what the process will live in (namespaces, root file system, streams); start makes the process. The exit
record is written before anybody is told, and after the output has been read to its end.
"""

from __future__ import annotations

import json
import os

from wharfie.base import errors, points, when
from wharfie.drivers import contract, native
from wharfie.kernel import cgroups, overlay, process
from wharfie.logs import writer
from wharfie.oci import spec as oci_spec
from wharfie.runtime import sandbox

from . import filters, record, replay
from .loop import IN
from .streams import Streams
from .wire import BORN, EXITED, PREPARED, RUNNING, Exit, Launch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from wharfie.base import paths

    from .loop import Loop, Timer

# How long the output is waited for after the process has ended, when somebody else still holds its pipe (Docker's too).
DRAIN_SECONDS = 2.0


class Life:
    """Owns the container. `on_exit` is called once, when the record is on disk."""

    def __init__(self, loop: Loop, directory: paths.RunDirectory, on_exit: Callable[[Exit], None]) -> None:
        self._loop = loop
        self._directory = directory
        self._on_exit = on_exit
        self._made: sandbox.Made | None = None
        self._log: writer.Writer | None = None
        self._deadline: Timer | None = None
        self._baseline_oom = 0
        self.state = BORN
        self.launch: Launch | None = None
        self.rootfs = -1
        self.streams: Streams | None = None
        self.driver: contract.Driver = native.Native()
        self.container: contract.Container | None = None
        self.cgroup: cgroups.Cgroup | None = None
        self.seccomp: bytes | None = None
        self.exit: Exit | None = None

    # ---- prepare ----

    def prepare(self, launch: Launch) -> tuple[dict[str, Any], list[str], list[int]]:
        """Make sandbox, rootfs and streams. Raises WharfieError, OSError; what was made is closed with the shim."""
        self._need(BORN, "prepare")
        if launch.driver != "native":
            raise errors.Unsupported(f"unknown runtime: {launch.driver}", name=launch.driver)
        self.launch = launch
        self._made = sandbox.make(launch.namespaces.asdict(), _idmap(launch))
        points.reach("shim.sandbox.made")
        self.rootfs = overlay.mount(overlay.Rootfs.from_dict(launch.rootfs), self._made.sandbox.user)
        points.reach("shim.rootfs.made")
        self._log = writer.open_writer(launch.log.driver, launch.log.path, launch.log.config)
        self.streams = Streams(self._loop, tty=launch.tty, stdin=launch.open_stdin, log=self._log,
                               spool_dir=os.path.dirname(launch.log.path) if self._log else "")
        self.state = PREPARED
        named = {"net": self._made.sandbox.net, "netlink": self._made.netlink, "rootfs": self.rootfs}
        named = {k: v for k, v in named.items() if v >= 0}
        return {}, list(named), list(named.values())

    # ---- start ----

    def start(self, spec_name: str, open_ports: Callable[[], None]) -> dict[str, Any]:
        """Make the process, open the ports, let it go. Raises NoCommand, NotExecutable, Invalid, StepFailed; then the
        container has exited for good."""
        self._need(PREPARED, "start")
        points.reach("shim.start.asked")
        try:
            return self._start(spec_name, open_ports)
        except (errors.WharfieError, OSError) as error:
            self._give_up(error)
            raise

    def _start(self, spec_name: str, open_ports: Callable[[], None]) -> dict[str, Any]:
        launch, streams, sandboxed = self._parts()
        with open(f"{self._directory.root}/{os.path.basename(spec_name)}", "rb") as f:
            spec = oci_spec.parse(json.loads(f.read()))
        if spec.linux.seccomp:
            self.seccomp = filters.program(launch.seccomp_dir, spec.linux.seccomp)
            spec = spec.replace(linux=spec.linux.replace(seccomp=None))
        self.cgroup = self._make_cgroup(spec)
        points.reach("shim.cgroup.made")
        created = self.driver.create(contract.Bundle(
            id=launch.id, spec=spec, rootfs=self.rootfs, sandbox=sandboxed, cgroup=self.cgroup,
            seccomp=self.seccomp, idmap=_idmap(launch), terminal_size=launch.console_size,
        ), streams.stdio)
        self.container = created.container
        init = created.process
        streams.started(init.console)
        record.write_init(self._directory, init.pid, init.start_time)
        open_ports()
        self.driver.start(created)
        at = when.now()
        self.state = RUNNING
        self._drop_sandbox()
        self._loop.watch(init.pidfd, IN, self._ended)
        self._loop.after(0, lambda: points.reach("shim.start.answered"))
        return {"pid": init.pid, "start_time": init.start_time, "started_at": at}

    def _parts(self) -> tuple[Launch, Streams, contract.Sandbox]:
        """What prepare made."""
        assert self.launch is not None
        assert self.streams is not None
        assert self._made is not None
        return self.launch, self.streams, self._made.sandbox

    def _make_cgroup(self, spec: oci_spec.Spec) -> cgroups.Cgroup | None:
        assert self.launch is not None
        if not self.launch.cgroup:
            return None
        made = cgroups.Cgroup(self.launch.cgroup)
        if made.layout.mode == "none":
            return None
        self.cgroup = made
        made.create()
        if spec.linux.resources:
            made.apply(spec.linux.resources)
        self._baseline_oom = made.oom_count()
        return made

    def _give_up(self, error: BaseException) -> None:
        """A start that failed: nothing half-made remains."""
        kind = getattr(error, "kind", "")
        code = {"no-command": 127, "not-executable": 126}.get(kind, 128)
        self._settle(Exit(code, None, False, str(error), when.now()))

    # ---- exit ----

    def _ended(self, _events: int) -> None:
        assert self.container is not None
        assert self.streams is not None
        init = self.container.process
        status = process.waitid_pidfd(init.pidfd)
        if status is None:
            return
        points.reach("shim.exit.reaped")
        self._loop.forget(init.pidfd)
        kind, number = status
        oom = self.cgroup is not None and self.cgroup.oom_count() > self._baseline_oom
        self.exit = Exit(number if kind == "exited" else 128 + number, number if kind == "killed" else None, oom, "",
                         when.now())
        if self.cgroup is not None and self.cgroup.populated():
            self.driver.kill(self.container)  # no pid namespace of its own: whoever is left goes too
        self.streams.outlet.pump()
        if self.streams.outlet.ended:
            self._settle(self.exit)
        else:
            self.streams.outlet.on_end = self._drained
            self._deadline = self._loop.after(DRAIN_SECONDS, self._drained)

    def _drained(self) -> None:
        if self.state == EXITED or self.exit is None or self.streams is None:
            return
        self.streams.outlet.on_end = None
        self._settle(self.exit)

    def _settle(self, exit: Exit) -> None:
        """Record, tell, clean: in this order."""
        if self._deadline is not None:
            self._deadline.cancel()
        self.exit = exit
        self.state = EXITED
        record.write_exit(self._directory, exit)
        points.reach("shim.exit.recorded")
        self._on_exit(exit)
        if self.streams is not None:
            self.streams.close()
        if self._log is not None:
            self._log.close()
        self._clean()

    def _clean(self) -> None:
        if self.container is not None:
            os.close(self.container.process.pidfd)
            self.driver.delete(self.container)
            self.container = None
        self._drop_sandbox()
        if self.rootfs >= 0:
            os.close(self.rootfs)
            self.rootfs = -1
        if self.cgroup is not None:
            try:
                self.cgroup.delete()
            except OSError:
                pass  # found again by name at the engine's start
            self.cgroup = None

    def _drop_sandbox(self) -> None:
        if self._made is None:
            return
        made, self._made = self._made, None
        sandbox.close(made.sandbox)
        if made.netlink >= 0:
            os.close(made.netlink)

    # ---- while it lives ----

    def running(self) -> contract.Container:
        """The container, while its init is alive. Raises Conflict in Docker's words."""
        if self.state != RUNNING or self.container is None or self.exit is not None:
            name = self.launch.id if self.launch else ""
            raise errors.Conflict(f"container {name} is not running", name=name)
        return self.container

    def limits(self) -> cgroups.Cgroup:
        """Its control group. Raises Conflict, or Unsupported where there is none."""
        self.running()
        if self.cgroup is None:
            raise errors.Unsupported("this host has no control groups")
        return self.cgroup

    def root(self) -> int:
        """The rootfs fd. Raises Conflict when there is none (any more)."""
        if self.rootfs < 0:
            raise errors.Conflict("the root file system is not mounted")
        return self.rootfs

    def attach(self, fd: int, request: dict[str, Any], on_detach: Callable[[], None]) -> None:
        """A client, from `prepared` on; the socket becomes the shim's."""
        if self.streams is None or self.launch is None:
            raise errors.Conflict("container is not prepared")
        log = self._log
        source = None if log is None else lambda outputs, mux: replay.pieces(log, outputs, mux=mux)
        self.streams.attach(fd, request, ends_stdin=self.launch.stdin_once, replay=source, on_detach=on_detach)

    def dead(self) -> bool:
        """Whether nothing is left to do for the container: all attachers have been served."""
        return self.state == EXITED and (self.streams is None or not self.streams.outlet.attachers)

    def abandon(self) -> None:
        """The engine has left before start: take everything down."""
        self._settle(Exit(record.UNKNOWN_CODE, None, False, "the engine left before the container was started",
                          when.now()))

    def _need(self, state: str, verb: str) -> None:
        if self.state != state:
            raise errors.Conflict(f"{verb} needs a shim that is {state}; this one is {self.state}")


def _idmap(launch: Launch) -> overlay.IdMap | None:
    user = launch.namespaces.user
    if not user:
        return None
    return overlay.IdMap.from_dict({"uids": user["uid_map"], "gids": user["gid_map"]})
