"""The published ports of the container: the shim keeps the listening sockets, a gate serves them.

The gate parses nothing of ours and owns nothing: no capability, no uid of the host's. When it dies, another is forked
on the same listeners; connections that wait in their backlog don't notice.
"""

from __future__ import annotations

import os
import sys

from wharfie.base import errors
from wharfie.gate import main as gate
from wharfie.kernel import namespaces, process

from .loop import IN

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

    from .loop import Loop, Timer
    from .making import Family

_PAUSE_SECONDS = 0.05
_MAX_PAUSE_SECONDS = 5.0


class Ports:
    """Owns the listeners and the gate."""

    def __init__(self, loop: Loop, family: Family) -> None:
        self._loop = loop
        self._family = family
        self._rules: list[gate.Rule] = []
        self._fds: list[int] = []
        self._pidfd = -1
        self._pause = _PAUSE_SECONDS
        self._timer: Timer | None = None
        self.pid = 0

    def open(self, listeners: list[dict[str, Any]], fds: list[int]) -> None:
        """Serve `listeners` ({proto, container_ip, container_port, ...}), whose sockets are taken from `fds` in the
        same order. Raises Invalid, OSError."""
        if len(listeners) > len(fds):
            raise errors.Invalid("a listener lacks its socket")
        if not listeners:
            return
        self._rules = [gate.Rule(str(x["proto"]), str(x["container_ip"]), int(x["container_port"])) for x in listeners]
        self._fds = [fds.pop(0) for _ in listeners]
        self._fork()

    def close(self) -> None:
        """No more ports. Idempotent."""
        self._rules = []
        if self._timer is not None:
            self._timer.cancel()
        for fd in self._fds:
            os.close(fd)
        self._fds.clear()
        if self._pidfd >= 0:
            process.kill_pidfd(self._pidfd)
            self._loop.forget(self._pidfd)
            process.waitid_pidfd(self._pidfd, block=True)
            os.close(self._pidfd)
            self._family.known.discard(self.pid)
            self._pidfd, self.pid = -1, 0

    def _fork(self) -> None:
        self._timer = None
        mine = os.getpid()
        pid, pidfd = namespaces.clone3(0)
        if not pid:
            _become(self._rules, self._fds, mine)
        self.pid, self._pidfd = pid, pidfd
        self._family.known.add(pid)
        self._loop.watch(pidfd, IN, self._ended)

    def _ended(self, _events: int) -> None:
        if process.waitid_pidfd(self._pidfd) is None:
            return
        self._loop.forget(self._pidfd)
        os.close(self._pidfd)
        self._family.known.discard(self.pid)
        self._family.sweep()  # it may have stood before others
        self._pidfd, self.pid = -1, 0
        if self._rules:
            self._timer = self._loop.after(self._pause, self._again)
            self._pause = min(self._pause * 2, _MAX_PAUSE_SECONDS)

    def _again(self) -> None:
        try:
            self._fork()
        except OSError:
            self._timer = self._loop.after(self._pause, self._again)


def _become(rules: list[gate.Rule], fds: list[int], parent: int) -> NoReturn:
    try:
        gate.run(rules, fds, parent)
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        os._exit(1)
