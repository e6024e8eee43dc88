"""An engine on cgroup v2 with all controllers, driven by the docker client: what most users have, and what a host with
the hierarchies of v1 cannot show. `make vm` runs this in the machine of tools/vm; it holds on any host with v2.

Nothing here measures time: the machine may be one that a processor of another kind is emulated for.
"""

from __future__ import annotations

import functools
import http.client
import json
import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterator

import pytest

from tests import inventory
from tests.conformance.test_limits import hold_devices
from tests.hosts import IMAGE, Daemon, clients

pytestmark = pytest.mark.needs("root", "cgroup2", "busybox")

MIB = 1 << 20
PATIENCE = 120.0
HOG = "tail /dev/zero"  # keeps the last line of an endless one
V2 = "/sys/fs/cgroup"


@functools.cache
def program() -> str:
    """The newest docker client; asking each of them for its version takes a second in an emulated machine."""
    return next(iter(clients().values()))


class Engine(Daemon):
    """A daemon for whose answers there is more time."""

    def client(
        self, *args: str, stdin: bytes | None = None, client: str = "", timeout: float = PATIENCE
    ) -> subprocess.CompletedProcess[bytes]:
        return super().client(*args, stdin=stdin, client=client or program(), timeout=max(timeout, PATIENCE))

    def start(self, *, env: dict[str, str] | None = None, wait: bool = True) -> Daemon:
        super().start(env=env, wait=False)
        assert self.process is not None
        process = self.process
        until(lambda: self.answers() or process.poll() is not None)
        assert process.poll() is None, self.log()[-4000:]
        return self

    def ask(self, path: str, method: str = "GET") -> bytes:
        """An answer of the API: what is not under test does not start a client, which takes Debian's two seconds."""
        asked = http.client.HTTPConnection("engine")
        with socket.socket(socket.AF_UNIX) as asked.sock:
            asked.sock.settimeout(PATIENCE)
            asked.sock.connect(self.socket)
            asked.request(method, path)
            return asked.getresponse().read()

    def clear(self) -> None:
        until(lambda: not self.remove_all())

    def remove_all(self) -> int:
        """How many there were."""
        left = json.loads(self.ask("/containers/json?all=1"))
        for one in left:
            self.ask(f"/containers/{one['Id']}?force=1&v=1", "DELETE")
        return len(left)

    def shell(self, script: str, *flags: str) -> str:
        """What a script said in a container of its own."""
        return self.docker("run", "--rm", *flags, IMAGE, "sh", "-c", script)

    def background(self, name: str, script: str, *flags: str) -> str:
        """Run a script that says "ready" and stays; the id of its container."""
        id = self.docker("run", "-d", "--name", name, *flags, IMAGE, "sh", "-c", script).strip()
        until(lambda: b"ready" in self.ask(f"/containers/{id}/logs?stdout=1"))
        return id

    def state(self, name: str) -> dict[str, object]:
        found: dict[str, object] = json.loads(self.ask(f"/containers/{name}/json"))["State"]
        return found


def until(condition: Callable[[], bool]) -> None:
    """Ask again until it holds."""
    limit = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < limit, "waited in vain"
        time.sleep(0.1)


def group(id: str) -> str:
    """The directory of the container's group, seen from the host."""
    found = [path for path in inventory.cgroups_of(id) if path.endswith(id)]
    assert len(found) == 1, found
    return found[0]


def read(*parts: str) -> str:
    with open("/".join(parts), encoding="ascii") as file:
        return file.read().strip()


def events(text: str) -> dict[str, int]:
    """A file of "name number" lines."""
    return {words[0]: int(words[1]) for words in map(str.split, text.splitlines()) if len(words) == 2}


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    """One for all; when it has gone, no group is left of what it made."""
    before = inventory.cgroups_of("/containers/")
    made = Engine()
    with made:
        yield made
        made.clear()
        until(lambda: inventory.cgroups_of("/containers/") == before)


@pytest.fixture(autouse=True)
def _cleared(engine: Engine) -> Iterator[None]:
    yield
    engine.clear()


# ---- the machine ----


