"""FIELD row 25 from outside: hostile archives through every door (load, import, cp), against a canary on the host.

CVE-2014-6407, CVE-2014-9356, CVE-2014-9357 (docker), CVE-2021-32760, CVE-2025-47290 (containerd).
"""

from __future__ import annotations

import gzip
import hashlib
import http.client
import json
import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conformance.hostile_tars import (
    CONFINED,
    END,
    FORBIDDEN,
    HOSTILE_ARCHIVES,
    REFUSED,
    UP,
    archive,
    document,
    file,
    layer,
    manifest,
    named,
    sparse,
    symlink,
)
from tests.hosts import IMAGE, Daemon, busybox_files, clients, tar_of

pytestmark = pytest.mark.needs("root", "busybox")


class Door:
    """An engine, a canary, and what the data root holds."""

    def __init__(self, daemon: Daemon, canary: Path) -> None:
        self.daemon = daemon
        self.canary = canary
        self.programs = list(clients().values())

    def canaries(self) -> list[tuple[object, ...]]:
        """Everything about the canary; and of the host's own directories that an escape would aim at, where others make
        files too, what a hostile entry could change."""
        found: list[tuple[object, ...]] = []
        for path in (Path("/root"), Path("/etc")):
            at = path.lstat()
            found.append((str(path), at.st_mode, at.st_uid, at.st_gid, sorted(os.listxattr(path)),
                          sorted(name for name in os.listdir(path) if "evil" in name)))
        for path in sorted([self.canary, *self.canary.rglob("*"), Path("/etc/passwd")]):
            at = path.lstat()
            text = path.read_bytes() if stat.S_ISREG(at.st_mode) else b""
            found.append((str(path), at.st_mode, at.st_uid, at.st_gid, at.st_nlink, at.st_size, at.st_mtime_ns, text,
                          sorted(os.listxattr(path, follow_symlinks=False))))
        return [*found, ("beside", *sorted(os.listdir(self.canary.parent))), ("up", *sorted(os.listdir("/")))]

    def inventory(self) -> set[str]:
        """Every file and directory of the data root, but for the database's own."""
        found = set()
        for at, directories, files in os.walk(self.daemon.data):
            found |= {os.path.join(at, name) for name in (*directories, *files) if not name.startswith("state.db")}
        return found

    def send(self, door: str, data: bytes, *, to: str = "") -> tuple[int, str]:
        """(exit code, words on stderr) of the client that brings `data` in."""
        words = {"load": ["load"], "import": ["import", "-", "row25:import"], "cp": ["cp", "-", f"{to}:/box"]}[door]
        program = self.programs[len(data) % len(self.programs)]
        done = self.daemon.client(*words, stdin=data, client=program)
        return done.returncode, done.stderr.decode(errors="replace")

    def forget(self) -> None:
        self.daemon.client("rmi", "-f", "row25:load", "row25:import")

    def status(self, method: str, path: str, data: bytes) -> tuple[int, dict[str, str]]:
        """(status, JSON) of a request on the socket."""
        with socket.socket(socket.AF_UNIX) as s:
            s.connect(self.daemon.socket)
            talk = http.client.HTTPConnection("d")
            talk.sock = s
            talk.request(method, "/v1.41" + path, data, {"Content-Type": "application/x-tar"})
            answer = talk.getresponse()
            said = answer.read()
        return answer.status, json.loads(said.splitlines()[0]) if said.strip() else {}


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    canary = tmp_path_factory.mktemp("host") / "canary"
    (canary / "dir").mkdir(parents=True)
    (canary / "secret").write_text("host")
    (canary / "secret").chmod(0o640)
    plain = tar_of(busybox_files())
    (canary / "layer.tar").write_bytes(plain)
    (canary / "config.json").write_bytes(document(plain))
    with Daemon() as daemon:
        daemon.docker("import", "-", "row25:base", stdin=tar_of({**busybox_files(), "box/": b""}))
        assert daemon.data.stat().st_mode & 0o077 == 0  # no user of the host reaches a device or a setuid file in it
        yield Door(daemon, canary)
        left = daemon.docker("images", "--format", "{{.Repository}}:{{.Tag}}", "--filter", "reference=row25*").split()
        assert left == ["row25:base"]
        assert "Traceback" not in daemon.log()


