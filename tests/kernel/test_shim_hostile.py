"""Containers that do what they can to hold up their shim, and with it whoever asks it for something."""

from __future__ import annotations

import contextlib
import itertools
import os
import select
import signal
import socket
import time

import pytest

from tests.kernel import shim_dock
from wharfie.base import errors, ids
from wharfie.kernel import cgroups, syscalls
from wharfie.shim import wire

pytestmark = pytest.mark.needs("root", "busybox")
_NR_PIDFD_GETFD = 438


@pytest.fixture(scope="module")
def dock(tmp_path_factory):
    with shim_dock.dock_at(str(tmp_path_factory.mktemp("dock"))) as made:
        yield made


@pytest.fixture
def box(dock):
    """A container that sleeps."""
    made = dock.container()
    made.init = made.run("sleep", "100")["pid"]
    yield made
    made.ask("signal", signal=9)
    assert made.exit()["code"] == 137
    made.gone()


def test_top_of_longer_command_lines_than_an_answer_holds(box):
    for _ in range(5):
        box.exec("sh", "-c", "sleep 100; : " + "\u00e9" * 20_000)
    deadline = time.monotonic() + shim_dock.PATIENCE
    while True:  # a shell's child has the shell's own command line until it has executed sleep
        rows = box.ask("top", args="-o pid,args")[0]["processes"]
        if sum("sleep 100; :" in command for _, command in rows) == 5:
            break
        assert time.monotonic() < deadline, rows
    assert rows[0][1] == "sleep 100"


def test_an_answer_that_is_too_large_is_an_error_and_no_end(box):
    for _ in range(5):
        box.exec("sleep", "100")
    with pytest.raises(errors.WharfieError):
        box.ask("top", args="-o " + ",".join(["args"] * 500_000))
    assert box.ask("top", args="-o pid")[0]["processes"]


def test_messages_larger_than_a_datagram_both_ways(box):
    """An exec with a megabyte of environment, a top of a megabyte; and what execve(2) itself does not take."""
    env = [f"V{n}={'v' * 1000}" for n in range(1000)]
    process = shim_dock.process_of(["sh", "-c", "exit ${#V999}"], False)
    box.ask("exec", id="e" * 64, process={**process, "env": [*process["env"], *env]})
    assert box.event("exec-exit")["code"] == 1000 % 256
    many = ["args=" + "x" * 45] * 20_000
    assert len(box.ask("top", args="-o " + ",".join(many))[0]["titles"]) == len(many)
    box.ask("exec", id=ids.new(), process={**process, "args": ["true", "v" * 131_071]})
    assert box.event("exec-exit")["code"] == 0
    with pytest.raises(errors.NotExecutable, match="argument list too long"):
        box.ask("exec", id=ids.new(), process={**process, "args": ["true", "v" * 131_072]})


STOPPER = "while :; do for p in /proc/[0-9]*; do p=${p#/proc/}; test $p = 1 || kill -STOP $p; done; done 2>/dev/null"


def _ask_for_exec(box, number: int) -> None:
    wire.send(box.sock, wire.request(number, "exec", id=ids.new(), process=shim_dock.process_of(["true"], False)))


def test_a_container_that_stops_who_joins_holds_up_nobody_else(dock):
    """Whoever may send signals in the container can stop a joining process before it becomes the program. Everything
    else is answered meanwhile, and the container can be ended: its init could not end beside a zombie not reaped."""
    box = dock.container()
    box.run("sh", "-c", f"echo up; {STOPPER}")
    for number in (1001, 1002, 1003):
        _ask_for_exec(box, number)
    began = time.monotonic()
    for _ in range(5):
        assert box.ask("top", args="-o pid,comm")[0]["processes"]
        assert box.ask("stats")[0]
        time.sleep(0.1)
    assert box.logged() == b"up\n"
    box.ask("signal", signal=9)
    assert box.exit()["code"] == 137
    box.gone()
    assert time.monotonic() - began < 5


