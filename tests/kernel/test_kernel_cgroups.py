"""Control groups on this host's own hierarchies, and on a v2 view without controllers in a private mount namespace."""

from __future__ import annotations

import errno
import os
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.kernel.kernel_cell import errno_of, in_child
from wharfie.kernel import bpf, cgroups, mounts, namespaces, process

pytestmark = pytest.mark.needs("root")
NULL_ONLY = [
    {"allow": False, "access": "rwm"},
    {"allow": True, "type": "c", "major": 1, "minor": 3, "access": "rwm"},
]


def _group(name: str, layout: cgroups.Layout | None = None) -> cgroups.Cgroup:
    return cgroups.Cgroup(f"/wharfie-test-{os.getpid()}/{name}", layout)


@pytest.fixture
def group() -> Iterator[cgroups.Cgroup]:
    made = _group("c")
    yield made
    if made.exists():
        made.kill()
    made.delete()
    cgroups.Cgroup(os.path.dirname(made.path), made.layout).delete()


def _sleeper(group: cgroups.Cgroup, children: int = 2) -> tuple[int, int]:
    """A process born in the group the fast way, with children."""
    joins, directory = group.open_joins(), group.open_dir()
    pid, pidfd = namespaces.clone3(0, cgroup=directory)
    if pid == 0:
        cgroups.join_by(joins)
        for _ in range(children):
            if os.fork() == 0:
                break
        time.sleep(60)
        os._exit(0)
    for fd in (*joins, directory):
        if fd >= 0:
            os.close(fd)
    _until(lambda: len(group.pids()) == children + 1)
    return pid, pidfd


def _until(condition: Any, seconds: float = 10) -> None:
    limit = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < limit
        time.sleep(0.01)


def _life(group: cgroups.Cgroup) -> None:
    group.create()
    group.create()
    pid, pidfd = _sleeper(group)
    try:
        assert pid in group.pids()
        own = cgroups.detect(own=f"/proc/{pid}/cgroup")
        assert own.v2_own.endswith(group.path) or not group.v2
        assert all(h.own == group.path for h in own.v1)
        group.freeze()
        assert group.is_frozen()
        group.thaw()
        assert not group.is_frozen()
        assert errno_of(lambda: group.delete(patience=0.05)) == errno.EBUSY
        group.kill()
        assert process.waitid_pidfd(pidfd, block=True) == ("killed", 9)
    finally:
        os.close(pidfd)
    _until(lambda: not group.populated())
    group.delete()
    group.delete()
    assert not group.exists()


def test_a_life_on_this_host(group: cgroups.Cgroup) -> None:
    _life(group)


def test_frozen_processes_can_be_killed(group: cgroups.Cgroup) -> None:
    group.create()
    _, pidfd = _sleeper(group)
    group.freeze()
    group.kill()
    assert process.waitid_pidfd(pidfd, block=True) == ("killed", 9)
    os.close(pidfd)


@pytest.mark.skipif("freezer" not in _group("x").v1, reason="no v1 freezer here")
def test_a_life_on_v1_alone(group: cgroups.Cgroup) -> None:
    layout = group.layout.replace(mode="v1", v2="", v2_controllers=())
    alone = cgroups.Cgroup(group.path, layout)
    _life(alone)
    alone.create()
    _, pidfd = _sleeper(alone)
    alone.freeze()
    alone.kill()
    assert process.waitid_pidfd(pidfd, block=True) == ("killed", 9)
    os.close(pidfd)