@pytest.fixture
def boxes(door: Door) -> Iterator[tuple[str, str]]:
    """A container that runs and one that does not, each with an empty /box."""
    door.daemon.docker("run", "-d", "--name", "row25r", "row25:base", "sleep", "1000")
    door.daemon.docker("create", "--name", "row25s", "row25:base", "true")
    yield "row25r", "row25s"
    door.daemon.docker("rm", "-f", "row25r", "row25s")


@pytest.mark.parametrize("case", REFUSED)
def test_field_row_25_load_and_import_refuse(door: Door, case: str) -> None:
    make, words, _ = REFUSED[case]
    data = layer(make, door.canary, case)
    before, host = door.inventory(), door.canaries()
    for way, sent in (("load", archive(data)), ("import", data)):
        code, said = door.send(way, sent)
        assert code == 1, (way, said)
        assert words in said, (way, said)
        assert said.strip(), way
        assert "Error:" not in said.replace("Error response", ""), said  # no Python exception
        assert door.inventory() == before, way
    assert door.canaries() == host


@pytest.mark.parametrize("case", CONFINED)
def test_field_row_25_load_and_import_confine(door: Door, case: str) -> None:
    data = layer(CONFINED[case], door.canary)
    before, host = door.inventory(), door.canaries()
    for way, sent in (("load", archive(data)), ("import", data)):
        code, said = door.send(way, sent)
        assert door.canaries() == host, way
        assert code == 0, (way, said)
        for path in door.inventory() - before:
            assert len(path) > 4000 or not set(os.listxattr(path, follow_symlinks=False)) & set(FORBIDDEN), path
        door.forget()
        assert door.inventory() == before, way
    assert door.canaries() == host


def test_field_row_25_cp_refuses_and_confines(door: Door, boxes: tuple[str, str]) -> None:
    """The same archives into containers, running and not, whose /box also leads to the canary by name."""
    host = door.canaries()
    for case, (make, _, refused) in REFUSED.items():
        for name in boxes:
            code, said = door.send("cp", layer(make, door.canary, case), to=name)
            assert (code == 1) or not refused, (case, name, said)
            assert door.canaries() == host, (case, name)
    for case, made in CONFINED.items():
        for name in boxes:
            door.send("cp", layer(made, door.canary), to=name)
            assert door.canaries() == host, (case, name)
    assert door.daemon.docker("exec", "row25r", "cat", "/box/x")  # something did arrive


def test_field_row_25_what_is_confined_lands_inside(door: Door) -> None:
    target = os.fsencode(door.canary)
    data = named(target + b"/secret", b"absolute") + symlink(b"d", target) + named(b"d/new", b"through") + symlink(
        b"u", UP + target[1:]) + named(b"u/up", b"upwards")
    whole = tar_of(busybox_files())[:-1024].rstrip(b"\0")
    whole += bytes(-len(whole) % 512)
    assert door.send("import", whole + data + END)[0] == 0
    said = door.daemon.docker("run", "--rm", "row25:import", "sh", "-c", f"cd {door.canary} && cat secret new up")
    assert said == "absolutethroughupwards"
    assert sorted(p.name for p in door.canary.iterdir()) == ["config.json", "dir", "layer.tar", "secret"]
    door.forget()


