"""What an ELF file needs at run time, read from its headers (System V ABI, "Program Header", "Dynamic Section")."""

from __future__ import annotations

import os
import struct

from wharfie.base.value import Value

PT_LOAD, PT_DYNAMIC, PT_INTERP = 1, 2, 3
DT_NEEDED, DT_STRTAB, DT_RPATH, DT_RUNPATH = 1, 5, 15, 29
_MAX_TABLE = 1 << 20
_MAX_NAME = 4096


class Needs(Value):
    """kind: (class, byte order, machine), which a library must share. interpreter: "" for a static program. needed:
    names of libraries. search: its own RPATH or RUNPATH, $ORIGIN unexpanded."""

    kind: tuple[int, int, int]
    interpreter: str = ""
    needed: tuple[str, ...] = ()
    search: tuple[str, ...] = ()


def read(path: str) -> Needs | None:
    """None when the file is no ELF, or a broken one. Raises OSError."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return _Reader(fd).needs()
    except (struct.error, ValueError, IndexError, OverflowError):
        return None
    finally:
        os.close(fd)


class _Reader:
    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._loads: list[tuple[int, int, int]] = []  # (address, offset, size)

    def needs(self) -> Needs | None:
        head = os.pread(self._fd, 64, 0)
        if head[:4] != b"\x7fELF":
            return None
        wide, order = head[4] == 2, "<" if head[5] == 1 else ">"
        self._order, self._wide = order, wide
        (machine,) = struct.unpack_from(order + "H", head, 18)
        (table,) = struct.unpack_from(order + ("Q" if wide else "I"), head, 32 if wide else 28)
        size, count = struct.unpack_from(order + "HH", head, 54 if wide else 42)
        interpreter, dynamic = "", None
        for i in range(count):
            kind, offset, address, length = self._segment(os.pread(self._fd, size, table + i * size))
            if kind == PT_LOAD:
                self._loads.append((address, offset, length))
            elif kind == PT_INTERP:
                interpreter = os.pread(self._fd, min(length, _MAX_NAME), offset).split(b"\0")[0].decode()
            elif kind == PT_DYNAMIC:
                dynamic = offset, length
        needed, search = self._dynamic(*dynamic) if dynamic else ((), ())
        return Needs((head[4], head[5], machine), interpreter, needed, search)

    def _segment(self, raw: bytes) -> tuple[int, int, int, int]:
        if self._wide:
            kind, _, offset, address, _, length = struct.unpack_from(self._order + "IIQQQQ", raw)
        else:
            kind, offset, address, _, length = struct.unpack_from(self._order + "IIIII", raw)
        return kind, offset, address, length

    def _dynamic(self, offset: int, length: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
        form = self._order + ("qQ" if self._wide else "iI")
        step = struct.calcsize(form)
        raw = os.pread(self._fd, min(length, _MAX_TABLE) // step * step, offset)
        strings, needed, rpath, runpath = 0, [], 0, 0
        for tag, value in struct.iter_unpack(form, raw):
            if tag == 0:
                break
            if tag == DT_NEEDED:
                needed.append(value)
            elif tag == DT_STRTAB:
                strings = value
            elif tag == DT_RPATH:
                rpath = value
            elif tag == DT_RUNPATH:
                runpath = value
        base = self._offset(strings) if strings else 0
        search = self._string(base + (runpath or rpath)) if runpath or rpath else ""
        return tuple(self._string(base + n) for n in needed), tuple(p for p in search.split(":") if p)

    def _offset(self, address: int) -> int:
        for start, offset, length in self._loads:
            if start <= address < start + length:
                return offset + address - start
        raise ValueError("an address outside every segment")

    def _string(self, offset: int) -> str:
        return os.pread(self._fd, _MAX_NAME, offset).split(b"\0")[0].decode()
