"""Limits kept by real workloads, and what happens where they cannot be: on this host's own cgroups, on a cgroup v2 view
without controllers, and with no cgroups at all. Every test holds on v1, hybrid and v2 hosts, with CAP_SYS_RESOURCE and
without."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator

import pytest

from tests.hosts import IMAGE, Daemon

pytestmark = pytest.mark.needs("root", "busybox")

MIB = 1 << 20
SYS_RESOURCE = 24
HOG = "tail /dev/zero"  # keeps the last line of an endless one
SPIN = "while :; do :; done"

# How a daemon is started in another world: a shell that changes its own mount namespace first.
NO_CGROUPS = "umount -R /sys/fs/cgroup"
BARE_V2 = "umount -R /sys/fs/cgroup; mount -t cgroup2 cgroup2 /sys/fs/cgroup"
READ_ONLY = "for m in $(awk '$3 ~ /^cgroup/ {print $2}' /proc/mounts); do mount -o remount,bind,ro $m; done"


class Elsewhere(Daemon):
    """An engine whose mount namespace a script has changed."""

    def __init__(self, script: str) -> None:
        super().__init__()
        self.script = script

    def inside(self, *command: str) -> list[str]:
        return ["unshare", "-m", "sh", "-c", f'{self.script}; exec "$@"', "sh", *super().inside(*command)]


@pytest.fixture(scope="module")
def daemon() -> Iterator[Daemon]:
    with Daemon() as d:
        yield d


def held() -> int:
    """The capabilities that an engine started by this process has."""
    with open("/proc/self/status", encoding="ascii") as status:
        return next(int(line.split()[1], 16) for line in status if line.startswith("CapEff:"))


def refused(daemon: Daemon, *flags: str) -> str:
    """stderr of a `docker run` that the engine must refuse."""
    done = daemon.client("run", "--rm", *flags, IMAGE, "true")
    assert done.returncode == 125, done
    return done.stderr.decode()


def state(daemon: Daemon, name: str) -> dict[str, object]:
    found: dict[str, object] = json.loads(daemon.docker("inspect", "-f", "{{json .State}}", name))
    return found


# ---- memory ----


@pytest.mark.parametrize(
    ("command", "code"), [((*HOG.split(),), 137), (("sh", "-c", f"{HOG}; exit 3"), 3)], ids=["init", "child"]
)
def test_a_hog_is_killed_and_that_is_said(daemon: Daemon, command: tuple[str, ...], code: int) -> None:
    done = daemon.client("run", "--name", "hog", "--memory", "32m", IMAGE, *command)
    try:
        seen = state(daemon, "hog")
        assert (done.returncode, seen["ExitCode"], seen["OOMKilled"]) == (code, code, True), (done, seen)
    finally:
        daemon.docker("rm", "-f", "hog")


def test_who_stays_below_is_left_alone(daemon: Daemon) -> None:
    """A SIGKILL of somebody else's is no want of memory."""
    daemon.docker("run", "-d", "--name", "modest", "--memory", "32m", IMAGE, "sleep", "1000")
    try:
        daemon.docker("kill", "modest")
        daemon.docker("wait", "modest")
        seen = state(daemon, "modest")
        assert (seen["ExitCode"], seen["OOMKilled"]) == (137, False)
    finally:
        daemon.docker("rm", "-f", "modest")


def test_stats_know_the_limit(daemon: Daemon) -> None:
    daemon.docker("run", "-d", "--name", "seen", "--memory", "64m", IMAGE, "sleep", "1000")
    try:
        line = daemon.docker("stats", "--no-stream", "--format", "{{.MemUsage}} {{.PIDs}}", "seen").split()
        assert line[2:] == ["64MiB", "1"], line
    finally:
        daemon.docker("rm", "-f", "seen")


def test_memory_numbers_in_the_group(daemon: Daemon) -> None:
    """The numbers where the kernel keeps them; v1 counts memory and swap together, v2 swap alone."""
    script = """cd /sys/fs/cgroup; if [ -d memory ]; then cd memory
        cat memory.limit_in_bytes memory.soft_limit_in_bytes memory.memsw.limit_in_bytes 2>/dev/null
        else cat memory.max memory.low memory.swap.max 2>/dev/null; fi; test -e /sys/fs/cgroup/memory || echo v2"""
    flags = ("--memory", "64m", "--memory-reservation", "32m", "--memory-swap", "96m")
    if json.loads(daemon.docker("info", "-f", "{{json .SwapLimit}}")):
        said = daemon.docker("run", "--rm", *flags, IMAGE, "sh", "-c", script).split()
        assert said[:3] == [str(64 * MIB), str(32 * MIB), str((32 if "v2" in said else 96) * MIB)]
    else:
        assert "swap" in refused(daemon, *flags)


# ---- cpu, processes ----


