"""The long ones: many lives, many deaths, much output; the host is the same before and after.

`make soak` runs them whole; WHARFIE_SOAK=sample makes each end within a minute, which is what `make test` runs.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests import inventory
from tests.hosts import IMAGE, Daemon
from wharfie.base.paths import DataRoot

pytestmark = pytest.mark.needs("root", "busybox")
GONE = (b"No such", b"is already in progress")
SAMPLE = os.environ.get("WHARFIE_SOAK") == "sample"


@pytest.fixture
def daemon() -> Iterator[Daemon]:
    made = Daemon()
    words = (str(made.root), made.namespace, DataRoot(str(made.data)).instance)
    before = inventory.take([str(made.root)])
    with made as d:
        yield d
    left = inventory.settled(before, [str(made.root)], words=words, came_only=True)
    assert not left, left


def anonymous_kib(pid: int) -> int:
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return int(next(line for line in text.splitlines() if line.startswith("Anonymous:")).split()[1])


def until(condition: Callable[[], object], seconds: float = 20) -> None:
    """Wait until it holds."""
    limit = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < limit, "it never came true"
        time.sleep(0.05)


def open_fds(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


def test_many_lives_leave_nothing(daemon: Daemon) -> None:
    """Engine and zygote neither grow nor keep descriptors over many whole lives, execs and failures."""
    rounds, warm = (120, 40) if SAMPLE else (3000, 300)
    assert daemon.process is not None

    def life(n: int) -> None:
        daemon.docker("run", "--rm", IMAGE, "echo", str(n))
        if n % 10 == 0:
            daemon.client("run", "--rm", IMAGE, "no-such-program")
            daemon.docker("run", "-d", "--name", f"x{n}", "-p", "0:80", "-v", f"v{n}:/v", IMAGE, "sleep", "100")
            daemon.docker("exec", f"x{n}", "true")
            daemon.docker("rm", "-fv", f"x{n}")
            daemon.docker("volume", "rm", f"v{n}")

    for n in range(warm):
        life(n)
    memory, fds = anonymous_kib(daemon.process.pid), open_fds(daemon.process.pid)
    for n in range(warm, rounds):
        life(n)
    engine = daemon.process.pid
    until(lambda: open_fds(engine) <= fds + 2)
    grown = anonymous_kib(engine) - memory
    assert grown < 4096 + (rounds - warm), f"the engine grew by {grown} KiB over {rounds - warm} lives"
    assert daemon.docker("ps", "-aq") == ""


def test_kill_the_engine_again_and_again(daemon: Daemon) -> None:
    """kill -9 at random moments of a churn; after each restart everything listed can be inspected and removed."""
    for n in range(4 if SAMPLE else 60):
        stop = threading.Event()

        def churn(k: int, stop: threading.Event = stop) -> None:
            while not stop.is_set():
                daemon.client("run", "--rm", "-d", IMAGE, "sleep", "0.1")
                daemon.client("run", "--rm", IMAGE, "true")

        threads = [threading.Thread(target=churn, args=(k,)) for k in range(4)]
        for t in threads:
            t.start()
        time.sleep(0.5 + (n % 7) * 0.11)
        daemon.kill(signal.SIGKILL)
        stop.set()
        for t in threads:
            t.join()
        daemon.start()
        for identifier in daemon.docker("ps", "-aq").split():
            for verb in (("inspect",), ("rm", "-f")):  # one that was to be removed at its end may go meanwhile
                done = daemon.client(*verb, identifier)
                assert not done.returncode or any(w in done.stderr for w in GONE), done
        until(lambda: daemon.docker("ps", "-aq") == "")
        until(lambda: os.listdir(daemon.run / "c") == [])


def test_a_flood_through_a_slow_reader(daemon: Daemon) -> None:
    """A container writes far more than any pipe holds while its only attached client sleeps; it is never stalled."""
    size = 40 if SAMPLE else 400
    script = f"yes 0123456789012345678 | head -c {size << 20}; echo end >&2"
    start = time.monotonic()
    daemon.docker("run", "-d", "--name", "flood", "--log-opt", "max-size=50m", IMAGE, "sh", "-c", script, timeout=300)
    assert daemon.docker("wait", "flood", timeout=300).strip() == "0"
    assert time.monotonic() - start < 10 + size
    assert daemon.docker("logs", "--tail", "2", "flood") == "0123456789012345678\n"
