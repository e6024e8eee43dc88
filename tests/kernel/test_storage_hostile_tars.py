"""Hostile archives against a host tree that must not change (FIELD: layer extraction escapes)."""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from wharfie.archive import entry, header, pack, pax, reader, unpack
from wharfie.base import errors, paths
from wharfie.oci import digest
from wharfie.storage import Store

pytestmark = pytest.mark.needs("root")
Snapshot = list[tuple[object, ...]]


class Host:
    """A canary tree beside the directory that is unpacked into."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.canary = base / "canary"
        self.root = base / "root"
        self.canary.mkdir()
        self.root.mkdir()
        (self.canary / "secret").write_text("host")
        (self.canary / "secret").chmod(0o640)
        (self.canary / "dir").mkdir()
        self.before = self.snapshot()

    def snapshot(self) -> Snapshot:
        found: Snapshot = []
        for path in [self.base, *sorted(self.base.rglob("*"))]:
            if path == self.root or self.root in path.parents:
                continue
            at = path.lstat()
            text = path.read_bytes() if stat.S_ISREG(at.st_mode) else b""
            owner = (at.st_uid, at.st_gid, at.st_nlink, at.st_mtime_ns)
            found.append((str(path), at.st_mode, *(owner if path != self.base else ()), text))
        return found


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def tar(*entries: tuple[entry.Entry, bytes]) -> io.BytesIO:
    return io.BytesIO(b"".join(pack.encode(e) + pack.padded(data) for e, data in entries) + pack.END)


def file(name: str, data: bytes = b"evil", mode: int = 0o777) -> tuple[entry.Entry, bytes]:
    return entry.Entry(name.encode(), entry.FILE, size=len(data), mode=mode, uid=1, gid=1), data


def directory(name: str, mode: int = 0o777) -> tuple[entry.Entry, bytes]:
    return entry.Entry(name.encode(), entry.DIRECTORY, mode=mode, uid=1, gid=1), b""


def symlink(name: str, target: str) -> tuple[entry.Entry, bytes]:
    return entry.Entry(name.encode(), entry.SYMLINK, link=target.encode()), b""


def link(name: str, target: str) -> tuple[entry.Entry, bytes]:
    return entry.Entry(name.encode(), entry.LINK, link=target.encode(), mode=0o777, uid=1, gid=1), b""


def extract(host: Host, stream: io.BytesIO, whiteouts: str | None = "overlay") -> unpack.Unpacked:
    fd = os.open(host.root, os.O_RDONLY)
    try:
        return unpack.extract(reader.read(stream), fd, whiteouts=whiteouts)
    finally:
        os.close(fd)


CANARY = "{canary}"
Make = Callable[[str], list[tuple[entry.Entry, bytes]]]
REFUSED: dict[str, Make] = {
    "parent": lambda c: [file("../evil")],
    "parent inside": lambda c: [directory("a"), file("a/../../canary/secret")],
    "absolute parent": lambda c: [file("/../canary/secret")],
    "hard link out": lambda c: [link("h", "../canary/secret"), file("h")],
    "hard link absolute": lambda c: [link("h", f"{c}/secret"), file("h")],
    "hard link by a symlink": lambda c: [symlink("d", c), link("h", "d/secret")],
    "hard link to a directory": lambda c: [directory("d"), link("h", "d")],
    "hard link to the root": lambda c: [link("h", ".")],
    "hard link to nothing": lambda c: [link("h", "nothing")],
    "whiteout of nothing": lambda c: [file(".wh.", b"")],
    "whiteout of here": lambda c: [file("a/.wh..", b"")],
    "whiteout of the parent": lambda c: [file(".wh...", b"")],
    "parent is a file": lambda c: [file("f"), file("f/x")],
    "parent loops": lambda c: [symlink("l", "l"), file("l/x")],
    "long part": lambda c: [file("n" * 256)],
}
CONFINED: dict[str, Make] = {
    "absolute": lambda c: [file(f"{c}/secret")],
    "relative symlink": lambda c: [symlink("d", "../canary"), file("d/secret")],
    "absolute symlink": lambda c: [symlink("d", c), file("d/secret")],
    "deep symlink": lambda c: [symlink("d", "../../../../../../../../.."), file("d" + c + "/secret")],
    "chain": lambda c: [symlink("a", "b"), symlink("b", c), file("a/secret"), directory("a/dir", 0o700)],
    "write through a symlink": lambda c: [symlink("s", f"{c}/secret"), file("s")],
    "directory over a symlink": lambda c: [symlink("s", f"{c}/dir"), directory("s", 0o711), file("s/x")],
    "hard link to a symlink": lambda c: [symlink("s", f"{c}/secret"), link("h", "s"), file("h")],
    "times of a replaced directory": lambda c: [directory("d"), symlink("d", f"{c}/dir")],
    "whiteout by a symlink": lambda c: [symlink("d", c), file("d/.wh.secret", b"")],
    "opaque by a symlink": lambda c: [symlink("d", c), file("d/.wh..wh..opq", b"")],
    "node over a symlink": lambda c: [symlink("s", f"{c}/secret"), (entry.Entry(b"s", entry.FIFO, mode=0o777), b"")],
    "magic link": lambda c: [symlink("p", "/proc/self/cwd"), file("p/x"), symlink("q", "/proc/self/root"), file("q/x")],
    "link by a confined parent": lambda c: [file("canary/secret"), symlink("d", "../canary"), link("h", "d/secret")],
}


def attempt(host: Host, make: Make, whiteouts: str | None) -> errors.WharfieError | None:
    try:
        extract(host, tar(*make(str(host.canary))), whiteouts)
    except errors.WharfieError as error:
        return error
    return None


@pytest.mark.parametrize("whiteouts", ["overlay", "apply"])
@pytest.mark.parametrize("case", REFUSED)
def test_field_row_25_refused(host: Host, case: str, whiteouts: str) -> None:
    assert isinstance(attempt(host, REFUSED[case], whiteouts), errors.Invalid)
    assert host.snapshot() == host.before


@pytest.mark.parametrize("whiteouts", ["overlay", "apply", None])
@pytest.mark.parametrize("case", CONFINED)
def test_field_row_25_confined(host: Host, case: str, whiteouts: str | None) -> None:
    attempt(host, CONFINED[case], whiteouts)
    assert host.snapshot() == host.before


def test_field_row_25_confined_lands_inside(host: Host) -> None:
    extract(host, tar(file("/abs/x"), symlink("d", "/abs"), file("d/y"), symlink("e", "../../abs/new"), file("e/z")))
    assert (host.root / "abs/x").read_bytes() == b"evil"
    assert (host.root / "abs/y").read_bytes() == b"evil"
    assert (host.root / "abs/new/z").read_bytes() == b"evil"


def test_field_row_25_devices_and_setuid_stay_what_they_are(host: Host) -> None:
    device = entry.Entry(b"null", entry.CHAR, mode=0o666, device=(1, 3))
    extract(host, tar((device, b""), file("su", mode=0o4755), directory("t", 0o1777), directory("g", 0o2755)))
    assert os.stat(host.root / "null").st_rdev == os.makedev(1, 3)
    assert stat.S_IMODE(os.stat(host.root / "null").st_mode) == 0o666
    assert stat.S_IMODE(os.stat(host.root / "su").st_mode) == 0o4755
    assert os.stat(host.root / "su").st_uid == 1
    assert stat.S_IMODE(os.stat(host.root / "t").st_mode) == 0o1777
    assert stat.S_IMODE(os.stat(host.root / "g").st_mode) == 0o2755


def test_field_row_25_devices_are_left_out_where_they_cannot_be_made(host: Host) -> None:
    fd = os.open(host.root, os.O_RDONLY)
    device = entry.Entry(b"null", entry.CHAR, device=(1, 3))
    done = unpack.extract(reader.read(tar((device, b""))), fd, devices=False)
    os.close(fd)
    assert done.skipped == {"devices"}
    assert os.listdir(host.root) == []


def test_field_row_25_duplicates_the_last_one_holds(host: Host) -> None:
    extract(host, tar(file("a", b"1"), file("a", b"22"), directory("d"), file("d/x"), file("d", b"now a file"),
                      file("e"), directory("e", 0o700), file("e/y")))
    assert (host.root / "a").read_bytes() == b"22"
    assert (host.root / "d").read_bytes() == b"now a file"
    assert (host.root / "e/y").read_bytes() == b"evil"


def test_field_row_25_hard_links_replaced_don_t_write_through(host: Host) -> None:
    extract(host, tar(file("a", b"first"), link("b", "a"), file("b", b"second")))
    assert (host.root / "a").read_bytes() == b"first"
    assert (host.root / "b").read_bytes() == b"second"


def test_field_row_25_sparse_claims_cost_no_disk(host: Host) -> None:
    big, data = file("big", b"x" * 512)
    records = [("GNU.sparse.map", b"0,512"), ("GNU.sparse.size", b"%d" % (1 << 40)), ("GNU.sparse.name", b"big")]
    body = pax.encode(records)
    stream = header.build(b"p", b"x", size=len(body)) + pack.padded(body) + pack.encode(big) + pack.padded(data)
    extract(host, io.BytesIO(stream + pack.END))
    found = os.stat(host.root / "big")
    assert (found.st_size, found.st_blocks * 512 < 1 << 20) == (1 << 40, True)


def test_field_row_25_attributes_of_the_overlay_are_not_taken(host: Host) -> None:
    one, data = file("f")
    one.xattrs = {"user.ok": b"1", "trusted.overlay.redirect": b"/etc", "user.overlay.metacopy": b"",
                  "security.selinux": b"x"}
    done = extract(host, tar((one, data)))
    assert os.listxattr(host.root / "f") == ["user.ok"]
    assert done.skipped == {"trusted.overlay.redirect", "user.overlay.metacopy", "security.selinux"}


def test_file_capabilities_survive_owner_and_mode(host: Host) -> None:
    one, data = file("ping", mode=0o755)
    one.xattrs = {"security.capability": bytes.fromhex("0100000200200000000000000000000000000000")}
    extract(host, tar((one, data)))
    assert os.getxattr(host.root / "ping", "security.capability")[:4] == b"\x01\x00\x00\x02"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(paths.DataRoot(str(tmp_path / "data")))


def test_field_row_25_a_refused_layer_leaves_nothing(store: Store) -> None:
    stream = tar(file("a"), file("../b"))
    with pytest.raises(errors.Invalid):
        store.layers.unpack(digest.of(stream.getvalue()), stream)
    assert os.listdir(store.root.layers) == []


def test_field_row_52_a_layer_under_another_s_diff_id_is_refused(store: Store) -> None:
    with pytest.raises(errors.Damaged, match="diff id"):
        store.layers.unpack(digest.of(b"claimed"), tar(file("a")))
    assert os.listdir(store.root.layers) == []
