"""Unpacked layers by diff id, shared by all images that name them, never edited.

A layer is unpacked under a temporary name while the digest of its tar bytes is taken. Only when that digest is the
diff id it was asked for by is the file system synced and the directory renamed into place: an image cannot put its
bytes under the name of another's layer.
"""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Callable, Iterator

from wharfie.archive import compression, limits, reader, streams, unpack
from wharfie.base import errors, paths
from wharfie.kernel import syscalls, walk
from wharfie.oci import digest

_TEMPORARY = ".tmp-"
_EMPTY_TAR = bytes(1024)
EMPTY = digest.of(_EMPTY_TAR)


# What an image may lack and every container has mounted over: directories, then files.
_MOUNTED_OVER = (("dev", "etc", "proc", "sys"), ("etc/hostname", "etc/hosts", "etc/resolv.conf"))


class Layers:
    """The layers below one data root. Safe for any number of threads."""

    def __init__(self, root: paths.DataRoot, *, userxattr: bool = False) -> None:
        self._root = root
        self._userxattr = userxattr
        self._sizes: dict[str, int] = {}
        self._lock = threading.Lock()

    def prepare(self) -> None:
        """Make the directory; throw away what was half unpacked when an earlier engine ended."""
        os.makedirs(self._root.layers, mode=0o700, exist_ok=True)
        for name in os.listdir(self._root.layers):
            if name.startswith(_TEMPORARY):
                self._discard(name)
        self._make_mount_points()

    def _make_mount_points(self) -> None:
        """The lowest layer of every container. Without it each start would make these in the container's own layer,
        where `diff` and `commit` would find them; an image that has them hides these."""
        directories, files = _MOUNTED_OVER
        for name in ("", *directories):
            path = f"{self._root.mount_points}/{name}"
            os.makedirs(path, exist_ok=True)
            os.chmod(path, 0o755)
        for name in files:
            os.close(os.open(f"{self._root.mount_points}/{name}", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644))

    def path(self, diff_id: digest.Digest) -> str:
        """The directory of a layer, there or not."""
        return self._root.layer(diff_id.hex)

    def has(self, diff_id: digest.Digest) -> bool:
        return os.path.isdir(self.path(diff_id))

    def list(self) -> Iterator[digest.Digest]:
        """The diff ids of all layers."""
        for name in os.listdir(self._root.layers):
            try:
                yield digest.Digest.parse(f"{'sha256' if len(name) == 64 else 'sha512'}:{name}")
            except errors.Invalid:
                continue  # on its way in or out

    def unpack(self, diff_id: digest.Digest, readable: compression.Readable,
               bounds: limits.Limits = limits.DEFAULT) -> int:
        """Unpack a tar stream, compressed or not, as the layer `diff_id`; bytes of its files. A layer that is there
        already is left alone and the stream is not read. Raises Damaged when the bytes are not those of the diff id,
        Invalid for hostile entries, Exhausted; nothing is left then."""
        if self.has(diff_id):
            return self.size(diff_id)
        found, size = self._take(readable, bounds, diff_id)
        self._sizes[found] = size
        return size

    def add(self, readable: compression.Readable, known: Callable[[digest.Digest], None],
            bounds: limits.Limits = limits.DEFAULT) -> digest.Digest:
        """The same for a layer whose diff id is not known yet; it is returned, and told to `known` just before the
        layer is there."""
        found, size = self._take(readable, bounds, None, known)
        self._sizes[found] = size
        return found

    def _take(self, readable: compression.Readable, bounds: limits.Limits, expected: digest.Digest | None,
              known: Callable[[digest.Digest], None] | None = None) -> tuple[digest.Digest, int]:
        temporary = _TEMPORARY + os.urandom(8).hex()
        where = f"{self._root.layers}/{temporary}"
        os.mkdir(where, 0o700)
        fd = os.open(where, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fchmod(fd, 0o755)
            hashed = streams.Hashed(compression.open_stream(readable), (expected or EMPTY).hasher())
            done = unpack.extract(reader.read(hashed, bounds), fd, whiteouts="overlay", userxattr=self._userxattr,
                                  limits=bounds)
            hashed.drain()
            found = digest.from_hasher(hashed.hasher)
            if expected and found != expected:
                raise errors.Damaged(f"a layer has the diff id {found}, the image says {expected}", name=expected)
            syncfs(fd)
            if known:
                known(found)
            self._settle(where, found)
        except BaseException:
            self._discard(temporary)
            raise
        finally:
            os.close(fd)
        return found, done.size

    def _settle(self, where: str, found: digest.Digest) -> None:
        """Rename into place; when another thread was faster, its directory holds the same and ours goes."""
        with self._lock:
            if self.has(found):
                self._discard(os.path.basename(where))
                return
            os.rename(where, self.path(found))

    def empty(self) -> digest.Digest:
        """The layer with nothing in it, made when it is not there: the lower of an image without layers."""
        if not self.has(EMPTY):
            self.unpack(EMPTY, streams.Pieces([_EMPTY_TAR]))
        return EMPTY

    def size(self, diff_id: digest.Digest) -> int:
        """Bytes of the files in a layer, links counted once. Raises NotFound."""
        known = self._sizes.get(diff_id)
        if known is None:
            try:
                known = self._sizes[diff_id] = tree_size(self.path(diff_id))
            except FileNotFoundError as error:
                raise errors.NotFound(f"layer {diff_id} is not here", name=diff_id) from error
        return known

    def delete(self, diff_id: digest.Digest) -> None:
        """Take a layer away. Idempotent. That nobody uses it is the caller's business."""
        temporary = _TEMPORARY + os.urandom(8).hex()
        with self._lock:
            self._sizes.pop(diff_id, None)
            try:
                os.rename(self.path(diff_id), f"{self._root.layers}/{temporary}")
            except FileNotFoundError:
                return
        self._discard(temporary)

    def _discard(self, name: str) -> None:
        fd = os.open(self._root.layers, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            walk.remove_tree(fd, name)
        finally:
            os.close(fd)


def syncfs(fd: int) -> None:
    """syncfs(2): everything written to the file system that `fd` is on is durable. Raises OSError."""
    syscalls.check(syscalls.libc.syncfs(fd))


def tree_size(path: str) -> int:
    """Bytes of the regular files below a directory, hard links counted once. Raises FileNotFoundError."""
    seen: set[tuple[int, int]] = set()
    total, waiting = 0, [path]
    while waiting:
        with os.scandir(waiting.pop()) as children:
            for child in children:
                found = child.stat(follow_symlinks=False)
                if stat.S_ISDIR(found.st_mode):
                    waiting.append(child.path)
                elif stat.S_ISREG(found.st_mode):
                    if found.st_nlink > 1:
                        if (found.st_dev, found.st_ino) in seen:
                            continue
                        seen.add((found.st_dev, found.st_ino))
                    total += found.st_size
    return total
