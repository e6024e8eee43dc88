"""Reading a container's log: from the oldest rotated file to the live one, from the end, since and until, and on as it
grows. The writer may rotate, empty or append at any moment; a half-written last line is left for later.

A reader holds its file by fd: after a rotation it finishes the old one and goes on with the one that followed it.
"""

from __future__ import annotations

import os

from .decode import entries

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .decode import Entry

BLOCK = 256 * 1024
_MAX_LINE = 1 << 20  # no line of ours is longer than 6 * PART; a longer one is rubbish


class Reader:
    """A position in a log. `block()` gives the next entries and never blocks."""

    def __init__(self, path: str, *, tail: int | None = None, stop: tuple[int, int] | None = None) -> None:
        """Stands at the oldest line, or `tail` lines before the end. A log that does not exist reads as empty.
        stop: (inode, offset) where reading ends for good."""
        self.path = path
        self._stop = stop
        self._fd = -1
        self._offset = 0
        if tail is None:
            self._open(_oldest(path))
        else:
            self._seek_tail(tail)

    def block(self) -> list[Entry] | None:
        """The next entries; [] may come before the end; None: nothing more at present."""
        if self._fd < 0:
            self._open(_oldest(self.path))
            if self._fd < 0:
                return None
        room = self._room()
        data = os.pread(self._fd, min(BLOCK, room), self._offset) if room > 0 else b""
        if not data:
            return [] if room > 0 and self._next_file() else None
        end = data.rfind(b"\n") + 1
        if not end:
            data = os.pread(self._fd, min(_MAX_LINE, room), self._offset)
            end = data.rfind(b"\n") + 1
            if not end:
                if len(data) == _MAX_LINE:
                    end = len(data)
                else:  # a half-written line: last of the live file (come back), or of a rotated one (skip)
                    return [] if self._next_file() else None
        self._offset += end
        return list(entries(data[:end]))

    def _room(self) -> int:
        """How much may be read from the file in hand."""
        if self._stop is None or os.fstat(self._fd).st_ino != self._stop[0]:
            return _MAX_LINE
        return self._stop[1] - self._offset

    def close(self) -> None:
        """Give the file back."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def position(self) -> tuple[int, int]:
        """(inode, offset) of the next line; inode 0: no file yet."""
        return (os.fstat(self._fd).st_ino, self._offset) if self._fd >= 0 else (0, 0)

    def _open(self, path: str) -> bool:
        self.close()
        self._offset = 0
        try:
            self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        return True

    def _next_file(self) -> bool:
        """At the end of the file in hand: go to the one that followed it. False: this is the live one and complete."""
        mine = os.fstat(self._fd)
        if mine.st_size < self._offset:  # emptied by the writer (max-file 1)
            if self._stop is not None:
                return False
            self._offset = 0
            return True
        names = segments(self.path)
        following = names[0] if names else ""
        for at, name in enumerate(names):
            try:
                other = os.stat(name)
            except FileNotFoundError:
                continue
            if (other.st_ino, other.st_dev) == (mine.st_ino, mine.st_dev):
                if at + 1 == len(names):
                    return False
                following = names[at + 1]
                break
        if os.fstat(self._fd).st_size > self._offset and os.pread(self._fd, _MAX_LINE, self._offset).endswith(b"\n"):
            return True  # written between our read and the rotation
        return bool(following) and self._open(following)

    def _seek_tail(self, count: int) -> None:
        """Stand `count` lines before the end of all files, or before where reading ends."""
        names = segments(self.path)
        if self._stop is not None:
            names = _up_to(names, self._stop[0])
        for at in range(len(names) - 1, -1, -1):
            if not self._open(names[at]):
                continue
            seen = os.fstat(self._fd)
            size = self._stop[1] if self._stop is not None and seen.st_ino == self._stop[0] else seen.st_size
            self._offset, found = _last_lines(self._fd, count, size)
            count -= found
            if count <= 0:
                return


def segments(path: str) -> list[str]:
    """The files of a log that exist, oldest first."""
    names = [path] if os.path.exists(path) else []
    n = 1
    while os.path.exists(f"{path}.{n}"):
        names.insert(0, f"{path}.{n}")
        n += 1
    return names


def _oldest(path: str) -> str:
    names = segments(path)
    return names[0] if names else path


def _up_to(names: list[str], inode: int) -> list[str]:
    """The files up to the one with this inode; all of them when it is gone."""
    for at, name in enumerate(names):
        try:
            if os.stat(name).st_ino == inode:
                return names[: at + 1]
        except FileNotFoundError:
            continue
    return names


def end_of(path: str) -> tuple[int, int] | None:
    """Where a log ends at this moment: (inode, offset), None when there is none."""
    try:
        seen = os.stat(path)
    except FileNotFoundError:
        return None
    return seen.st_ino, seen.st_size


def _last_lines(fd: int, count: int, size: int) -> tuple[int, int]:
    """Offset of the last `count` whole lines of the first `size` bytes of a file, and how many there are (at most
    `count`)."""
    if count <= 0:
        return size, 0
    at, need = size, count + 1
    while at > 0:
        start = max(0, at - BLOCK)
        data = os.pread(fd, at - start, start)
        lines = data.count(b"\n")
        if lines >= need:
            cut = len(data)
            for _ in range(need):
                cut = data.rfind(b"\n", 0, cut)
            return start + cut + 1, count
        need -= lines
        at = start
    return 0, count + 1 - need


def read(
    path: str,
    *,
    tail: int | None = None,
    since: int = 0,
    until: int = 0,
    follow: Callable[[], bool] | None = None,
) -> Iterator[Entry]:
    """(stream, ns, lines) of a log; `lines` are one or more lines of the same instant and stream, each with its
    newline, or one part of a long line without.

    tail: only that many lines before the end; since, until: nanoseconds, 0 = no bound (until ends the reading).
    Without `follow` the reading ends where the log ended when it began, however fast it grows.
    follow: called whenever nothing more is there; it waits a while and says whether to look again. After it has said
    no, the log is read once more to its end."""
    reader = Reader(path, tail=tail, stop=end_of(path) if follow is None else None)
    last = follow is None
    try:
        while True:
            block = reader.block()
            if block is None:
                if last:
                    return
                last = follow is not None and not follow()
                continue
            for entry in block:
                if until and entry[1] > until:
                    return
                if entry[1] >= since:
                    yield entry
    finally:
        reader.close()


def stamped(lines: bytes, stamp: bytes) -> bytes:
    """`lines` with "<stamp> " before each: what `docker logs -t` prints."""
    body = lines[:-1] if lines.endswith(b"\n") else lines
    return stamp + b" " + body.replace(b"\n", b"\n" + stamp + b" ") + lines[len(body) :]
