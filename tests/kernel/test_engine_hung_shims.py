"""Containers whose shim does not answer: stopped, or stuck in the kernel. They can be ended and removed all the same,
and nobody else notices."""

from __future__ import annotations

import asyncio
import os
import select
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.kernel.engine_house import Place, inside
from wharfie.base import errors
from wharfie.engine import ending, supervise

pytestmark = pytest.mark.needs("root", "busybox")
_FREEZER = "/sys/fs/cgroup/freezer"


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Scenarios run in forks of this process."""
    monkeypatch.setattr(ending, "_SHIM_PATIENCE", 1.5, raising=False)
    monkeypatch.setattr(supervise, "_DEATH_PATIENCE", 1.5, raising=False)


def shim_of(place: Place, identifier: str) -> int:
    assert place.house is not None
    link = place.house.containers._lives.find(identifier).link
    assert link is not None
    return link.pid


def stop(pid: int) -> None:
    fd = os.pidfd_open(pid)
    signal.pidfd_send_signal(fd, signal.SIGSTOP)
    os.close(fd)


@contextmanager
def stuck(pid: int) -> Iterator[None]:
    """A process in state D that no SIGKILL ends: frozen by cgroup v1's freezer."""
    group = f"{_FREEZER}/wharfie-stuck-{os.getpid()}"
    os.mkdir(group)
    try:
        with open(f"{group}/cgroup.procs", "w") as file:
            file.write(str(pid))
        with open(f"{group}/freezer.state", "w") as file:
            file.write("FROZEN")
        yield
    finally:
        with open(f"{group}/freezer.state", "w") as file:
            file.write("THAWED")
        limit = time.monotonic() + 5
        while True:
            try:
                os.rmdir(group)
                break
            except OSError:
                assert time.monotonic() < limit
                time.sleep(0.01)


async def others_work(place: Place, busy: asyncio.Task[object]) -> None:
    """Other containers live and end meanwhile, none of them late."""
    assert place.house is not None
    lives = 0
    while not busy.done():
        begin = time.monotonic()
        identifier, result = await place.run("true")
        await place.house.containers.remove(identifier)
        assert result.code == 0
        assert time.monotonic() - begin < 2
        lives += not busy.done()
    assert lives > 1  # two at least from end to end while it hung; how many fit depends on the machine


@pytest.mark.parametrize("verb", ["remove", "stop", "kill"])
def test_a_stopped_shim_is_ended(verb: str) -> None:
    async def scenario(place: Place) -> None:
        assert place.house is not None
        engine = place.house.containers
        identifier = await place.create("sleep", "1000")
        await engine.start(identifier)
        waiting = engine.watch(identifier, "next-exit")
        init = os.pidfd_open(engine.get(identifier).state.pid)
        record = engine.get(identifier)
        shim = shim_of(place, identifier)
        stop(shim)
        work = {"remove": lambda: engine.remove(identifier, force=True), "kill": lambda: engine.kill(identifier),
                "stop": lambda: engine.stop(identifier, timeout=1)}[verb]
        busy = asyncio.create_task(work())
        await others_work(place, busy)
        await asyncio.wait_for(busy, 10)
        assert (await asyncio.wait_for(waiting, 1)).code == 255
        assert "did not answer" in record.state.error
        assert select.select([init], [], [], 0)[0], "the process has outlived its container"
        os.close(init)
        if verb != "remove":
            await engine.start(identifier)
            assert engine.get(identifier).state.status == "running"

    inside(scenario)


def test_a_verb_that_hangs_with_the_lock_in_hand_hinders_no_removal() -> None:
    async def scenario(place: Place) -> None:
        assert place.house is not None
        engine = place.house.containers
        identifier = await place.create("sleep", "1000")
        await engine.start(identifier)
        stop(shim_of(place, identifier))
        pausing = asyncio.create_task(engine.pause(identifier))
        await asyncio.sleep(0)
        await asyncio.wait_for(engine.remove(identifier, force=True), 15)
        with pytest.raises(errors.WharfieError):
            await pausing

    inside(scenario)


def test_a_signal_that_is_no_end_leaves_a_silent_shim_alone() -> None:
    async def scenario(place: Place) -> None:
        assert place.house is not None
        engine = place.house.containers
        identifier = await place.create("sleep", "1000")
        await engine.start(identifier)
        shim = shim_of(place, identifier)
        stop(shim)
        with pytest.raises(errors.Unavailable, match="has not answered"):
            await asyncio.wait_for(engine.kill(identifier, "HUP"), 10)
        fd = os.pidfd_open(shim)
        signal.pidfd_send_signal(fd, signal.SIGCONT)
        os.close(fd)
        await asyncio.wait_for(engine.stop(identifier, timeout=0), 5)
        assert engine.get(identifier).state.exit_code in (129, 137)

    inside(scenario)


@pytest.mark.skipif(not os.path.isdir(_FREEZER), reason="needs the freezer of cgroup v1")
def test_a_shim_that_is_stuck_in_the_kernel_is_given_up() -> None:
    async def scenario(place: Place) -> None:
        assert place.house is not None
        engine = place.house.containers
        identifier = await place.create("sleep", "1000")
        await engine.start(identifier)
        record = engine.get(identifier)
        init = record.state.pid
        shim = shim_of(place, identifier)
        with stuck(shim):
            busy = asyncio.create_task(engine.remove(identifier, force=True))
            await others_work(place, busy)
            await asyncio.wait_for(busy, 25)
            assert "did not answer" in record.state.error
            with open(f"/proc/{init}/stat") as file:  # dead; who should reap it is stuck
                assert file.read().rpartition(")")[2].split()[0] == "Z"
            assert os.path.isdir(f"/proc/{shim}")

    inside(scenario)
