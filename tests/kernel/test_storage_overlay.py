"""Layers unpacked, stacked by the kernel's overlay, and looked at as a container would; copy-up into volumes."""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from wharfie.archive import entry, pack, reader
from wharfie.base import errors, paths
from wharfie.kernel import overlay, walk
from wharfie.oci import digest
from wharfie.storage import Database, Store, Volumes

pytestmark = pytest.mark.needs("root")
Member = tuple[entry.Entry, bytes]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(paths.DataRoot(str(tmp_path / "data")))


@pytest.fixture
def volumes(store: Store) -> Iterator[Volumes]:
    database = Database(store.root.database)
    yield Volumes(store, database)
    database.close()


def file(name: str, data: bytes = b"", mode: int = 0o644, uid: int = 0) -> Member:
    return entry.Entry(name.encode(), entry.FILE, size=len(data), mode=mode, uid=uid, gid=uid), data


def directory(name: str, mode: int = 0o755, uid: int = 0, mtime: int = 10**18) -> Member:
    return entry.Entry(name.encode(), entry.DIRECTORY, mode=mode, uid=uid, gid=uid, mtime=mtime), b""


def layer(store: Store, *members: Member) -> digest.Digest:
    data = b"".join(pack.encode(e) + pack.padded(d) for e, d in members) + pack.END
    diff_id = digest.of(data)
    store.layers.unpack(diff_id, io.BytesIO(data))
    return diff_id


