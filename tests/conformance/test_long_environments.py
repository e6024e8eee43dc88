"""Command lines and environments as large as execve(2) takes them, and larger, by the docker client."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hosts import IMAGE, Daemon

pytestmark = pytest.mark.needs("root", "busybox")
COUNT, EACH = 1024, 1024
SUM = 'n=0; for i in $(seq 0 1023); do eval "v=\\$V$i"; n=$((n + ${#v})); done; echo $n'


@pytest.fixture(scope="module")
def daemon() -> Iterator[Daemon]:
    with Daemon() as d:
        yield d


def env_file(path: Path, count: int = COUNT, each: int = EACH) -> str:
    path.write_text("".join(f"V{n}={'v' * each}\n" for n in range(count)))
    return str(path)


def test_a_mebibyte_of_environment(daemon: Daemon, tmp_path: Path) -> None:
    file = env_file(tmp_path / "env")
    assert daemon.docker("run", "--rm", "--env-file", file, IMAGE, "sh", "-c", SUM).strip() == str(COUNT * EACH)
    daemon.docker("run", "-d", "--name", "long", IMAGE, "sleep", "1000")
    assert daemon.docker("exec", "--env-file", file, "long", "sh", "-c", SUM).strip() == str(COUNT * EACH)
    assert daemon.docker("exec", "long", "sh", "-c", 'echo "${#0}"', "w" * 100_000).strip() == "100000"
    daemon.docker("rm", "-f", "long")


def test_what_execve_does_not_take_is_said(daemon: Daemon, tmp_path: Path) -> None:
    """More in all than a quarter of the stack's limit. (No string of MAX_ARG_STRLEN comes through the client.)"""
    daemon.docker("run", "-d", "--name", "limit", IMAGE, "sleep", "1000")
    file = env_file(tmp_path / "many", 9000, 1000)
    for verb in (["run", "--rm", "--env-file", file, IMAGE], ["exec", "--env-file", file, "limit"]):
        done = daemon.client(*verb, "true")
        assert b"argument list too long" in done.stderr, done
        assert done.returncode == 126, done
    assert daemon.docker("exec", "limit", "echo", "well").strip() == "well"
    daemon.docker("rm", "-f", "limit")
