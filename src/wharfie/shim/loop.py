"""The shim's one loop: epoll, callbacks by descriptor, a few timers. Everything the shim waits for is here, so nothing
it does may block for long.

A descriptor whose interest is 0 is taken out of epoll altogether: the kernel reports HUP and ERR even unasked, and a
stream paused for back-pressure would spin.
"""

from __future__ import annotations

import select
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    Callback = Callable[[int], None]

IN, OUT, HUP, ERR = select.EPOLLIN, select.EPOLLOUT, select.EPOLLHUP, select.EPOLLERR


class Timer:
    """A call to come; cancel() makes it never happen."""

    def __init__(self, at: float, callback: Callable[[], None]) -> None:
        self.at = at
        self.callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        self.callback = None


class Loop:
    """watch → change → forget. Callbacks get the event mask; they must tolerate being called for nothing."""

    def __init__(self) -> None:
        self._poll: select.epoll | None = None
        self._callbacks: dict[int, Callback] = {}
        self._interest: dict[int, int] = {}
        self._timers: list[Timer] = []
        self._running = False

    def open(self) -> None:
        """Before anything else; not in __init__, since a loop is made in the zygote and used in its child."""
        self._poll = select.epoll()

    def watch(self, fd: int, interest: int, callback: Callback) -> None:
        """Call `callback` for the events in `interest` on a non-blocking descriptor."""
        self._callbacks[fd] = callback
        self._interest[fd] = 0
        self.change(fd, interest)

    def change(self, fd: int, interest: int) -> None:
        """Another interest; 0 pauses. Unknown descriptors are ignored."""
        former = self._interest.get(fd)
        if former is None or former == interest:
            return
        self._interest[fd] = interest
        assert self._poll is not None
        if not former:
            self._poll.register(fd, interest)
        elif interest:
            self._poll.modify(fd, interest)
        else:
            self._poll.unregister(fd)

    def forget(self, fd: int) -> None:
        """No more calls; to be called before the descriptor is closed. Idempotent."""
        if self._interest.pop(fd, 0) and self._poll is not None:
            self._poll.unregister(fd)
        self._callbacks.pop(fd, None)

    def after(self, seconds: float, callback: Callable[[], None]) -> Timer:
        """Call once, later."""
        timer = Timer(time.monotonic() + seconds, callback)
        self._timers.append(timer)
        return timer

    def run(self) -> None:
        """Until stop()."""
        assert self._poll is not None
        self._running = True
        while self._running:
            for fd, events in self._poll.poll(self._wait()):
                callback = self._callbacks.get(fd)
                if callback is not None:
                    callback(events)
            if self._timers:
                self._ring()

    def stop(self) -> None:
        self._running = False

    def close(self) -> None:
        """Idempotent."""
        if self._poll is not None:
            self._poll.close()
            self._poll = None

    def _wait(self) -> float | None:
        self._timers = [t for t in self._timers if t.callback is not None]
        if not self._timers:
            return None
        return max(0.0, min(t.at for t in self._timers) - time.monotonic()) + 0.001

    def _ring(self) -> None:
        now = time.monotonic()
        for timer in [t for t in self._timers if t.at <= now]:
            callback, timer.callback = timer.callback, None
            if callback is not None:
                callback()
