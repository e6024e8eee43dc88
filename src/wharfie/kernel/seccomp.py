"""Seccomp: an OCI `linux.seccomp` object → a classic BPF program, and loading it.

The program is first a switch over the architecture (a number means another call in 32-bit mode, so nothing is judged
before that is known), then for each architecture a binary search over ranges of numbers that share one verdict, then
the tests of arguments where rules have them. The kernel runs it for every system call; constant verdicts it caches
itself (Linux 5.11) as long as only these plain instructions lead there.

Decisions, where the OCI specification is silent (those of runc and libseccomp, unless said):
* The native architecture is always filtered. Another one that the profile does not list ends the process.
* The first rule for a call whose tests hold decides; one without tests ends the list. A rule that says the same as the
  default is no rule.
* Several tests of one argument in one rule are alternatives, each a rule of its own.
* Calls newer than every call the profile names answer ENOSYS and not the default's EPERM, so that C libraries fall
  back to the older call.
* x32 calls (bit 30) are always refused, ENOSYS: stricter than Docker; kernels are built without them.
* A name that an architecture does not have is skipped there.
"""

from __future__ import annotations

import ctypes
import errno
import struct

from . import syscall_table
from .syscalls import MACHINE, NR_SECCOMP, call, error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    Code = list[tuple[int, int, int, int]]  # opcode, jump if true, jump if false, constant

# libseccomp's architecture names → (our table's word, the kernel's AUDIT_ARCH_*)
ARCHITECTURES: dict[str, tuple[str, int]] = {
    "SCMP_ARCH_X86_64": ("x86_64", 0xC000003E),
    "SCMP_ARCH_X86": ("i386", 0x40000003),
    "SCMP_ARCH_AARCH64": ("aarch64", 0xC00000B7),
    "SCMP_ARCH_ARM": ("arm", 0x40000028),
}
_NATIVE = {"x86_64": "SCMP_ARCH_X86_64", "aarch64": "SCMP_ARCH_AARCH64"}

# What goes with a machine when a profile says only "as usual" (Docker's archMap).
SUBARCHITECTURES: dict[str, tuple[str, ...]] = {
    "x86_64": ("SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"),
    "aarch64": ("SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"),
}

RET_KILL_PROCESS = 0x80000000
RET_KILL_THREAD = 0x00000000
RET_TRAP = 0x00030000
RET_ERRNO = 0x00050000
RET_USER_NOTIF = 0x7FC00000
RET_TRACE = 0x7FF00000
RET_LOG = 0x7FFC0000
RET_ALLOW = 0x7FFF0000
_ACTIONS: dict[str, int] = {
    "SCMP_ACT_KILL": RET_KILL_THREAD,
    "SCMP_ACT_KILL_THREAD": RET_KILL_THREAD,
    "SCMP_ACT_KILL_PROCESS": RET_KILL_PROCESS,
    "SCMP_ACT_TRAP": RET_TRAP,
    "SCMP_ACT_ERRNO": RET_ERRNO,
    "SCMP_ACT_TRACE": RET_TRACE,
    "SCMP_ACT_NOTIFY": RET_USER_NOTIF,
    "SCMP_ACT_LOG": RET_LOG,
    "SCMP_ACT_ALLOW": RET_ALLOW,
}
_WITH_DATA = (RET_ERRNO, RET_TRACE)

FLAGS: dict[str, int] = {
    "SECCOMP_FILTER_FLAG_TSYNC": 1,
    "SECCOMP_FILTER_FLAG_LOG": 2,
    "SECCOMP_FILTER_FLAG_SPEC_ALLOW": 4,
    "SECCOMP_FILTER_FLAG_NEW_LISTENER": 8,
    "SECCOMP_FILTER_FLAG_TSYNC_ESRCH": 16,
    "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV": 32,
}

MAX_INSTRUCTIONS = 4096
_LOAD, _JA, _JEQ, _JGT, _JGE, _AND, _RET = 0x20, 0x05, 0x15, 0x25, 0x35, 0x54, 0x06
_FAIL = -1  # a jump to the end of the rule, filled in when its length is known
_NR_OFFSET, _ARCH_OFFSET, _ARGS_OFFSET = 0, 4, 16  # struct seccomp_data
_X32_BIT = 0x40000000
_LOW = 0xFFFFFFFF
_SET_MODE_FILTER = 1


