"""Regression tests from outside for the escapes of `docker cp`; each carries its row's number and CVE."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hosts import IMAGE, Daemon, busybox_files, tar_of

pytestmark = pytest.mark.needs("root", "busybox")


@pytest.fixture(scope="module")
def daemon() -> Iterator[Daemon]:
    with Daemon() as d:
        yield d


@pytest.fixture
def swapping(daemon: Daemon, tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A container whose /swap is, by turns and as fast as it can, a directory and a link to a canary on the host that
    the container cannot know of; and a volume that holds such links too."""
    canary = tmp_path / "canary"
    canary.mkdir()
    (canary / "secret").write_text("host")
    script = (
        f"mkdir -p /real{canary} /a; ln -s {canary} /b; ln -s {canary} /vol/out; echo inside > /a/secret;"
        " while true; do mv /a /swap; mv /swap /a; mv /b /swap; mv /swap /b; done"
    )
    daemon.docker("run", "-d", "--name", "row19", "-v", "/vol", "-v", "/vol/out/nested", IMAGE, "sh", "-c", script)
    try:
        yield "row19", canary
        assert [p.name for p in canary.iterdir()] == ["secret"]
        assert (canary / "secret").read_text() == "host"
        assert (canary / "secret").stat().st_mode & 0o7777 == 0o644
    finally:
        daemon.docker("rm", "-fv", "row19")


def test_field_row_19_cve_2018_15664_copies_race_a_link(
    daemon: Daemon, swapping: tuple[str, Path], tmp_path: Path
) -> None:
    """Both ways, many times: what is read is the container's own, what is written stays in it."""
    name, canary = swapping
    (tmp_path / "in").mkdir()
    (tmp_path / "in/secret").write_text("evil")
    (tmp_path / "in/secret").chmod(0o4777)
    read = 0
    for at in range(12):
        out = tmp_path / f"out{at}"
        daemon.client("cp", f"{name}:/swap/secret", str(out))
        if out.exists():
            assert out.read_text() in ("inside\n", "evil")
            read += 1
        daemon.client("cp", f"{tmp_path}/in/.", f"{name}:/swap/")
        daemon.client("cp", f"{tmp_path}/in/.", f"{name}:/vol/out/")
        assert (canary / "secret").read_text() == "host"
    assert read  # the race was run at all


@pytest.mark.parametrize("suffix", ["gzip", "xz", "bzip2", "zstd"])
def test_field_row_22_cve_2026_41567_compressed_copies_run_no_program(
    daemon: Daemon, tmp_path: Path, suffix: str
) -> None:
    """A container full of decompressors that leave a mark; the stream is unpacked by the engine itself."""
    mark = "#!/bin/sh\necho ran > /marked\nexec cat\n"
    programs = ("gzip", "gunzip", "unpigz", "xz", "unxz", "bzip2", "zstd", "tar")
    files = {**busybox_files(), **{f"usr/local/sbin/{p}": mark for p in programs}}
    daemon.docker("import", "-", "row22:latest", stdin=tar_of(files))
    program = subprocess.run(["sh", "-c", f"command -v {suffix}"], capture_output=True, text=True).stdout.strip()
    if not program:
        pytest.skip(f"{suffix} is not on this host")
    packed = subprocess.run([program, "-c"], input=tar_of({"copied": "text"}), capture_output=True, check=True).stdout
    daemon.docker("run", "-d", "--name", "row22", "row22", "sleep", "100")
    try:
        daemon.docker("cp", "-", "row22:/tmp", stdin=packed)
        assert daemon.docker("exec", "row22", "sh", "-c", "cat /tmp/copied; ls /marked 2>/dev/null; true") == "text"
    finally:
        daemon.docker("rm", "-f", "row22")


def test_field_row_23_cve_2026_42306_copies_into_volumes_below_links(daemon: Daemon, tmp_path: Path) -> None:
    """A stopped container with a volume below a directory that is a link to the host: no mount of the host's is made
    for a copy, and what is copied goes to the volume or nowhere."""
    canary = tmp_path / "canary"
    canary.mkdir()
    files = {**busybox_files(), "link": f"->{canary}", "up": f"->../../../../{canary}"}
    daemon.docker("import", "-", "row23:latest", stdin=tar_of(files))
    daemon.docker("create", "--name", "row23", "-v", "/link/vol", "-v", "/up/vol", "row23", "sleep", "1")
    try:
        for place in ("/link", "/link/vol", "/up/vol", "/up"):
            daemon.client("cp", "-", f"row23:{place}", stdin=tar_of({"x": "evil", "d/": "", "d/y": "evil"}))
            daemon.client("cp", f"row23:{place}", "-")
            assert not list(canary.iterdir())
        assert str(daemon.data) not in Path("/proc/self/mountinfo").read_text()
    finally:
        daemon.docker("rm", "-fv", "row23")
