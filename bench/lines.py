"""The budgets, one function each."""

from __future__ import annotations

import json
import shutil
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from .engines import DOCKER, IMAGE, Engine, descendants, pss
from .http import Connection
from .report import Row, against

PAIRS = 15


def timed(work: Callable[[], object]) -> float:
    """Wall time in ms."""
    start = time.perf_counter()
    work()
    return (time.perf_counter() - start) * 1e3


def interleaved(
    one: Callable[[], object], two: Callable[[], object], pairs: int = PAIRS
) -> tuple[list[float], list[float]]:
    """Both works in turns, after one unmeasured round, so that both meet the same neighbours and caches."""
    one()
    two()
    ours, theirs = [], []
    for _ in range(pairs):
        ours.append(timed(one))
        theirs.append(timed(two))
    return ours, theirs


def cli(engine: Engine, *args: str) -> Callable[[], object]:
    command = [DOCKER, "-H", f"unix://{engine.socket}", *args]
    return lambda: subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL)


def run(ours: Engine, theirs: Engine) -> Row:
    pair = interleaved(*(cli(e, "run", "--rm", IMAGE, "true") for e in (ours, theirs)))
    return against("docker run --rm IMG true", *pair, 1 / 5, "≤ 1/5 (goal 1/7)")


def own_client(ours: Engine, theirs: Engine) -> Row:
    program = shutil.which("wharfie", path=str(Path(sys.executable).parent)) or "wharfie"
    command = [program, "-H", f"unix://{ours.socket}", "run", "--rm", IMAGE, "true"]
    mine = lambda: subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL)  # noqa: E731
    pair = interleaved(mine, cli(ours, "run", "--rm", IMAGE, "true"))
    return against("wharfie run (theirs: docker CLI, our engine)", *pair, 1.0, "not slower")


def api_life(ours: Engine, theirs: Engine) -> Row:
    links = [Connection(e.socket) for e in (ours, theirs)]
    mine, peers = interleaved(*(lambda c=c: c.life(IMAGE) for c in links), pairs=30)
    return Row(
        "API create+start+wait+remove",
        statistics.median(mine),
        statistics.median(peers),
        "ms",
        "≤ 15 ms median",
        statistics.median(mine) <= 15,
        (min(mine), max(mine)),
    )


def lives_a_second(ours: Engine, theirs: Engine) -> Row:
    def rate(engine: Engine, each: int) -> float:
        def work() -> None:
            link = Connection(engine.socket)
            for _ in range(each):
                link.life(IMAGE)

        threads = [threading.Thread(target=work) for _ in range(8)]
        start = time.perf_counter()
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        return 8 * each / (time.perf_counter() - start)

    mine = [rate(ours, 20) for _ in range(3)]
    return Row(
        "full lives a second, 8 at once",
        statistics.median(mine),
        rate(theirs, 2),
        "/s",
        "≥ 40 (goal 60)",
        statistics.median(mine) >= 40,
        (min(mine), max(mine)),
    )


def exec_true(ours: Engine, theirs: Engine) -> Row:
    for engine in (ours, theirs):
        engine.docker("run", "-d", "--name", "bench-exec", IMAGE, "sleep", "1000")
    pair = interleaved(*(cli(e, "exec", "bench-exec", "true") for e in (ours, theirs)))
    for engine in (ours, theirs):
        engine.docker("rm", "-f", "bench-exec")
    return against("docker exec c true", *pair, 1 / 3, "≤ 1/3")


def fifty(ours: Engine, theirs: Engine) -> Row:
    def start(engine: Engine) -> None:
        command = [DOCKER, "-H", f"unix://{engine.socket}", "run", "-d", IMAGE, "sleep", "1000"]
        running = [subprocess.Popen(command, stdout=subprocess.DEVNULL) for _ in range(50)]
        codes = [p.wait() for p in running]
        assert not any(codes), f"{engine.name}: {sum(map(bool, codes))} of 50 failed"

    times: dict[str, list[float]] = {"w": [], "d": []}
    for _ in range(2):
        for engine in (ours, theirs):
            times[engine.name].append(timed(lambda e=engine: start(e)))
            engine.docker("rm", "-f", *engine.docker("ps", "-aq").split())
    return against("50 × docker run -d at once", times["w"], times["d"], 1 / 5, "≤ 1/5")


def memory_per_container(ours: Engine, theirs: Engine) -> Row:
    def cost(engine: Engine) -> float:
        assert engine.process is not None
        before = pss(whole(engine))
        for _ in range(50):
            engine.docker("run", "-d", IMAGE, "sleep", "1000")
        time.sleep(1)
        after = pss(whole(engine))
        engine.docker("rm", "-f", *engine.docker("ps", "-aq").split())
        return (after - before) / 50 / 1024

    mine, peers = cost(ours), cost(theirs)
    return Row("memory per idle container, 50, PSS", mine, peers, "MiB", "≤ 2 MiB", mine <= 2)


