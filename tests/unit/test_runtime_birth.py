"""What the parent believes of a process on its way: descriptors and pid once, in their turn, and nothing afterwards."""

from __future__ import annotations

import os

import pytest

from wharfie.runtime import birth, faults
from wharfie.runtime.channel import Channel, pair


@pytest.fixture
def begun():
    mine, theirs = pair()
    made = birth.Birth(os.getpid(), os.pidfd_open(os.getpid()), mine)
    yield made, theirs
    os.close(made.pidfd)
    mine.close()
    theirs.close()


def _null() -> int:
    return os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)


def _say(theirs: Channel, message: dict[str, object], count: int = 0) -> None:
    fds = [_null() for _ in range(count)]
    theirs.send(message, fds)
    for fd in fds:
        os.close(fd)


def test_in_turn(begun):
    made, theirs = begun
    _say(theirs, {"opened": ["mount"], "console": True}, 2)
    made.until("opened")
    assert [kind for kind, _ in made.namespaces] == ["mount"]
    assert made.console >= 0
    for fd in (made.console, made.namespaces[0][1]):
        os.close(fd)
    _say(theirs, {"exec": 1})
    made.until("exec")
    assert made._executing


@pytest.mark.parametrize(("message", "count"), [
    ({"opened": ["mount"], "console": False}, 1), ({"opened": [], "console": True}, 1), ({"pid": 4242}, 1),
    ({"ready": 1}, 1), ({"exec": 1}, 3), ({"nothing": 1}, 1),
])
def test_out_of_turn(begun, message, count):
    """From a process that the container may hold in its hands."""
    made, theirs = begun
    made.visible()
    before = len(os.listdir("/proc/self/fd"))
    _say(theirs, message, count)
    with pytest.raises(faults.StepFailed, match="out of turn"):
        made.until("end")
    assert len(os.listdir("/proc/self/fd")) == before
    assert (made.pid, made.console, made.namespaces) == (os.getpid(), -1, [])


def test_twice(begun):
    made, theirs = begun
    for _ in range(2):
        _say(theirs, {"opened": [], "console": False})
    made.until("opened")
    with pytest.raises(faults.StepFailed, match="out of turn"):
        made.until("pid")