class Mounted:
    """The names and contents in a root file system, by fd, without a place in any mount namespace."""

    def __init__(self, rootfs: overlay.Rootfs) -> None:
        self.fd = overlay.mount(rootfs)

    def __enter__(self) -> Mounted:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.fd)

    def names(self, path: str = ".") -> list[str]:
        fd = walk.open_in_root(self.fd, path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            return sorted(os.listdir(fd))
        finally:
            os.close(fd)

    def text(self, path: str) -> bytes:
        with open(walk.open_in_root(self.fd, path, os.O_RDONLY), "rb") as f:
            return f.read()

    def stat(self, path: str = ".") -> os.stat_result:
        fd = walk.open_in_root(self.fd, path, os.O_PATH | os.O_NOFOLLOW)
        try:
            return os.fstat(fd)
        finally:
            os.close(fd)

    def tar(self) -> dict[str, entry.Entry]:
        fd = os.open(".", os.O_RDONLY, dir_fd=self.fd)
        try:
            data = b"".join(pack.pack(fd))
        finally:
            os.close(fd)
        return {e.name.decode(): e for e in reader.read(io.BytesIO(data))}


def test_whiteouts_hide_and_opaque_directories_cover(store: Store) -> None:
    low = layer(store, file("gone"), file("kept", b"low"), directory("d"), file("d/old"), directory("e"), file("e/x"))
    high = layer(store, file(".wh.gone"), directory("d"), file("d/.wh..wh..opq"), file("d/new"), file("kept", b"high"),
                 file(".wh..wh.aufs"), file(".wh.never"))
    with Mounted(store.snapshots.prepare("c1", [low, high])) as rootfs:
        assert rootfs.names() == ["d", "e", "kept"]
        assert rootfs.names("d") == ["new"]
        assert rootfs.names("e") == ["x"]
        assert rootfs.text("kept") == b"high"


@pytest.mark.parametrize("whiteout_first", [True, False])
def test_a_directory_deleted_and_made_anew_is_empty(store: Store, whiteout_first: bool) -> None:
    low = layer(store, directory("d"), file("d/old"))
    members = [file(".wh.d"), directory("d"), file("d/new")]
    high = layer(store, *(members if whiteout_first else [*members[1:], members[0]]))
    with Mounted(store.snapshots.prepare("c1", [low, high])) as rootfs:
        assert rootfs.names("d") == ["new"]


def test_the_root_directory_is_the_image_s(store: Store) -> None:
    low = layer(store, directory(".", 0o711, uid=7), file("a"))
    high = layer(store, file("b"))
    with Mounted(store.snapshots.prepare("c1", [low, high])) as rootfs:
        assert stat.S_IMODE(rootfs.stat().st_mode) == 0o711
        assert rootfs.stat().st_uid == 7


def test_times_of_directories_are_the_archive_s(store: Store) -> None:
    diff_id = layer(store, directory(".", mtime=3 * 10**18), directory("d", mtime=2 * 10**18 + 5), file("d/x"))
    assert os.stat(f"{store.layers.path(diff_id)}/d").st_mtime_ns == 2 * 10**18 + 5
    assert os.stat(store.layers.path(diff_id)).st_mtime_ns == 3 * 10**18


def test_what_is_written_and_deleted_is_packed_as_a_layer_again(store: Store) -> None:
    low = layer(store, file("gone"), directory("d"), file("d/old"))
    rootfs = store.snapshots.prepare("c1", [low])
    with Mounted(rootfs) as mounted:
        os.unlink("gone", dir_fd=mounted.fd)
        walk.remove_tree(mounted.fd, "d")
        os.mkdir("d", dir_fd=mounted.fd)
        os.close(os.open("d/new", os.O_CREAT | os.O_WRONLY, dir_fd=mounted.fd))
    fd = os.open(rootfs.upper, os.O_RDONLY)
    data = b"".join(pack.pack(fd, whiteouts=True))
    os.close(fd)
    names = {e.name.decode() for e in reader.read(io.BytesIO(data))}
    assert {".wh.gone", "d/", "d/.wh..wh..opq", "d/new"} <= names | {n + "/" for n in names}
    diff_id = digest.of(data)
    store.layers.unpack(diff_id, io.BytesIO(data))
    with Mounted(store.snapshots.view([low, diff_id])) as again:
        assert again.names() == ["d"]
        assert again.names("d") == ["new"]


def test_an_image_without_layers_has_an_empty_root(store: Store) -> None:
    with Mounted(store.snapshots.prepare("c1", [])) as rootfs:
        assert rootfs.names() == []


def test_many_layers(store: Store) -> None:
    layers = [layer(store, file(f"f{i}")) for i in range(120)]
    with Mounted(store.snapshots.prepare("c1", layers)) as rootfs:
        assert len(rootfs.names()) == 120


def test_snapshots_know_their_layers_and_go(store: Store) -> None:
    one = layer(store, file("a", b"12345"))
    first = store.snapshots.prepare("c1", [one])
    lowers = (*first.lowers, store.root.mount_points)
    assert store.snapshots.rootfs("c1") == first.replace(lowers=lowers)
    with Mounted(store.snapshots.rootfs("c1")) as rootfs:
        assert rootfs.names("etc") == ["hostname", "hosts", "resolv.conf"]
        assert rootfs.names() == ["a", "dev", "etc", "proc", "sys"]
    assert store.snapshots.used() == {one}
    Path(first.upper, "b").write_bytes(b"123")
    assert (store.snapshots.usage("c1"), store.snapshots.size("c1")) == (3, 8)
    with pytest.raises(errors.Conflict):
        store.snapshots.prepare("c1", [one])
    with pytest.raises(errors.NotFound):
        store.snapshots.prepare("c2", [digest.of(b"nothing")])
    assert os.listdir(store.root.containers) == ["c1"]
    store.snapshots.remove("c1")
    store.snapshots.remove("c1")
    assert os.listdir(store.root.containers) == []


def test_an_upper_for_a_user_namespace_belongs_to_its_root(store: Store) -> None:
    one = layer(store, directory(".", 0o750, uid=5), file("a"))
    idmap = overlay.IdMap(((0, 100_000, 65536),), ((0, 200_000, 65536),))
    rootfs = store.snapshots.prepare("c1", [one], idmap)
    assert (os.stat(rootfs.upper).st_uid, os.stat(rootfs.upper).st_gid) == (100_005, 200_005)
    assert os.stat(rootfs.work).st_uid == 100_000


def test_volumes_take_over_what_the_image_has(store: Store, volumes: Volumes) -> None:
    low = layer(store, directory("data", 0o750, uid=33), file("data/a", b"text", 0o600, uid=33), directory("data/s"),
                file("data/gone"), (entry.Entry(b"data/l", entry.SYMLINK, link=b"a"), b""), directory("v"))
    high = layer(store, directory("data", 0o750, uid=33), file("data/.wh.gone"),
                 (entry.Entry(b"v/data", entry.SYMLINK, link=b"/data"), b""))
    rootfs = store.snapshots.prepare("c1", [low, high])
    volume = volumes.create("vol")
    assert volumes.copy_up(volume, rootfs, "/v/data")
    assert sorted(os.listdir(volume.path)) == ["a", "l", "s"]
    assert (os.stat(volume.path).st_uid, stat.S_IMODE(os.stat(volume.path).st_mode)) == (33, 0o750)
    assert (os.stat(f"{volume.path}/a").st_uid, stat.S_IMODE(os.stat(f"{volume.path}/a").st_mode)) == (33, 0o600)
    assert not volumes.copy_up(volume, rootfs, "/data")


def test_field_row_26_a_volume_place_that_climbs_stays_in_the_image(store: Store, volumes: Volumes) -> None:
    link = entry.Entry(b"l", entry.SYMLINK, link=b"/etc")
    low = layer(store, directory("etc"), file("etc/mine", b"image"), (link, b""))
    rootfs = store.snapshots.prepare("c1", [low])
    for at, place in enumerate(("/../../../etc", "/l/../etc", "/l")):
        volume = volumes.create(f"v{at}")
        assert volumes.copy_up(volume, rootfs, place)
        assert os.listdir(volume.path) == ["mine"]
    for at, place in enumerate(("/nothing", "/etc/mine", "/proc/self/root/etc")):
        volume = volumes.create(f"w{at}")
        assert not volumes.copy_up(volume, rootfs, place)
        assert os.listdir(volume.path) == []


def test_volumes_copy_up_for_a_user_namespace(store: Store, volumes: Volumes) -> None:
    one = layer(store, directory("d", uid=3), file("d/x", uid=4))
    idmap = overlay.IdMap(((0, 100_000, 65536),), ((0, 100_000, 65536),))
    volume = volumes.create("vol")
    assert volumes.copy_up(volume, store.snapshots.prepare("c1", [one], idmap), "/d")
    assert os.stat(volume.path).st_uid == 100_003
    assert os.stat(f"{volume.path}/x").st_uid == 100_004


def test_half_done_work_is_swept_at_the_next_start(store: Store) -> None:
    ingest = store.content.ingest()
    ingest.write(b"x")
    os.makedirs(f"{store.root.layers}/.tmp-dead/a/b")
    again = Store(store.root)
    assert os.listdir(store.root.ingest) == []
    assert list(again.layers.list()) == []
    assert os.listdir(store.root.layers) == []
    ingest.abort()


def test_deleting_and_unpacking_at_once(store: Store) -> None:
    import threading
    data = b"".join(pack.encode(e) + pack.padded(d) for e, d in [file(f"f{i}") for i in range(50)]) + pack.END
    diff_id = digest.of(data)
    threads = [threading.Thread(target=store.layers.unpack, args=(diff_id, io.BytesIO(data))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert os.listdir(store.root.layers) == [diff_id.hex]
    assert len(os.listdir(store.layers.path(diff_id))) == 50
    store.layers.delete(diff_id)
    assert os.listdir(store.root.layers) == []


def test_a_container_that_wrote_nothing_goes_at_once(store: Store) -> None:
    one = layer(store, file("a"))
    told: list[list[object]] = []
    store.snapshots.removed = lambda lowers: told.append(list(lowers))
    for name, quick in (("bare", True), ("written", False), ("logged", False)):
        made = store.snapshots.prepare(name, [one])
        directory = Path(made.upper).parent
        if name == "written":
            Path(made.upper, "b").write_bytes(b"b")
        Path(directory, "log").write_bytes(bytes(1 << 20) if name == "logged" else b"short")
        assert store.snapshots.remove_bare(name) is quick
        store.snapshots.remove(name)
        assert not directory.exists()
    assert [lowers for lowers in told if lowers] == [[one]] * 3
