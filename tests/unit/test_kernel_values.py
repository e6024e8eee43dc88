"""The pure parts of the kernel room: names and masks, limits → writes, device rules, what is refused before the
kernel is asked."""

from __future__ import annotations

import errno
import json
import struct
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wharfie.kernel import bpf, caps, cgroup_limits, cgroups, overlay, process, rlimits


def test_capability_names() -> None:
    assert caps.parse("CAP_SYS_ADMIN") == caps.parse("sys_admin") == 21
    assert caps.NAMES[caps.parse("checkpoint_restore")] == "CAP_CHECKPOINT_RESTORE"
    assert caps.names(caps.mask(["KILL", "CAP_CHOWN"])) == ["CAP_CHOWN", "CAP_KILL"]
    assert caps.names(1 << 63) == ["CAP_63"]
    with pytest.raises(OSError, match="unknown capability 'CAP_NONE'"):
        caps.mask(["CAP_NONE"])


@pytest.mark.parametrize("pid", [1, 0, -1])
def test_no_pidfd_for_init_and_below(pid: int) -> None:
    with pytest.raises(OSError, match="no pidfd") as caught:
        process.pidfd_open(pid)
    assert caught.value.errno == errno.EINVAL
    with pytest.raises(OSError, match="Bad file descriptor"):
        process.pidfd_send_signal(-1, 9)


def test_rlimit_names() -> None:
    assert rlimits.parse("nofile") == rlimits.parse("RLIMIT_NOFILE") == 7
    with pytest.raises(OSError, match="unknown limit 'files'"):
        rlimits.parse("files")


def test_rootfs_survives_json() -> None:
    one = overlay.Rootfs(("/b", "/a"), "/u", "/w", overlay.IdMap(((0, 100000, 65536),), ((0, 100000, 65536),)), True)
    assert overlay.Rootfs.from_dict(json.loads(json.dumps(one.asdict()))) == one
    assert overlay.Rootfs.from_dict({"lowers": []}) == overlay.Rootfs(())


def _plan(resources: dict[str, Any], v1: str = "", v2: str = "") -> list[tuple[str, str]]:
    on_v2 = v2.split()
    has = {*v1.split(), *on_v2, *(["blkio"] if "io" in on_v2 else [])}
    made = cgroup_limits.plan(
        resources, lambda c: c in has, unified=lambda c: ("io" if c == "blkio" else c) in on_v2
    )
    assert all(w.unified == (w.controller in on_v2) for w in made)
    return [(w.file, w.value) for w in made]


def test_memory_and_swap() -> None:
    wanted = {"memory": {"limit": 64 << 20, "swap": 128 << 20, "reservation": 1 << 20}}
    assert _plan(wanted, v1="memory") == [
        ("memory.memsw.limit_in_bytes", "-1"),
        ("memory.limit_in_bytes", "67108864"),
        ("memory.memsw.limit_in_bytes", "134217728"),
        ("memory.soft_limit_in_bytes", "1048576"),
    ]
    assert _plan(wanted, v2="memory") == [
        ("memory.max", "67108864"), ("memory.swap.max", "67108864"), ("memory.low", "1048576"),
    ]
    assert _plan({"memory": {"limit": -1, "swap": -1}}, v2="memory") == [
        ("memory.max", "max"), ("memory.swap.max", "max"),
    ]
    assert _plan({"memory": {"limit": 0}}, v1="memory") == []
    with pytest.raises(OSError, match="cannot be less than the memory limit"):
        _plan({"memory": {"limit": 100, "swap": 50}}, v2="memory")


def test_cpu_and_pids() -> None:
    wanted = {"cpu": {"shares": 512, "quota": 50_000, "period": 100_000, "cpus": "0-1"}, "pids": {"limit": 100}}
    assert _plan(wanted, v1="cpu cpuset pids") == [
        ("cpu.shares", "512"), ("cpu.cfs_period_us", "100000"), ("cpu.cfs_quota_us", "50000"),
        ("cpuset.cpus", "0-1"), ("pids.max", "100"),
    ]
    assert _plan(wanted, v2="cpu cpuset pids") == [
        ("cpu.weight", "20"), ("cpu.max", "50000 100000"), ("cpuset.cpus", "0-1"), ("pids.max", "100"),
    ]
    assert _plan({"cpu": {"quota": -1}}, v2="cpu") == [("cpu.max", "max 100000")]
    assert _plan({"pids": {"limit": -1}}, v1="pids") == [("pids.max", "max")]
    assert [cgroup_limits.weight_of_shares(s) for s in (2, 1024, 262_144)] == [1, 39, 10_000]


def test_hybrid_takes_each_limit_where_its_controller_is() -> None:
    wanted = {"memory": {"limit": 1 << 20}, "hugepageLimits": [{"pageSize": "2MB", "limit": 0}]}
    assert _plan(wanted, v1="memory", v2="hugetlb") == [("memory.limit_in_bytes", "1048576"), ("hugetlb.2MB.max", "0")]


@pytest.mark.parametrize(
    ("resources", "words"),
    [
        ({"memory": {"limit": 1}}, "the memory limit cannot be kept: this host has no memory"),
        ({"cpu": {"cpus": "0"}}, "the cpu set cannot be kept: this host has no cpuset"),
        ({"pids": {"limit": 5}}, "the process limit cannot be kept: this host has no pids"),
        ({"unified": {"memory.high": "1"}}, "memory.high cannot be kept"),
        ({"unified": {"memory/../x": "1"}}, "cannot be kept"),
    ],
)
def test_a_limit_without_its_controller_is_named(resources: dict[str, Any], words: str) -> None:
    with pytest.raises(OSError, match=words) as caught:
        _plan(resources)
    assert caught.value.errno == errno.EOPNOTSUPP


