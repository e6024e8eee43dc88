"""The mount API and overlay root file systems, on the real kernel; whatever is mounted is detached or in a child's own
namespace."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from tests.kernel.kernel_cell import errno_of, in_child
from wharfie.kernel import mounts, namespaces, overlay, walk, xattrs

pytestmark = pytest.mark.needs("root")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    for name in ("low1/etc", "low2/bin", "upper", "work"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "low1" / "etc" / "motd").write_text("one")
    (tmp_path / "low2" / "bin" / "sh").write_text("two")
    os.mknod(tmp_path / "low2" / "etc", 0o020000, 0)  # a whiteout, hides low1's etc
    return tmp_path


@pytest.fixture(params=["fsconfig", "mount", "unasked"])
def way(request: Any, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "mount":
        monkeypatch.setattr(overlay, "_by_fsconfig", _old_kernel)
    if request.param != "mount":
        monkeypatch.setattr(overlay, "_ASK", request.param == "fsconfig")
    return str(request.param)


def _old_kernel(*_: Any, **__: Any) -> int:
    raise OSError(errno.EINVAL, "as an old kernel says")


def _list(fd: int, path: str = ".") -> list[str]:
    opened = walk.open_in_root(fd, path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        return sorted(os.listdir(opened))
    finally:
        os.close(opened)


def _rootfs(place: Path, *lowers: str, **more: Any) -> overlay.Rootfs:
    return overlay.Rootfs(tuple(str(place / n) for n in lowers), str(place / "upper"), str(place / "work"), **more)


def test_overlay_is_a_detached_mount(place: Path, way: str) -> None:
    before = Path("/proc/self/mountinfo").read_text()
    fd = overlay.mount(_rootfs(place, "low2", "low1"))
    assert mounts.fs_type(fd) == mounts.OVERLAYFS_SUPER_MAGIC
    assert _list(fd) == ["bin"]
    os.close(walk.make_dirs(fd, "new/dir"))
    assert (place / "upper" / "new" / "dir").is_dir()
    assert Path("/proc/self/mountinfo").read_text() == before
    assert len(os.listdir("/proc/self/task")) == 1 or way == "fsconfig"
    os.close(fd)


def test_the_top_layer_comes_first(place: Path, way: str) -> None:
    (place / "low2" / "etc").unlink()
    (place / "low2" / "etc").mkdir()
    (place / "low2" / "etc" / "motd").write_text("top")
    fd = overlay.mount(_rootfs(place, "low2", "low1"))
    file = walk.open_in_root(fd, "etc/motd", os.O_RDONLY)
    assert os.read(file, 10) == b"top"
    os.close(file)
    os.close(fd)


def test_nothing_of_the_host_shows_inside(place: Path, way: str) -> None:
    fd = overlay.mount(_rootfs(place, "low2", "low1"))
    target = place / "m"
    target.mkdir()

    def work() -> str:
        mounts.mount(None, "/", None, mounts.MS_REC | mounts.MS_PRIVATE)
        proc = mounts.open_tree(-100, "/proc")
        mounts.attach_at(fd, str(target))
        os.mkdir(target / "proc")
        mounts.attach_at(proc, str(target / "proc"))
        os.chdir(target)
        mounts.pivot_root(".", ".")
        mounts.umount2(".", mounts.MNT_DETACH)
        with open("/proc/self/mountinfo") as info:
            return info.read()

    seen = in_child(work, namespaces.CLONE_NEWNS)
    assert "overlay" in seen
    assert str(place) not in seen
    os.close(fd)


def test_many_layers_with_long_names(place: Path, way: str) -> None:
    lowers = []
    for n in range(120):
        layer = place / ("x" * 120) / f"{n:064x}"
        layer.mkdir(parents=True)
        (layer / f"f{n}").touch()
        lowers.append(str(layer))
    fd = overlay.mount(overlay.Rootfs(tuple(lowers), str(place / "upper"), str(place / "work")))
    assert len(_list(fd)) == 120
    os.close(fd)


def test_names_with_commas_and_colons(place: Path, way: str) -> None:
    odd = place / "a,b:c\\d"
    odd.mkdir()
    (odd / "f").touch()
    fd = overlay.mount(_rootfs(place, odd.name))
    assert _list(fd) == ["f"]
    os.close(fd)


def test_read_only_views(place: Path, way: str) -> None:
    two, one = str(place / "low2"), str(place / "low1")
    for lowers, seen in (((two, one), ["bin"]), ((one,), ["etc"])):
        fd = overlay.mount(overlay.Rootfs(lowers))
        assert _list(fd) == seen
        assert errno_of(lambda fd=fd: os.mkdir("x", dir_fd=fd)) == errno.EROFS
        os.close(fd)
    fd = overlay.mount(_rootfs(place, "low1", readonly=True))
    assert errno_of(lambda: os.mkdir("x", dir_fd=fd)) == errno.EROFS
    os.close(fd)


def test_an_image_without_layers(place: Path) -> None:
    fd = overlay.mount(_rootfs(place))
    os.mkdir("x", dir_fd=fd)
    assert (place / "upper" / "x").is_dir()
    os.close(fd)


def test_errors_name_the_thing(place: Path, way: str) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        overlay.mount(_rootfs(place, "gone"))
    assert caught.value.filename == str(place / "gone")
    with pytest.raises(OSError, match=r"old kernel|Invalid argument"):
        overlay.mount(_rootfs(place, "low1").replace(work=str(place / "upper")))
    with pytest.raises(OSError, match="layers"):
        overlay.mount(overlay.Rootfs(("/",) * 501))
    with pytest.raises(OSError, match="user namespace"):
        overlay.mount(_rootfs(place, "low1", idmap=overlay.IdMap(((0, 1, 1),), ((0, 1, 1),))))


def _userns(inside: int, outside: int, count: int) -> int:
    """A user namespace held by an fd only."""
    ready, go = os.pipe(), os.pipe()
    pid, pidfd = namespaces.clone3(namespaces.CLONE_NEWUSER)
    if pid == 0:
        os.write(ready[1], b"x")
        os.read(go[0], 1)
        os._exit(0)
    os.read(ready[0], 1)
    for name in ("uid_map", "gid_map"):
        Path(f"/proc/{pid}/{name}").write_text(f"{inside} {outside} {count}\n")
    fd = namespaces.open_ns(pid, "user")
    os.write(go[1], b"x")
    os.waitpid(pid, 0)
    for one in (*ready, *go, pidfd):
        os.close(one)
    return fd


def test_id_mapped_lowers_and_a_plain_upper(place: Path, way: str) -> None:
    userns = _userns(0, 100_000, 65_536)
    os.chown(place / "low1" / "etc" / "motd", 33, 33)
    os.chown(place / "upper", 100_000, 100_000)
    idmap = overlay.IdMap(((0, 100_000, 65_536),), ((0, 100_000, 65_536),))
    fd = overlay.mount(_rootfs(place, "low2", "low1", idmap=idmap), userns)
    (place / "low2" / "etc").unlink()
    os.close(fd)
    fd = overlay.mount(_rootfs(place, "low2", "low1", idmap=idmap), userns)
    seen = [os.stat(n, dir_fd=fd).st_uid for n in (".", "bin", "etc/motd")]
    assert seen == [100_000, 100_000, 100_033]
    target = place / "m"
    target.mkdir()

    def work() -> Any:
        namespaces.setns(userns)
        os.setresgid(0, 0, 0)
        os.setresuid(0, 0, 0)
        namespaces.unshare(namespaces.CLONE_NEWNS)
        mounts.attach_at(fd, str(target))
        (target / "etc" / "motd").write_text("changed")
        (target / "made").touch()
        return [(target / "etc" / "motd").stat().st_uid, (target / "made").stat().st_uid]

    os.chmod(place, 0o755)
    for parent in place.parents:
        if parent.owner() == "root" and not parent.stat().st_mode & 0o001:
            os.chmod(parent, 0o711)
    assert in_child(work) == [33, 0]
    assert (place / "upper" / "etc" / "motd").stat().st_uid == 100_033
    assert (place / "low1" / "etc" / "motd").read_text() == "one"
    os.close(fd)
    os.close(userns)


def test_attributes_by_setattr(place: Path) -> None:
    tree = mounts.open_tree(-100, str(place))
    on = mounts.MOUNT_ATTR_NOSUID | mounts.MOUNT_ATTR_NODEV | mounts.MOUNT_ATTR_NOATIME
    mounts.mount_setattr(tree, "", set=on, clear=mounts.MOUNT_ATTR__ATIME)
    flags = os.statvfs(tree).f_flag
    assert flags & os.ST_NOSUID
    assert flags & os.ST_NODEV
    assert flags & os.ST_NOATIME
    mounts.mount_setattr(tree, "", clear=mounts.MOUNT_ATTR_NODEV, propagation=mounts.MS_PRIVATE, recursive=True)
    assert not os.statvfs(tree).f_flag & os.ST_NODEV
    os.close(tree)


def test_the_kernels_words_are_in_the_error() -> None:
    context = mounts.fsopen("tmpfs")
    with pytest.raises(OSError, match=r"size: .*Bad value") as caught:
        mounts.fsconfig_string(context, "size", "lots")
    assert caught.value.errno == errno.EINVAL
    os.close(context)
    with pytest.raises(OSError, match="No such device"):
        mounts.fsopen("nofs")


def test_remove_tree_stops_at_mounts(place: Path) -> None:
    (place / "low1" / "m").mkdir()

    def work() -> int:
        mounts.mount(None, "/", None, mounts.MS_REC | mounts.MS_PRIVATE)
        mounts.mount("t", str(place / "low1" / "m"), "tmpfs")
        (place / "low1" / "m" / "kept").touch()
        fd = os.open(place, os.O_PATH)
        number = errno_of(lambda: walk.remove_tree(fd, "low1"))
        assert (place / "low1" / "m" / "kept").exists()
        return number

    assert in_child(work, namespaces.CLONE_NEWNS) == errno.EXDEV


def test_old_mount_calls(place: Path) -> None:
    def work() -> Any:
        mounts.mount(None, "/", None, mounts.MS_REC | mounts.MS_PRIVATE)
        mounts.mount("t", str(place), "tmpfs", mounts.MS_NOSUID, "size=64k")
        (place / "f").write_text("x")
        mounts.umount2(str(place), mounts.MNT_DETACH)
        return [(place / "f").exists(), errno_of(lambda: mounts.umount2(str(place)))]

    assert in_child(work, namespaces.CLONE_NEWNS) == [False, errno.EINVAL]


def test_trusted_attributes_by_path_descriptor(place: Path) -> None:
    fd = os.open(place / "low1", os.O_PATH)
    xattrs.set(fd, "trusted.overlay.opaque", b"y")
    assert xattrs.get(fd, "trusted.overlay.opaque") == b"y"
    os.close(fd)
