"""The seccomp compiler against a second opinion: a small BPF machine runs the program, a plain reading of the profile
says what must come out."""

from __future__ import annotations

import errno
import struct
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wharfie.kernel import seccomp, syscall_table
from wharfie.oci import seccomp_default

X86_64, I386, AARCH64 = 0xC000003E, 0x40000003, 0xC00000B7
ALLOW, ENOSYS, EPERM = seccomp.RET_ALLOW, seccomp.RET_ERRNO | errno.ENOSYS, seccomp.RET_ERRNO | errno.EPERM
NR = syscall_table.numbers("x86_64")
DOCKER_CAPS = [
    "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FSETID", "CAP_FOWNER", "CAP_MKNOD", "CAP_NET_RAW", "CAP_SETGID", "CAP_SETUID",
    "CAP_SETFCAP", "CAP_SETPCAP", "CAP_NET_BIND_SERVICE", "CAP_SYS_CHROOT", "CAP_KILL", "CAP_AUDIT_WRITE",
]


def run(program: bytes, arch: int, nr: int, *args: int) -> int:
    """Execute classic BPF over one struct seccomp_data, as net/core/filter.c does."""
    words = [a & (1 << 64) - 1 for a in (*args, 0, 0, 0, 0, 0, 0)[:6]]
    data = struct.pack("=IIQ6Q", nr, arch, 0, *words)
    code = list(struct.iter_unpack("=HBBI", program))
    at = accumulator = 0
    while True:
        op, true, false, k = code[at]
        at += 1
        match op:
            case 0x20:
                accumulator = struct.unpack_from("=I", data, k)[0]
            case 0x54:
                accumulator &= k
            case 0x05:
                at += k
            case 0x15:
                at += true if accumulator == k else false
            case 0x25:
                at += true if accumulator > k else false
            case 0x35:
                at += true if accumulator >= k else false
            case 0x06:
                return k
            case _:
                raise AssertionError(f"opcode {op:#x}")


def holds(test: dict[str, Any], args: tuple[int, ...]) -> bool:
    value = args[test["index"]] & (1 << 64) - 1
    wanted, second = test["value"], test.get("valueTwo", 0)
    return {
        "SCMP_CMP_EQ": value == wanted,
        "SCMP_CMP_NE": value != wanted,
        "SCMP_CMP_LT": value < wanted,
        "SCMP_CMP_LE": value <= wanted,
        "SCMP_CMP_GT": value > wanted,
        "SCMP_CMP_GE": value >= wanted,
        "SCMP_CMP_MASKED_EQ": value & wanted == second,
    }[test["op"]]


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_dockers_profile_fits_and_covers_its_own_names(machine: str) -> None:
    profile = seccomp_default.resolve(DOCKER_CAPS, machine, (6, 18))
    program = seccomp.compile(profile, machine)
    assert len(program) // 8 < 1500
    audit = {"x86_64": X86_64, "aarch64": AARCH64}[machine]
    numbers = syscall_table.numbers(machine)
    for rule in profile["syscalls"]:
        for name in rule["names"]:
            if name in numbers and rule["action"] == "SCMP_ACT_ALLOW" and not rule.get("args"):
                assert run(program, audit, numbers[name]) == ALLOW, name


def test_dockers_profile_decides_as_documented() -> None:
    program = seccomp.compile(seccomp_default.resolve(DOCKER_CAPS, "x86_64", (6, 18)), "x86_64")

    def ask(name: str, *args: int, arch: int = X86_64) -> int:
        return run(program, arch, NR[name], *args)

    assert ask("read") == ALLOW
    assert ask("mount") == EPERM
    assert ask("keyctl") == EPERM
    assert ask("clone3") == ENOSYS
    assert ask("clone", 0x11) == ALLOW
    assert ask("clone", 0x10000011) == EPERM
    assert ask("personality", 0xFFFFFFFF) == ALLOW
    assert ask("personality", 7) == EPERM
    assert [ask("socket", family) for family in (2, 38, 39, 40, 41)] == [ALLOW, EPERM, ALLOW, EPERM, ALLOW]
    assert run(program, X86_64, 0x40000000 | NR["getpid"]) == ENOSYS
    assert run(program, X86_64, 5000) == ENOSYS
    assert run(program, I386, syscall_table.numbers("i386")["getpid"]) == ALLOW
    assert run(program, AARCH64, 172) == seccomp.RET_KILL_PROCESS


def test_unlisted_architecture_is_killed_and_native_always_there() -> None:
    program = seccomp.compile({"defaultAction": "SCMP_ACT_ALLOW"}, "x86_64")
    assert run(program, X86_64, 1) == ALLOW
    assert run(program, X86_64, 9999) == ALLOW
    assert run(program, X86_64, 0x40000001) == ENOSYS
    assert run(program, I386, 1) == seccomp.RET_KILL_PROCESS


