"""Files in and out of a container: what `docker cp` and `docker export` are made of. Everything goes through the one
tar reader and writer; a compressed stream is unpacked by this process, never by a program (CVE-2026-41567)."""

from __future__ import annotations

import os
import posixpath
import stat
from collections.abc import Callable, Iterator

from wharfie.archive import compression, names, pack, reader, unpack
from wharfie.archive.entry import LINK, Entry
from wharfie.base import errors
from wharfie.base.value import Value
from wharfie.kernel import walk

from .view import Parts, View

Owner = Callable[[int, int], tuple[int, int]]
Readable = compression.Readable


class Found(Value):
    """What is at a path: `name` as it is called in the archive, `mode` as stat(2) has it, `target` where a link leads
    inside the container, or ""."""

    name: str
    size: int
    mode: int
    mtime: int
    target: str = ""


class Source:
    """Something to be copied out: what it is, and its archive. `view` is closed with it."""

    def __init__(self, view: View, path: str) -> None:
        """Raises NotFound, Invalid. The view is the source's own from here on, also when this raises."""
        self._view = view
        try:
            self._name, self._parts = _named(view, path)
            at = view.stat(self._parts)
            target = ""
            if stat.S_ISLNK(at.st_mode):
                target = "/" + "/".join(view.resolve("/".join(self._parts), follow=True, missing=True))
            self.found = Found(self._name, at.st_size, at.st_mode, at.st_mtime_ns, target)
        except BaseException:
            view.close()
            raise

    def close(self) -> None:
        """For a source whose archive is not wanted; idempotent. An archive that was begun closes by itself, another
        when it is forgotten."""
        self._view.close()

    def archive(self) -> Iterator[bytes]:
        """The tar stream; the view is closed at its end. Raises NotFound when it has vanished."""
        name = os.fsencode(self._name)
        try:
            if stat.S_ISDIR(self.found.mode):
                fd = self._view.open(self._parts, os.O_RDONLY | os.O_DIRECTORY)
                try:
                    yield from pack.pack(fd, prefix=name, mounts=self._view.below(self._parts))
                finally:
                    os.close(fd)
            else:
                yield from self._one(name)
        except FileNotFoundError as error:
            raise errors.NotFound(f"no such file: {self._name}", name=self._name) from error
        finally:
            self._view.close()

    def _one(self, name: bytes) -> Iterator[bytes]:
        root, inside = self._view.place(self._parts)
        directory, base = posixpath.split(inside)
        parent = walk.open_in_root(root, directory, os.O_RDONLY | os.O_DIRECTORY, resolve=walk.RESOLVE_NO_SYMLINKS)
        try:
            yield from pack.pack_one((parent, os.fsencode(base)), name)
        finally:
            os.close(parent)


def _named(view: View, path: str) -> tuple[str, Parts]:
    """(name in the archive, resolved path). A slash or "/." at the end means the directory behind a link."""
    whole = posixpath.normpath("/" + path).replace("//", "/")
    through = path.endswith(("/", "/.")) or path == "."
    parts = view.resolve(whole, follow=through)
    if through and not stat.S_ISDIR(view.stat(parts).st_mode):
        raise errors.Invalid(f"not a directory: {path}", name=path)
    name = "." if path.endswith("/.") or path == "." else posixpath.basename(whole) or "/"
    return name, parts


def put(view: View, path: str, stream: compression.Readable, *, owner: Owner | None = None,
        keep_kinds: bool = False) -> None:
    """Unpack `stream`, plain or compressed, into the directory `path`. Raises NotFound; Invalid (no directory, hostile
    or unfitting entry), Denied (read-only), Damaged, Exhausted. What was written before an error stays, as in Docker.
    The view stays the caller's."""
    parts = view.resolve(path, follow=True)
    if not stat.S_ISDIR(view.stat(parts).st_mode):
        raise errors.Invalid("extraction point is not a directory", name=path)
    if words := view.is_readonly(parts) or _kernel_says(view, parts):
        raise errors.Denied(words, name=path)
    anchor, inside = view.anchor(parts)
    try:
        entries = reader.read(compression.open_stream(stream))
        unpack.extract(_below(entries, os.fsencode(inside)), anchor, owner=owner, keep_kinds=keep_kinds)
    finally:
        os.close(anchor)


def _kernel_says(view: View, parts: Parts) -> str:
    fd = view.open(parts, os.O_PATH)
    try:
        if not os.fstatvfs(fd).f_flag & os.ST_RDONLY:
            return ""
        top = os.fstatvfs(view.root).f_flag & os.ST_RDONLY
        return "container rootfs is marked read-only" if top else "mounted volume is marked read-only"
    finally:
        os.close(fd)


def _below(entries: Iterator[Entry], inside: bytes) -> Iterator[Entry]:
    """The entries as names below the directory `inside`; that directory's own entry changes nothing. A name that
    climbs out of it is refused (Invalid)."""
    for entry in entries:
        name = names.clean(entry.name)
        if not name:
            continue
        entry.name = inside + b"/" + name if inside else name
        if entry.kind == LINK:
            target = names.clean(entry.link)
            entry.link = inside + b"/" + target if inside else target
        yield entry


def export(view: View) -> Iterator[bytes]:
    """The whole root file system as a tar stream, without what is mounted in it; the view is closed at its end."""
    try:
        yield from pack.pack(view.root, top=False, stay=True)
    finally:
        view.close()
