"""What happens when a process dies: engine, zygote, shim, gate, init, at rest and at every kill point."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import inventory
from tests.hosts import IMAGE, Daemon, busybox_files, tar_of
from wharfie.base.paths import DataRoot
from wharfie.base.points import POINTS
from wharfie.kernel import process

pytestmark = pytest.mark.needs("root", "busybox")


@pytest.fixture
def daemon() -> Iterator[Daemon]:
    with Daemon() as d:
        yield d


def inspect(daemon: Daemon, name: str) -> dict:  # type: ignore[type-arg]
    return json.loads(daemon.docker("inspect", name))[0]


def state(daemon: Daemon, name: str) -> dict:  # type: ignore[type-arg]
    return inspect(daemon, name)["State"]


def until(condition: object, seconds: float = 20, what: str = "it") -> None:
    """Wait for a condition; fails with what was waited for."""
    deadline = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline, f"{what} did not come about within {seconds} s"
        time.sleep(0.02)


def kill_process(pid: int) -> None:
    """SIGKILL by pidfd; a pid ≤ 1 is refused by the wrapper, one that has gone by itself is no error."""
    try:
        fd = process.pidfd_open(pid)
    except ProcessLookupError:
        return
    process.pidfd_send_signal(fd, signal.SIGKILL)
    os.close(fd)


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def children_of(pid: int) -> list[int]:
    return [int(c) for c in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def name_of(pid: int) -> str:
    """The command's name; "" when the process has gone."""
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def last_number(daemon: Daemon, name: str) -> int:
    """In the last line of a log that may grow while it is read; 0 when there is none yet."""
    return int((daemon.docker("logs", "--tail", "1", name).split() or ["0"])[-1])


def wait_for_the_end(pidfds: list[int], seconds: float = 20) -> None:
    """Of every process; closes the fds."""
    for fd in pidfds:
        assert select.select([fd], [], [], seconds)[0], "a process does not end"
        os.close(fd)


def test_the_engine_dies_under_twenty_containers(daemon: Daemon) -> None:
    """They run on, their logs have no gap, and exits while it was away are reported right."""
    count = "i=0; while :; do i=$((i+1)); echo $i; sleep 0.02; done"
    names = [f"c{n}" for n in range(20)]
    for name in names[:17]:
        daemon.docker("run", "-d", "--name", name, IMAGE, "sh", "-c", count)
    told = daemon.root / "told"
    told.mkdir()
    for name, code in zip(names[17:], (0, 3, 137), strict=True):
        ending = "kill -9 $$" if code == 137 else f"exit {code}"
        script = f"sh -c 'until test -e /told/end; do sleep 0.05; done; {ending}'; exit $?"
        daemon.docker("run", "-d", "--name", name, "-v", f"{told}:/told", IMAGE, "sh", "-c", script)
    pids = {name: state(daemon, name)["Pid"] for name in names}
    shims = [process.pidfd_open(parent_of(pids[name])) for name in names[17:]]
    daemon.kill()
    (told / "end").touch()
    wait_for_the_end(shims)
    daemon.start()
    for name in names[:17]:
        now = state(daemon, name)
        assert now["Status"] == "running", (name, now)
        assert now["Pid"] == pids[name]
    for name, code in zip(names[17:], (0, 3, 137), strict=True):
        until(lambda n=name: state(daemon, n)["Status"] == "exited", what=f"the exit of {name}")
        assert state(daemon, name)["ExitCode"] == code
        assert state(daemon, name)["FinishedAt"] > "2020"
    for name in names[:17]:
        until(lambda n=name: last_number(daemon, n) > 50, what=f"line 51 of {name}")
        lines = [int(x) for x in daemon.docker("logs", name).split()]
        assert lines == list(range(1, len(lines) + 1)), f"{name}'s log has a gap"
        assert len(lines) > 50
    assert daemon.docker("exec", names[0], "echo", "still").strip() == "still"
    follow = last_number(daemon, names[0])
    until(lambda: last_number(daemon, names[0]) > follow, what="the next line")
    daemon.docker("stop", "-t", "1", *names[:17])
    assert all(state(daemon, n)["Status"] == "exited" for n in names)


def test_a_shim_is_killed(daemon: Daemon) -> None:
    """Its container is killed within a second, exited with 255, and State.Error says why."""
    daemon.docker("run", "-d", "--name", "victim", IMAGE, "sleep", "1000")
    pid = state(daemon, "victim")["Pid"]
    watched = process.pidfd_open(pid)
    kill_process(parent_of(pid))
    poll = select.poll()
    poll.register(watched, select.POLLIN)
    assert poll.poll(1000), "the container's init outlived its shim by a second"
    os.close(watched)
    until(lambda: state(daemon, "victim")["Status"] == "exited", what="the exited state")
    now = state(daemon, "victim")
    assert now["ExitCode"] == 255
    assert "shim" in now["Error"]
    daemon.docker("start", "victim")
    assert state(daemon, "victim")["Status"] == "running"


