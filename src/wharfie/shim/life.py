"""The life of the one container of this shim, as a table of states:

    born ──prepare──▶ prepared ──create──▶ created ──start──▶ running ──(init ends)──▶ exited ──▶ the shim leaves
                          │                   │                                          ▲
                          └───── fails ───────┴──────────────── fails ───────────────────┘

prepare makes what the process will live in (cgroup, namespaces, root file system, streams); create the process, up to
the point before its program, while the engine connects the network; start lets it go. The exit
record is written before anybody is told, and after the output has been read to its end.
"""

from __future__ import annotations

import os
import sys

from wharfie.base import errors, paths, points, when
from wharfie.drivers import contract, native
from wharfie.kernel import cgroups, namespaces, process
from wharfie.logs import writer
from wharfie.runtime import birth

from . import record, replay, wire
from .loop import IN
from .making import Making
from .streams import Streams
from .wire import BORN, CREATED, EXITED, PREPARED, RUNNING, Exit, Launch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from .loop import Loop, Timer
    from .making import Family, Maker

# How long the output is waited for after the process has ended, when somebody else still holds its pipe (Docker's too).
DRAIN_SECONDS = 2.0


class Life:
    """Owns the container. `on_exit` is called once, when the record is on disk."""

    def __init__(self, loop: Loop, family: Family,
                 on_exit: Callable[[Exit], None], make: Callable[..., Maker] = Making) -> None:
        self._loop = loop
        self._make = make
        self.directory = paths.RunDirectory("")
        self._family = family
        self._on_exit = on_exit
        self._driver: contract.Driver = native.Native()
        self._making: Maker | None = None
        self._birth: birth.Birth | None = None
        self._log: writer.Writer | None = None
        self._deadline: Timer | None = None
        self.state = BORN
        self.launch: Launch | None = None
        self.rootfs = -1
        self.streams: Streams | None = None
        self.container: contract.Container | None = None
        self.filter = ""
        self.paused = False
        self.exit: Exit | None = None

    # ---- prepare ----

    def prepare(self, wanted: dict[str, Any]) -> tuple[dict[str, Any], list[str], list[int]]:
        """Make sandbox, rootfs and streams for a Launch, as it came. Raises WharfieError, OSError; what was made is
        closed with the shim. The answer's descriptors but "rootfs" are the caller's to close."""
        self._need(BORN, "prepare")
        launch = Launch.from_dict(wanted)
        if launch.driver != "native":
            raise errors.Unsupported(f"unknown runtime: {launch.driver}", name=launch.driver)
        self.launch = launch
        group = self._group(launch)
        fresh = launch.namespaces.pid == "new" and not launch.namespaces.user
        self._making = self._make(namespaces.CLONE_NEWPID if fresh else 0, ("pid",) if fresh else (), group)
        self._family.makers += 1
        points.reach("shim.init.cloned")
        _, made = self._making.ask(wire.PREPARE, launch=wanted, directory=self.directory.root)
        self.rootfs = made["rootfs"]
        self._log = writer.open_writer(launch.log.driver, launch.log.path, launch.log.config)
        self.streams = Streams(self._loop, tty=launch.tty, stdin=launch.open_stdin, log=self._log,
                               spool_dir=os.path.dirname(launch.log.path) if self._log else "")
        self.state = PREPARED
        return {}, list(made), list(made.values())

    def _group(self, launch: Launch) -> cgroups.Cgroup | None:
        """The container's group, which init is born in; the maker does the rest. None where the host has none."""
        group = cgroups.Cgroup(launch.cgroup) if launch.cgroup else None
        if group is None or group.layout.mode == "none":
            return None
        group.cradle()
        return group

    # ---- create ----

    def create(self, spec_name: str) -> None:
        """Make the process up to the point before its program. Raises NoCommand, NotExecutable, Invalid, StepFailed;
        then the container has exited for good."""
        self._need(PREPARED, "create")
        points.reach("shim.create.asked")
        try:
            self._create(spec_name)
        except (errors.WharfieError, OSError) as error:
            self._give_up(error)
            raise

    def _create(self, spec_name: str) -> None:
        assert self.launch is not None
        assert self.streams is not None
        assert self._making is not None
        stdio = self.streams.stdio
        result, _ = self._making.ask(
            wire.CREATE, [fd for fd in stdio if fd >= 0], stdio=[n for n, fd in enumerate(stdio) if fd >= 0],
            spec=spec_name,
        )
        self._birth = begun = self._making.turn()
        begun.until("ready")
        init = self._known(begun, result)
        cgroup = cgroups.Cgroup(self.launch.cgroup) if result["cgroup"] else None
        self.container = contract.Container(self.launch.id, init, tuple(begun.namespaces), cgroup)
        self.filter = result["filter"]
        self.state = CREATED
        points.reach("shim.init.ready")

    def _known(self, begun: birth.Birth, result: dict[str, Any]) -> contract.Process:
        """init, with its record on disk: the maker's own work, unless it has forked another process."""
        if "start_time" in result:
            return contract.Process(begun.pid, begun.pidfd, result["start_time"], begun.console)
        init = begun.process()
        record.write_init(self.directory, init.pid, init.start_time)
        return init

    # ---- start ----

    def start(self, open_ports: Callable[[], None]) -> dict[str, Any]:
        """Open the ports and let the process go. Raises what `create` raises, in the same way."""
        self._need(CREATED, "start")
        points.reach("shim.start.asked")
        try:
            return self._start(open_ports)
        except (errors.WharfieError, OSError) as error:
            self._give_up(error)
            raise

    def _start(self, open_ports: Callable[[], None]) -> dict[str, Any]:
        assert self._birth is not None
        assert self.container is not None
        assert self.streams is not None
        open_ports()
        self._birth.visible()
        self._birth.hurry()
        self._birth.go()
        self._birth.until(birth.END)
        at = when.now()
        init = self.container.process
        self._birth.channel.close()
        self._birth = None
        self.streams.started(init.console)
        self.state = RUNNING
        self._family.known.add(init.pid)
        self._end_making()
        self._loop.watch(init.pidfd, IN, self._ended)
        self._loop.after(0, lambda: points.reach("shim.start.answered"))
        return {"pid": init.pid, "start_time": init.start_time, "started_at": at}

    def _end_making(self) -> None:
        """Whatever is still on its way ends."""
        if self._birth is not None:
            self._birth.give_up()
            self._birth = self.container = None
        if self._making is not None:
            self._making.close()
            self._making = None
            self._family.makers -= 1
        self._family.sweep()

    def _give_up(self, error: BaseException) -> None:
        """A start that failed: nothing half-made remains."""
        kind = getattr(error, "kind", "")
        self._end_making()
        code = {"no-command": 127, "not-executable": 126}.get(kind, 128)
        self._settle(Exit(code, None, False, str(error), when.now(), began=False))

    # ---- exit ----

    def _ended(self, _events: int) -> None:
        assert self.container is not None
        assert self.streams is not None
        init, cgroup = self.container.process, self.container.cgroup
        status = process.waitid_pidfd(init.pidfd)
        if status is None:
            return
        points.reach("shim.exit.reaped")
        self._loop.forget(init.pidfd)
        self._family.known.discard(init.pid)
        kind, number = status
        oom = cgroup is not None and cgroup.oom_count() > 0
        self.exit = Exit(number if kind == "exited" else 128 + number, number if kind == "killed" else None, oom, "",
                         when.now())
        if cgroup is not None and cgroup.populated():
            self._driver.kill(self.container)  # no pid namespace of its own: whoever is left goes too
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
        try:
            record.write_exit(self.directory, exit)
        except OSError as error:  # no space: who listens hears the true code all the same
            print(f"the exit record of {self.directory.root} could not be written: {error}", file=sys.stderr)
        points.reach("shim.exit.recorded")
        self._on_exit(exit)
        if self.streams is not None:
            self.streams.close()
        if self._log is not None:
            self._log.close()
        self._clean()

    def _clean(self) -> None:
        self._end_making()
        if self.container is not None:
            os.close(self.container.process.pidfd)
            self._driver.delete(self.container)
            self.container = None
        if self.rootfs >= 0:
            os.close(self.rootfs)
            self.rootfs = -1
        self._remove_cgroup()

    def _remove_cgroup(self) -> None:
        if self.launch is None or not self.launch.cgroup:
            return
        try:
            group = cgroups.Cgroup(self.launch.cgroup)
            if group.populated():
                group.kill()
            self._family.sweep()
            group.delete()
        except OSError:
            pass  # found again by name at the engine's start

    # ---- while it lives ----

    def running(self) -> contract.Container:
        """The container, while its init is alive. Raises Conflict in Docker's words."""
        if self.state != RUNNING or self.container is None or self.exit is not None:
            name = self.launch.id if self.launch else ""
            raise errors.Conflict(f"container {name} is not running", name=name)
        return self.container

    def limits(self) -> cgroups.Cgroup:
        """Its control group. Raises Conflict, or Unsupported where there is none."""
        cgroup = self.running().cgroup
        if cgroup is None:
            raise errors.Unsupported("this host has no control groups")
        return cgroup

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
        self._end_making()
        self._settle(Exit(record.UNKNOWN_CODE, None, False, "the engine left before the container was started",
                          when.now(), began=False))

    def strike(self) -> None:
        """After a rehearsal: close everything, record nothing."""
        if self.container is not None:
            self._loop.forget(self.container.process.pidfd)
        if self.streams is not None:
            self.streams.close()
        if self._log is not None:
            self._log.close()
        self._clean()
        self.launch = None

    def _need(self, state: str, verb: str) -> None:
        if self.state != state:
            raise errors.Conflict(f"{verb} needs a shim that is {state}; this one is {self.state}")

