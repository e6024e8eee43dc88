"""The parent's side of a birth: it reads what a process on its way to be the container's reports (see channel), and
ends it when that goes wrong. The other side is init or join, in the process itself."""

from __future__ import annotations

import os
import select
import time

from wharfie.base import errors
from wharfie.kernel import process

from . import faults
from .bundle import Process
from .channel import Channel

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# How long a process may take to become the program once others of its pid namespace see it: they can stop it.
PATIENCE_SECONDS = 20.0
_DEATH_SECONDS = 5.0
_KINDS = ("failed", "opened", "pid", "ready", "exec")
END = "end"


class Birth:
    """A process on its way: what its reports have brought so far. `namespaces` are those it lives in, (kind, fd);
    `console` the master of its terminal, or -1. All descriptors are the caller's once it is born; until then
    `give_up` closes them.

    Descriptors and pid are taken once, and none after `visible`: the container may hold the process in its hands then
    (ptrace), and what it reports is the container's word."""

    def __init__(self, pid: int, pidfd: int, channel: Channel) -> None:
        self.pid, self.pidfd, self.channel = pid, pidfd, channel
        self.namespaces: list[tuple[str, int]] = []
        self.console = -1
        self._executing = False
        self._middle = -1
        self._expected = {"opened", "pid"}
        self._deadline: float | None = None

    def hurry(self) -> None:
        """Let no report be later than PATIENCE_SECONDS from now."""
        self._deadline = time.monotonic() + PATIENCE_SECONDS

    def visible(self) -> None:
        """No more descriptors are expected."""
        self._expected.clear()

    def until(self, wanted: str) -> None:
        """Read reports until `wanted` comes (END: the program runs). Raises as `step` does."""
        while self.step() != wanted:
            pass

    def step(self) -> str:
        """Read the next report; blocks unless the channel is readable. Out: its kind, END once the program runs.
        Raises what the process reports, or that it has ended without a word; Unavailable, OSError, and StepFailed for
        whatever means nothing: it may be the container that speaks."""
        if self._deadline is not None:
            self._await(self._deadline)
        try:
            return self._step()
        except (errors.WharfieError, OSError):
            raise
        except Exception as error:
            raise faults.StepFailed("start the process", 0, detail=f"its report means nothing ({error})") from error

    def _step(self) -> str:
        try:
            got = self.channel.receive()
        except OSError:
            got = None
        if got is not None:
            return self._take(*got)
        if not self._executing:
            raise faults.StepFailed("start the process", 0, detail="it ended without a word (killed?)")
        self._reap_middle()
        return END

    def go(self) -> None:
        """Let it execute its program."""
        try:
            self.channel.send({"go": 1})
        except OSError:
            pass  # it has failed meanwhile, and said so

    def _await(self, deadline: float) -> None:
        poll = select.poll()
        poll.register(self.channel.fileno(), select.POLLIN)
        left = deadline - time.monotonic()
        if left < 0 or not poll.poll(left * 1000):
            raise errors.Unavailable(f"the process did not begin within {PATIENCE_SECONDS:.0f} s: is it stopped?")

    def _take(self, message: dict[str, Any], fds: list[int]) -> str:
        kind = next((k for k in _KINDS if k in message), "")
        if fds or kind in ("opened", "pid"):
            if kind not in self._expected:
                for fd in fds:
                    os.close(fd)
                raise faults.StepFailed("start the process", 0, detail="it spoke out of turn")
            self._expected.discard(kind)
        if kind == "failed":
            raise faults.revive(message["failed"])
        if kind == "opened":
            if message["console"]:
                self.console = fds.pop()
            self.namespaces += zip(message["opened"], fds, strict=True)
        elif kind == "pid":
            self._replace(int(message["pid"]), fds)
        elif kind == "ready":
            self._reap_middle()
        elif kind == "exec":
            self._executing = True
        return kind

    def _replace(self, pid: int, fds: list[int]) -> None:
        """The middle process has forked the real one and leaves; it is ours to reap, and its child is ours now."""
        if "opened" not in self._expected:
            self.hurry()  # it has forked at the very end, into a pid namespace that others live in
        self._middle = self.pidfd
        self.pid, self.pidfd = pid, fds[0]

    def _reap_middle(self) -> None:
        if self._middle >= 0:
            reap(self._middle)
            os.close(self._middle)
            self._middle = -1

    def give_up(self) -> None:
        """Kill, reap, close all."""
        self.channel.close()
        kill_and_reap(self.pidfd)
        self._reap_middle()
        for fd in (self.pidfd, self.console, *(fd for _, fd in self.namespaces)):
            if fd >= 0:
                os.close(fd)

    def process(self) -> Process:
        """The process, while it waits: afterwards it may be reaped, and its start time lost."""
        try:
            started = process.start_time(self.pid)
        except OSError:
            started = 0  # ended already; its report is still to be read
        return Process(self.pid, self.pidfd, started, self.console)


def kill_and_reap(pidfd: int) -> None:
    """End a child for good."""
    process.kill_pidfd(pidfd)
    reap(pidfd)


def reap(pidfd: int) -> None:
    """Wait for the end of a child, which may have been reaped already, or be stuck in the kernel, or frozen: then it is
    left to whoever reaps strays."""
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    poll.poll(_DEATH_SECONDS * 1000)
    try:
        process.waitid_pidfd(pidfd)
    except ChildProcessError:
        pass
