"""cp, diff, export, commit and update, by every docker client found."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from tests.conformance.conftest import Cli

pytestmark = pytest.mark.needs("root", "busybox")


def test_cp_there_and_back(cli: Cli, image: str, tmp_path: Path) -> None:
    name = cli.background("-v", "/vol", image, "sleep", "100")
    big = os.urandom(3 << 20)
    (tmp_path / "tree/sub").mkdir(parents=True)
    (tmp_path / "tree/big").write_bytes(big)
    (tmp_path / "tree/sub/run").write_text("#!/bin/sh\necho ran\n")
    (tmp_path / "tree/sub/run").chmod(0o755)
    (tmp_path / "tree/link").symlink_to("sub/run")
    for state in ("running", "stopped"):
        cli.ok("cp", f"{tmp_path}/tree", f"{name}:/{state}")
        cli.ok("cp", f"{tmp_path}/tree/.", f"{name}:/vol/")
        cli.ok("cp", f"{tmp_path}/tree/big", f"{name}:/vol/renamed")
        cli.ok("cp", f"{name}:/vol", f"{tmp_path}/{state}")
        assert (tmp_path / state / "renamed").read_bytes() == big
        assert os.readlink(tmp_path / state / "link") == "sub/run"
        cli.ok("cp", f"{name}:/{state}/.", f"{tmp_path}/{state}-dot")
        assert (tmp_path / f"{state}-dot/sub/run").stat().st_mode & 0o777 == 0o755
        cli.ok("cp", "-L", f"{name}:/{state}/link", f"{tmp_path}/{state}-followed")
        assert (tmp_path / f"{state}-followed").read_text().endswith("ran\n")
        with tarfile.open(fileobj=io.BytesIO(cli.run("cp", f"{name}:/{state}/sub", "-").stdout)) as tar:
            assert tar.getnames() == ["sub", "sub/run"]
        if state == "running":
            assert cli.ok("exec", name, "/running/link") == "ran"
            cli.ok("stop", "-t", "0", name)
    cli.ok("start", name)
    assert cli.ok("exec", name, "/stopped/link") == "ran"
    assert cli.ok("exec", name, "sh", "-c", "/vol/link; wc -c < /vol/renamed") == f"ran\n{len(big)}"


def test_what_cp_refuses(cli: Cli, image: str, tmp_path: Path) -> None:
    name = cli.background("--read-only", "-v", f"{tmp_path}:/bind:ro", image, "sleep", "100")
    (tmp_path / "f").write_text("x")
    said = cli.fails(1, "cp", f"{name}:/none", str(tmp_path))
    assert "Could not find the file /none" in said or "No such container:path" in said  # Docker 20.10
    assert "marked read-only" in cli.fails(1, "cp", f"{tmp_path}/f", f"{name}:/root")
    assert "marked read-only" in cli.fails(1, "cp", f"{tmp_path}/f", f"{name}:/bind/g")
    assert cli.run("cp", f"{tmp_path}/f", f"{name}:/etc/passwd/x").returncode == 1
    assert "No such container" in cli.fails(1, "cp", f"{tmp_path}/f", "no-such-container:/x")
    other = cli.background(image, "sleep", "100")
    cli.fails(1, "cp", f"{tmp_path}/f", f"{other}:/etc/hosts")  # mounted there: busy
    assert "127.0.0.1" in cli.ok("exec", other, "cat", "/etc/hosts")


def test_diff_export_and_commit(cli: Cli, image: str) -> None:
    name = cli.background("-e", "A=1", "-v", "/vol", "--label", "l=1", image, "sleep", "100")
    cli.ok("exec", name, "sh", "-c", "mkdir /new; echo x > /new/f; echo v > /vol/f; rm /etc/group; chmod 700 /root")
    found = {line[2:]: line[0] for line in cli.ok("diff", name).splitlines()}
    assert {k: found.get(k) for k in ("/new", "/new/f", "/etc", "/etc/group", "/root")} == {
        "/new": "A", "/new/f": "A", "/etc": "C", "/etc/group": "D", "/root": "C"}
    assert not {"/etc/hosts", "/proc", "/dev", "/vol/f"} & set(found)
    with tarfile.open(fileobj=io.BytesIO(cli.run("export", name).stdout)) as tar:
        names = {m.name: m for m in tar.getmembers()}
    assert {"new/f", "vol", "proc", "etc/hosts"} <= set(names)
    assert not {"vol/f", "etc/group"} & set(names)
    assert names["etc/hosts"].size == 0
    made = f"commit-{name}:1"
    identifier = cli.ok("commit", "-a", "me", "-m", "words", "-c", "ENV B=2", "-c", 'CMD ["cat","/new/f"]', name, made)
    try:
        assert cli.ok("run", "--rm", made) == "x"
        assert "A=1\nB=2" in cli.ok("run", "--rm", made, "env")
        assert "group" not in cli.ok("run", "--rm", made, "ls", "/etc").split()
        shown = json.loads(cli.ok("image", "inspect", made))[0]
        assert (shown["Id"], shown["Author"], shown["Comment"]) == (identifier, "me", "words")
        assert shown["Config"]["Labels"] == {"l": "1"}
        assert shown["Config"]["Volumes"] == {"/vol": {}}
        assert cli.inspect(name, "{{.State.Status}}") == "running"
    finally:
        cli.ok("rmi", made)


def test_update(cli: Cli, image: str) -> None:
    name = cli.background("--memory", "64m", image, "sleep", "100")
    cli.ok("update", "--memory", "96m", "--memory-swap", "192m", "--cpu-shares", "333", "--pids-limit", "55",
           "--restart", "on-failure:3", name)
    fields = ("Memory", "CpuShares", "PidsLimit", "RestartPolicy.Name")
    shown = cli.inspect(name, " ".join(f"{{{{.HostConfig.{field}}}}}" for field in fields))
    assert shown == f"{96 << 20} 333 55 on-failure"
    assert "6MB" in cli.fails(1, "update", "--memory", "1m", name)
    assert cli.inspect(name, "{{.HostConfig.Memory}}") == str(96 << 20)
    read = cli.ok("exec", name, "sh", "-c", "cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max "
                  "2>/dev/null; true").split()
    assert not read or str(96 << 20) in read


def test_wharfie_says_what_docker_says(cli: Cli, image: str, tmp_path: Path) -> None:
    """diff, export, commit, update and prune of our own client, on the same containers."""

    def ours(*args: str) -> str:
        done = subprocess.run([sys.executable, "-m", "wharfie.cli.main", "-H", cli.host, *args], capture_output=True)
        assert done.returncode == 0, (args, done.stderr)
        return done.stdout.decode().rstrip("\n")

    name = cli.background(image, "sh", "-c", "echo x > /f; exec sleep 100")
    cli.until("A /f", "diff", name)
    assert ours("diff", name) == cli.ok("diff", name)
    for target in ("by-ours", "by-docker"):
        (ours if target == "by-ours" else cli.ok)("export", "-o", str(tmp_path / target), name)
    assert (tmp_path / "by-ours").read_bytes() == (tmp_path / "by-docker").read_bytes()
    assert ours("update", "--cpu-shares", "77", "--restart", "on-failure:2", name) == name
    assert cli.inspect(name, "{{.HostConfig.CpuShares}} {{.HostConfig.RestartPolicy.MaximumRetryCount}}") == "77 2"
    made = f"ours-{name}:1"
    identifier = ours("commit", "-m", "words", "-c", "CMD cat /f", name, made)
    assert (cli.ok("run", "--rm", made), cli.inspect(made, "{{.Id}}")) == ("x", identifier)
    cli.ok("rmi", made)
    volume = cli.ok("volume", "create")
    assert volume in ours("volume", "prune", "-f")
    assert "Total reclaimed space" in ours("image", "prune", "-f")
