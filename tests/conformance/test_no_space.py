"""A data root without room: every refusal is clear, nothing half-made stays, and what fills the disk can be ended."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator

import pytest

from tests.hosts import IMAGE, Daemon, tar_of

pytestmark = pytest.mark.needs("root", "busybox")


@pytest.fixture
def daemon() -> Iterator[Daemon]:
    made = Daemon()
    made.data.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=7m", "none", str(made.data)], check=True)
    try:
        with made:
            yield made
    finally:
        subprocess.run(["umount", "-l", str(made.data)], check=False)
        subprocess.run(["rm", "-rf", str(made.root)], check=True)


def fill(daemon: Daemon) -> str:
    """A file that takes all there is."""
    path = str(daemon.data / "fill")
    fd = os.open(path, os.O_CREAT | os.O_WRONLY)
    try:
        while True:
            os.write(fd, bytes(4096))
    except OSError:
        return path
    finally:
        os.close(fd)


def test_a_full_disk(daemon: Daemon) -> None:
    daemon.docker("run", "-d", "--name", "talker", IMAGE, "sh", "-c", "while :; do echo aaaaaaaa; sleep 0.05; done")
    for name in ("one", "two"):
        daemon.docker("run", "-d", "--name", name, IMAGE, "sleep", "1000")
    layers, kept = os.listdir(daemon.data / "layers"), sorted(os.listdir(daemon.data / "containers"))
    filler = fill(daemon)
    for argv in (("create", IMAGE, "true"), ("run", "--rm", "-v", "new:/x", IMAGE, "true")):
        done = daemon.client(*argv)
        assert done.returncode != 0
        assert b"make room on the disk of the data root" in done.stderr
        assert b"Errno" not in done.stderr
    loaded = daemon.client("import", "-", "big:1", stdin=tar_of({"big": os.urandom(4 << 20)}))
    assert loaded.returncode == 1
    assert b"space" in loaded.stderr
    assert os.listdir(daemon.data / "layers") == layers
    assert sorted(os.listdir(daemon.data / "containers")) == kept
    assert os.listdir(daemon.data / "images/ingest") == []
    assert os.listdir(daemon.data / "volumes") == []
    # ending needs no room
    daemon.docker("stop", "-t", "0", "one")
    daemon.docker("kill", "two")
    daemon.docker("pause", "talker")
    daemon.docker("unpause", "talker")
    daemon.docker("kill", "talker")
    states = daemon.docker("ps", "-a", "--format", "{{.State}}").split()
    assert states == ["exited"] * 3
    os.unlink(filler)
    assert daemon.docker("run", "--rm", IMAGE, "echo", "again") == "again\n"
    # what could not be written is not forgotten
    daemon.docker("start", "one")
    daemon.kill()
    daemon.start()
    shown = daemon.docker("ps", "-a", "--format", "{{.Names}} {{.State}}").splitlines()
    assert sorted(shown) == ["one running", "talker exited", "two exited"]


def test_a_container_that_filled_the_disk_leaves_nothing(daemon: Daemon) -> None:
    done = daemon.client("run", "--rm", IMAGE, "dd", "if=/dev/zero", "of=/x", "bs=1M", "count=20")
    assert done.returncode == 1
    deadline = time.monotonic() + 10
    while os.listdir(daemon.run / "c") or os.listdir(daemon.data / "containers"):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert daemon.docker("run", "--rm", IMAGE, "echo", "again") == "again\n"
