"""The shim's side of its maker: clone it, ask it, listen to its birth; and reap whatever else it leaves."""

from __future__ import annotations

import _socket
import os
import sys

from wharfie.base import errors, points
from wharfie.kernel import process
from wharfie.runtime import birth, channel, parent

from . import maker, wire
from .loop import IN

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, NoReturn, Protocol

    from wharfie.kernel import cgroups

    from .loop import Loop
else:
    Protocol = object

# Reached in the maker, on the shim's behalf: where a test ends the maker there, the shim ends too.
_POINTS = ("shim.sandbox.made", "shim.rootfs.made", "shim.cgroup.made")

_SIGCHLD = 17
_SIGNALFD_SIGINFO = 128


class Maker(Protocol):
    """What Life needs of it."""

    def ask(self, op: str, fds: Sequence[int] = (), **fields: Any) -> tuple[dict[str, Any], dict[str, int]]:
        """See Making."""
        ...

    def turn(self) -> birth.Birth:
        """See Making."""
        ...

    def close(self) -> None:
        """See Making."""
        ...


class Making:
    """One maker. `ask` blocks: the kernel's answer is a few milliseconds away, and the shim has nobody to serve that
    would notice."""

    def __init__(self, flags: int = 0, here: tuple[str, ...] = (), cgroup: cgroups.Cgroup | None = None,
                 beside: int = -1) -> None:
        """flags: of the namespaces it is cloned into, and `here` their kinds; cgroup, beside: see runtime.parent.clone.
        Raises OSError, StepFailed."""
        mine, theirs = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
        try:
            self.pid, self._pidfd = parent.clone(flags, cgroup, beside)
        except BaseException:
            mine.close()
            theirs.close()
            raise
        if not self.pid:
            _become(theirs, here)
        theirs.close()
        self._sock = mine

    def ask(self, op: str, fds: Sequence[int] = (), **fields: Any) -> tuple[dict[str, Any], dict[str, int]]:
        """A request and its answer: the result and its descriptors by name, now the caller's. Raises Invalid when it is
        too large, what the maker's error means, Unavailable when it died."""
        self.tell(op, fds, **fields)
        try:
            got = wire.recv(self._sock)
        except OSError:
            got = None
        if got is None:
            for point in _POINTS:
                points.reach(point)
            raise errors.Unavailable(f"the maker died during {op}")
        message, out = got
        return wire.raise_for(message), wire.named(message, out)

    def tell(self, op: str, fds: Sequence[int] = (), **fields: Any) -> None:
        """A request whose answer is a birth. Raises Invalid when it is too large."""
        try:
            wire.send(self._sock, {"op": op, **fields}, fds)
        except OSError:
            pass  # the maker is dead, and whoever listens will hear of it

    def turn(self) -> birth.Birth:
        """What the maker is on its way to be. It takes pidfd and channel over: there is no maker any more."""
        made = birth.Birth(self.pid, self._pidfd, channel.adopt(self._sock.detach()))
        self._pidfd = -1
        return made

    def close(self) -> None:
        """It ends; blocks until it has. Idempotent."""
        if self._pidfd < 0:
            return
        self._sock.close()
        birth.kill_and_reap(self._pidfd)
        os.close(self._pidfd)
        self._pidfd = -1


def _become(end: _socket.socket, here: tuple[str, ...]) -> NoReturn:
    try:
        maker.run(end.detach(), here)
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        os._exit(1)


class Family:
    """The children of this process. `known` are the pids of those that somebody watches by pidfd; `makers` is the
    number of makers at work, whose processes are not known yet."""

    def __init__(self) -> None:
        self.known: set[int] = set()
        self.makers = 0
        self._deaths = -1

    def watch(self, loop: Loop) -> None:
        """From now on sweep whenever a child ends. A container's init cannot end while a process that joined its pid
        namespace is a zombie of ours, so none may be left lying. Raises OSError."""
        self._deaths = process.signal_fd(_SIGCHLD)
        loop.watch(self._deaths, IN, self._died)

    def _died(self, _events: int) -> None:
        try:
            os.read(self._deaths, _SIGNALFD_SIGINFO)
        except BlockingIOError:
            return
        self.sweep()

    def sweep(self) -> None:
        """Reap the others: middle processes of a join, orphans of a shared pid namespace. Not while a maker is at work:
        what it makes may have ended before it is known."""
        if self.makers:
            return
        try:
            while (seen := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)) is not None:
                if seen.si_pid in self.known:
                    return  # its own pidfd will say so; what is behind it waits for the next sweep
                os.waitpid(seen.si_pid, 0)
        except ChildProcessError:
            pass