def test_the_zygote_is_killed(daemon: Daemon) -> None:
    """Running containers do not notice, and the next start works."""
    daemon.docker("run", "-d", "--name", "aa", IMAGE, "sleep", "1000")
    assert daemon.process is not None
    shim = parent_of(state(daemon, "aa")["Pid"])
    zygote = parent_of(shim)
    assert zygote != daemon.process.pid
    kill_process(zygote)
    assert daemon.docker("run", "--rm", IMAGE, "echo", "again").strip() == "again"
    assert state(daemon, "aa")["Status"] == "running"
    assert daemon.docker("exec", "aa", "echo", "x").strip() == "x"


def test_an_init_is_killed(daemon: Daemon) -> None:
    daemon.docker("run", "-d", "--name", "aa", IMAGE, "sleep", "1000")
    kill_process(state(daemon, "aa")["Pid"])
    assert daemon.docker("wait", "aa").strip() == "137"


def connects(daemon: Daemon, port: int) -> bool:
    done = subprocess.run(
        daemon.inside("busybox", "nc", "-w", "2", "127.0.0.1", str(port)), input=b"", capture_output=True
    )
    return done.stdout.strip() == b"hello"


def test_a_gate_is_killed(daemon: Daemon) -> None:
    """The shim keeps the listeners and another gate takes over; also while no engine is there."""
    daemon.docker(
        "run", "-d", "--name", "web", "-p", "18080:80", IMAGE, "sh", "-c", "while :; do echo hello | nc -l -p 80; done"
    )
    pid = state(daemon, "web")["Pid"]
    shim = parent_of(pid)
    until(lambda: connects(daemon, 18080), what="the published port")
    for engine_is_there in (True, False):
        if not engine_is_there:
            daemon.kill()
        gates = [c for c in children_of(shim) if c != pid and name_of(c) == "wharfie-gate"]
        assert gates, "no gate below the shim"
        for gate in gates:
            kill_process(gate)
        until(lambda: connects(daemon, 18080), what="the published port after its gate's death")
    daemon.start()
    until(lambda: connects(daemon, 18080), what="the published port of the engine that came back")


AFTER_THE_START = ("shim.start.answered", "shim.exit.reaped", "shim.exit.recorded")


@pytest.mark.parametrize("point", POINTS)
def test_kill_point(point: str) -> None:
    """One process dies at a named place of create or start. Afterwards the engine (restarted if it was the victim, and
    once more without the trap) works, every container it lists can be removed, and the host is as before."""
    daemon = Daemon()
    words = (str(daemon.root), daemon.namespace, DataRoot(str(daemon.data)).instance)
    before = inventory.take([str(daemon.root)])
    try:
        daemon.network_up()
        daemon.start()
        daemon.docker("import", "-", IMAGE, stdin=tar_of(busybox_files()))
        daemon.kill(signal.SIGTERM)
        daemon.start(env={"WHARFIE_KILL_POINT": point})
        command = [
            "run",
            "-d",
            "--name",
            "victim",
            "-p",
            "18081:80",
            "-v",
            "vol:/data",
            IMAGE,
            "sh",
            "-c",
            "sleep 0.3; exit 5",
        ]
        try:
            done = daemon.client(*command, timeout=20)
        except subprocess.TimeoutExpired:
            pytest.fail(f"the client hung when a process died at {point}")
        if point.startswith(("init.", "shim.")) and point not in AFTER_THE_START:
            assert done.returncode, f"{point} was never reached"
        assert daemon.process is not None
        if point.startswith("engine."):
            try:
                daemon.process.wait(20)
            except subprocess.TimeoutExpired:
                pytest.fail(f"{point} was never reached")
        else:
            until(lambda: " running" not in daemon.docker("ps", "-a", "--format", "{{.Names}} {{.State}}"))
        daemon.kill()
        daemon.start()
        listed = daemon.docker("ps", "-a", "--format", "{{.Names}} {{.State}}").split()
        assert listed == [] or listed[0] == "victim"
        if listed:
            assert listed[1] in ("created", "exited", "running"), listed
            daemon.docker("rm", "-fv", "victim")
        assert daemon.docker("run", "--rm", "-p", "18081:80", IMAGE, "echo", "fine").strip() == "fine"
        assert daemon.docker("ps", "-aq") == ""
        until(lambda: not os.listdir(daemon.run / "c"), what="the end of the last run directory")
        assert os.listdir(daemon.data / "containers") == []
    finally:
        daemon.down()
    # A process that were left would keep its cgroup directory, so the cgroups speak for the processes too.
    left = inventory.settled(before, [str(daemon.root)], words=words, came_only=True)
    assert not left, f"left on the host after {point}: {left}"