def test_this_host_is_what_the_shelf_is_about(engine: Engine) -> None:
    """A machine that lost its controllers would skip or pass what it does not hold."""
    assert {"cpu", "cpuset", "io", "memory", "pids"} <= set(read(V2, "cgroup.controllers").split())
    info = json.loads(engine.ask("/info"))
    assert (info["CgroupVersion"], info["MemoryLimit"], info["PidsLimit"], info["CPUSet"]) == ("2", True, True, True)
    assert not [line for line in info["Warnings"] or () if "support" in line]


# ---- limits ----


def test_every_limit_is_where_the_kernel_keeps_it(engine: Engine) -> None:
    said = engine.shell(
        f"cd {V2}; for f in memory.max memory.low memory.swap.max cpu.max cpu.weight cpuset.cpus pids.max; do"
        " echo $f $(cat $f); done", "--memory", "64m", "--memory-reservation", "32m", "--memory-swap", "96m",
        "--cpus", "0.5", "--cpu-shares", "1024", "--cpuset-cpus", "0", "--pids-limit", "10")
    assert said.splitlines() == [
        f"memory.max {64 * MIB}", f"memory.low {32 * MIB}", f"memory.swap.max {32 * MIB}", "cpu.max 50000 100000",
        "cpu.weight 39", "cpuset.cpus 0", "pids.max 10",
    ]


@pytest.mark.parametrize(("script", "code"), [(f"exec {HOG}", 137), (f"{HOG}; exit 3", 3)], ids=["init", "child"])
def test_a_hog_is_killed_and_that_is_said(engine: Engine, script: str, code: int) -> None:
    done = engine.client("run", "--name", "hog", "--memory", "16m", "--memory-swap", "16m", IMAGE, "sh", "-c", script)
    seen = engine.state("hog")
    assert (done.returncode, seen["ExitCode"], seen["OOMKilled"]) == (code, code, True), (done, seen)


def test_the_smallest_memory_that_docker_allows(engine: Engine) -> None:
    """The process is born in its group, and what it is before its program, an interpreter, is charged to it: 3 MiB."""
    said = engine.shell(f"cat {V2}/memory.peak {V2}/memory.events", "--memory", "6m", "--memory-swap", "6m")
    peak, rest = said.split("\n", 1)
    print(f"memory.peak of a container of 6 MiB: {int(peak) / MIB:.2f} MiB")
    assert int(peak) < 5 * MIB, said
    assert not any(events(rest).values()), said


def test_an_exec_into_the_smallest_container(engine: Engine) -> None:
    """It needs 2 MiB that are free. Where they are not it fails, and who was there lives on."""
    id = engine.background("small", "echo ready; exec sleep 1000", "--memory", "6m", "--memory-swap", "6m")
    assert engine.docker("exec", "small", "echo", "in") == "in\n"
    assert not any(events(read(group(id), "memory.events")).values())
    print(f"memory.peak with an exec: {int(read(group(id), 'memory.peak')) / MIB:.2f} MiB")
    engine.docker("exec", "small", "sh", "-c", "head -c 4900k /dev/zero >/dev/shm/filled; :")
    done = engine.client("exec", "small", "true")
    assert done.returncode == 126, done
    assert engine.state("small")["Running"] is True


def test_the_eleventh_process_is_refused(engine: Engine) -> None:
    script = "for i in $(seq 20); do sleep 100 & done; echo all"
    done = engine.client("run", "--rm", "--pids-limit", "10", IMAGE, "sh", "-c", script)
    assert b"can't fork" in done.stderr, done
    assert b"all" not in done.stdout


def test_a_limit_of_one_process_is_one(engine: Engine) -> None:
    engine.docker("run", "-d", "--name", "alone", "--pids-limit", "1", IMAGE, "sleep", "1000")
    done = engine.client("exec", "alone", "true")
    assert (done.returncode, engine.state("alone")["Running"]) == (126, True), done


def test_a_busy_container_is_throttled(engine: Engine) -> None:
    id = engine.background("busy", "echo ready; while :; do :; done", "--cpus", "0.1")
    until(lambda: events(read(group(id), "cpu.stat"))["nr_throttled"] > 0)
    engine.docker("update", "--cpus", "0.2", "--memory", "24m", "--memory-swap", "24m", "busy")
    assert (read(group(id), "cpu.max"), read(group(id), "memory.max")) == ("20000 100000", str(24 * MIB))


