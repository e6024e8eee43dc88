"""What drivers.contract promises, for every driver. A new driver adds its factory to DRIVERS and must pass."""

from __future__ import annotations

import os
import select
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.kernel.runtime_rig import Rig, read_all, reap, spec_of
from wharfie.base import errors
from wharfie.drivers import contract, native
from wharfie.kernel import process

DRIVERS: dict[str, Callable[[], Any]] = {"native": native.Native}

pytestmark = pytest.mark.needs("root", "busybox")


def offspring() -> set[str]:
    """This process's children, zombies included; others' orphans come here too once something made it a subreaper."""
    return set(Path(f"/proc/self/task/{os.getpid()}/children").read_text().split())


@pytest.fixture(params=list(DRIVERS))
def rig(request: pytest.FixtureRequest) -> Iterator[Rig]:
    made = Rig(DRIVERS[request.param]())
    before, children = sorted(os.listdir("/proc/self/fd")), offspring()
    yield made
    made.close()
    assert sorted(os.listdir("/proc/self/fd")) == before, "descriptors leak"
    assert offspring() <= children, "a process is left to be reaped"


def test_nothing_of_the_image_runs_before_start(rig: Rig) -> None:
    read, write = os.pipe2(os.O_CLOEXEC)
    made = rig.create(spec_of("echo", "ran"), contract.Stdio(-1, write, -1))
    os.close(write)
    assert not select.select([read], [], [], 0.2)[0]
    rig.driver.start(made)
    assert read_all(read) == "ran\n"
    assert reap(made.process.pidfd) == ("exited", 0)
    rig.driver.delete(made.container)


def test_process_is_ours_to_reap_and_named_by_pid_and_start_time(rig: Rig) -> None:
    container = rig.hold()
    assert process.start_time(container.process.pid) == container.process.start_time
    assert container.process.console == -1
    rig.drop(container)


@pytest.mark.parametrize("code", [0, 1, 42, 255])
def test_exit_codes(rig: Rig, code: int) -> None:
    assert rig.sh(f"exit {code}").ended == ("exited", code)


def test_death_by_signal(rig: Rig) -> None:
    container = rig.hold("sh", "-c", "trap - TERM; sleep 1000")
    rig.driver.kill(container)
    assert reap(container.process.pidfd) == ("killed", 9)
    rig.driver.delete(container)


def test_kill_is_idempotent_and_takes_execs_with_it(rig: Rig) -> None:
    container = rig.hold()
    wanted = spec_of("sleep", "1000").process
    assert wanted is not None
    more = rig.driver.exec(container, wanted, contract.Stdio())
    rig.driver.kill(container)
    rig.driver.kill(container)
    assert reap(more.pidfd) == ("killed", 9)
    rig.drop(container)


@pytest.mark.parametrize(
    ("program", "kind", "words"),
    [
        ("nope", errors.NoCommand, 'exec: "nope": executable file not found in $PATH'),
        ("/nope", errors.NoCommand, 'exec: "/nope": stat /nope: no such file or directory'),
        ("/etc", errors.NotExecutable, 'exec: "/etc": is a directory'),
        ("/bin/plain", errors.NotExecutable, 'exec: "/bin/plain": permission denied'),
        ("/bin/garbage", errors.NotExecutable, "exec /bin/garbage: exec format error"),
    ],
)
def test_programs_that_cannot_run(rig: Rig, program: str, kind: type[Exception], words: str) -> None:
    with pytest.raises(kind) as caught:
        rig.run(spec_of(program))
    assert str(caught.value) == words
    container = rig.hold()
    with pytest.raises(kind) as caught:
        rig.exec(container, program)
    assert str(caught.value) == words
    rig.drop(container)


def test_stdio(rig: Rig) -> None:
    stdin_read, stdin_write = os.pipe2(os.O_CLOEXEC)
    out, out_write = os.pipe2(os.O_CLOEXEC)
    err, err_write = os.pipe2(os.O_CLOEXEC)
    made = rig.create(spec_of("sh", "-c", "cat; echo bad >&2"), contract.Stdio(stdin_read, out_write, err_write))
    for fd in (stdin_read, out_write, err_write):
        os.close(fd)
    rig.driver.start(made)
    os.write(stdin_write, b"good\n")
    os.close(stdin_write)
    assert (read_all(out), read_all(err)) == ("good\n", "bad\n")
    reap(made.process.pidfd)
    rig.driver.delete(made.container)


def test_exec_is_in_the_same_namespaces(rig: Rig) -> None:
    show = "for n in pid mnt net ipc uts cgroup; do readlink /proc/self/ns/$n; done"
    read, write = os.pipe2(os.O_CLOEXEC)
    made = rig.create(spec_of("sh", "-c", f"{show}; echo end; exec sleep 1000"), contract.Stdio(-1, write, -1))
    os.close(write)
    rig.driver.start(made)
    first = b""
    while not first.endswith(b"end\n"):
        first += os.read(read, 4096)
    os.close(read)
    done = rig.exec(made.container, "sh", "-c", f"{show}; echo end")
    assert done.output == first.decode()
    assert done.ended == ("exited", 0)
    assert rig.exec(made.container, "sh", "-c", "exit 3").ended == ("exited", 3)
    rig.drop(made.container)


def test_terminal(rig: Rig) -> None:
    done = rig.run(spec_of("sh", "-c", "tty; stty size", terminal=True), terminal_size=(33, 99))
    assert done.lines == ["/dev/pts/0\r", "33 99\r"]
    container = rig.hold()
    assert rig.exec(container, "sh", "-c", "tty; stty size", terminal=True, size=(7, 8)).lines[1] == "7 8\r"
    rig.drop(container)


def test_failure_leaves_nothing(rig: Rig) -> None:
    """The fixture counts descriptors and children."""
    bind = {"destination": "/x", "type": "bind", "source": "/does/not/exist", "options": ["bind"]}
    with pytest.raises(errors.WharfieError, match="/does/not/exist"):
        rig.run(spec_of("true", mounts=[bind]))
    with pytest.raises(errors.WharfieError):
        rig.run(spec_of("true", mounts=[{"destination": "/x", "type": "nosuchfs"}]))


def test_exec_in_an_ended_container_is_a_conflict(rig: Rig) -> None:
    container = rig.hold("true")
    select.select([container.process.pidfd], [], [], 10)
    with pytest.raises(errors.Conflict, match="not running"):
        rig.exec(container, "true")
    rig.drop(container)
