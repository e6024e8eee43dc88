"""`--init`: our own pid 1, a static ELF program of less than a kilobyte, generated here. (The interpreter itself may
not stay: it would be a privileged memory inside the container.)

    /sbin/docker-init [--] program [arguments]

It forks; the child gets a process group of its own, the terminal's foreground, the signal mask emptied, and executes
the program (looked up in PATH). The parent reaps whatever ends, passes every signal on to the child, and leaves as the
child does: with its code, or with 128 + its signal. A program that is missing gives 127, one that cannot be executed
126, with a line on stderr.

The ELF form: one header, one loadable segment for everything (read, execute), one for a stack that is not executable.
"""

from __future__ import annotations

import os
import struct

from . import tinyinit_aarch64, tinyinit_x86_64

_BASE = 0x400000
_HEADERS = 64 + 2 * 56
_MACHINES = {"x86_64": (62, tinyinit_x86_64.CODE), "aarch64": (183, tinyinit_aarch64.CODE)}


def supported(machine: str = "") -> bool:
    """Whether there is one for this machine."""
    return (machine or os.uname().machine) in _MACHINES


def image(machine: str = "") -> bytes:
    """The program's bytes for `machine` ("" = this one). Raises KeyError where there is none."""
    number, rows = _MACHINES[machine or os.uname().machine]
    code = bytes.fromhex("".join(row for row, _ in rows))
    size = _HEADERS + len(code)
    ident = b"\x7fELF\x02\x01\x01" + bytes(9)
    header = struct.pack("<16sHHIQQQIHHHHHH", ident, 2, number, 1, _BASE + _HEADERS, 64, 0, 0, 64, 56, 2, 0, 0, 0)
    load = struct.pack("<IIQQQQQQ", 1, 5, 0, _BASE, _BASE, size, size, 0x10000)
    stack = struct.pack("<IIQQQQQQ", 0x6474E551, 6, 0, 0, 0, 0, 0, 16)
    return header + load + stack + code
