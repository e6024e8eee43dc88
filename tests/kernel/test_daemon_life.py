"""The daemon as a program: locks, taking over, leaving, starting with many containers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from tests import inventory
from tests.hosts import Daemon
from wharfie.base.paths import DataRoot
from wharfie.engine import model
from wharfie.storage import database

pytestmark = pytest.mark.needs("root")


@pytest.fixture
def daemon() -> Iterator[Daemon]:
    made = Daemon()
    made.network_up()
    try:
        yield made
    finally:
        made.away()


def again(daemon: Daemon, *argv: str, timeout: float = 20) -> subprocess.CompletedProcess[str]:
    """Another daemon program in the same namespace."""
    return subprocess.run(
        daemon.inside(sys.executable, "-m", "wharfie.daemon", *argv), capture_output=True, text=True, timeout=timeout,
        stdin=subprocess.DEVNULL)


def test_a_second_engine_on_a_root_is_refused(daemon: Daemon) -> None:
    daemon.start()
    assert daemon.process is not None
    for argv in (
        ("--data-root", str(daemon.data), "--exec-root", str(daemon.root / "other")),
        ("--data-root", str(daemon.root / "other-data"), "--exec-root", str(daemon.run)),
    ):
        done = again(daemon, *argv)
        assert done.returncode == 1
        assert f"is in use by a wharfie daemon (pid {daemon.process.pid})" in done.stderr
    assert daemon.answers()


def test_it_greets_and_leaves_clean(daemon: Daemon) -> None:
    daemon.start()
    assert f"export DOCKER_HOST={daemon.host}" in daemon.log()
    assert "docker context create" in daemon.log()
    assert os.stat(daemon.socket).st_mode & 0o777 == 0o660
    assert os.stat(daemon.data).st_mode & 0o777 == 0o700
    assert daemon.process is not None
    process = daemon.process
    assert Path(daemon.root / "pid").read_text().strip() == str(process.pid)
    process.send_signal(signal.SIGTERM)
    assert process.wait(15) == 0
    daemon.process = None
    assert not os.path.exists(daemon.socket)
    assert not os.path.exists(daemon.root / "pid")
    assert "Traceback" not in daemon.log()


def test_a_private_engine_gives_way(daemon: Daemon) -> None:
    daemon.flags = ("--private",)
    daemon.start()
    private = daemon.process
    assert private is not None
    refused = again(daemon, "--private", "--data-root", str(daemon.data), "--exec-root", str(daemon.run))
    assert refused.returncode == 1
    daemon.flags = ()
    daemon.start(wait=False)
    assert private.wait(20) == 0
    deadline = time.monotonic() + 20
    while not daemon.answers():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_thousand_stopped_containers_are_loaded(daemon: Daemon) -> None:
    daemon.start()
    daemon.kill(signal.SIGTERM)
    store = database.Database(str(daemon.data / "state.db"))
    rows: list[database.Statement] = []
    for n in range(1000):
        record = model.Container(
            id=f"{n:064x}", name=f"c{n}", created=1, path="sh", config=model.Config(image="img", env=["A=1"] * 20),
            host_config=model.HostConfig(network_mode="bridge"),
            state=model.State(status="exited", started_at=1, finished_at=2))
        rows.append(("INSERT INTO containers (id, name, record) VALUES (?, ?, ?)",
                     (record.id, record.name, msgspec.json.encode(record))))
    store.write_many_now(rows)
    store.close()
    daemon.start()
    listed = daemon.client("ps", "-aq")
    assert len(listed.stdout.split()) == 1000


def test_told_to_leave_while_it_starts(daemon: Daemon) -> None:
    """At whatever moment: no socket, pid file or cgroup stays, and the next start works."""
    name = DataRoot(str(daemon.data)).instance
    for wait in (0.1, 0.2, 0.4, 0.6):
        daemon.start(wait=False)
        time.sleep(wait)
        daemon.kill(signal.SIGTERM)
        assert not os.path.exists(daemon.socket)
        assert not os.path.exists(daemon.root / "pid")
        assert inventory.cgroups_of(name) == []
    daemon.start()


def test_a_zygote_killed_in_its_rehearsal_leaves_no_stage(daemon: Daemon) -> None:
    stage = daemon.run / ".rehearsal-99"
    stage.mkdir(parents=True)
    (stage / "hosts").touch()
    daemon.start()
    assert [n for n in os.listdir(daemon.run) if "rehearsal" in n] == []


def test_nobody_reads_the_greeting(daemon: Daemon) -> None:
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "wb") as closed:
        argv = ("--data-root", str(daemon.data), "--exec-root", str(daemon.run), "-H", daemon.host)
        process = subprocess.Popen(daemon.inside(sys.executable, "-m", "wharfie.daemon", *argv), stdout=closed,
                                   stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
    deadline = time.monotonic() + 20
    while not daemon.answers():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.terminate()
    assert process.wait(20) == 0


def test_what_cannot_be_made_is_named(daemon: Daemon) -> None:
    roots = ("--data-root", str(daemon.data), "--exec-root", str(daemon.run))
    for argv, words in (
        ((*roots, "--pidfile", "/no/such/pid"), "cannot write the pid file /no/such/pid: No such file or directory"),
        (("--data-root", "/proc/x", "--exec-root", str(daemon.run)), "cannot make the data root /proc/x"),
        (("--data-root", str(daemon.run), "--exec-root", str(daemon.run)), "two directories are needed"),
        ((*roots, "--bip", "zz"), "invalid --bip 'zz': give a host's address and its prefix"),
    ):
        done = again(daemon, *argv)
        assert done.returncode == 1
        assert words in done.stderr
        assert "Errno" not in done.stderr