def test_limits_hold(group: cgroups.Cgroup) -> None:
    group.create()
    if not all(group.layout.has(c) for c in ("memory", "pids", "cpu")):
        pytest.skip("this host lacks one of the memory, pids and cpu controllers")
    group.apply({
        "memory": {"limit": 32 << 20, "swap": 32 << 20}, "pids": {"limit": 5},
        "cpu": {"quota": 20_000, "period": 100_000, "shares": 512},
    })
    group.apply({"memory": {"limit": 48 << 20, "swap": 48 << 20}})
    group.apply({"memory": {"limit": 32 << 20, "swap": 32 << 20}})
    stats = group.stats()
    assert (stats["memory"]["limit"], stats["pids"]["limit"]) == (32 << 20, 5)

    def forks() -> int:
        group.join()
        for _ in range(4):
            if os.fork() == 0:
                process.close_range(3)
                time.sleep(60)
                os._exit(0)
        return errno_of(os.fork)

    assert in_child(forks) == errno.EAGAIN
    group.kill()
    _until(lambda: not group.populated())
    group.create()
    assert "limit" not in group.stats()["memory"]
    group.apply({"memory": {"limit": 32 << 20, "swap": 32 << 20}})

    joins, directory = group.open_joins(), group.open_dir()
    pid, pidfd = namespaces.clone3(0, cgroup=directory)
    if pid == 0:
        cgroups.join_by(joins)
        hog = [b"x" * (1 << 20) for _ in range(100)]
        os._exit(len(hog))
    assert process.waitid_pidfd(pidfd, block=True) == ("killed", 9)
    assert group.oom_count() >= 1
    for fd in (*joins, directory, pidfd):
        if fd >= 0:
            os.close(fd)


def test_stats_count(group: cgroups.Cgroup) -> None:
    group.create()
    _, pidfd = _sleeper(group)
    stats = group.stats()
    assert stats["cpu"]["total"] > 0
    if group.layout.has("pids"):
        assert stats["pids"]["current"] == 3
    if group.layout.has("memory"):
        assert stats["memory"]["usage"] > 0
        assert stats["memory"]["stats"]
    group.kill()
    process.waitid_pidfd(pidfd, block=True)
    os.close(pidfd)


def test_devices_on_this_host(group: cgroups.Cgroup) -> None:
    group.create()
    group.apply({"devices": NULL_ONLY})

    def work() -> list[int]:
        group.join()
        return [errno_of(lambda p=p: os.open(p, os.O_RDWR)) for p in ("/dev/null", "/dev/zero")]

    assert in_child(work) == [0, errno.EPERM]


def test_outside_join_and_groups_below(group: cgroups.Cgroup) -> None:
    group.create()
    below = cgroups.Cgroup(f"{group.path}/below", group.layout)
    below.create()
    sleeper = subprocess.Popen(["sleep", "60"])
    below.join(sleeper.pid)
    assert group.pids() == [sleeper.pid]
    group.kill()
    sleeper.wait(10)
    group.delete()
    assert not below.exists()


def test_v2_without_controllers() -> None:
    """As where a v2 host delegates nothing: freezing, killing and device rules work, limits are refused by name."""

    def work() -> Any:
        mounts.mount(None, "/", None, mounts.MS_REC | mounts.MS_PRIVATE)
        mounts.umount2("/sys/fs/cgroup", mounts.MNT_DETACH)
        mounts.mount("cgroup2", "/sys/fs/cgroup", "cgroup2")
        layout = cgroups.detect()
        if "memory" in layout.v2_controllers:
            return ["skip"]
        assert (layout.mode, layout.v2) == ("v2", "/sys/fs/cgroup")
        group = _group("v2", layout)
        _life(group)
        group.create()
        refused = errno_of(lambda: group.apply({"memory": {"limit": 1 << 20}}))
        for rules in ([{"allow": True, "access": "rwm"}], NULL_ONLY):
            group.devices(rules)
        fd = group.open_dir()
        assert len(bpf.attached(fd)) == 1
        os.close(fd)

        def devices() -> list[int]:
            group.join()
            return [errno_of(lambda p=p: os.open(p, os.O_RDWR)) for p in ("/dev/null", "/dev/zero")]

        seen = in_child(devices)
        group.delete()
        cgroups.Cgroup(os.path.dirname(group.path), layout).delete()
        return [refused, seen, group.exists()]

    answer = in_child(work, namespaces.CLONE_NEWNS)
    if answer == ["skip"]:
        pytest.skip("this host has controllers on v2; the other tests have run on them")
    assert answer == [errno.EOPNOTSUPP, [0, errno.EPERM], False]


def test_a_wrong_value_names_the_file(group: cgroups.Cgroup) -> None:
    group.create()
    if not group.layout.has("cpuset"):
        pytest.skip("this host has no cpuset controller")
    with pytest.raises(OSError, match=r"writing '9999'") as caught:
        group.apply({"cpu": {"cpus": "9999"}})
    assert str(caught.value.filename).endswith("cpuset.cpus")
