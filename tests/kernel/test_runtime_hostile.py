"""Containers that lay traps for whoever joins them, at the runtime's own door."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kernel.runtime_rig import Rig
from wharfie.base import errors
from wharfie.drivers import contract
from wharfie.runtime import birth

pytestmark = pytest.mark.needs("root", "busybox")


@pytest.fixture(scope="module")
def rig() -> Iterator[Rig]:
    made = Rig()
    yield made
    made.close()


@pytest.fixture
def held(rig: Rig) -> Iterator[contract.Container]:
    container = rig.hold()
    yield container
    rig.drop(container)


@pytest.mark.parametrize("trap", ["true", "mkfifo /dev/null", "mkdir /dev/null", "ln -s /proc/1/fd/0 /dev/null",
                                  "ln -s fifo /dev/null; mkfifo /dev/fifo", "echo x >/dev/null"])
def test_stdio_that_nobody_gave_is_a_null_whatever_is_at_its_place(
    rig: Rig, held: contract.Container, trap: str,
) -> None:
    """And not the host's node: the container's root could change its mode."""
    before = os.stat("/dev/null").st_mode
    assert rig.exec(held, "sh", "-c", f"rm /dev/null; {trap}").ended == ("exited", 0)
    done = rig.exec(held, "sh", "-c", "stat -L -c %t:%T /proc/self/fd/0; cat; chmod 600 /proc/self/fd/0")
    assert done.lines == ["1:3"]
    assert os.stat("/dev/null").st_mode == before


STOPPER = "while :; do for p in /proc/[0-9]*; do p=${p#/proc/}; test $p = 1 || kill -STOP $p; done; done 2>/dev/null"


def test_a_joiner_that_is_stopped_is_given_up_and_killed(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(birth, "PATIENCE_SECONDS", 1.0)
    container = rig.hold("sh", "-c", STOPPER)

    def join() -> None:
        for _ in range(10):
            rig.exec(container, "true")

    try:
        began = time.monotonic()
        with pytest.raises(errors.Unavailable, match="did not begin"):
            join()
        assert time.monotonic() - began < 10
    finally:
        rig.drop(container)


@pytest.mark.parametrize("place", ["sys", "self/attr", "1", "sys/kernel/hostname"])
def test_field_row_9_cve_2019_16884_nothing_is_mounted_below_proc_by_way_of_a_link(
    rig: Rig, tmp_path: Path, place: str,
) -> None:
    """The image's own link leads there, where the destination's text cannot tell."""
    source = tmp_path / "source"
    if place.endswith("hostname"):
        source.touch()
    else:
        source.mkdir()
    os.symlink("../proc", f"{rig.root}/home/link")
    bind = {"destination": f"/home/link/{place}", "type": "bind", "source": str(source), "options": ["bind"]}
    try:
        with pytest.raises(errors.WharfieError, match="leads into /proc"):
            rig.sh("true", mounts=[bind])
    finally:
        os.unlink(f"{rig.root}/home/link")