def test_layout_of_other_hosts(tmp_path: Any) -> None:
    info, own = tmp_path / "mountinfo", tmp_path / "cgroup"
    info.write_text("30 29 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n")
    own.write_text("0::/user.slice/x.scope\n")
    layout = cgroups.detect(str(info), str(own))
    assert (layout.mode, layout.v2, layout.v2_own) == ("v2", "/sys/fs/cgroup", "/user.slice/x.scope")
    info.write_text(
        "31 29 0:27 / /cg/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
        "32 29 0:28 / /cg/mem\\040ory rw - cgroup cgroup rw,memory\n"
        "33 29 0:29 / /cg/systemd rw - cgroup cgroup rw,xattr,name=systemd\n"
    )
    own.write_text("5:cpu,cpuacct:/a\n4:memory:/b\n")
    layout = cgroups.detect(str(info), str(own))
    assert layout.mode == "v1"
    assert layout.v1 == (
        cgroups.Hierarchy(("cpu", "cpuacct"), "/cg/cpu,cpuacct", "/a"),
        cgroups.Hierarchy(("memory",), "/cg/mem ory", "/b"),
    )
    group = cgroups.Cgroup("/w/c", layout)
    assert group.directories == ["/cg/cpu,cpuacct/w/c", "/cg/mem ory/w/c"]
    info.write_text("")
    assert cgroups.detect(str(info), str(own)).mode == "none"


def test_cgroup_paths_stay_below_the_root() -> None:
    for path in ("a/b", "/a/../../b", ""):
        with pytest.raises(OSError, match="Invalid argument"):
            cgroups.Cgroup(path, cgroups.Layout("none"))


def test_device_lines_for_v1() -> None:
    rules = [
        {"allow": False, "access": "rwm"},
        {"allow": True, "type": "c", "major": 1, "minor": 3, "access": "rwm"},
        {"allow": True, "type": "c", "major": 136, "minor": -1, "access": "rw"},
        {"allow": True, "type": "a", "major": 7, "access": "r"},
    ]
    assert cgroup_limits.device_lines(rules) == [
        ("deny", "a"), ("allow", "c 1:3 rwm"), ("allow", "c 136:* rw"), ("allow", "b 7:* r"), ("allow", "c 7:* r"),
    ]


def _ebpf(program: bytes, kind: int, access: int, major: int, minor: int) -> int:
    """Run the few eBPF instructions that device programs use."""
    context = struct.pack("=III", kind | access << 16, major, minor)
    r = [0] * 11
    at = 0
    while True:
        op, registers, off, imm = struct.unpack_from("=BBhi", program, 8 * at)
        dst, src = registers & 15, registers >> 4
        at += 1
        match op:
            case 0x61:
                r[dst] = struct.unpack_from("=I", context, off)[0]
            case 0xB7:
                r[dst] = imm
            case 0xBC:
                r[dst] = r[src] & 0xFFFFFFFF
            case 0x54:
                r[dst] &= imm
            case 0x74:
                r[dst] >>= imm
            case 0x55:
                at += off if r[dst] != imm else 0
            case 0x95:
                return r[0]
            case _:
                raise AssertionError(f"opcode {op:#x}")


NUMBERS = st.sampled_from([-1, 0, 1, 3])
DEVICE_RULES = st.lists(
    st.fixed_dictionaries({
        "allow": st.booleans(), "type": st.sampled_from(["a", "b", "c"]), "major": NUMBERS, "minor": NUMBERS,
        "access": st.sampled_from(["r", "w", "rw", "rwm", "m"]),
    }),
    max_size=6,
)


@settings(max_examples=200, deadline=None)
@given(DEVICE_RULES, st.sampled_from([1, 2]), st.integers(1, 7), st.integers(0, 3), st.integers(0, 3))
def test_device_program_lets_the_last_match_win(
    rules: list[Any], kind: int, access: int, major: int, minor: int
) -> None:
    expected = 0
    for rule in rules:
        granted = sum({"m": 1, "r": 2, "w": 4}[letter] for letter in rule["access"])
        covers = access & ~granted == 0
        if (
            rule["type"] in ("a", {1: "b", 2: "c"}[kind]) and covers
            and rule["major"] in (-1, major) and rule["minor"] in (-1, minor)
        ):
            expected = int(rule["allow"])
    assert _ebpf(bpf.device_program(rules), kind, access, major, minor) == expected


COLD = ("re", "typing", "dataclasses", "pathlib", "logging", "subprocess", "asyncio", "enum", "socket", "json")


def test_importing_the_room_is_cheap() -> None:
    program = (
        "import sys\nfrom wharfie.kernel import (bpf, caps, cgroups, fds, hostname, memfd, mounts, namespaces, overlay,"
        " process, pty, rlimits, seccomp, sockets, walk, xattrs)\n"
        f"print([m for m in {COLD!r} if m in sys.modules])"
    )
    path = ":".join(p for p in sys.path if p)
    done = subprocess.run(
        [sys.executable, "-S", "-c", program], capture_output=True, text=True, env={"PYTHONPATH": path}, check=True
    )
    assert done.stdout.strip() == "[]"