def compile(profile: Mapping[str, Any], arch: str = MACHINE) -> bytes:
    """The program (struct sock_filter each eight bytes) of an OCI `linux.seccomp` for a machine ("x86_64", "aarch64").
    Raises OSError: EINVAL for an action, operator or argument that does not exist, EOPNOTSUPP for a machine without a
    table, E2BIG when the program is longer than the kernel takes."""
    if arch not in _NATIVE:
        raise error(errno.EOPNOTSUPP, detail=f"no seccomp table for {arch}")
    default = _action(profile.get("defaultAction", "SCMP_ACT_ERRNO"), profile.get("defaultErrnoRet"))
    wanted = list(dict.fromkeys([_NATIVE[arch], *(profile.get("architectures") or ())]))
    code: Code = [(_LOAD, 0, 0, _ARCH_OFFSET)]
    for name in wanted:
        if name not in ARCHITECTURES:
            continue  # X32 shares the native word and is refused there; others cannot run on this machine
        table, audit = ARCHITECTURES[name]
        part = _architecture(profile, table, default)
        code += [(_JEQ, 1, 0, audit), (_JA, 0, 0, len(part)), *part]
    code.append((_RET, 0, 0, RET_KILL_PROCESS))
    if len(code) > MAX_INSTRUCTIONS:
        raise error(errno.E2BIG, detail=f"the seccomp filter has {len(code)} instructions, {MAX_INSTRUCTIONS} fit")
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in code)


def unknown(profile: Mapping[str, Any], arch: str = MACHINE) -> list[str]:
    """The names in a profile that no architecture of this machine knows, each once: skipped by compile()."""
    known: set[str] = set()
    for name in SUBARCHITECTURES.get(arch, ()):
        if name in ARCHITECTURES:
            known |= syscall_table.numbers(ARCHITECTURES[name][0]).keys()
    named = [n for rule in profile.get("syscalls") or () for n in rule.get("names") or ()]
    return [n for n in dict.fromkeys(named) if n not in known]


def flags_of(profile: Mapping[str, Any]) -> int:
    """The profile's `flags` as load() takes them. Raises OSError EINVAL for an unknown one."""
    total = 0
    for name in profile.get("flags") or ():
        if name not in FLAGS:
            raise error(errno.EINVAL, detail=f"unknown seccomp flag {name!r}")
        total |= FLAGS[name]
    return total


