"""The content store: blobs by digest, in an OCI image layout that other programs can read as it stands.

    images/oci-layout  index.json  blobs/<algorithm>/<hex>  ingest/<random>

A blob is written under ingest/, digested on the way, synced, and renamed into place: it is whole or not there. Nothing
is ever changed in place. Putting in a blob that is there already is fine and costs nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

from wharfie.archive import compression
from wharfie.base import atomic, errors, paths
from wharfie.oci import digest, manifest, reading

LAYOUT = reading.encode({"imageLayoutVersion": "1.0.0"})
MAX_DOCUMENT = reading.MAX_DOCUMENT


class Ingest:
    """A blob on its way in. End it with `commit` or `abort`; as a context manager it is aborted unless committed."""

    def __init__(self, content: Content, expected: digest.Digest | None = None) -> None:
        self._content = content
        self._expected = expected
        self._hasher = (expected or digest.of(b"")).hasher()
        self.size = 0
        self.path = f"{content.ingest_directory}/{os.urandom(16).hex()}"
        self.fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)

    def write(self, data: bytes) -> None:
        """Append. Raises Exhausted when the disk is full."""
        self._hasher.update(data)
        self.size += len(data)
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self.fd, view) :]
        except OSError as error:
            raise _disk(error) from error

    def commit(self, expected: digest.Digest | None = None, size: int | None = None) -> digest.Digest:
        """The blob is whole: verify, make it durable, give its digest. Raises Damaged when digest or size are not as
        expected; nothing is left then."""
        found = digest.from_hasher(self._hasher)
        expected = expected or self._expected
        if (expected and found != expected) or (size is not None and size != self.size):
            self.abort()
            raise errors.Damaged(f"a blob of {self.size} bytes has the digest {found}, expected was {expected or found}"
                                 + (f" with {size} bytes" if size is not None else ""), name=str(expected or found))
        try:
            target = self._content.path(found)
            if os.path.exists(target):
                self.abort()
                return found
            os.fsync(self.fd)
            os.fchmod(self.fd, 0o444)
            os.makedirs(os.path.dirname(target), exist_ok=True)
            os.rename(self.path, target)
            atomic.sync_directory(os.path.dirname(target))
        except OSError as error:
            self.abort()
            raise _disk(error) from error
        self._close()
        return found

    def digest(self) -> digest.Digest:
        """The digest of what was written so far."""
        return digest.from_hasher(self._hasher)

    def abort(self) -> None:
        """Throw it away. Idempotent; does nothing after a commit."""
        if self.fd >= 0:
            self._close()
            try:
                os.unlink(self.path)
            except FileNotFoundError:
                pass

    def _close(self) -> None:
        os.close(self.fd)
        self.fd = -1

    def __enter__(self) -> Ingest:
        return self

    def __exit__(self, *_: object) -> None:
        self.abort()


class Content:
    """The blobs below one data root. Safe for any number of threads."""

    def __init__(self, root: paths.DataRoot) -> None:
        self._root = root
        self.ingest_directory = root.ingest

    def prepare(self) -> None:
        """Make the directories; throw away what was on its way in when an earlier engine ended."""
        os.makedirs(self._root.blobs, mode=0o700, exist_ok=True)
        os.makedirs(self._root.ingest, mode=0o700, exist_ok=True)
        for name in os.listdir(self._root.ingest):
            os.unlink(f"{self._root.ingest}/{name}")
        layout = f"{self._root.images}/oci-layout"
        if not os.path.exists(layout):
            atomic.write(layout, LAYOUT, mode=0o644)
            self.write_index(manifest.Index(()))

    def write_index(self, index: manifest.Index) -> None:
        """Replace index.json."""
        atomic.write(f"{self._root.images}/index.json", index.encode(), mode=0o644, durable=False)

    def ingest(self, expected: digest.Digest | None = None) -> Ingest:
        """A writer for a new blob; `expected` fixes the algorithm too. Raises Exhausted."""
        try:
            return Ingest(self, expected)
        except OSError as error:
            raise _disk(error) from error

    def put(self, data: bytes) -> digest.Digest:
        """A small blob in one piece."""
        found = digest.of(data)
        if not self.has(found):
            with self.ingest() as ingest:
                ingest.write(data)
                ingest.commit(found)
        return found

    def path(self, wanted: digest.Digest) -> str:
        """Where a blob is, or would be."""
        return f"{self._root.images}/blobs/{wanted.algorithm}/{wanted.hex}"

    def has(self, wanted: digest.Digest) -> bool:
        return os.path.exists(self.path(wanted))

    def size(self, wanted: digest.Digest) -> int:
        """Bytes. Raises NotFound."""
        try:
            return os.stat(self.path(wanted)).st_size
        except FileNotFoundError as error:
            raise _missing(wanted) from error

    def open(self, wanted: digest.Digest) -> int:
        """A read-only fd, the caller's. Raises NotFound."""
        try:
            return os.open(self.path(wanted), os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError as error:
            raise _missing(wanted) from error

    def read(self, wanted: digest.Digest) -> bytes:
        """A whole document, verified. Raises NotFound; Damaged when it is too large or not what its digest says."""
        fd = self.open(wanted)
        try:
            if os.fstat(fd).st_size > MAX_DOCUMENT:
                raise errors.Damaged(f"blob {wanted} is larger than a document may be", name=wanted)
            with os.fdopen(fd, "rb", closefd=False) as file:
                data = file.read()
        finally:
            os.close(fd)
        if digest.of(data, wanted.algorithm) != wanted:
            raise errors.Damaged(f"blob {wanted} is damaged on disk", name=wanted,
                                 action="remove the image and load it again")
        return data

    def compression(self, wanted: digest.Digest) -> str:
        """How a blob is compressed, by its first bytes: "", "gzip", "zstd", "xz", "bzip2". Raises NotFound."""
        fd = self.open(wanted)
        try:
            return compression.detect(os.pread(fd, compression.HEAD, 0))
        finally:
            os.close(fd)

    def delete(self, wanted: digest.Digest) -> None:
        """Take a blob away. Idempotent."""
        try:
            os.unlink(self.path(wanted))
        except FileNotFoundError:
            pass

    def walk(self) -> Iterator[digest.Digest]:
        """All blobs."""
        for algorithm in digest.LENGTHS:
            try:
                names = os.listdir(f"{self._root.images}/blobs/{algorithm}")
            except FileNotFoundError:
                continue
            for name in names:
                try:
                    yield digest.Digest.parse(f"{algorithm}:{name}")
                except errors.Invalid:
                    continue  # not ours


def _missing(wanted: digest.Digest) -> errors.NotFound:
    return errors.NotFound(f"blob {wanted} is not in the content store", name=wanted)


def _disk(error: OSError) -> errors.WharfieError:
    if error.errno in (28, 122):  # ENOSPC, EDQUOT
        return errors.Exhausted("no space left in the content store", action="make room on the disk of the data root")
    return errors.Unavailable(f"content store: {error.strerror}: {error.filename}")