def test_field_row_25_a_second_layer_under_links_of_the_first(door: Door) -> None:
    """The layers meet in the overlay only: whiteouts and files below a directory that is a link in the layer below."""
    target = os.fsencode(door.canary)
    first = tar_of({**busybox_files(), "d": f"->{door.canary}"})
    second = file(b"d/secret") + file(b"d/.wh.dir", b"") + file(b"e/.wh..wh..opq", b"") + symlink(b"e/x", target)
    second += file(b".wh.tmp", b"") + END
    host = door.canaries()
    assert door.send("load", archive(first, second))[0] == 0
    script = "cat /d/secret; ls /d; test -e /tmp || echo gone"
    said = door.daemon.docker("run", "--rm", "row25:load", "sh", "-c", script)
    assert said == "evilsecret\ngone\n"
    assert door.canaries() == host
    door.forget()


@pytest.mark.parametrize("case", HOSTILE_ARCHIVES)
def test_field_row_25_hostile_image_archives(door: Door, case: str) -> None:
    make, words = HOSTILE_ARCHIVES[case]
    before, host = door.inventory(), door.canaries()
    code, said = door.send("load", make(os.fsencode(door.canary)))
    assert code == 1, said
    assert words in said, said
    assert said.strip()
    assert "Error:" not in said, said
    assert door.inventory() == before
    assert door.canaries() == host


def test_field_row_25_a_lying_name_gives_no_identity(door: Door) -> None:
    """Old archives name the config by its id; what counts is the digest of what is there."""
    data = file(b"x") + END
    config, lie = document(data), b"a" * 64
    sent = file(lie + b".json", config) + file(b"l.tar", data) + manifest(lie + b".json", b"l.tar") + END
    assert door.send("load", sent)[0] == 0
    true = "sha256:" + hashlib.sha256(config).hexdigest()
    assert door.daemon.docker("images", "-q", "--no-trunc", "row25:load").split() == [true]
    assert door.daemon.client("inspect", lie.decode()).returncode == 1
    door.forget()


def test_field_row_25_the_last_of_two_manifests_holds(door: Door) -> None:
    """As with every duplicate; the first, with a layer that is not there, has no say."""
    data = file(b"x") + END
    sent = manifest(b"config.json", b"not-there") + archive(data)
    assert door.send("load", sent)[0] == 0
    door.forget()


def test_field_row_25_bombs_cost_what_they_are(door: Door) -> None:
    """A sparse file of 1 TiB and a gzip of 512 MiB of nothing: little disk, little memory, and all of it comes back."""
    assert door.daemon.process is not None
    before = door.inventory()

    def used() -> int:
        return sum(os.lstat(path).st_blocks * 512 for path in door.inventory() if len(path) < 4000)

    def peak() -> int:
        lines = Path(f"/proc/{door.daemon.process.pid if door.daemon.process else 0}/status").read_text().splitlines()
        return next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM:"))

    disk, memory = used(), peak()
    assert door.send("import", sparse(1 << 40) + END)[0] == 0
    assert used() - disk < 1 << 20
    tail = gzip.compress(bytes(64 << 20), 1) * 8
    assert door.send("import", gzip.compress(file(b"x") + END) + tail)[0] == 0
    assert used() - disk < 16 << 20
    assert peak() - memory < 64 << 20
    for one in door.daemon.docker("images", "-q", "--filter", "dangling=true").split():
        door.daemon.docker("rmi", one)
    door.forget()
    assert door.inventory() == before


def test_field_row_25_statuses(door: Door) -> None:
    """What the API says: 4xx for what is hostile, 500 in Docker's manner for what is broken, words always."""
    door.daemon.docker("create", "--name", "row25x", IMAGE, "true")
    try:
        for request in ("POST /images/create?fromSrc=-&repo=row25", "PUT /containers/row25x/archive?path=/"):
            method, path = request.split()
            status, said = door.status(method, path, file(b"../evil") + END)
            assert (status, "leads out" in said["message"]) == (400, True), said
            status, said = door.status(method, path, b"garbage" * 1000)
            assert status in (400, 500), said
            assert "no tar archive" in said["message"]
        status, said = door.status("POST", "/images/load", archive(file(b"../evil") + END))
        assert status == 200  # the error is in the stream, where clients look for it
        assert "leads out" in said["error"]
    finally:
        door.daemon.docker("rm", "row25x")
