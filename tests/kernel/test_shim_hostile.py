"""Containers that do what they can to hold up their shim, and with it whoever asks it for something."""

from __future__ import annotations

import pytest

from tests.kernel import shim_dock
from wharfie.base import errors

pytestmark = pytest.mark.needs("root", "busybox")


@pytest.fixture(scope="module")
def dock(tmp_path_factory):
    with shim_dock.dock_at(str(tmp_path_factory.mktemp("dock"))) as made:
        yield made


@pytest.fixture
def box(dock):
    """A container that sleeps."""
    made = dock.container()
    made.run("sleep", "100")
    yield made
    made.ask("signal", signal=9)
    assert made.exit()["code"] == 137
    made.gone()


def test_top_of_longer_command_lines_than_an_answer_holds(box):
    for _ in range(5):
        box.exec("sh", "-c", "sleep 100; : " + "\u00e9" * 20_000)
    rows = box.ask("top", args="-o pid,args")[0]["processes"]
    assert sum("sleep 100; :" in command for _, command in rows) == 5
    assert rows[0][1] == "sleep 100"


def test_an_answer_that_is_too_large_is_an_error_and_no_end(box):
    with pytest.raises(errors.WharfieError):
        box.ask("top", args="-o " + ",".join(["args=" + "x" * 45] * 3300))
    assert box.ask("top", args="-o pid")[0]["processes"]
