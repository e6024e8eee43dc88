"""A process's name in ps and top, set without opening anything: reading /proc/self/stat through Python's files costs an
idle shim 150 KB of pages. The zygote looks once where its arguments lie; its children have them at the same place.
"""

from __future__ import annotations

import ctypes

from wharfie.kernel import process, syscalls

_PR_SET_NAME = 15
_ARG_START, _ARG_END = 45, 46  # of the fields from the third on (proc(5): 48, 49)


class Title:
    """Made in the zygote, set in it and in its children."""

    def __init__(self) -> None:
        fields = process.stat_fields("self")
        self._start = int(fields[_ARG_START])
        self._size = int(fields[_ARG_END]) - self._start

    def set(self, title: str) -> None:
        """The thread's name (15 bytes) and the command line (as much as fits)."""
        raw = title.encode()
        syscalls.prctl(_PR_SET_NAME, raw[:15] + b"\0")
        if self._size > 1:
            ctypes.memmove(self._start, raw[: self._size - 1].ljust(self._size, b"\0"), self._size)