def test_a_maker_that_dies_leaves_no_zombie_in_the_container(dock):
    """The joiner it made ends by itself; it has to be reaped, or the container's init could never end."""
    box = dock.container()
    init = box.run("sh", "-c", STOPPER)["pid"]
    for pid in _makers_of_stopped_joiners(box, init):
        with contextlib.suppress(ProcessLookupError):
            fd = os.pidfd_open(pid)
            signal.pidfd_send_signal(fd, signal.SIGKILL)
            os.close(fd)
    box.ask("signal", signal=9)
    assert box.exit()["code"] == 137
    box.gone()


def test_a_joiner_in_the_containers_hands_may_say_anything(dock):
    """With CAP_SYS_PTRACE a container may speak through the channel of a process that is not yet the program."""
    for word in (b"5", b'["failed"]', b'{"failed": {"errno": 1e999}}', b"[" * 50_000, b"\xff"):
        box = dock.container()
        init = box.run("sh", "-c", STOPPER)["pid"]
        _makers_of_stopped_joiners(box, init)
        for pid in _stopped_joiners(box, init):
            pidfd = os.pidfd_open(pid)
            fd = syscalls.call(_NR_PIDFD_GETFD, pidfd, 3, 0)
            with socket.socket(fileno=fd) as channel, contextlib.suppress(BrokenPipeError):
                channel.send(word)
            os.close(pidfd)
        assert box.ask("top", args="-o pid")[0]["processes"], word
        box.ask("signal", signal=9)
        assert box.exit()["code"] == 137
        box.gone()


def _makers_of_stopped_joiners(box, init: int) -> list[int]:
    """Ask for execs until the container has stopped one before it became the program: the makers that wait for it."""
    limit = time.monotonic() + 2 * shim_dock.PATIENCE
    for number in itertools.count(1001):
        _ask_for_exec(box, number)
        before: list[int] = []
        while not select.select([box.sock], [], [], 0.05)[0]:
            family = _children(box.pid)
            makers = [pid for pid in family if _name(pid) == "wharfie-maker" and _namespaced(pid) == 1]
            stopped = _stopped_joiners(box, init)
            if stopped and makers and makers == before:
                return makers
            before = makers
            assert time.monotonic() < limit, (makers, stopped)
        box.events.append(box.receive()[0])  # it came through, or an earlier one has ended
    raise AssertionError


def _stopped_joiners(box, init: int) -> list[int]:
    return [pid for pid in _children(box.pid) if pid != init and _namespaced(pid) == 2 and _state(pid) == "T"]


def _children(pid: int) -> list[int]:
    """None when it has gone."""
    try:
        with open(f"/proc/{pid}/task/{pid}/children") as f:
            return [int(word) for word in f.read().split()]
    except (FileNotFoundError, ProcessLookupError):
        return []


def _status(pid: int) -> dict[str, str]:
    """Empty when it has gone: the children of a shim come and go between being listed and being looked at."""
    try:
        with open(f"/proc/{pid}/status", errors="replace") as f:
            return {key: value.strip() for key, _, value in (line.partition(":") for line in f)}
    except (FileNotFoundError, ProcessLookupError):
        return {}


def _name(pid: int) -> str:
    return _status(pid).get("Name", "")


def _state(pid: int) -> str:
    return _status(pid).get("State", "")[:1]


def _namespaced(pid: int) -> int:
    """In how many pid namespaces, seen from here; 0 when it has gone."""
    return len(_status(pid).get("NSpid", "").split())


def test_orphans_of_the_hosts_pid_namespace_are_reaped(dock):
    box = dock.container(namespaces=wire.Namespaces(pid="host"))
    box.run("sh", "-c", "i=0; while test $i -lt 50; do (true &); i=$((i+1)); done; echo done; sleep 100")
    shim_dock.eventually(lambda: box.logged() and len(_children(box.pid)) == 1)
    box.ask("signal", signal=9)
    box.exit()
    box.gone()