def spent(daemon: Daemon, name: str) -> float:
    """Seconds of processor time that the container has used, by the kernel's account."""
    both = "cat /sys/fs/cgroup/cpuacct/cpuacct.usage /sys/fs/cgroup/cpu,cpuacct/cpuacct.usage /sys/fs/cgroup/cpu.stat"
    text = daemon.docker("exec", name, "sh", "-c", f"{both} 2>/dev/null; true").split()
    return int(text[1]) / 1e6 if text[0] == "usage_usec" else int(text[0]) / 1e9


def test_half_a_processor(daemon: Daemon) -> None:
    """Two busy loops get half a processor together."""
    daemon.docker("run", "-d", "--name", "busy", "--cpus", "0.5", IMAGE, "sh", "-c", f"({SPIN}) & {SPIN}")
    try:
        at, before = time.monotonic(), spent(daemon, "busy")
        time.sleep(2)
        share = (spent(daemon, "busy") - before) / (time.monotonic() - at)
        assert 0.05 < share < 0.6, share
    finally:
        daemon.docker("rm", "-f", "busy")


def test_the_eleventh_process_is_refused(daemon: Daemon) -> None:
    script = "for i in $(seq 20); do sleep 20 & done; echo all; kill %1"
    done = daemon.client("run", "--rm", "--pids-limit", "10", IMAGE, "sh", "-c", script)
    assert b"can't fork" in done.stderr, done
    assert b"all" not in done.stdout
    counting = "for i in $(seq 7); do sleep 20 & done; echo all"
    assert daemon.docker("run", "--rm", "--pids-limit", "10", IMAGE, "sh", "-c", counting) == "all\n"


def test_an_exec_counts_too(daemon: Daemon) -> None:
    daemon.docker("run", "-d", "--name", "narrow", "--pids-limit", "4", IMAGE, "sleep", "1000")
    try:
        done = daemon.client("exec", "narrow", "sh", "-c", "for i in 1 2 3 4 5; do sleep 20 & done; echo all")
        assert b"can't fork" in done.stderr, done
    finally:
        daemon.docker("rm", "-f", "narrow")


def test_an_exec_into_a_container_with_groups_of_its_own(daemon: Daemon) -> None:
    """What an init system does in its container: itself into a group, controllers for the others. v2 then lets no
    process live in the container's upper group."""
    script = """cd /sys/fs/cgroup; test -e cgroup.procs || cd unified
        mkdir init && echo 1 >init/cgroup.procs && echo "+$(sed 's/ .*//' cgroup.controllers)" >cgroup.subtree_control
        echo ready; exec sleep 1000"""
    daemon.docker("run", "-d", "--name", "nest", "--privileged", IMAGE, "sh", "-c", script)
    try:
        while "ready" not in daemon.docker("logs", "nest"):
            time.sleep(0.1)
        assert daemon.docker("exec", "nest", "echo", "in") == "in\n"
        assert len(daemon.docker("top", "nest").splitlines()) == 2
    finally:
        daemon.docker("rm", "-f", "nest")


def test_numbers_that_cannot_be(daemon: Daemon) -> None:
    assert "6MB" in refused(daemon, "--memory", "1m")
    assert "CPUs" in refused(daemon, "--cpus", "4096")
    assert "memoryswap limit" in refused(daemon, "--memory", "64m", "--memory-swap", "32m")


# ---- devices ----

MEM = "mknod /dev/m c 1 1 && : </dev/m"


def hold_devices(daemon: Daemon) -> None:
    """A made node opens nothing; a device given for reading cannot be written; a privileged container has all."""
    done = daemon.client("run", "--rm", IMAGE, "sh", "-c", MEM)
    assert b"Operation not permitted" in done.stderr, done
    given = ("run", "--rm", "--cap-add", "SYSLOG", "--device", "/dev/kmsg:/dev/given:r", IMAGE, "sh", "-c")
    assert daemon.client(*given, ": </dev/given").returncode == 0
    assert b"Operation not permitted" in daemon.client(*given, ": >/dev/given").stderr
    assert daemon.client("run", "--rm", IMAGE, "sh", "-c", "echo x >/dev/null; head -c 1 /dev/urandom").returncode == 0
    daemon.docker("run", "--rm", "--privileged", IMAGE, "sh", "-c", ": </dev/kmsg")


def test_devices_are_held(daemon: Daemon) -> None:
    hold_devices(daemon)


# ---- what the engine itself may not ----


def test_a_ulimit_above_the_engines_own(daemon: Daemon) -> None:
    with open("/proc/sys/fs/nr_open", encoding="ascii") as file:
        ceiling = int(file.read())
    assert daemon.docker("run", "--rm", "--ulimit", "nofile=100:200", IMAGE, "sh", "-c", "ulimit -n") == "100\n"
    above = ("--ulimit", f"nofile={ceiling}:{ceiling}")
    if held() >> SYS_RESOURCE & 1:
        assert daemon.docker("run", "--rm", *above, IMAGE, "sh", "-c", "ulimit -n") == f"{ceiling}\n"
        assert "fs.nr_open" in refused(daemon, "--ulimit", f"nofile={ceiling + 1}:{ceiling + 1}")
    else:
        assert "CAP_SYS_RESOURCE" in refused(daemon, *above)


