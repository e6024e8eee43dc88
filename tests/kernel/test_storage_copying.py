"""Copies in and out of root file systems, running (by fd) and stopped (by a view), against links that lead out."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest

from tests.kernel.test_storage_overlay import directory, file, layer
from wharfie.archive import entry, pack, reader
from wharfie.base import errors, paths
from wharfie.storage import Store, copying, differences, view

pytestmark = pytest.mark.needs("root")
ID = "c" * 64


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(paths.DataRoot(str(tmp_path / "data")))


@pytest.fixture
def canary(tmp_path: Path) -> Path:
    made = tmp_path / "canary"
    made.mkdir()
    (made / "secret").write_text("host")
    return made


def link(name: str, target: str) -> tuple[entry.Entry, bytes]:
    return entry.Entry(name.encode(), entry.SYMLINK, link=target.encode(), mode=0o777), b""


def archive(*members: tuple[entry.Entry, bytes]) -> io.BytesIO:
    return io.BytesIO(b"".join(pack.encode(e) + pack.padded(d) for e, d in members) + pack.END)


def container(store: Store, *members: tuple[entry.Entry, bytes]) -> None:
    store.snapshots.prepare(ID, [layer(store, *members)])


def seen(store: Store, *mounts: view.Mounted, write: bool = False, readonly: bool = False) -> view.View:
    return view.stopped(store.snapshots.rootfs(ID), mounts, write=write, readonly=readonly)


def told(store: Store, path: str, *mounts: view.Mounted) -> dict[str, bytes | str]:
    source = copying.Source(seen(store, *mounts), path)
    found = {}
    for e in reader.read(io.BytesIO(b"".join(source.archive()))):
        found[e.name.decode()] = e.content(1000) if e.kind == entry.FILE else e.link.decode() or "dir"
    return found


TREE = (directory("d"), file("d/a", b"1"), directory("d/sub"), file("d/sub/b", b"2"), link("to-d", "/d"),
        link("dead", "no"))


@pytest.mark.parametrize(
    ("path", "names"),
    [
        ("/d", {"d/": "dir", "d/a": b"1", "d/sub/": "dir", "d/sub/b": b"2"}),
        ("d/sub/..", {"d/": "dir", "d/a": b"1", "d/sub/": "dir", "d/sub/b": b"2"}),
        ("/d/sub/.", {"./": "dir", "./b": b"2"}), ("/to-d/sub/", {"sub/": "dir", "sub/b": b"2"}),
        ("/to-d/a", {"a": b"1"}), ("/to-d", {"to-d": "/d"}), ("/dead", {"dead": "no"}),
    ],
)
def test_names_of_what_is_copied_out(store: Store, path: str, names: dict[str, bytes | str]) -> None:
    container(store, *TREE)
    assert told(store, path) == names


def test_what_a_path_is(store: Store) -> None:
    container(store, *TREE, link("up", "../../d/none"))
    for path, name, target in (("/d", "d", ""), ("/", "/", ""), ("/.", ".", ""), ("/dead", "dead", "/no"),
                               ("/up", "up", "/d/none"), ("/to-d", "to-d", "/d")):
        source = copying.Source(seen(store), path)
        assert (source.found.name, source.found.target) == (name, target)
        source.close()
    for path in ("/none", "/d/a/x", "/d/a/", "/dead/"):
        with pytest.raises((errors.NotFound, errors.Invalid)):
            copying.Source(seen(store), path)


def test_links_never_lead_out(store: Store, canary: Path) -> None:
    container(store, link("out", str(canary)), link("up", "../../../.." + str(canary)), link("loop", "loop"),
              link("proc", "/proc/self/root" + str(canary)))
    for path in ("/out/secret", "/up/secret", "/proc/secret", "/loop/x", "/out/", "../../.." + str(canary) + "/secret"):
        with pytest.raises((errors.NotFound, errors.Invalid)):
            copying.Source(seen(store), path)
        with pytest.raises((errors.NotFound, errors.Invalid)), seen(store, write=True) as v:
            copying.put(v, path.removesuffix("secret"), archive(file("secret", b"evil")))
    with seen(store, write=True) as v:  # through a link of the archive's own: inside the root, not outside
        copying.put(v, "/", archive(link("x", str(canary)), file("x/secret", b"evil")))
    assert (canary / "secret").read_text() == "host"
    assert told(store, str(canary) + "/secret") == {"secret": b"evil"}


def test_put_merges_and_keeps_kinds(store: Store) -> None:
    container(store, *TREE)
    with seen(store, write=True) as v:
        copying.put(v, "/to-d", archive(directory("."), directory("sub"), file("sub/c", b"3"), file("a", b"new")))
    assert told(store, "/d") == {"d/": "dir", "d/a": b"new", "d/sub/": "dir", "d/sub/b": b"2", "d/sub/c": b"3"}
    for member in (file("sub"), directory("a")):
        with pytest.raises(errors.Invalid, match="cannot overwrite"), seen(store, write=True) as v:
            copying.put(v, "/d", archive(member), keep_kinds=True)
    with seen(store, write=True) as v:
        copying.put(v, "/d", archive(file("sub", b"flat")), owner=lambda _u, _g: (7, 8))
    assert told(store, "/d/sub") == {"sub": b"flat"}
    assert os.stat(f"{store.root.container(ID)}/upper/d/sub").st_uid == 7


def test_what_put_refuses(store: Store) -> None:
    container(store, *TREE)
    with seen(store, write=True) as v:
        for path, kind in (("/d/a", errors.Invalid), ("/none", errors.NotFound), ("/dead", errors.NotFound)):
            with pytest.raises(kind):
                copying.put(v, path, archive(file("x")))
        with pytest.raises(errors.Invalid, match="out of the archive"):
            copying.put(v, "/d", archive(file("../../x")))
        with pytest.raises(errors.Damaged):
            copying.put(v, "/d", io.BytesIO(b"rubbish"))
    with pytest.raises(errors.Denied, match="rootfs"), seen(store, write=True, readonly=True) as v:
        copying.put(v, "/d", archive(file("x")))


def test_mounts_of_a_stopped_container(store: Store, tmp_path: Path, canary: Path) -> None:
    container(store, *TREE, directory("vol"))
    volume = tmp_path / "volume"
    volume.mkdir()
    (volume / "v").write_text("in volume")
    (volume / "abs").symlink_to(canary)
    (volume / "up").symlink_to("../canary")
    mounts = (view.Mounted("/vol", str(volume)), view.Mounted("/d/sub", str(volume), True),
              view.Mounted("/d/a", str(canary / "secret")), view.Mounted("/new/place", str(volume)))
    assert told(store, "/vol/v", *mounts) == {"v": b"in volume"}
    assert told(store, "/new/place/v", *mounts) == {"v": b"in volume"}
    assert told(store, "/d", *mounts) == {
        "d/": "dir", "d/a": b"host", "d/sub/": "dir", "d/sub/v": b"in volume", "d/sub/abs": str(canary),
        "d/sub/up": "../canary"}
    with seen(store, *mounts, write=True) as v:
        copying.put(v, "/vol", archive(file("w", b"new"), directory("s")))
        with pytest.raises(errors.Denied, match="volume"):
            copying.put(v, "/d/sub", archive(file("w")))
        for path in ("/vol/abs", "/vol/up"):
            with pytest.raises(errors.NotFound):
                copying.put(v, path, archive(file("secret", b"evil")))
        copying.put(v, "/vol", archive(link("l", str(canary)), file("l/secret", b"evil")))
        copying.put(v, "/vol", archive(link("m", "../canary"), file("m/secret", b"evil")))
    assert ((canary / "secret").read_text(), (volume / "w").read_text()) == ("host", "new")


def test_differences(store: Store) -> None:
    below = layer(store, directory("d"), file("d/gone"), file("d/same"), directory("x"), file("x/old"), file("plain"))
    top = layer(store, directory("d"), file("d/mine", b"1"))
    rootfs = store.snapshots.prepare(ID, [below, top])
    with seen(store, write=True) as v:
        root = f"/proc/self/fd/{v.root}"
        os.unlink(f"{root}/d/gone")
        os.unlink(f"{root}/x/old")
        os.rmdir(f"{root}/x")
        os.mkdir(f"{root}/x")
        os.mkdir(f"{root}/new")
        for name in ("new/f", "plain"):
            with open(f"{root}/{name}", "a", encoding="ascii") as f:
                f.write("x")
        os.chmod(f"{root}/d/same", 0o600)
    found = [(c.kind, c.path) for c in differences.changes(rootfs)]
    assert found == [(0, "/d"), (2, "/d/gone"), (0, "/d/same"), (1, "/new"), (1, "/new/f"), (0, "/plain"), (0, "/x"),
                     (2, "/x/old")]
    names = {e.name.decode() for e in reader.read(io.BytesIO(b"".join(differences.layer(rootfs))))}
    assert names == {"./", "d/", "d/.wh.gone", "d/same", "new/", "new/f", "plain", "x/", "x/.wh..wh..opq"}


def test_export_has_no_root_entry(store: Store) -> None:
    container(store, *TREE)
    names = [e.name.decode() for e in reader.read(io.BytesIO(b"".join(copying.export(seen(store)))))]
    assert set(names) >= {"d/", "d/a", "d/sub/", "d/sub/b", "dead", "to-d", "proc/", "etc/hosts"}
    assert "./" not in names


def test_no_descriptor_is_left_however_a_copy_ends(store: Store) -> None:
    container(store, *TREE)
    before = len(os.listdir("/proc/self/fd"))
    copying.Source(seen(store), "/d").close()
    copying.Source(seen(store), "/d").archive()  # never begun
    begun = copying.Source(seen(store), "/d").archive()
    next(begun)
    begun.close()
    next(copying.export(seen(store)))
    assert len(os.listdir("/proc/self/fd")) == before
