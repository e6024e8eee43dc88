"""The device filter of cgroup v2: a small eBPF program (BPF_PROG_TYPE_CGROUP_DEVICE) instead of v1's devices.allow.

The program gets the access (what << 16 | type), major and minor, and answers 1 (allowed) or 0. Rules are tried from the
last to the first, so that the last match wins as the OCI specification wants it."""

from __future__ import annotations

import ctypes
import errno
import os
import struct

from .syscalls import NR_BPF, call, error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

_PROG_LOAD, _PROG_ATTACH, _PROG_DETACH, _PROG_GET_FD_BY_ID, _PROG_QUERY = 5, 8, 9, 13, 16
_TYPE_CGROUP_DEVICE = 15
_ATTACH_CGROUP_DEVICE = 6
_ALLOW_MULTI = 2
_ATTR_SIZE = 128

_LDX_W, _MOV64_IMM, _MOV64_REG, _MOV32_REG = 0x61, 0xB7, 0xBF, 0xBC
_AND32_IMM, _RSH32_IMM, _JNE_IMM, _JNE_REG, _EXIT = 0x54, 0x74, 0x55, 0x5D, 0x95
_TYPES = {"b": 1, "c": 2, "u": 2}
_ACCESS = {"m": 1, "r": 2, "w": 4}


def _instruction(op: int, dst: int = 0, src: int = 0, off: int = 0, imm: int = 0) -> bytes:
    return struct.pack("=BBhi", op, src << 4 | dst, off, imm)


def device_program(rules: Sequence[Mapping[str, Any]]) -> bytes:
    """The eBPF program of OCI device rules ({allow, type, major, minor, access}); what no rule names is denied."""
    code = [
        _instruction(_LDX_W, 2, 1, 0),  # r2 = type, r3 = access, r4 = major, r5 = minor
        _instruction(_MOV32_REG, 3, 2),
        _instruction(_AND32_IMM, 2, imm=0xFFFF),
        _instruction(_RSH32_IMM, 3, imm=16),
        _instruction(_LDX_W, 4, 1, 4),
        _instruction(_LDX_W, 5, 1, 8),
    ]
    for rule in reversed(rules):
        block = _rule(rule)
        code += block
        if len(block) == 2:  # it matches everything: what stands before it never counts
            return b"".join(code)
    code += [_instruction(_MOV64_IMM, 0, imm=0), _instruction(_EXIT)]
    return b"".join(code)


def _rule(rule: Mapping[str, Any]) -> list[bytes]:
    """Tests that jump behind the block unless they hold, then the verdict."""
    tests: list[tuple[bytes, ...]] = []
    kind = rule.get("type") or "a"
    if kind != "a":
        if kind not in _TYPES:
            raise error(errno.EINVAL, detail=f"device type {kind!r}")
        tests.append((_instruction(_JNE_IMM, 2, imm=_TYPES[kind]),))
    access = 0
    for letter in rule.get("access") or "rwm":
        access |= _ACCESS.get(letter, 0)
    if access != 7:  # asked & ~granted must be 0: an access wider than the rule is not its business
        tests.append((_instruction(_MOV32_REG, 1, 3), _instruction(_AND32_IMM, 1, imm=7 & ~access),
                      _instruction(_JNE_IMM, 1)))
    for register, key in ((4, "major"), (5, "minor")):
        number = rule.get(key)
        if number is not None and number >= 0:
            tests.append((_instruction(_JNE_IMM, register, imm=number),))
    verdict = [_instruction(_MOV64_IMM, 0, imm=1 if rule.get("allow") else 0), _instruction(_EXIT)]
    flat = [i for test in tests for i in test]
    total = len(flat) + len(verdict)
    out = []
    for at, one in enumerate(flat):
        if one[0] == _JNE_IMM:
            op, registers, _, imm = struct.unpack("=BBhi", one)
            one = struct.pack("=BBhi", op, registers, total - at - 1, imm)
        out.append(one)
    return out + verdict


def load_device_program(program: bytes) -> int:
    """An fd of the verified program. Raises OSError: EPERM without CAP_BPF or CAP_SYS_ADMIN; else with the verifier's
    words."""
    code = ctypes.create_string_buffer(program, len(program))
    licence = ctypes.create_string_buffer(b"Apache-2.0")
    head = struct.pack("=IIQQ", _TYPE_CGROUP_DEVICE, len(program) // 8, ctypes.addressof(code),
                       ctypes.addressof(licence))
    try:
        return _bpf(_PROG_LOAD, head)
    except OSError as failed:
        if failed.errno not in (errno.EINVAL, errno.EACCES):
            raise
        log = ctypes.create_string_buffer(1 << 16)
        try:
            return _bpf(_PROG_LOAD, head + struct.pack("=IIQ", 1, len(log), ctypes.addressof(log)))
        except OSError as again:
            raise error(again.errno or 0, detail=log.value.decode("ascii", "replace")[-500:]) from None


def replace_device_program(cgroup_fd: int, program: bytes) -> None:
    """Attach a program to a v2 group and then detach those that stood there: all attached programs must agree, so for
    a moment the stricter of both holds and never none. Raises OSError."""
    before = attached(cgroup_fd)
    fd = load_device_program(program)
    try:
        _bpf(_PROG_ATTACH, struct.pack("=IIII", cgroup_fd, fd, _ATTACH_CGROUP_DEVICE, _ALLOW_MULTI))
    finally:
        os.close(fd)
    for identifier in before:
        old = _bpf(_PROG_GET_FD_BY_ID, struct.pack("=I", identifier))
        try:
            _bpf(_PROG_DETACH, struct.pack("=III", cgroup_fd, old, _ATTACH_CGROUP_DEVICE))
        finally:
            os.close(old)


def attached(cgroup_fd: int) -> list[int]:
    """The ids of the device programs attached to a group itself."""
    ids = (ctypes.c_uint32 * 64)()
    attributes = ctypes.create_string_buffer(
        struct.pack("=IIIIQI", cgroup_fd, _ATTACH_CGROUP_DEVICE, 0, 0, ctypes.addressof(ids), len(ids)), _ATTR_SIZE)
    call(NR_BPF, _PROG_QUERY, attributes, _ATTR_SIZE)
    (count,) = struct.unpack_from("=I", attributes.raw, 24)
    return list(ids[:count])


def _bpf(command: int, attributes: bytes) -> int:
    return call(NR_BPF, command, attributes.ljust(_ATTR_SIZE, b"\0"), _ATTR_SIZE)
