"""The program of `wharfie/hello`: a static ELF of a few hundred bytes, assembled here from tables, so that the first
container needs nothing but the kernel. It calls write, getpid, uname, getuid and exit.

    elf64 header | one program header | code | texts        everything in one readable, executable segment

x86-64: Intel's manual, volume 2. AArch64: Arm's A64 manual. System call numbers: include/uapi/asm-generic/unistd.h and
arch/x86/entry/syscalls/syscall_64.tbl.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

TEXTS = (
    b"\nHello from wharfie! This is a container, and this is what it sees:\n\n    pid       ",
    b"\n    hostname  ",
    b"\n    uid       ",
    b"\n\nTry next:  wharfie run -it wharfie/shell\n\n",
)
_BASE = 0x400000
_HEADERS = 64 + 56
_BUFFER = 512  # on the stack: struct utsname (390 bytes) in front, digits before _DIGITS
_DIGITS = 500
_NODENAME = 65

Word = tuple[str, Callable[[int, int], bytes], int]
"""(label, encoder of (own address, label's address), size): a piece that depends on where a label is."""
Piece = bytes | str | Word
"""Code bytes, a label's definition, or a reference to one."""


def program(machine: str) -> bytes:
    """The executable for a machine, "x86_64" or "aarch64". Raises KeyError for another."""
    code, number = {"x86_64": (_X86, 62), "aarch64": (_ARM, 183)}[machine]
    pieces: list[Piece] = [*code()]
    for i, text in enumerate(TEXTS):
        pieces += [f"text{i}", text]
    body = assemble(pieces, _BASE + _HEADERS)
    size = _HEADERS + len(body)
    header = struct.pack("<16sHHIQQQIHHHHHH", b"\x7fELF\x02\x01\x01", 2, number, 1, _BASE + _HEADERS, 64, 0, 0, 64, 56,
                         1, 0, 0, 0)
    segment = struct.pack("<IIQQQQQQ", 1, 5, 0, _BASE, _BASE, size, size, 0x10000)
    return header + segment + body


def assemble(pieces: list[Piece], start: int) -> bytes:
    """Two passes: where the labels are, then the bytes."""
    labels: dict[str, int] = {}
    at = start
    for piece in pieces:
        if isinstance(piece, str):
            labels[piece] = at
        else:
            at += len(piece) if isinstance(piece, bytes) else piece[2]
    out = b""
    for piece in pieces:
        if isinstance(piece, bytes):
            out += piece
        elif isinstance(piece, tuple):
            label, encode, _ = piece
            out += encode(start + len(out), labels[label])
    return out


def _rel(opcode: bytes, width: int, label: str) -> Word:
    """x86: an opcode followed by a displacement from the end of the instruction."""
    size = len(opcode) + width
    return label, lambda own, to: opcode + (to - own - size).to_bytes(width, "little", signed=True), size


def _X86() -> list[Piece]:  # noqa: N802
    def imm(opcode: bytes, value: int) -> bytes:
        return opcode + struct.pack("<I", value)

    def say(i: int) -> list[Piece]:
        return [_rel(b"\x48\x8d\x35", 4, f"text{i}"), imm(b"\xba", len(TEXTS[i])), _rel(b"\xe8", 4, "write")]

    def system_call(number: int) -> bytes:
        return imm(b"\xb8", number) + b"\x0f\x05"  # mov eax, number; syscall

    return [
        imm(b"\x48\x81\xec", _BUFFER), b"\x49\x89\xe4",  # sub rsp, BUFFER; mov r12, rsp
        *say(0), system_call(39), _rel(b"\xe8", 4, "decimal"),  # getpid
        *say(1), b"\x4c\x89\xe7", system_call(63),  # mov rdi, r12; uname
        b"\x49\x8d\x74\x24" + bytes([_NODENAME]), b"\x31\xd2",  # lea rsi, [r12+NODENAME]; xor edx, edx
        "length", b"\x80\x3c\x16\x00", _rel(b"\x74", 1, "named"),  # cmp byte [rsi+rdx], 0; je named
        b"\xff\xc2", _rel(b"\xeb", 1, "length"),  # inc edx; jmp length
        "named", _rel(b"\xe8", 4, "write"),
        *say(2), system_call(102), _rel(b"\xe8", 4, "decimal"),  # getuid
        *say(3), b"\x31\xff", system_call(60),  # xor edi, edi; exit
        # write edx bytes at rsi
        "write", imm(b"\xb8", 1), b"\x89\xc7", b"\x0f\x05", b"\xc3",  # mov eax, 1; mov edi, eax; syscall; ret
        # write eax in decimal
        "decimal", imm(b"\x49\x8d\xb4\x24", _DIGITS), b"\x48\x89\xf7",  # lea rsi, [r12+DIGITS]; mov rdi, rsi
        imm(b"\xb9", 10),  # mov ecx, 10
        "digit", b"\x31\xd2", b"\xf7\xf1", b"\x80\xc2\x30",  # xor edx, edx; div ecx; add dl, '0'
        b"\x48\xff\xce", b"\x88\x16", b"\x85\xc0",  # dec rsi; mov [rsi], dl; test eax, eax
        _rel(b"\x75", 1, "digit"), b"\x89\xfa", b"\x29\xf2",  # jnz digit; mov edx, edi; sub edx, esi
        _rel(b"\xe9", 4, "write"),  # jmp write
    ]


def _word(value: int) -> bytes:
    return struct.pack("<I", value)


def _branch(opcode: int, label: str) -> Word:
    return label, lambda own, to: _word(opcode | (to - own) // 4 & 0x3FFFFFF), 4


def _compare(opcode: int, register: int, label: str) -> Word:
    return label, lambda own, to: _word(opcode | ((to - own) // 4 & 0x7FFFF) << 5 | register), 4


def _address(register: int, label: str) -> Word:
    def encode(own: int, to: int) -> bytes:
        distance = to - own
        return _word(0x10000000 | (distance & 3) << 29 | (distance >> 2 & 0x7FFFF) << 5 | register)

    return label, encode, 4


def _ARM() -> list[Piece]:  # noqa: N802
    def move(register: int, value: int) -> bytes:
        return _word(0xD2800000 | value << 5 | register)  # movz

    def system_call(number: int) -> bytes:
        return move(8, number) + _word(0xD4000001)  # mov x8, number; svc 0

    def add(to: int, register: int, value: int) -> bytes:
        return _word(0x91000000 | value << 10 | register << 5 | to)

    def say(i: int) -> list[Piece]:
        return [_address(1, f"text{i}"), move(2, len(TEXTS[i])), _branch(0x94000000, "write")]

    return [
        _word(0xD1000000 | _BUFFER << 10 | 31 << 5 | 31), add(19, 31, 0),  # sub sp, sp, BUFFER; mov x19, sp
        *say(0), system_call(172), _branch(0x94000000, "decimal"),  # getpid
        *say(1), add(0, 19, 0), system_call(160), add(1, 19, _NODENAME), move(2, 0),  # uname
        "length", _word(0x38606800 | 2 << 16 | 1 << 5 | 5), _compare(0x34000000, 5, "named"),  # ldrb w5, [x1, x2]; cbz
        add(2, 2, 1), _branch(0x14000000, "length"),
        "named", _branch(0x94000000, "write"),
        *say(2), system_call(174), _branch(0x94000000, "decimal"),  # getuid
        *say(3), move(0, 0), system_call(93),  # exit
        # write x2 bytes at x1
        "write", move(0, 1), system_call(64), _word(0xD65F03C0),  # mov x0, 1; …; ret
        # write w0 in decimal
        "decimal", add(1, 19, _DIGITS), add(3, 1, 0), move(4, 10),
        "digit", _word(0x1AC00800 | 4 << 16 | 0 << 5 | 5),  # udiv w5, w0, w4
        _word(0x1B008000 | 4 << 16 | 0 << 10 | 5 << 5 | 6),  # msub w6, w5, w4, w0
        _word(0x11000000 | 0x30 << 10 | 6 << 5 | 6),  # add w6, w6, '0'
        _word(0x38000C00 | 0x1FF << 12 | 1 << 5 | 6),  # strb w6, [x1, -1]!
        _word(0x2A0003E0 | 5 << 16 | 0), _compare(0x35000000, 0, "digit"),  # mov w0, w5; cbnz w0, digit
        _word(0xCB000000 | 1 << 16 | 3 << 5 | 2), _branch(0x14000000, "write"),  # sub x2, x3, x1; b write
    ]
