"""The json-file on disk: one append per batch, rotation by size.

    <path>      the live file
    <path>.1    the one before, ... up to max-file - 1

A batch is cut where a file is full, so that a file never exceeds max-size by more than one line, as Docker's. With
max-file 1 the live file is emptied instead. A write that fails (disk full) loses those lines and never the container:
`lost` counts the bytes; the next line that can be written starts on a line of its own.
"""

from __future__ import annotations

import os

from .encode import Lines
from .options import Options, parse

_MODE = 0o640


class Writer:
    """Writes one container's output. One writer per file."""

    def __init__(self, path: str, options: Options | None = None) -> None:
        """Opens for append (a container may be started again). Raises OSError."""
        self.path = path
        self.options = options or Options()
        self.lost = 0
        self._lines = {1: Lines(1), 2: Lines(2)}
        self._torn = False
        self._fd = -1
        self._size = 0
        self._open(0)

    def write(self, stream: int, data: bytes, now_ns: int) -> None:
        """Take a piece of stream 1 (stdout) or 2 (stderr), read at `now_ns`. Never raises OSError."""
        out = self._lines[stream].feed(data, now_ns)
        if out:
            self._append(out)

    def finish(self, stream: int, now_ns: int) -> None:
        """The stream has ended: write its unfinished line."""
        out = self._lines[stream].finish(now_ns)
        if out:
            self._append(out)

    def held(self, stream: int) -> bytes:
        """The line of a stream that is not complete, hence not in the file yet."""
        return self._lines[stream].held

    def close(self) -> None:
        """Close the file; unfinished lines must have been finished."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _append(self, out: bytes) -> None:
        limit = self.options.max_size
        while limit and out:
            if self._size >= limit:
                self._rotate()
            if self._size + len(out) <= limit:
                break
            cut = out.find(b"\n", limit - self._size - 1) + 1
            if not cut or cut == len(out):
                break
            self._put(out[:cut])
            out = out[cut:]
        self._put(out)

    def _put(self, out: bytes) -> None:
        if self._torn:
            out = b"\n" + out
        view = memoryview(out)
        try:
            if self._fd < 0:
                self._open(0)
            while view:
                done = os.write(self._fd, view)
                self._size += done
                self._torn = False
                view = view[done:]
        except OSError:
            self.lost += len(view)
            self._torn = self._torn or len(view) < len(out)

    def _rotate(self) -> None:
        files = self.options.max_file
        self.close()
        try:
            for n in range(files - 1, 0, -1):
                older = f"{self.path}.{n - 1}" if n > 1 else self.path
                try:
                    os.rename(older, f"{self.path}.{n}")
                except FileNotFoundError:
                    pass
            self._open(os.O_TRUNC)
        except OSError:
            self._size = 0  # tried again when as much has been lost as a file holds

    def _open(self, extra: int) -> None:
        self._fd = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | extra, _MODE)
        self._size = os.fstat(self._fd).st_size
        self._torn = bool(self._size) and os.pread(self._fd, 1, self._size - 1) != b"\n"


def open_writer(driver: str, path: str, config: dict[str, str]) -> Writer | None:
    """The writer of a log driver, None for "none". Raises Invalid, Unsupported, OSError."""
    options = parse(driver, config)
    return None if driver == "none" else Writer(path, options)