def test_an_exec_whose_grandchildren_never_stop_writing(dock):
    box = dock.container()
    box.run("sleep", "100")
    _, client = box.exec("sh", "-c", "for i in 1 2 3; do dd if=/dev/zero bs=1M & done; exit 3", stdin=False)
    assert box.event("exec-exit")["code"] == 3
    assert box.ask("top", args="-o pid")[0]["processes"]
    box.ask("signal", signal=9)
    assert box.exit()["code"] == 137
    client.close()
    box.gone()


@pytest.fixture
def stuck(box):
    """The container of `box`, its process in a state that nothing stops: the freezer of v1 has it already."""
    group = f"/sys/fs/cgroup/freezer/wharfie-stuck-{os.getpid()}"
    if not os.path.isdir(os.path.dirname(group)):
        pytest.skip("needs the freezer of cgroup v1")
    os.mkdir(group)
    inside = cgroups.Cgroup(box.launch.cgroup).v1["freezer"]
    try:
        _write(f"{group}/cgroup.procs", box.init)
        _write(f"{group}/freezer.state", "FROZEN")
        yield box
    finally:
        _write(f"{group}/freezer.state", "THAWED")
        for pid in open(f"{group}/cgroup.procs").read().split():
            _write(f"{inside}/cgroup.procs", pid)
        os.rmdir(group)


def _write(path: str, value: object) -> None:
    with open(path, "w") as file:
        file.write(str(value))


def test_a_pause_that_takes_its_time_keeps_nobody_waiting(stuck):
    box = stuck
    begin = time.monotonic()
    wire.send(box.sock, wire.request(900, "pause"))
    for _ in range(3):
        assert box.ask("top", args="-o pid")[0]["processes"]
    with pytest.raises(errors.Conflict, match="paused"):
        box.exec("true")
    assert time.monotonic() - begin < 2
    while (message := box.receive()[0]).get("n") != 900:
        pass
    assert message["error"]["kind"] == "unavailable"
    assert 4 < time.monotonic() - begin < 8


def test_a_pause_that_takes_its_time_can_be_taken_back(stuck):
    box = stuck
    wire.send(box.sock, wire.request(901, "pause"))
    wire.send(box.sock, wire.request(902, "resume"))
    answers = [box.receive()[0] for _ in range(2)]
    assert {a["n"]: a.get("error", {}).get("kind", "") for a in answers} == {901: "conflict", 902: ""}


def test_detach_keys_that_are_none_start_nothing(box):
    with pytest.raises(errors.Invalid, match="detach keys"):
        box.exec("sleep", "100", detach_keys="ctrl-!")
    assert len(box.ask("top", args="-o pid")[0]["processes"]) == 1


def test_a_run_directory_that_takes_no_record(dock):
    """Full, for one. Who listens hears the true code."""
    box = dock.container()
    box.run("sleep", "100")
    os.makedirs(f"{box.home.exit}/full")
    _, client = box.exec("sh", "-c", "exit 5", stdin=False)
    assert shim_dock.read_all(client) == b""
    box.ask("signal", signal=15)
    box.ask("signal", signal=9)
    assert box.exit()["code"] == 137
    box.gone()
    os.rmdir(f"{box.home.exit}/full")
    os.rmdir(box.home.exit)


def test_an_exec_without_a_log_spools_nothing_into_the_run_directory(dock):
    """That is memory of the host's, and everybody's: a client that reads nothing holds its exec back instead."""
    box = dock.container(log=wire.Log("none", "", {}))
    box.run("sleep", "100")
    _, client = box.exec("yes", stdin=False)
    time.sleep(0.3)
    names = []
    for number in os.listdir(f"/proc/{box.pid}/fd"):
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            names.append(os.readlink(f"/proc/{box.pid}/fd/{number}"))
    assert names
    assert not [name for name in names if box.home.root in name and "#" in name]
    client.close()
    box.ask("signal", signal=9)
    assert box.exit()["code"] == 137
    box.gone()
