"""Path work below a hostile root. Needs no root: openat2 is everybody's."""

from __future__ import annotations

import errno
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from wharfie.kernel import fds, memfd, sockets, walk, xattrs

UID, GID = os.getuid(), os.getgid()


@pytest.fixture
def root(tmp_path: Path) -> Iterator[int]:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret").write_text("host")
    inside = tmp_path / "root"
    inside.mkdir()
    fd = os.open(inside, os.O_PATH | os.O_DIRECTORY)
    yield fd
    os.close(fd)


def _inside(root: int) -> Path:
    return Path(os.readlink(f"/proc/self/fd/{root}"))


@pytest.mark.parametrize("target", ["../outside/secret", "/../../outside/secret", "/proc/self/root"])
def test_links_do_not_lead_out(root: int, target: str) -> None:
    os.symlink(target, "link", dir_fd=root)
    with pytest.raises(FileNotFoundError):
        walk.open_in_root(root, "link")
    with pytest.raises(FileNotFoundError):
        walk.open_in_root(root, "../outside/secret")


def test_absolute_links_stay_inside(root: int) -> None:
    (_inside(root) / "etc").mkdir()
    (_inside(root) / "etc" / "passwd").write_text("image")
    os.symlink("/etc", "link", dir_fd=root)
    fd = walk.open_in_root(root, "/link/passwd", os.O_RDONLY)
    assert os.read(fd, 10) == b"image"
    os.close(fd)


def test_magic_links_are_refused() -> None:
    proc = os.open("/proc", os.O_PATH | os.O_DIRECTORY)
    try:
        with pytest.raises(OSError, match="Too many levels") as caught:
            walk.open_in_root(proc, f"{os.getpid()}/root/etc")
        assert caught.value.errno == errno.ELOOP
    finally:
        os.close(proc)


def test_make_dirs(root: int) -> None:
    old = os.umask(0o077)
    try:
        fd = walk.make_dirs(root, "/a/./b//c/", 0o751, UID, GID)
    finally:
        os.umask(old)
    assert os.readlink(f"/proc/self/fd/{fd}").endswith("/root/a/b/c")
    assert os.fstat(fd).st_mode & 0o7777 == 0o751
    again = walk.make_dirs(root, b"a/b/c", 0o700, UID, GID)
    assert fds.same(fd, again)
    assert os.fstat(again).st_mode & 0o7777 == 0o751
    os.close(fd)
    os.close(again)


def test_make_dirs_follows_dangling_links_inside(root: int) -> None:
    os.mkdir("var", dir_fd=root)
    os.symlink("/run", "var/run", dir_fd=root)
    os.symlink("../../../../x", "var/up", dir_fd=root)
    for path, real in (("var/run/lock", "/root/run/lock"), ("/var/up/y", "/root/x/y")):
        fd = walk.make_dirs(root, path, 0o755, UID, GID)
        assert os.readlink(f"/proc/self/fd/{fd}").endswith(real)
        os.close(fd)
    assert not (_inside(root).parent / "x").exists()


@pytest.mark.parametrize(
    ("path", "number"), [("loop/x", errno.ELOOP), ("file/x", errno.ENOTDIR), ("file", errno.ENOTDIR),
                         ("new/../x", errno.EINVAL)],
)
def test_make_dirs_refuses(root: int, path: str, number: int) -> None:
    os.symlink("loop", "loop", dir_fd=root)
    (_inside(root) / "file").touch()
    before = len(fds.open_fds())
    with pytest.raises(OSError, match=r".") as caught:
        walk.make_dirs(root, path, 0o755, UID, GID)
    assert caught.value.errno == number
    assert len(fds.open_fds()) == before


def test_make_file(root: int) -> None:
    fd = walk.make_file(root, "etc/hosts", 0o644, UID, GID)
    assert os.fstat(fd).st_mode & 0o7777 == 0o644
    os.close(fd)
    os.symlink("/etc/hosts", "link", dir_fd=root)
    fd = walk.make_file(root, "link", 0o600, UID, GID)
    assert os.readlink(f"/proc/self/fd/{fd}").endswith("/root/etc/hosts")
    os.close(fd)
    os.symlink("../../outside/new", "dangling", dir_fd=root)
    os.close(walk.make_file(root, "dangling", 0o600, UID, GID))
    assert not (_inside(root).parent / "outside" / "new").exists()
    assert (_inside(root) / "outside" / "new").exists()


