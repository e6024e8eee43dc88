"""The members of an image archive, kept while it is read: an archive tells only at its end (or its beginning, there is
no rule) what its files are.

Small members stay in memory up to a bound; larger ones go straight into the content store as blobs, digested on the
way. Links between members, which old `docker save` made for layers that images share, are followed by name.
"""

from __future__ import annotations

import posixpath

from wharfie.archive import compression, entry, limits, names, reader
from wharfie.base import errors
from wharfie.oci import digest
from wharfie.storage import content

from .catalog import Catalog

SMALL = 1 << 20
IN_MEMORY = 64 << 20
HOLLOW = 1 << 30
"""Bytes of holes in all members together: a member becomes a blob, where holes cost what data costs."""
_LINKS = 8


class Members:
    """Everything in one archive by clean name. `blobs` are those put into the content store here and not before."""

    def __init__(self, catalog: Catalog) -> None:
        self.store = catalog.store.content
        self._catalog = catalog
        self._held: list[digest.Digest] = []
        self._small: dict[str, bytes] = {}
        self._large: dict[str, digest.Digest] = {}
        self._links: dict[str, str] = {}
        self._by_digest: dict[digest.Digest, str] = {}
        self._memory = 0
        self._hollow = 0
        self.blobs: set[digest.Digest] = set()

    def take(self, stream: compression.Readable) -> None:
        """Read a whole archive. Raises Damaged, Exhausted."""
        plain = compression.open_stream(stream)
        bounds = limits.DEFAULT.replace(entries=100_000)
        for member in reader.read(plain, bounds):
            name = names.clean(member.name, bounds).decode("utf-8", "surrogateescape")
            if member.kind == entry.FILE:
                self._forget(name)
                self._file(name, member)
            elif member.kind == entry.LINK:
                self._links[name] = names.clean(member.link, bounds).decode("utf-8", "surrogateescape")
            elif member.kind == entry.SYMLINK:
                link = member.link.decode("utf-8", "surrogateescape")
                self._links[name] = posixpath.normpath(posixpath.join(posixpath.dirname(name), link)).lstrip("/")

    def _forget(self, name: str) -> None:
        self._links.pop(name, None)
        self._large.pop(name, None)
        self._memory -= len(self._small.pop(name, b""))

    def _file(self, name: str, member: entry.Entry) -> None:
        self._hollow += member.size - member.stored
        if self._hollow > HOLLOW:
            raise limits.damaged("more holes than an image archive may have", member.name)
        if member.size <= SMALL and self._memory + member.size <= IN_MEMORY:
            data = self._small[name] = member.content(SMALL)
            self._memory += len(data)
            self._by_digest[digest.of(data)] = name
            return
        with self.store.ingest() as ingest:
            at = 0
            for offset, data in member.chunks():
                _zeros(ingest, offset - at)
                ingest.write(data)
                at = offset + len(data)
            _zeros(ingest, member.size - at)
            found = self.expect(ingest.digest())
            ingest.commit()
        self._large[name] = found
        self._by_digest[found] = name

    def _resolve(self, name: str) -> str:
        name = posixpath.normpath(name).lstrip("/")
        for _ in range(_LINKS):
            if name not in self._links:
                return name
            name = self._links[name]
        raise errors.Damaged(f"image archive: too many links at {name}", name=name)

    def has(self, name: str) -> bool:
        """Whether there is a file of this name."""
        name = self._resolve(name)
        return name in self._small or name in self._large

    def document(self, name: str) -> bytes:
        """A small file. Raises Damaged when it is missing or too large to be a document."""
        name = self._resolve(name)
        if name in self._small:
            return self._small[name]
        if name in self._large:
            return self.store.read(self._large[name])
        raise errors.Damaged(f"image archive: {name} is missing", name=name)

    def blob(self, name: str) -> digest.Digest:
        """A file as a blob of the content store. Raises Damaged when it is missing, or when it stands under
        blobs/ALGORITHM/ with a name that is not its digest."""
        name = self._resolve(name)
        if name in self._small:
            found = digest.of(self._small[name])
            self._keep(found, self._small[name])
        elif name in self._large:
            found = self._large[name]
        else:
            raise errors.Damaged(f"image archive: {name} is missing", name=name)
        if name.startswith("blobs/sha256/") and name != f"blobs/sha256/{found.hex}":
            raise errors.Damaged(f"image archive: {name} has the digest {found}", name=name)
        return found

    def by_digest(self, wanted: digest.Digest) -> digest.Digest:
        """The blob with this digest, from the archive or already here. Raises Damaged when it is nowhere."""
        if wanted in self._by_digest:
            return self.blob(self._by_digest[wanted])
        if self.store.has(self.expect(wanted)):
            return wanted
        name = f"blobs/{wanted.algorithm}/{wanted.hex}"
        if wanted.algorithm != "sha256" and self.has(name):
            raise errors.Unsupported(f"image archive: {name}: only sha256 blobs can be loaded yet", name=name)
        raise errors.Damaged(f"image archive: blob {wanted} is missing", name=wanted)

    def read(self, wanted: digest.Digest) -> bytes:
        """The document with this digest. Raises Damaged."""
        name = self._by_digest.get(wanted)
        if name is not None:
            return self.document(name)
        return self.store.read(self.by_digest(wanted))

    def put(self, data: bytes) -> digest.Digest:
        """Something we made ourselves (a manifest) as a blob beside the archive's."""
        found = digest.of(data)
        self._keep(found, data)
        return found

    def expect(self, found: digest.Digest) -> digest.Digest:
        """Hold a blob that is about to be put into the content store, or is there; to be called before it is."""
        self._catalog.hold([found])
        self._held.append(found)
        if not self.store.has(found):
            self.blobs.add(found)
        return found

    def release(self) -> None:
        """Hold nothing any more."""
        self._catalog.release(self._held)
        self._held = []

    def _keep(self, found: digest.Digest, data: bytes) -> None:
        self.expect(found)
        self.store.put(data)


def _zeros(ingest: content.Ingest, count: int) -> None:
    while count > 0:
        piece = min(count, SMALL)
        ingest.write(bytes(piece))
        count -= piece
