"""What an update makes of the limits that a container has."""

from __future__ import annotations

from typing import Any

import pytest

from wharfie.base import errors
from wharfie.engine import update
from wharfie.engine.model import HostConfig


@pytest.mark.parametrize(
    ("old", "wish", "limits"),
    [
        ({"memory": 9}, {"cpu_shares": 5}, {"cpu": {"shares": 5}}),
        ({}, {"memory": 100}, {"memory": {"limit": 100, "swap": 200}}),
        ({"memory": 100, "memory_swap": -1}, {"memory": 300}, {"memory": {"limit": 300, "swap": -1}}),
        ({"memory": 100}, {"memory_swap": 150}, {"memory": {"limit": 100, "swap": 150}}),
        ({"nano_cpus": 10**9}, {"nano_cpus": 5 * 10**8}, {"cpu": {"period": 100_000, "quota": 50_000}}),
        ({"pids_limit": 5}, {"pids_limit": 9}, {"pids": {"limit": 9}}),
        ({"pids_limit": 5}, {"pids_limit": -1}, {"pids": {"limit": -1}}),
        ({"pids_limit": 5}, {}, {}),
        ({"privileged": True}, {"cpuset_cpus": "0"}, {"cpu": {"cpus": "0"}}),
    ],
)
def test_only_what_was_said_goes_to_the_kernel(old: dict[str, Any], wish: dict[str, Any], limits: Any) -> None:
    merged = update.merge(HostConfig(**old), HostConfig(**wish))
    assert update.changed_limits(merged, HostConfig(**wish), swap=True) == limits


@pytest.mark.parametrize(
    ("old", "wish", "words"),
    [
        ({"nano_cpus": 5}, {"cpu_quota": 5}, "CPU Quota cannot be updated as NanoCPUs"),
        ({"cpu_period": 5}, {"nano_cpus": 5}, "Nano CPUs cannot be updated as CPU Period"),
        ({"memory": 5, "memory_swap": 9}, {"memory": 10}, "update the memoryswap at the same time"),
    ],
)
def test_contradictions(old: dict[str, Any], wish: dict[str, Any], words: str) -> None:
    with pytest.raises(errors.Invalid, match=words):
        update.merge(HostConfig(**old), HostConfig(**wish))


@pytest.mark.parametrize("wish", [{"binds": ["/a:/b"]}, {"blkio_weight": 5}, {"privileged": True}, {"ulimits": [{}]}])
def test_what_cannot_be_changed_later_is_named(wish: dict[str, Any]) -> None:
    with pytest.raises(errors.Unsupported) as caught:
        update.check_names(HostConfig(**wish))
    assert caught.value.name.lower() == next(iter(wish)).replace("_", "")
    update.check_names(HostConfig(memory=5, memory_swappiness=None, oom_kill_disable=False, devices=[]))
