"""Every process of a start dies while it is held at every named place (`base.points`), four processes. The sample that
`make test` runs takes some; `make soak` all."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests import inventory
from tests.hosts import IMAGE, Daemon, busybox_files, tar_of
from wharfie.base.paths import DataRoot
from wharfie.base.points import HOLD_SECONDS, POINTS
from wharfie.kernel import process

pytestmark = pytest.mark.needs("root", "busybox")
SAMPLE = os.environ.get("WHARFIE_SOAK") == "sample"
VICTIMS = ("engine", "zygote", "shim", "init")
PAIRS = [(p, v) for p in POINTS for v in VICTIMS]
SAMPLED = [
    ("engine.start.networked", "zygote"),
    ("engine.start.networked", "shim"),
    ("shim.init.ready", "engine"),
    ("engine.start.started", "init"),
]


def tree(root: int) -> dict[int, str]:
    """pid → name of everything below a process."""
    found, todo = {}, [root]
    while todo:
        pid = todo.pop()
        try:
            text = Path(f"/proc/{pid}/stat").read_text()
            todo += [int(c) for c in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
        except OSError:
            continue
        found[pid] = text.partition("(")[2].rpartition(")")[0]
    return found


def find(daemon: Daemon, victim: str) -> int:
    """The pid of the victim among the daemon's processes, 0 when there is none at this moment."""
    assert daemon.process is not None
    if victim == "engine":
        return daemon.process.pid
    below = tree(daemon.process.pid)
    zygotes = [p for p, name in below.items() if name.startswith("wharfie-zygote")]
    shims = [p for p, name in below.items() if name.startswith("wharfie-shim")]
    if victim == "zygote":
        return min(zygotes, default=0)
    if victim == "shim":
        return min(shims, default=0)
    own = {p for shim in shims for p in tree(shim)} - set(shims)
    return max(own, default=0)


def kill(pid: int) -> None:
    """SIGKILL by pidfd; a process that has gone by itself is no error."""
    try:
        fd = process.pidfd_open(pid)
    except ProcessLookupError:
        return
    process.pidfd_send_signal(fd, signal.SIGKILL)
    os.close(fd)


@pytest.mark.parametrize(("point", "victim"), SAMPLED if SAMPLE else PAIRS)
def test_a_process_dies_while_a_start_is_held(point: str, victim: str) -> None:
    daemon = Daemon()
    words = (str(daemon.root), daemon.namespace, DataRoot(str(daemon.data)).instance)
    before = inventory.take([str(daemon.root)])
    try:
        daemon.network_up()
        daemon.start()
        daemon.docker("import", "-", IMAGE, stdin=tar_of(busybox_files()))
        daemon.kill(signal.SIGTERM)
        daemon.start(env={"WHARFIE_HOLD_POINT": point})
        client = subprocess.Popen(
            [
                *["docker", "-H", daemon.host, "run", "-d", "--name", "victim", "-p", "18083:80", "-v", "vol:/d"],
                IMAGE,
                "sleep",
                "1000",
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            time.sleep(HOLD_SECONDS / 2)
            if pid := find(daemon, victim):
                kill(pid)
            client.wait(25)
        finally:
            client.kill()
            client.wait()
        if victim == "engine":
            assert daemon.process is not None
            daemon.process.wait(20)
        else:
            daemon.kill()
        daemon.start()
        listed = daemon.docker("ps", "-a", "--format", "{{.Names}} {{.State}}").split()
        if listed:
            assert listed[0] == "victim"
            assert listed[1] in ("created", "exited", "running"), listed
            daemon.docker("rm", "-fv", "victim")
        assert daemon.docker("run", "--rm", "-p", "18083:80", IMAGE, "echo", "fine").strip() == "fine"
        limit = time.monotonic() + 20
        while os.listdir(daemon.run / "c"):
            assert time.monotonic() < limit
            time.sleep(0.02)
        assert os.listdir(daemon.data / "containers") == []
    finally:
        daemon.down()
    left = inventory.settled(before, [str(daemon.root)], words=words, came_only=True)
    assert not left, f"left after the {victim} died at {point}: {left}"