def whole(engine: Engine) -> list[int]:
    """All processes of an engine: its tree, its shims (which may have left the tree), its containers."""
    assert engine.process is not None
    roots = {*descendants(engine.process.pid), *engine.pids()}
    return sorted({p for r in roots for p in descendants(r)})


def idle_memory(ours: Engine, theirs: Engine) -> Row:
    mine, peers = pss(whole(ours)) / 1024, pss(whole(theirs)) / 1024
    return Row("engine and zygote idle, PSS", mine, peers, "MiB", "≤ 75 MiB", mine <= 75)


FLOOD = "i=0; while [ $i -lt 25 ]; do cat /tmp/lines; i=$((i+1)); done"
LINES_FILE = "yes 0123456789012345678 | head -n 209715 > /tmp/lines; "  # 20 bytes a line, 4 MiB


def log_flood(ours: Engine, theirs: Engine) -> Row:
    times: dict[str, list[float]] = {"w": [], "d": []}
    for _ in range(3):
        for engine in (ours, theirs):
            quiet = [
                DOCKER,
                "-H",
                f"unix://{engine.socket}",
                "run",
                "-d",
                "--name",
                "bench-flood",
                IMAGE,
                "sh",
                "-c",
                LINES_FILE + FLOOD,
            ]
            times[engine.name].append(
                timed(
                    lambda e=engine, q=quiet: (
                        subprocess.run(q, check=True, stdout=subprocess.DEVNULL),
                        e.docker("wait", "bench-flood"),
                    )
                )
            )
            engine.docker("rm", "-f", "bench-flood")
    return against("100 MB of short lines into the log", times["w"], times["d"], 1.0, "≤ theirs")


def log_read(ours: Engine, theirs: Engine) -> Row:
    for engine in (ours, theirs):
        engine.docker("run", "-d", "--name", "bench-read", IMAGE, "sh", "-c", LINES_FILE + FLOOD)
        engine.docker("wait", "bench-read")
    pair = interleaved(*(cli(e, "logs", "bench-read") for e in (ours, theirs)), pairs=3)
    for engine in (ours, theirs):
        engine.docker("rm", "-f", "bench-read")
    return against("docker logs of it", *pair, 1.0, "≤ theirs")


def slow_reader(ours: Engine, theirs: Engine) -> Row:
    """The container's own time to write 100 MB while an attached client reads nothing."""

    def stalled(engine: Engine) -> float:
        engine.docker("create", "--name", "bench-slow", IMAGE, "sh", "-c", LINES_FILE + FLOOD)
        client = subprocess.Popen(
            [DOCKER, "-H", f"unix://{engine.socket}", "start", "-a", "bench-slow"], stdout=subprocess.PIPE
        )
        try:
            start = time.perf_counter()
            # "wait" on a container that is not started yet would answer at once.
            while engine.docker("inspect", "-f", "{{.State.Status}}", "bench-slow").strip() == "created":
                time.sleep(0.005)
            engine.docker("wait", "bench-slow")
            return (time.perf_counter() - start) * 1e3
        finally:
            client.kill()
            client.wait()
            engine.docker("rm", "-f", "bench-slow")

    mine = stalled(ours)
    return Row("100 MB with an attached client that stalls", mine, None, "ms", "ends (≤ 60 s)", mine <= 60_000)


def thousand_stopped(ours: Engine, theirs: Engine) -> Row:
    link = Connection(ours.socket)
    for _ in range(1000):
        status, body = link.call("POST", "/containers/create", {"Image": IMAGE, "Cmd": ["true"]})
        assert status == 201, body
    ours.stop()
    took = timed(ours.start)
    ours.docker("ps", "-aq")
    link = Connection(ours.socket)
    for item in json.loads(link.call("GET", "/containers/json?all=1")[1]):
        link.call("DELETE", f"/containers/{item['Id']}")
    return Row("engine start with 1,000 stopped containers", took, None, "ms", "≤ 1 s", took <= 1000)


LINES: dict[str, Callable[[Engine, Engine], Row]] = {
    "idle-memory": idle_memory,
    "run": run,
    "own-client": own_client,
    "api-life": api_life,
    "lives": lives_a_second,
    "exec": exec_true,
    "fifty": fifty,
    "memory": memory_per_container,
    "log-flood": log_flood,
    "log-read": log_read,
    "slow-reader": slow_reader,
    "thousand": thousand_stopped,
}