def load(program: bytes, flags: int = 0) -> int:
    """seccomp(2): filter this thread from now on; stacks on filters already there. Returns the listener's fd with
    NEW_LISTENER, else 0. Needs no_new_privs or CAP_SYS_ADMIN, else PermissionError (EACCES)."""
    code = ctypes.create_string_buffer(program, len(program))
    head = struct.pack("@HP", len(program) // 8, ctypes.addressof(code))
    return call(NR_SECCOMP, _SET_MODE_FILTER, flags, head)


def _action(name: str, value: int | None) -> int:
    if name not in _ACTIONS:
        raise error(errno.EINVAL, detail=f"unknown seccomp action {name!r}")
    action = _ACTIONS[name]
    if action in _WITH_DATA:
        return action | (errno.EPERM if value is None else int(value)) & 0xFFFF
    return action


def _architecture(profile: Mapping[str, Any], table: str, default: int) -> Code:
    """Everything after the architecture is known. Ends in a return on every way."""
    numbers = syscall_table.numbers(table)
    rules = _rules(profile, numbers, default)
    newest = max(_named(profile, numbers))
    beyond = RET_ERRNO | errno.ENOSYS if _refuses(default) else default
    ranges = _ranges({nr: _verdict(rows, default) for nr, rows in rules.items()}, default, newest, beyond)
    code: Code = [(_LOAD, 0, 0, _NR_OFFSET)]
    if table == "x86_64":
        refusal = default if default in (RET_KILL_THREAD, RET_KILL_PROCESS) else RET_ERRNO | errno.ENOSYS
        code += [(_JGE, 0, 1, _X32_BIT), (_RET, 0, 0, refusal)]
    return code + _tree(ranges)


def _refuses(action: int) -> bool:
    return action & 0xFFFF0000 == RET_ERRNO and action != RET_ERRNO | errno.ENOSYS


def _named(profile: Mapping[str, Any], numbers: Mapping[str, int]) -> list[int]:
    found = [numbers[n] for rule in profile.get("syscalls") or () for n in rule.get("names") or () if n in numbers]
    return [0, *(n for n in found if n < 0xF0000)]  # arm has a few private calls far above the others


def _rules(profile: Mapping[str, Any], numbers: Mapping[str, int], default: int) -> dict[int, list[tuple[int, Any]]]:
    """Number → [(action, tests)] in the profile's order."""
    found: dict[int, list[tuple[int, Any]]] = {}
    for rule in profile.get("syscalls") or ():
        action = _action(rule.get("action", ""), rule.get("errnoRet"))
        if action == default:
            continue
        tests = [(a["index"], a["value"], a.get("valueTwo") or 0, a["op"]) for a in rule.get("args") or ()]
        indices = [t[0] for t in tests]
        groups = [[t] for t in tests] if len(set(indices)) < len(indices) else [tests]
        for name in rule.get("names") or ():
            if name in numbers:
                found.setdefault(numbers[name], []).extend((action, tuple(group)) for group in groups)
    return found


def _verdict(rows: Sequence[tuple[int, Any]], default: int) -> tuple[tuple[int, int, int, int], ...]:
    """The code that decides about one call, as a value that can be compared."""
    code: Code = []
    for action, tests in rows:
        block: Code = [one for test in tests for one in _test(*test)]
        block.append((_RET, 0, 0, action))
        for at, (op, true, false, k) in enumerate(block):
            skip = len(block) - at - 1
            code.append((op, skip if true == _FAIL else true, skip if false == _FAIL else false, k))
        if not tests:
            return tuple(code)
    code.append((_RET, 0, 0, default))
    return tuple(code)


def _test(index: int, value: int, second: int, op: str) -> Code:
    """One comparison of a 64-bit argument, in halves: falls through when it holds, jumps to _FAIL when not."""
    if not 0 <= index <= 5:
        raise error(errno.EINVAL, detail=f"a system call has no argument {index}")
    low = _ARGS_OFFSET + 8 * index
    high = low + 4
    vh, vl = value >> 32 & _LOW, value & _LOW
    first, last = (_LOAD, 0, 0, high), (_LOAD, 0, 0, low)
    if op == "SCMP_CMP_EQ":
        return [first, (_JEQ, 0, _FAIL, vh), last, (_JEQ, 0, _FAIL, vl)]
    if op == "SCMP_CMP_NE":
        return [first, (_JEQ, 0, 2, vh), last, (_JEQ, _FAIL, 0, vl)]
    if op in ("SCMP_CMP_GT", "SCMP_CMP_GE"):
        return [first, (_JGT, 3, 0, vh), (_JEQ, 0, _FAIL, vh), last, (_JGT if op[-1] == "T" else _JGE, 0, _FAIL, vl)]
    if op in ("SCMP_CMP_LT", "SCMP_CMP_LE"):
        return [first, (_JGT, _FAIL, 0, vh), (_JEQ, 0, 2, vh), last, (_JGE if op[-1] == "T" else _JGT, _FAIL, 0, vl)]
    if op == "SCMP_CMP_MASKED_EQ":  # value is the mask, valueTwo what must be left
        return [first, (_AND, 0, 0, vh), (_JEQ, 0, _FAIL, second >> 32 & _LOW),
                last, (_AND, 0, 0, vl), (_JEQ, 0, _FAIL, second & _LOW)]
    raise error(errno.EINVAL, detail=f"unknown seccomp operator {op!r}")


def _ranges(verdicts: Mapping[int, Any], default: int, newest: int, beyond: int) -> list[tuple[int, Any]]:
    """[(first number, code)]: each goes up to the next one's first. Neighbours with the same code are one range."""
    plain = ((_RET, 0, 0, default),)
    rows: list[tuple[int, Any]] = []
    next_free = 0
    for nr in sorted(verdicts):
        if nr > next_free:
            rows += _gap(next_free, nr, newest, plain, ((_RET, 0, 0, beyond),))
        rows.append((nr, verdicts[nr]))
        next_free = nr + 1
    rows += _gap(next_free, _X32_BIT, newest, plain, ((_RET, 0, 0, beyond),))
    merged: list[tuple[int, Any]] = []
    for first, code in rows:
        if not merged or merged[-1][1] != code:
            merged.append((first, code))
    return merged


def _gap(first: int, end: int, newest: int, plain: Any, beyond: Any) -> list[tuple[int, Any]]:
    """Numbers without a rule: the default up to the newest call the profile names, ENOSYS above."""
    if first > newest:
        return [(first, beyond)]
    return [(first, plain), (newest + 1, beyond)] if end > newest + 1 else [(first, plain)]


def _tree(ranges: Sequence[tuple[int, Any]]) -> Code:
    """Binary search; a jump reaches 255 instructions, farther ones go by way of JA."""
    if len(ranges) == 1:
        return list(ranges[0][1])
    half = len(ranges) // 2
    left, right = _tree(ranges[:half]), _tree(ranges[half:])
    pivot = ranges[half][0]
    if len(left) <= 255:
        return [(_JGE, len(left), 0, pivot), *left, *right]
    return [(_JGE, 0, 1, pivot), (_JA, 0, 0, len(left)), *left, *right]
