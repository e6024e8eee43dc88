"""Images with the real clients: in, out, names, and away."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import pytest

from tests.conformance.conftest import Cli
from tests.hosts import busybox_files, tar_of

pytestmark = pytest.mark.needs("root", "busybox")


def test_import_run_history_rmi(cli: Cli) -> None:
    name = f"imported/{cli.name()}:1"
    identifier = cli.ok(
        "import",
        "--change",
        'CMD ["echo","from cmd"]',
        "--change",
        "ENV X=y",
        "-m",
        "note",
        "-",
        name,
        stdin=tar_of(busybox_files()),
    )
    assert identifier.startswith("sha256:")
    assert cli.ok("run", "--rm", name) == "from cmd"
    assert cli.ok("image", "inspect", "-f", "{{.Comment}} {{json .Config.Env}}", name) == 'note ["X=y"]'
    assert cli.ok("history", "-q", name)
    gone = cli.ok("rmi", name)
    assert f"Untagged: {name}" in gone
    assert f"Deleted: {identifier}" in gone
    assert "No such image" in cli.fails(1, "rmi", name)


def test_images_and_tags(cli: Cli, image: str) -> None:
    other = f"tagged/{cli.name()}"
    cli.ok("tag", image, other)
    assert cli.ok("images", "-q", "--no-trunc", other) == cli.ok("images", "-q", "--no-trunc", image)
    assert cli.ok("images", "--format", "{{.Repository}}:{{.Tag}}", other) == f"{other}:latest"
    assert other in cli.ok("image", "inspect", "-f", "{{json .RepoTags}}", image)
    assert cli.ok("images", "-q", "--filter", f"reference={other}:latest")
    assert cli.ok("images", "-q", "--filter", "reference=nothing/*") == ""
    assert cli.ok("rmi", other) == f"Untagged: {other}:latest"
    assert "invalid reference format" in cli.fails(1, "tag", image, "UPPER/case:x:y")
    assert "No such image" in cli.fails(1, "tag", "no-such-image", "x")


def test_image_in_use(cli: Cli) -> None:
    name = f"used/{cli.name()}:1"
    cli.ok("import", "-", name, stdin=tar_of(busybox_files()))
    container = cli.background(name, "sleep", "100")
    said = cli.fails(1, "rmi", name)
    assert "conflict" in said
    cli.ok("rm", "-f", container)
    cli.ok("rmi", name)


def test_save_and_load(cli: Cli, tmp_path: Path) -> None:
    name = f"saved/{cli.name()}:1"
    identifier = cli.ok("import", "--change", "CMD echo loaded", "-", name, stdin=tar_of(busybox_files()))
    file = tmp_path / "saved.tar"
    cli.ok("save", "-o", str(file), name)
    with tarfile.open(file) as tar:
        found = json.load(tar.extractfile("manifest.json") or io.BytesIO())
    assert found[0]["RepoTags"] == [name]
    cli.ok("rmi", name)
    assert f"Loaded image: {name}" in cli.ok("load", "-i", str(file))
    assert cli.ok("image", "inspect", "-f", "{{.Id}}", name) == identifier
    assert cli.ok("run", "--rm", name) == "loaded"
    streamed = cli.run("save", name).stdout
    cli.ok("rmi", name)
    assert name in cli.ok("load", stdin=streamed)
    cli.ok("rmi", name)
    assert "No such image" in cli.run("save", "-o", str(tmp_path / "x"), "no-such-image").stderr.decode()


def test_load_of_rubbish(cli: Cli) -> None:
    done = cli.run("load", stdin=b"this is no archive" * 1000)
    assert done.returncode == 1


def test_pull_says_what_to_do(cli: Cli) -> None:
    said = cli.fails(1, "pull", "no-such-image")
    if cli.daemon:
        assert "docker load" in said


def test_embedded_images(cli: Cli) -> None:
    if cli.daemon is None:
        pytest.skip("expected: only our engine has images of its own")
    assert "pid" in cli.ok("run", "--rm", "wharfie/hello").lower()
    assert cli.ok("run", "--rm", "wharfie/shell", "sh", "-c", "echo $((6 * 7))") == "42"
    assert "wharfie/hello" in cli.ok("images", "--format", "{{.Repository}}")
    assert cli.run("save", "wharfie/hello").returncode == 0


def test_volume_commands(cli: Cli) -> None:
    name = "v" + cli.name()
    assert cli.ok("volume", "create", "--label", "a=b", name) == name
    assert cli.ok("volume", "create", name) == name
    assert name in cli.ok("volume", "ls", "-q", "--filter", "label=a=b").split()
    assert json.loads(cli.ok("volume", "inspect", name))[0]["Labels"] == {"a": "b"}
    assert cli.ok("volume", "rm", name) == name
    assert "no such volume" in cli.fails(1, "volume", "inspect", name).lower()