@pytest.mark.parametrize(
    ("action", "extra", "expected"),
    [
        ("SCMP_ACT_KILL", {}, 0),
        ("SCMP_ACT_KILL_PROCESS", {}, 0x80000000),
        ("SCMP_ACT_TRAP", {}, 0x30000),
        ("SCMP_ACT_ERRNO", {}, EPERM),
        ("SCMP_ACT_ERRNO", {"errnoRet": 0}, 0x50000),
        ("SCMP_ACT_ERRNO", {"errnoRet": 38}, ENOSYS),
        ("SCMP_ACT_LOG", {}, 0x7FFC0000),
        ("SCMP_ACT_TRACE", {"errnoRet": 5}, 0x7FF00005),
    ],
)
def test_actions(action: str, extra: dict[str, int], expected: int) -> None:
    rule = {"names": ["chmod", "no_such_call"], "action": action, **extra}
    profile = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]}
    assert run(seccomp.compile(profile, "x86_64"), X86_64, NR["chmod"]) == expected
    assert seccomp.unknown(profile, "x86_64") == ["no_such_call"]


def test_several_tests_of_one_argument_are_alternatives() -> None:
    tests = [{"index": 0, "value": v, "op": "SCMP_CMP_EQ"} for v in (3, 5)]
    profile = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["dup"], "action": "SCMP_ACT_ERRNO", "args": tests}],
    }
    program = seccomp.compile(profile, "x86_64")
    assert [run(program, X86_64, NR["dup"], v) for v in (3, 4, 5)] == [EPERM, ALLOW, EPERM]


OPERATORS = ["EQ", "NE", "LT", "LE", "GT", "GE", "MASKED_EQ"]
EDGES = [0, 1, 2, 0xFFFFFFFE, 0xFFFFFFFF, 1 << 32, (1 << 32) + 1, (1 << 63), (1 << 64) - 1]
VALUES = st.one_of(st.sampled_from(EDGES), st.integers(0, (1 << 64) - 1))
TESTS = st.builds(
    lambda i, v, w, o: {"index": i, "value": v, "valueTwo": w, "op": f"SCMP_CMP_{o}"},
    st.integers(0, 5), VALUES, VALUES, st.sampled_from(OPERATORS),
)
RULES = st.lists(
    st.tuples(
        st.sampled_from(["read", "openat2", "personality", "clone3"]),
        st.sampled_from(["SCMP_ACT_ALLOW", "SCMP_ACT_LOG", "SCMP_ACT_TRAP"]),
        st.lists(TESTS, max_size=3, unique_by=lambda t: t["index"]),
    ),
    max_size=5,
)


@settings(max_examples=200, deadline=None)
@given(RULES, st.tuples(*[VALUES] * 6))
def test_compiler_agrees_with_a_plain_reading(rules: list[Any], args: tuple[int, ...]) -> None:
    profile = {
        "defaultAction": "SCMP_ACT_ERRNO",
        "syscalls": [{"names": [n], "action": a, "args": tests} for n, a, tests in rules],
    }
    program = seccomp.compile(profile, "x86_64")
    newest = max([0, *(NR[n] for n, _, _ in rules)])
    for name in ("read", "openat2", "personality", "clone3", "getpid"):
        expected = EPERM if NR[name] <= newest else ENOSYS
        for rule_name, action, tests in rules:
            if rule_name == name and all(holds(t, args) for t in tests):
                expected = seccomp._ACTIONS[action]
                break
        assert run(program, X86_64, NR[name], *args) == expected


@pytest.mark.parametrize(
    "profile",
    [
        {"defaultAction": "SCMP_ACT_MAYBE"},
        {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["read"], "action": ""}]},
        {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
            {"names": ["read"], "action": "SCMP_ACT_TRAP", "args": [{"index": 6, "value": 0, "op": "SCMP_CMP_EQ"}]}]},
        {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
            {"names": ["read"], "action": "SCMP_ACT_TRAP", "args": [{"index": 0, "value": 0, "op": "=="}]}]},
    ],
)
def test_nonsense_is_refused(profile: dict[str, Any]) -> None:
    with pytest.raises(OSError, match=r"seccomp|argument") as caught:
        seccomp.compile(profile, "x86_64")
    assert caught.value.errno == errno.EINVAL


def test_tables() -> None:
    assert NR["read"] == 0
    assert syscall_table.numbers("aarch64")["openat2"] == NR["openat2"] == 437
    named = {n for r in seccomp_default.resolve(DOCKER_CAPS, "x86_64", (6, 18))["syscalls"] for n in r["names"]}
    assert named - NR.keys() - syscall_table.numbers("i386").keys() <= {"recv", "send", "riscv_hwprobe"}
