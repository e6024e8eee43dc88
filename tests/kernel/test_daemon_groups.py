"""The engine's control groups leave with it: whatever ends when, nothing of them stays that nobody lives in."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import pytest

from tests.hosts import IMAGE, Daemon, busybox_files, tar_of
from tests.inventory import cgroups_of as left
from tests.kernel.kernel_cell import in_child
from wharfie.base.paths import DataRoot
from wharfie.daemon import host
from wharfie.kernel import cgroups

pytestmark = pytest.mark.needs("root")


def sleeper(seconds: float, group: cgroups.Cgroup) -> int:
    """A child in a group that ends by itself."""
    pid = os.fork()
    if not pid:
        time.sleep(seconds)
        os._exit(0)
    group.join(pid)
    return pid


def own_groups(parent: str = "") -> host.Groups:
    return host.Groups(f"{parent}/wt-groups-{os.getpid()}", cgroups.detect())


def timed(work: Callable[[], object]) -> float:
    began = time.monotonic()
    work()
    return time.monotonic() - began


def test_who_is_just_ending_is_waited_for() -> None:
    def work() -> tuple[list[str], float]:
        made = own_groups()
        made.make()
        assert made.usable
        for name in ("shims", "engine"):
            sleeper(0.3, cgroups.Cgroup(f"{made.base}/{name}", made.layout))
        took = timed(made.leave)
        return left(os.path.basename(made.base)), took

    stays, took = in_child(work)
    assert stays == []
    assert took >= 0.2


@pytest.mark.parametrize("told", [True, False])
def test_with_living_containers_nobody_waits(told: bool) -> None:
    """Whether the engine says so (a container can live below a parent of its own) or the groups do."""

    def work() -> list[object]:
        made = own_groups()
        made.make()
        made.inhabited = told
        shims = cgroups.Cgroup(f"{made.base}/shims", made.layout)
        entered = cgroups.Cgroup(f"{made.containers}/about-to-be-entered", made.layout)
        entered.create()
        pids = [sleeper(30, shims)]
        if not told:
            living = cgroups.Cgroup(f"{made.containers}/living", made.layout)
            living.create()
            pids.append(sleeper(30, living))
        try:
            took = timed(made.leave)
            return [took, shims.exists(), entered.exists(), left(f"{os.path.basename(made.base)}/engine")]
        finally:
            for pid in pids:
                fd = os.pidfd_open(pid)
                signal.pidfd_send_signal(fd, signal.SIGKILL)
                os.close(fd)
                os.waitpid(pid, 0)
            made.inhabited = False
            made.leave()
            assert left(os.path.basename(made.base)) == []

    took, shims, entered, engine = in_child(work)
    assert shims
    assert entered
    assert engine == []
    assert took < host.LEAVE_SECONDS


def test_who_does_not_end_is_not_waited_for_ever() -> None:
    def work() -> float:
        made = own_groups()
        made.make()
        pid = sleeper(30, cgroups.Cgroup(f"{made.base}/shims", made.layout))
        took = timed(made.leave)
        fd = os.pidfd_open(pid)
        signal.pidfd_send_signal(fd, signal.SIGKILL)
        os.close(fd)
        os.waitpid(pid, 0)
        made.leave()
        assert left(os.path.basename(made.base)) == []
        return took

    assert host.LEAVE_SECONDS <= in_child(work) < 5 * host.LEAVE_SECONDS


def test_what_a_rehearsal_left_goes_at_the_next_start_and_at_the_end() -> None:
    def work() -> list[list[str]]:
        made = own_groups()
        made.make()
        word = os.path.basename(made.base)
        for name in ("engine", "shims"):
            cgroups.Cgroup(f"{made.base}/{name}/rehearsal", made.layout).create()
        there = left("rehearsal")
        made.make()
        after_start = left("rehearsal")
        cgroups.Cgroup(f"{made.base}/shims/rehearsal", made.layout).create()
        made.leave()
        return [there, after_start, left(word)]

    there, after_start, after_end = in_child(work)
    assert there
    assert after_start == []
    assert after_end == []


def test_a_parent_that_an_engine_made_goes_with_the_last_one() -> None:
    def work() -> list[list[str]]:
        parent = f"/wt-parent-{os.getpid()}"
        first = own_groups(f"{parent}/deep")
        second = host.Groups(f"{parent}/deep/wt-second", first.layout)
        first.make()
        second.make()
        first.leave()
        with_second = left(first.base, second.base)
        again = host.Groups(second.base, second.layout)  # a later life knows what an earlier one has made
        again.make()
        again.leave()
        return [with_second, left(parent)]

    with_second, after = in_child(work)
    assert with_second
    assert not [d for d in with_second if "wt-groups" in d]
    assert after == []


def test_a_parent_that_was_there_before_stays() -> None:
    def work() -> list[bool]:
        old = cgroups.Cgroup(f"/wt-old-{os.getpid()}")
        old.create()
        try:
            made = own_groups(f"{old.path}/new")
            made.make()
            made.leave()
            return [os.path.isdir(d) for d in old.directories] + [d == "" for d in left(f"{old.path}/")]
        finally:
            old.delete()

    stays = in_child(work)
    assert stays
    assert all(stays)


@pytest.fixture
def daemon() -> Iterator[Daemon]:
    made = Daemon()
    made.network_up()
    try:
        yield made
    finally:
        made.away()


def instance(daemon: Daemon) -> str:
    return DataRoot(str(daemon.data)).instance


def test_a_daemon_that_fails_leaves_none(daemon: Daemon) -> None:
    """Before its zygote is there (no place for the socket), and after (no such bridge)."""
    before = set(left("/wharfie-"))
    for flags, words in (
        (("-H", "unix:///proc/nowhere/s"), "/proc/nowhere"),
        (("-H", daemon.host, "--bridge", "nosuch0"), "bridge nosuch0 (--bridge) does not exist"),
    ):
        done = subprocess.run(
            daemon.inside(sys.executable, "-m", "wharfie.daemon", "--data-root", str(daemon.data), "--exec-root",
                          str(daemon.run), "--cgroup-parent", f"wt-parent-{daemon.namespace}", *flags),
            capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL)
        assert done.returncode == 1, done.stderr
        assert words in done.stderr
        assert left(instance(daemon), f"wt-parent-{daemon.namespace}") == [], done.stderr
    assert set(left("/wharfie-")) <= before


@pytest.mark.needs("busybox")
def test_told_to_leave_while_the_last_shim_ends(daemon: Daemon) -> None:
    daemon.start()
    daemon.docker("import", "-", IMAGE, stdin=tar_of(busybox_files()))
    for _ in range(5):
        names = [daemon.docker("run", "-d", IMAGE, "sleep", "1000").strip() for _ in range(3)]
        daemon.docker("kill", *names)
        daemon.kill(signal.SIGTERM)
        assert left(instance(daemon)) == []
        daemon.start()
    daemon.kill(signal.SIGKILL)
    daemon.start()
    daemon.kill(signal.SIGTERM)
    assert left(instance(daemon)) == []
