"""What a test needs of the host: `@pytest.mark.needs("root", "nft")` skips with the reason at home and fails in CI."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable

import pytest


def _has_root() -> bool:
    return os.geteuid() == 0


def _has_cgroup2() -> bool:
    return os.path.exists("/sys/fs/cgroup/cgroup.controllers")


CHECKS: dict[str, Callable[[], bool]] = {
    "root": _has_root,
    "cgroup2": _has_cgroup2,
    "docker": lambda: shutil.which("docker") is not None,
    "busybox": lambda: shutil.which("busybox") is not None,
}

# What no machine of this kind has: a skip for these is expected, and printed, even in CI.
EXPECTED_MISSING = {"cgroup2", "docker28", "docker20"}


def lacking(things: tuple[str, ...]) -> list[str]:
    """The needed things that this host does not have. Raises KeyError for a word nobody defined."""
    return [t for t in things if not CHECKS[t]()]


def pytest_runtest_setup(item: pytest.Item) -> None:
    for mark in item.iter_markers("needs"):
        missing = lacking(mark.args)
        if missing:
            reason = f"needs {', '.join(missing)}"
            if os.environ.get("CI") and not EXPECTED_MISSING.issuperset(missing):
                pytest.fail(f"unexpected skip in CI: {reason}")
            pytest.skip(reason)