# ---- devices, the view from inside ----


def test_devices_are_held(engine: Engine) -> None:
    """By a BPF program: v2 has no files for them."""
    hold_devices(engine)


def test_what_a_container_sees_of_its_group(engine: Engine) -> None:
    """Itself as the root of the tree, which it cannot change; the host's namespace on request."""
    script = f"cat /proc/self/cgroup; find {V2} -type d | wc -l; mkdir {V2}/mine 2>&1; head -1 {V2}/cgroup.procs"
    said = engine.shell(script).splitlines()
    assert (said[0], said[1], said[3]) == ("0::/", "1", "1"), said
    assert "Read-only file system" in said[2], said
    assert "/containers/" in engine.shell("cat /proc/self/cgroup", "--cgroupns", "host")


def test_an_exec_into_a_container_with_groups_of_its_own(engine: Engine) -> None:
    """What an init system does: v2 lets no process live in the container's upper group then."""
    engine.background("nest", f"cd {V2} && mkdir init && echo 1 >init/cgroup.procs &&"
                      " echo +memory +pids >cgroup.subtree_control && echo ready; exec sleep 1000", "--privileged")
    assert engine.docker("exec", "nest", "cat", "/proc/self/cgroup") == "0::/init\n"
    assert len(engine.docker("top", "nest").splitlines()) == 2


# ---- its life ----


def test_stats_are_those_of_v2(engine: Engine) -> None:
    engine.background("seen", "head -c 4m /dev/zero >/dev/shm/filled; echo ready; exec sleep 1000", "--memory", "64m")
    line = engine.docker("stats", "--no-stream", "--format", "{{.MemUsage}} {{.PIDs}}", "seen").split()
    assert line[1:] == ["/", "64MiB", "1"], line
    assert line[0].endswith("MiB"), line
    assert 4 <= float(line[0].removesuffix("MiB")) < 10, line


def test_pause_and_unpause(engine: Engine) -> None:
    id = engine.background("calm", "echo ready; while :; do sleep 1; done")
    engine.docker("pause", "calm")
    assert (events(read(group(id), "cgroup.events"))["frozen"], engine.state("calm")["Status"]) == (1, "paused")
    engine.docker("unpause", "calm")
    assert (events(read(group(id), "cgroup.events"))["frozen"], engine.state("calm")["Status"]) == (0, "running")
    engine.docker("pause", "calm")
    engine.docker("rm", "-f", "calm")
    assert inventory.cgroups_of(id) == []


def test_killing_takes_everybody_and_leaves_no_group(engine: Engine) -> None:
    """Without a pid namespace of its own only the group says who belongs to the container."""
    id = engine.background("many", "for i in 1 2 3; do setsid sleep 1000 & done; echo ready; wait", "--pid", "host")
    until(lambda: len(read(group(id), "cgroup.procs").split()) == 4)
    pids = read(group(id), "cgroup.procs").split()
    engine.docker("kill", "many")
    until(lambda: engine.state("many")["ExitCode"] == 137)
    until(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in pids))
    until(lambda: inventory.cgroups_of(id) == [])
    engine.docker("start", "many")
    assert read(group(id), "memory.max") == "max"


def test_an_engine_that_was_killed_adopts(engine: Engine) -> None:
    """It finds the container as it left it, and hears of what it ends by."""
    script = f"trap : USR1; echo ready; while ! [ -e /go ]; do sleep 1; done; exec {HOG}"
    id = engine.background("kept", script, "--memory", "32m", "--memory-swap", "32m")
    engine.background("resting", "echo ready; exec sleep 1000")
    engine.docker("pause", "resting")
    pid = engine.state("kept")["Pid"]
    engine.kill()
    engine.start()
    assert (engine.state("kept")["Pid"], engine.state("resting")["Status"]) == (pid, "paused")
    assert read(group(id), "memory.max") == str(32 * MIB)
    engine.docker("unpause", "resting")
    assert engine.docker("exec", "resting", "echo", "in") == "in\n"
    engine.docker("exec", "kept", "touch", "/go")
    assert engine.docker("wait", "kept") == "137\n"
    assert engine.state("kept")["OOMKilled"] is True
    until(lambda: inventory.cgroups_of(id) == [])