def test_an_oom_score_below_the_engines_own(daemon: Daemon) -> None:
    asked = ("run", "--rm", "--oom-score-adj")
    show = (IMAGE, "cat", "/proc/self/oom_score_adj")
    assert daemon.docker(*asked, "500", *show) == "500\n"
    if held() >> SYS_RESOURCE & 1:
        assert daemon.docker(*asked, "-500", *show) == "-500\n"
    else:
        assert "CAP_SYS_RESOURCE" in refused(daemon, "--oom-score-adj", "-500")


def test_privileged_is_what_the_engine_has(daemon: Daemon) -> None:
    done = daemon.client("run", "--rm", "--privileged", IMAGE, "grep", "CapEff", "/proc/self/status")
    assert int(done.stdout.split()[1], 16) == held()
    warnings = json.loads(daemon.docker("info", "-f", "{{json .Warnings}}"))
    if held() >> SYS_RESOURCE & 1:
        assert b"CAP_SYS_RESOURCE" not in done.stderr
        assert not any("CAP_SYS_RESOURCE" in w for w in warnings)
    else:
        assert b"WARNING: the container does not get CAP_SYS_RESOURCE" in done.stderr
        assert any("CAP_SYS_RESOURCE" in w for w in warnings)
        assert "CAP_SYS_RESOURCE" in refused(daemon, "--cap-add", "SYS_RESOURCE")


def test_unused_apparmor_is_said(daemon: Daemon) -> None:
    try:
        with open("/sys/module/apparmor/parameters/enabled", encoding="ascii") as file:
            enabled = file.read(1) == "Y"
    except OSError:
        enabled = False
    warnings = json.loads(daemon.docker("info", "-f", "{{json .Warnings}}"))
    assert any("AppArmor" in w for w in warnings) == enabled
    assert "AppArmor profile" in refused(daemon, "--security-opt", "apparmor=some-profile")


# ---- other worlds ----


def refuse_limits(daemon: Daemon) -> None:
    """Every limit is refused by name, and `info` names what is absent."""
    for flag, value, word in (
        ("--memory", "32m", "memory"),
        ("--cpus", "1", "cpu"),
        ("--pids-limit", "10", "pids"),
        ("--cpuset-cpus", "0", "cpuset"),
        ("--memory-reservation", "32m", "memory"),
    ):
        assert f"no cgroup controller that could keep the {word} limit" in refused(daemon, flag, value)
    warnings = json.loads(daemon.docker("info", "-f", "{{json .Warnings}}"))
    for word in ("memory limit", "swap limit", "cpu cfs quota", "cpuset", "pids limit"):
        assert f"WARNING: No {word} support" in warnings


@pytest.mark.parametrize("script", [NO_CGROUPS, READ_ONLY], ids=["none", "read-only"])
def test_without_cgroups(script: str) -> None:
    with Elsewhere(script) as daemon:
        assert daemon.docker("run", "--rm", IMAGE, "echo", "hello") == "hello\n"
        refuse_limits(daemon)
        assert json.loads(daemon.docker("info", "-f", "{{json .CgroupDriver}}")) == "none"
        assert "CgroupParent" in refused(daemon, "--cgroup-parent", "/other")
        assert b"not permitted" in daemon.client("run", "--rm", IMAGE, "sh", "-c", MEM).stderr
        assert "CAP_MKNOD" in refused(daemon, "--cap-add", "MKNOD")
        daemon.docker("run", "-d", "--name", "plain", IMAGE, "sleep", "1000")
        assert daemon.docker("exec", "plain", "echo", "in") == "in\n"
        assert b"no control groups" in daemon.client("pause", "plain").stderr
        daemon.docker("kill", "plain")
        assert daemon.docker("wait", "plain") == "137\n"


def test_a_cgroup2_without_controllers() -> None:
    """No limit can be kept, devices can (BPF), and so can pausing and killing."""
    if os.path.exists("/sys/fs/cgroup/cgroup.controllers"):
        pytest.skip("this host's cgroup v2 has its controllers")
    with Elsewhere(BARE_V2) as daemon:
        assert daemon.docker("info", "-f", "{{.CgroupVersion}}") == "2\n"
        refuse_limits(daemon)
        hold_devices(daemon)
        daemon.docker("run", "-d", "--name", "plain", IMAGE, "sh", "-c", "sleep 1000 & sleep 1000")
        daemon.docker("pause", "plain")
        assert state(daemon, "plain")["Status"] == "paused"
        daemon.docker("unpause", "plain")
        assert daemon.docker("exec", "plain", "cat", "/proc/self/cgroup").splitlines()[-1] == "0::/"
        assert len(daemon.docker("top", "plain").splitlines()) == 3
        daemon.docker("kill", "plain")
        assert daemon.docker("wait", "plain") == "137\n"
