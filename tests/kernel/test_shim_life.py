"""A container's life through zygote and shim, on the real kernel."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterator

import pytest

from tests.kernel import shim_dock
from tests.kernel.shim_dock import Dock, demux, read_all, until
from wharfie.base import errors
from wharfie.kernel import cgroups
from wharfie.shim import wire

pytestmark = pytest.mark.needs("root", "busybox")


@pytest.fixture(scope="module")
def dock(tmp_path_factory) -> Iterator[Dock]:
    with shim_dock.dock_at(str(tmp_path_factory.mktemp("dock"))) as made:
        yield made


def test_a_whole_life(dock):
    box = dock.container()
    assert box.hello["state"] == "born"
    fds = box.prepare()
    assert set(fds) == {"net", "netlink", "rootfs"}
    assert "bin" in os.listdir(f"/proc/self/fd/{fds['rootfs']}/.")
    answer = box.start("sh", "-c", "echo hello; echo oops >&2; exit 7")
    assert answer["pid"] > 1
    exit = box.exit()
    assert (exit["code"], exit["signal"], exit["oom"]) == (7, None, False)
    with open(box.home.exit) as f:
        assert json.load(f)["code"] == 7
    box.gone()
    assert sorted(box.logged().split()) == [b"hello", b"oops"]
    assert not cgroups.Cgroup(box.launch.cgroup).exists()
    assert dock.log() == ""


def test_killed_is_128_and_the_signal(dock):
    box = dock.container()
    box.run("sleep", "100")
    box.ask("signal", signal=9)
    assert (box.event("exit")["code"]) == 137
    box.gone()


@pytest.mark.parametrize(("program", "kind", "code"), [
    ("nothing-here", errors.NoCommand, 127), ("/bin/notexec", errors.NotExecutable, 126),
])
def test_programs_that_cannot_run(dock, program, kind, code):
    box = dock.container()
    box.prepare()
    with pytest.raises(kind):
        box.start(program)
    assert box.exit()["code"] == code
    box.gone()
    assert not cgroups.Cgroup(box.launch.cgroup).exists()


def test_attach_before_start_sees_everything(dock):
    box = dock.container()
    box.prepare()
    client = box.attach(stdin=False)
    box.start("sh", "-c", "echo one; echo two >&2")
    assert demux(read_all(client)) == {1: b"one\n", 2: b"two\n"}
    assert box.exit()["code"] == 0


def test_stdin_byte_exact_with_residue_and_half_close(dock):
    box = dock.container(open_stdin=True, stdin_once=True)
    box.prepare()
    data = os.urandom(3 << 20)
    client = box.attach(residue=data[:1000])
    box.start("cat")
    pid = os.fork()
    if not pid:
        client.sendall(data[1000:])
        client.shutdown(socket.SHUT_WR)
        os._exit(0)
    got = demux(read_all(client))
    os.waitpid(pid, 0)
    assert got == {1: data}
    assert box.exit()["code"] == 0


def test_a_slow_client_stalls_nobody_and_loses_nothing(dock):
    box = dock.container()
    box.prepare()
    slow = box.attach(stdin=False)
    quick = box.attach(stdin=False, stderr=False)
    box.start("sh", "-c", "dd if=/dev/urandom bs=65536 count=300 2>/dev/null")
    fast = demux(read_all(quick))
    assert box.exit()["code"] == 0  # the container has ended though nobody has read `slow`
    assert len(fast[1]) == 300 * 65536
    assert demux(read_all(slow)) == fast
    box.gone()


def test_without_a_log_a_slow_client_holds_the_container_back(dock):
    box = dock.container(log=wire.Log("none"))
    box.prepare()
    client = box.attach(stdin=False)
    box.start("sh", "-c", "dd if=/dev/zero bs=65536 count=200 2>/dev/null; touch /tmp/done")
    time.sleep(0.3)
    assert not [e for e in box.events if e["event"] == "exit"]
    assert len(demux(read_all(client))[1]) == 200 * 65536
    assert box.exit()["code"] == 0


def test_attach_with_logs_has_no_seam(dock):
    box = dock.container()
    count = "i=0; while [ $i -lt 3000 ]; do i=$((i+1)); echo line $i; done"
    box.run("sh", "-c", f"{count}; printf part; sleep 0.2; echo ial")
    clients = []
    for _ in range(5):
        clients.append(box.attach(stdin=False, logs=True))
        time.sleep(0.02)
    wanted = b"".join(b"line %d\n" % n for n in range(1, 3001)) + b"partial\n"
    for client in clients:
        assert demux(read_all(client)) == {1: wanted}


def test_terminal_size_keys_and_reattach(dock):
    box = dock.container(tty=True, open_stdin=True, console_size=(31, 99))
    box.prepare()
    client = box.attach()
    box.start("sh")
    client.sendall(b"stty size\n")
    until(client, b"31 99")
    box.ask("resize", height=20, width=70)
    client.sendall(b"stty size\n")
    until(client, b"20 70")
    client.sendall(b"\x10\x11")
    read_all(client)
    assert box.event("detach")
    again = box.attach()
    again.sendall(b"echo back-$((1+1))\n")
    until(again, b"back-2")
    again.sendall(b"exit 5\n")
    read_all(again)
    assert box.exit()["code"] == 5


def test_exec_streams_code_and_record(dock):
    box = dock.container()
    box.run("sleep", "100")
    identifier, client = box.exec("sh", "-c", "cat; echo err >&2; exit 3")
    client.sendall(b"typed")
    client.shutdown(socket.SHUT_WR)
    assert demux(read_all(client)) == {1: b"typed", 2: b"err\n"}
    event = box.event("exec-exit")
    assert (event["id"], event["code"]) == (identifier, 3)
    with open(box.home.exec_record(identifier)) as f:
        assert json.load(f)["code"] == 3
    with pytest.raises(errors.NoCommand):
        box.exec("nothing-here")
    _, term = box.exec("sh", tty=True)
    term.sendall(b"stty size; exit\n")
    until(term, b"24 80")
    box.ask("signal", signal=9)
    assert box.exit()["code"] == 137
    box.gone()


def test_execs_end_with_the_container(dock):
    box = dock.container()
    box.run("sleep", "100")
    _, client = box.exec("sleep", "100")
    box.ask("signal", signal=9)
    assert read_all(client) == b""
    assert box.event("exec-exit")["code"] == 137
    assert box.exit()["code"] == 137
    box.gone()


def test_pause_top_stats_rootfs(dock):
    box = dock.container()
    box.run("sleep", "100")
    rows = box.ask("top", args="-o pid,comm")[0]
    assert rows["titles"] == ["PID", "COMMAND"]
    assert rows["processes"][0][1] == "sleep"
    assert box.ask("top", args="")[0]["titles"][0] == "UID"
    box.ask("pause")
    box.ask("resume")
    assert "networks" in box.ask("stats")[0]
    fd = box.ask("rootfs")[1]["rootfs"]
    assert os.path.exists(f"/proc/self/fd/{fd}/bin/busybox")
    os.close(fd)
    with pytest.raises(errors.Unsupported):
        box.ask("nonsense")
    box.ask("signal", signal=9)
    box.exit()


def test_a_shared_pid_namespace_leaves_nobody(dock):
    box = dock.container(namespaces=wire.Namespaces(pid="host"))
    box.prepare()
    client = box.attach(stdin=False)
    box.start("sh", "-c", "sleep 200 & echo up")
    assert demux(read_all(client)) == {1: b"up\n"}
    assert box.exit()["code"] == 0
    box.gone()
    assert not cgroups.Cgroup(box.launch.cgroup).exists()


def test_out_of_memory_is_said(dock):
    box = dock.container()
    box.run("sh", "-c", "x=$(yes | head -c 200000000)", resources={"memory": {"limit": 16 << 20, "swap": 16 << 20}})
    exit = box.exit()
    assert exit["code"] == 137
    assert exit["oom"]
    assert any(e["event"] == "oom" for e in box.events)
