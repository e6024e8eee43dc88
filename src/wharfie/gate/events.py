"""The gate's loop: epoll, callbacks by descriptor, and a tick for what grows old."""

from __future__ import annotations

import select
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    Callback = Callable[[int], None]

IN, OUT, HUP, ERR = select.EPOLLIN, select.EPOLLOUT, select.EPOLLHUP, select.EPOLLERR


class Events:
    """set(fd, interest, callback); interest 0 takes the descriptor out."""

    def __init__(self) -> None:
        self._poll = select.epoll()
        self._table: dict[int, tuple[int, Callback]] = {}
        self._later: list[tuple[float, Callable[[], None]]] = []

    def set(self, fd: int, interest: int, callback: Callback) -> None:
        """Interest and callback of a descriptor from now on."""
        former = self._table.get(fd)
        if not interest:
            self.drop(fd)
        elif former is None:
            self._poll.register(fd, interest)
        elif former[0] != interest:
            self._poll.modify(fd, interest)
        if interest:
            self._table[fd] = (interest, callback)

    def drop(self, fd: int) -> None:
        """Before closing it. Idempotent."""
        if self._table.pop(fd, None) is not None:
            self._poll.unregister(fd)

    def after(self, seconds: float, callback: Callable[[], None]) -> None:
        """Call once, later."""
        self._later.append((time.monotonic() + seconds, callback))

    def turn(self) -> None:
        """Wait for something and serve it."""
        wait = None
        if self._later:
            wait = max(0.0, min(at for at, _ in self._later) - time.monotonic()) + 0.001
        for fd, events in self._poll.poll(wait):
            entry = self._table.get(fd)
            if entry is not None:
                entry[1](events)
        if self._later:
            now = time.monotonic()
            due = [c for at, c in self._later if at <= now]
            self._later = [(at, c) for at, c in self._later if at > now]
            for callback in due:
                callback()