def test_the_root_itself(root: int) -> None:
    for path in ("/", "", ".", "/.."):
        fd = walk.make_dirs(root, path)
        assert fds.same(fd, root)
        os.close(fd)


def test_a_racing_rename_never_leads_out(root: int) -> None:
    inside = _inside(root)
    (inside / "a" / "b").mkdir(parents=True)
    (inside / "a" / "b" / "secret").write_text("image")
    stop = threading.Event()

    def swap() -> None:
        while not stop.is_set():
            os.rename("a", "c", src_dir_fd=root, dst_dir_fd=root)
            os.symlink("../outside", "a", dir_fd=root)
            os.unlink("a", dir_fd=root)
            os.rename("c", "a", src_dir_fd=root, dst_dir_fd=root)

    thread = threading.Thread(target=swap)
    thread.start()
    try:
        for _ in range(500):
            try:
                fd = walk.open_in_root(root, "a/b/../b/secret", os.O_RDONLY)
            except (FileNotFoundError, BlockingIOError):
                continue
            assert os.read(fd, 10) == b"image"
            os.close(fd)
    finally:
        stop.set()
        thread.join()


def test_remove_tree(root: int) -> None:
    inside = _inside(root)
    (inside / "t" / "d").mkdir(parents=True)
    (inside / "t" / "f").touch()
    os.symlink("../../outside", "t/link", dir_fd=root)
    walk.remove_tree(root, "t")
    walk.remove_tree(root, "t")
    assert (inside.parent / "outside" / "secret").read_text() == "host"
    os.symlink("../outside", "link", dir_fd=root)
    walk.remove_tree(root, "link")
    (inside / "file").touch()
    walk.remove_tree(root, "file")
    assert os.listdir(inside) == []


def test_remove_tree_of_any_depth(root: int) -> None:
    fd = os.dup(root)
    for _ in range(3000):
        os.mkdir("deep", dir_fd=fd)
        below = os.open("deep", os.O_PATH | os.O_DIRECTORY, dir_fd=fd)
        os.close(fd)
        fd = below
    os.close(fd)
    walk.remove_tree(root, "deep")
    assert os.listdir(_inside(root)) == []


def test_descriptors_over_sockets() -> None:
    a, b = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with a, b:
        r, w = os.pipe()
        sockets.send_fds(a, b"hello", [r, w])
        data, got = sockets.recv_fds(b, 100)
        assert data == b"hello"
        os.write(got[1], b"x")
        assert os.read(r, 1) == b"x"
        assert not any(os.get_inheritable(fd) for fd in got)
        assert sockets.peer_credentials(a) == (os.getpid(), UID, GID)
        before = len(fds.open_fds())
        sockets.send_fds(a, b"too many", [r] * 5)
        with pytest.raises(OSError, match="Message too long"):
            sockets.recv_fds(b, 100, max_fds=2)
        sockets.send_fds(a, b"too long")
        with pytest.raises(OSError, match="Message too long"):
            sockets.recv_fds(b, 3)
        assert len(fds.open_fds()) == before
        a.close()
        assert sockets.recv_fds(b, 100) == (b"", [])
    for fd in (r, w, *got):
        os.close(fd)


def test_sealed_copies() -> None:
    fd = memfd.copy("/bin/true", "true")
    assert memfd.is_sealed(fd)
    with pytest.raises(PermissionError):
        os.write(fd, b"x")
    pid = os.posix_spawn(f"/proc/self/fd/{fd}", ["true"], {})
    assert os.waitpid(pid, 0)[1] == 0
    os.close(fd)
    r, w = os.pipe()
    assert not memfd.is_sealed(r)
    assert fds.set_pipe_size(w, 1 << 17) == fds.pipe_size(r) == 1 << 17
    os.close(r)
    os.close(w)


def test_attributes_by_path_descriptor(tmp_path: Path) -> None:
    (tmp_path / "f").touch()
    fd = os.open(tmp_path / "f", os.O_PATH)
    try:
        assert xattrs.get(fd, "user.none") is None
        try:
            xattrs.set(fd, "user.some", b"\0x")
        except OSError as failed:
            pytest.skip(f"this file system has no user attributes: {failed}")
        assert xattrs.get(fd, "user.some") == b"\0x"
        assert "user.some" in xattrs.names(fd)
        xattrs.remove(fd, "user.some")
        xattrs.remove(fd, "user.some")
        assert xattrs.names(fd) == [n for n in xattrs.names(fd) if not n.startswith("user.")]
    finally:
        os.close(fd)
