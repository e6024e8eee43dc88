"""The shim's side of its maker: fork it, ask it, reap it and whatever else it leaves."""

from __future__ import annotations

import _socket
import os
import sys

from wharfie.base import errors, points
from wharfie.kernel import namespaces, process

from . import maker, wire
from .loop import IN

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, NoReturn, Protocol

    from .loop import Loop
else:
    Protocol = object

# Reached in the maker, on the shim's behalf: where a test ends the maker there, the shim ends too.
_POINTS = ("shim.sandbox.made", "shim.rootfs.made", "shim.cgroup.made", "shim.init.cloned", "shim.init.ready")


_SIGCHLD = 17
_SIGNALFD_SIGINFO = 128


class Maker(Protocol):
    """What Life needs of it."""

    def ask(self, op: str, fds: Sequence[int] = (), **fields: Any) -> tuple[dict[str, Any], dict[str, int]]:
        """See Making."""
        ...

    def close(self) -> None:
        """See Making."""
        ...


class Making:
    """One maker. `ask` blocks: the kernel's answer is a few milliseconds away, and the shim has nobody to serve that
    would notice."""

    def __init__(self) -> None:
        """Raises OSError."""
        mine, theirs = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
        parent = os.getpid()
        try:
            pid, self._pidfd = namespaces.clone3(0)
        except OSError:
            mine.close()
            theirs.close()
            raise
        if not pid:
            _become(theirs, parent)
        theirs.close()
        self._sock = mine

    def ask(self, op: str, fds: Sequence[int] = (), **fields: Any) -> tuple[dict[str, Any], dict[str, int]]:
        """`tell` and `answer` in one, blocking."""
        self.tell(op, fds, **fields)
        return self.answer(op)

    def tell(self, op: str, fds: Sequence[int] = (), **fields: Any) -> None:
        """A request; `fileno` becomes readable when `answer` will not block. Raises Invalid when it is too large."""
        try:
            wire.send(self._sock, {"op": op, **fields}, fds)
        except OSError:
            pass  # the maker is dead, and `answer` says so

    def fileno(self) -> int:
        """What to watch for the answer."""
        return self._sock.fileno()

    def answer(self, op: str) -> tuple[dict[str, Any], dict[str, int]]:
        """The result and its descriptors by name, now the caller's. Raises what the maker's error means; Unavailable
        when it died."""
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

    def close(self) -> None:
        """It ends; blocks until it has. Idempotent."""
        if self._pidfd < 0:
            return
        self._sock.close()
        process.kill_pidfd(self._pidfd)
        process.waitid_pidfd(self._pidfd, block=True)
        os.close(self._pidfd)
        self._pidfd = -1


def _become(channel: _socket.socket, parent: int) -> NoReturn:
    try:
        maker.run(channel.detach(), parent)
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