@pytest.mark.parametrize("point", ["engine.start.networked", "engine.start.spec"])
def test_a_container_that_the_engine_died_before_starting_never_ran(daemon: Daemon, point: str) -> None:
    """Its process had been made, not let go: no exit, no restart, no address."""
    daemon.kill(signal.SIGTERM)
    daemon.start(env={"WHARFIE_KILL_POINT": point})
    daemon.client("run", "-d", "--name", "new", "--restart", "always", "-p", "18084:80", IMAGE, "sleep", "1000")
    assert daemon.process is not None
    daemon.process.wait(20)
    daemon.process = None
    daemon.start()
    found = inspect(daemon, "new")
    assert (found["State"]["Status"], found["State"]["ExitCode"], found["RestartCount"]) == ("created", 0, 0)
    assert found["State"]["StartedAt"].startswith("0001-")
    assert not any(each["IPAddress"] for each in found["NetworkSettings"]["Networks"].values())
    assert not any(found["NetworkSettings"]["Ports"].values())
    daemon.docker("start", "new")
    assert state(daemon, "new")["Status"] == "running"


def test_a_hundred_starts_and_stops_at_once(daemon: Daemon) -> None:
    """Every container ends in the state that its last request asked for."""
    names = [f"n{i}" for i in range(25)]
    for name in names:
        daemon.docker("create", "--name", name, IMAGE, "sleep", "1000")
    errors: list[str] = []

    def churn(name: str) -> None:
        for verb in (["start"], ["stop", "-t", "0"], ["start"], ["kill"]):
            done = daemon.client(*verb, name, timeout=120)
            if done.returncode:
                errors.append(f"{verb} {name}: {done.stderr.decode()}")

    threads = [threading.Thread(target=churn, args=(n,)) for n in names]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not errors, errors
    for name in names:
        until(lambda n=name: state(daemon, n)["Status"] == "exited", what=f"the exit of {name}")
        assert state(daemon, name)["ExitCode"] == 137


def test_starts_and_stops_of_one_container_race(daemon: Daemon) -> None:
    daemon.docker("create", "--name", "one", IMAGE, "sleep", "1000")
    verbs = [["start", "one"], ["stop", "-t", "0", "one"], ["restart", "-t", "0", "one"], ["kill", "one"]] * 6
    running = [threading.Thread(target=lambda v=v: daemon.client(*v, timeout=60)) for v in verbs]
    for t in running:
        t.start()
    for t in running:
        t.join()
    daemon.docker("rm", "-f", "one")
    assert daemon.docker("ps", "-aq") == ""
    until(lambda: not os.listdir(daemon.run / "c"), what="the end of the last run directory")


def test_two_engines_side_by_side() -> None:
    """Two data roots in one host network: each sees its own, and neither's end touches the other's containers."""
    with Daemon() as first:
        second = Daemon(flags=("--cgroup-parent", "/second-of-two"))
        second.namespace = first.namespace
        try:
            second.start()
            second.docker("import", "-", IMAGE, stdin=tar_of(busybox_files()))
            for d in (first, second):
                d.docker("run", "-d", "--name", "same", "-p", "0:80", IMAGE, "sleep", "1000")
            addresses = [inspect(d, "same")["NetworkSettings"]["IPAddress"] for d in (first, second)]
            assert len(set(addresses)) == 2
            assert "second-of-two" in Path(f"/proc/{state(second, 'same')['Pid']}/cgroup").read_text()
            shim = parent_of(state(second, "same")["Pid"])
            assert "second-of-two" in Path(f"/proc/{shim}/cgroup").read_text()
            taken = first.client("run", "-d", "-p", "18082:80", IMAGE, "sleep", "1000")
            assert taken.returncode == 0
            refused = second.client("run", "--rm", "-p", "18082:80", IMAGE, "true")
            assert refused.returncode == 125
            assert b"port is already allocated" in refused.stderr
            second.docker("rm", "-f", *second.docker("ps", "-aq").split())
            second.kill(signal.SIGTERM)
            assert state(first, "same")["Status"] == "running"
            assert first.docker("exec", "same", "echo", "here").strip() == "here"
            assert inventory.cgroups_of("second-of-two") == []
        finally:
            if second.process is not None:
                second.clear()
            second.namespace = ""  # the first one's
            second.away()


def test_a_second_engine_on_one_data_root_is_refused(daemon: Daemon) -> None:
    done = subprocess.run(
        daemon.inside(
            sys.executable,
            "-m",
            "wharfie.daemon",
            "--data-root",
            str(daemon.data),
            "--exec-root",
            str(daemon.root / "run2"),
            "-H",
            f"unix://{daemon.root}/s2",
        ),
        capture_output=True,
        timeout=20,
    )
    assert done.returncode != 0
    assert daemon.process is not None
    assert str(daemon.process.pid).encode() in done.stderr
    assert daemon.answers()
