"""Who may die, and what goes on: engine, zygote, shim, gate, init."""

from __future__ import annotations

import json
import os
import resource
import signal
import socket
import time
from collections.abc import Iterator

import pytest

from tests.kernel import shim_dock
from tests.kernel.shim_dock import Dock, eventually, read_all, until, wait
from wharfie.base import errors
from wharfie.kernel import cgroups
from wharfie.shim import undertaker, wire

pytestmark = pytest.mark.needs("root", "busybox")


@pytest.fixture(scope="module")
def dock(tmp_path_factory) -> Iterator[Dock]:
    with shim_dock.dock_at(str(tmp_path_factory.mktemp("dock"))) as made:
        yield made


def test_the_engine_goes_and_comes_back(dock):
    box = dock.container(open_stdin=True)
    box.prepare()
    client = box.attach()
    answer = box.start("sh", "-c", "while read line; do echo got $line; done; exit 4")
    hello = box.reconnect()
    assert hello["state"] == "running"
    assert hello["id"] == box.id
    assert hello["init"] == {"pid": answer["pid"], "start_time": answer["start_time"]}
    client.sendall(b"one\n")
    until(client, b"got one")
    second = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    second.connect(box.home.socket)
    wait(second.fileno())
    assert wire.recv(second)[0]["state"] == "running"
    box.ask("signal", signal=15)
    box.ask("signal", signal=9)
    assert box.exit()["code"] == 137
    wait(second.fileno())
    assert wire.recv(second)[0]["event"] == "exit"
    box.gone()


def test_an_exit_while_no_engine_is_there_is_on_disk(dock):
    box = dock.container()
    box.run("sh", "-c", "sleep 0.2; exit 9")
    box.sock.close()
    box.gone()
    with open(box.home.exit) as f:
        assert json.load(f)["code"] == 9


def test_an_engine_lost_before_start_leaves_nothing(dock):
    box = dock.container()
    box.prepare()
    box.sock.close()
    box.gone()
    assert not cgroups.Cgroup(box.launch.cgroup).exists()


def test_bye_before_start(dock):
    box = dock.container()
    box.prepare()
    client = box.attach()
    box.ask("bye")
    assert read_all(client) == b""
    box.gone()


def test_a_second_shim_on_one_directory_is_refused(dock):
    box = dock.container()
    mine, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    _, pidfd = dock.fork(wire.KIND_SHIM, box.home.root, [theirs.fileno()])
    theirs.close()
    wait(mine.fileno())
    message = wire.recv(mine)[0]
    assert message["hello"] == 0
    assert message["error"]["step"] == "lock"
    wait(pidfd)
    box.ask("bye")
    box.gone()


def test_the_zygote_dies_and_shims_live(dock):
    box = dock.container()
    box.run("sleep", "100")
    signal.pidfd_send_signal(dock.zygote.pidfd, signal.SIGKILL)
    wait(dock.zygote.fileno())
    dock.renew()
    other = dock.container()
    other.run("true")
    assert other.exit()["code"] == 0
    box.ask("signal", signal=9)
    assert box.exit()["code"] == 137


@pytest.mark.parametrize("limit", ["the connection", "its own pidfd", "a pipe", "processes"])
def test_a_zygote_that_can_make_nothing_says_so_and_lives_on(tmp_path, limit):
    """What there is no room for: in the child that waits, the descriptor that comes with the request, or one that it
    opens itself; in the zygote, what it needs to fork the next one, or that itself."""
    with shim_dock.dock_at(str(tmp_path)) as dock:
        pid, of_child = dock.zygote.pid, limit in ("the connection", "its own pidfd")
        eventually(lambda: _children(pid))
        if limit == "processes":
            group = cgroups.Cgroup(dock.cgroups + "-zygote")
            group.create()
            group.join(pid)
            group.apply({"pids": {"limit": 1}})
        else:
            who = _children(pid)[0] if of_child else pid
            former = resource.prlimit(who, resource.RLIMIT_NOFILE)
            room = _room_for(who, limit == "its own pidfd")
            resource.prlimit(who, resource.RLIMIT_NOFILE, (room, former[1]))
        if not of_child:
            dock.container().ask("bye")  # the child that was waiting
        with pytest.raises(errors.Exhausted, match=r"too many open files|Too many open files|no process can be made"):
            dock.container()
        if limit == "processes":
            group.apply({"pids": {"limit": -1}})
        else:
            resource.prlimit(who, resource.RLIMIT_NOFILE, former)
        box = dock.container()
        box.run("true")
        assert box.exit()["code"] == 0
        assert dock.zygote.pid == pid
    if limit == "processes":
        eventually(lambda: not group.populated())
        group.delete()


@pytest.mark.parametrize("when", ["another process has its pid", "before prepare", "before start"])
def test_joining_a_container_that_has_ended_fails_at_once(dock, when):
    former = dock.container()
    init = former.run("sleep", "100")
    started = init["start_time"] + (when == "another process has its pid")
    box = dock.container(namespaces=wire.Namespaces(pid=f"/proc/{init['pid']}/ns/pid",
                                                    owners={str(init["pid"]): started}))
    if when == "before start":
        box.prepare()
    if when != "another process has its pid":
        former.ask("signal", signal=9)
        former.exit()
    begin = time.monotonic()
    with pytest.raises(errors.WharfieError, match=r"ended|No such file"):
        box.run("true") if when != "before start" else box.start("true")
    assert time.monotonic() - begin < 2
    if when == "another process has its pid":
        former.ask("signal", signal=9)
        former.exit()


