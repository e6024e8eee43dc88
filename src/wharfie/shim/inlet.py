"""What goes to a process's stdin: a queue before a pipe or a pty's master.

While the queue holds anything, whoever feeds is asked to pause: a process that does not read its input stops its
clients, and nobody else.
"""

from __future__ import annotations

import os

from .loop import OUT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from .loop import Loop


class Inlet:
    """One per process. `fd` is a non-blocking pipe end, or -1 until the pty exists."""

    def __init__(self, loop: Loop, fd: int = -1) -> None:
        self._loop = loop
        self._fd = fd
        self._queue = bytearray()
        self._waiting: list[Callable[[], None]] = []
        self._ending = False
        self.closed = False
        if fd >= 0:
            loop.watch(fd, 0, self._writable)

    def open(self, fd: int) -> None:
        """The descriptor is there now; it becomes the inlet's."""
        self._fd = fd
        self._loop.watch(fd, 0, self._writable)
        self._flush()

    def feed(self, data: bytes, resume: Callable[[], None]) -> bool:
        """Take bytes. False: pause; `resume` is called once when there is room again. After the end: dropped."""
        if self.closed or self._ending:
            return True
        self._queue += data
        if self._fd >= 0:
            self._flush()
        if self._queue:
            self._waiting.append(resume)
            return False
        return True

    def end(self) -> None:
        """No more input: close when the queue has been taken."""
        self._ending = True
        if not self._queue and self._fd >= 0:
            self.close()

    def close(self) -> None:
        """Close now; what is queued is dropped. Idempotent."""
        self.closed = True
        self._queue.clear()
        if self._fd >= 0:
            self._loop.forget(self._fd)
            os.close(self._fd)
            self._fd = -1
        self._wake()

    def _writable(self, _events: int) -> None:
        self._flush()

    def _flush(self) -> None:
        try:
            while self._queue:
                done = os.write(self._fd, self._queue[:65536])
                del self._queue[:done]
        except BlockingIOError:
            self._loop.change(self._fd, OUT)
            return
        except OSError:  # the process has closed its stdin, or is gone
            self.close()
            return
        self._queue = bytearray()  # give a big buffer back
        self._loop.change(self._fd, 0)
        if self._ending:
            self.close()
        self._wake()

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, []
        for resume in waiting:
            resume()