def _children(pid: int) -> list[int]:
    with open(f"/proc/{pid}/task/{pid}/children") as file:
        return [int(p) for p in file.read().split()]


def _room_for(pid: int, more: int) -> int:
    """The limit by which the process may open `more` descriptors: the lowest free number is taken."""
    used = {int(n) for n in os.listdir(f"/proc/{pid}/fd")}
    return [n for n in range(1024) if n not in used][more]


@pytest.mark.parametrize("blocks", [False, True])
def test_a_killed_shim_takes_its_container_along(dock, blocks):
    """blocks: the container has a process that the parent-death signal does not reach."""
    box = dock.container(namespaces=wire.Namespaces(pid="host" if blocks else "new"))
    box.prepare()
    answer = box.start("sh", "-c", "sleep 300 & sleep 301")
    group = cgroups.Cgroup(box.launch.cgroup)
    eventually(lambda: len(group.pids()) >= 2)
    box.kill_shim()
    _, pidfd = dock.fork(wire.KIND_UNDERTAKER, box.home.root, [])
    wait(pidfd)
    with open(box.home.exit) as f:
        record = json.load(f)
    assert record["code"] == 255
    assert record["error"] == undertaker.REASON
    assert not os.path.exists(f"/proc/{answer['pid']}/exe")
    assert not group.exists()
    assert not os.path.exists(box.home.socket)


def test_the_undertaker_leaves_a_living_shim_alone(dock):
    box = dock.container()
    box.run("sleep", "100")
    dock.fork_undertaker(box.home.root)
    assert not os.path.exists(box.home.exit)
    box.ask("signal", signal=9)
    assert box.exit()["code"] == 137


def test_the_undertaker_keeps_a_record_that_is_there(dock):
    box = dock.container()
    box.run("sh", "-c", "exit 6")
    box.exit()
    box.gone()
    dock.fork_undertaker(box.home.root)
    with open(box.home.exit) as f:
        assert json.load(f)["code"] == 6


@pytest.mark.parametrize("point", [
    "shim.born", "shim.locked", "shim.sandbox.made", "shim.rootfs.made", "shim.start.asked", "shim.cgroup.made",
    "shim.init.cloned", "shim.init.ready", "shim.start.answered", "shim.exit.reaped", "shim.exit.recorded",
    "init.born", "init.mounted", "init.pivoted", "init.dropped",
    "zygote.fork.asked", "zygote.fork.forked", "zygote.fork.answered",
])
def test_killed_at_every_point_nothing_remains(tmp_path, monkeypatch, point):
    monkeypatch.setenv("WHARFIE_KILL_POINT", point)
    with shim_dock.dock_at(str(tmp_path)) as dock:
        box = None
        try:
            box = dock.container()
            box.run("true")
            box.exit()
        except (EOFError, ConnectionError, errors.WharfieError):
            pass  # what a test that kills has to expect
        names = os.listdir(dock.run.containers)
        assert len(names) == 1
        home = f"{dock.run.containers}/{names[0]}"
        if box is not None:
            wait(box.pidfd)
        dock.fork_undertaker(home)
        with open(f"{home}/exit.json") as f:
            assert json.load(f)["code"] in (0, 255, 128, 137), point
        with open(f"{home}/launch.json") as f:
            assert not cgroups.Cgroup(json.load(f)["cgroup"]).exists()


def test_the_gate_is_replaced(dock):
    box = dock.container(namespaces=wire.Namespaces(net="host"))
    box.prepare()
    target = socket.socket()
    target.bind(("127.0.0.1", 0))
    target.listen()
    door = socket.socket()
    door.bind(("127.0.0.1", 0))
    door.listen()
    rule = {"proto": "tcp", "host_ip": "", "host_port": 0, "container_ip": "127.0.0.1",
            "container_port": target.getsockname()[1]}
    box.start("sleep", "100", listeners=[rule], fds=[door.fileno()])
    address = door.getsockname()
    door.close()

    def passes() -> None:
        with socket.create_connection(address, timeout=5) as client:
            there, _ = target.accept()
            client.sendall(b"ping")
            assert there.recv(10) == b"ping"
            there.sendall(b"pong")
            there.close()
            assert client.recv(10) == b"pong"

    passes()
    gate = box.reconnect()["gate"]
    with open(f"/proc/{gate}/status") as f:
        status = dict(line.rstrip("\n").split(":\t", 1) for line in f if ":\t" in line)
    assert status["Uid"].split() == ["65534"] * 4
    for name in ("CapEff", "CapPrm", "CapInh", "CapBnd", "CapAmb"):
        assert int(status[name], 16) == 0
    assert status["NoNewPrivs"] == "1"
    fd = os.pidfd_open(gate)
    signal.pidfd_send_signal(fd, signal.SIGKILL)
    os.close(fd)
    passes()
    box.ask("signal", signal=9)
    box.exit()
    box.gone()
    eventually(lambda: _refuses(address))  # the gate dies of its shim's death, a moment later


def _refuses(address: tuple[str, int]) -> bool:
    try:
        socket.create_connection(address, timeout=5).close()
    except ConnectionRefusedError:
        return True
    return False
