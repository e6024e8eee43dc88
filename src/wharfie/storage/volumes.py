"""Local volumes: a directory, a record, and Docker's copy-up of what the image has at the place."""

from __future__ import annotations

import json
import os
import stat
import threading
from collections.abc import Mapping, Sequence

from wharfie.archive import pack, reader, streams, unpack
from wharfie.base import errors, ids, when
from wharfie.base.value import Value
from wharfie.kernel import overlay, walk

from .database import Database
from .snapshots import outside
from .store import Store

ANONYMOUS = "com.docker.volume.anonymous"


class Volume(Value):
    """A volume. created: ns since 1970. path: what is mounted into containers."""

    name: str
    driver: str
    path: str
    created: int
    labels: tuple[tuple[str, str], ...] = ()
    options: tuple[tuple[str, str], ...] = ()

    @property
    def anonymous(self) -> bool:
        """Whether it was made without a name, so that `rm -v` takes it along."""
        return any(key == ANONYMOUS for key, _ in self.labels)


class Volumes:
    """The volumes of one data root. All synchronous; safe for any number of threads."""

    def __init__(self, store: Store, database: Database) -> None:
        self._root = store.root
        self._database = database
        self._lock = threading.Lock()

    def create(self, name: str = "", driver: str = "local", labels: Mapping[str, str] | None = None,
               options: Mapping[str, str] | None = None) -> Volume:
        """The volume `name`, made when it is not there; "" makes an anonymous one. Idempotent, as Docker's is. Raises
        Invalid (name), NotFound (driver), Conflict (same name, other driver), Unsupported (options)."""
        labels = dict(labels or {})
        if not name:
            name = ids.new()
            labels.setdefault(ANONYMOUS, "")
        _check(name, driver, options or {})
        with self._lock:
            found = self._find(name)
            if found is not None:
                return found
            volume = Volume(name, "local", self._root.volume(name), when.now(), tuple(labels.items()),
                            tuple((options or {}).items()))
            os.makedirs(os.path.dirname(volume.path), mode=0o701, exist_ok=True)
            os.makedirs(volume.path, mode=0o755, exist_ok=True)
            record = json.dumps({"driver": "local", "created": volume.created, "labels": labels,
                                 "options": dict(options or {})})
            try:
                self._database.write_now("INSERT INTO volumes (name, record) VALUES (?, ?)", (name, record.encode()),
                                         durable=True)
            except errors.WharfieError:
                self._remove_tree(name)
                raise
            return volume

    def ensure(self, name: str) -> Volume:
        """The volume `name`, made on use."""
        return self.create(name)

    def get(self, name: str) -> Volume:
        """Raises NotFound with Docker's words."""
        found = self._find(name)
        if found is None:
            raise errors.NotFound(f"get {name}: no such volume", name=name)
        return found

    def has(self, name: str) -> bool:
        return self._find(name) is not None

    def list(self) -> list[Volume]:
        """All volumes by name."""
        rows = self._database.read("SELECT name, record FROM volumes ORDER BY name")
        return [self._volume(name, record) for name, record in rows]

    def path(self, name: str) -> str:
        """The directory of a volume. Raises NotFound."""
        return self.get(name).path

    def remove(self, name: str, users: Sequence[str] = (), *, force: bool = False) -> None:
        """Remove a volume and what is in it. `users` are the ids of containers that have it. Raises Conflict while it
        is used, NotFound unless `force`."""
        with self._lock:
            if self._find(name) is None:
                if force:
                    return
                raise errors.NotFound(f"get {name}: no such volume", name=name)
            if users:
                raise errors.Conflict(f"remove {name}: volume is in use - [{', '.join(users)}]", name=name)
            self._database.write_now("DELETE FROM volumes WHERE name = ?", (name,), durable=True)
            self._remove_tree(name)

    def _remove_tree(self, name: str) -> None:
        fd = os.open(self._root.volumes, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            walk.remove_tree(fd, name)
        finally:
            os.close(fd)

    def copy_up(self, volume: Volume, rootfs: overlay.Rootfs, path: str) -> bool:
        """Fill an empty volume with what the image has at `path`, with owners, modes and times, and give the volume's
        own directory the owner and mode of that directory. Whether anything was done: a volume that holds something
        is left alone, as is one for a path that is no directory in the image. `path` is resolved inside the image and
        nowhere else."""
        target = os.open(volume.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            if os.listdir(target):
                return False
            image = overlay.mount(rootfs.replace(upper="", work="", idmap=None, readonly=True))
            try:
                source = walk.open_in_root(image, path, os.O_RDONLY | os.O_DIRECTORY)
            except (FileNotFoundError, NotADirectoryError):
                return False
            finally:
                os.close(image)
            try:
                _copy(source, target, rootfs.idmap)
            finally:
                os.close(source)
        finally:
            os.close(target)
        return True

    def _find(self, name: str) -> Volume | None:
        rows = self._database.read("SELECT name, record FROM volumes WHERE name = ?", (name,))
        return self._volume(*rows[0]) if rows else None

    def _volume(self, name: str, record: bytes) -> Volume:
        d = json.loads(record)
        return Volume(name, d["driver"], self._root.volume(name), d["created"], tuple(d["labels"].items()),
                      tuple(d["options"].items()))


def _copy(source: int, target: int, idmap: overlay.IdMap | None) -> None:
    """The whole tree through one tar stream: one code path for links, devices, attributes and times."""

    def owner(uid: int, gid: int) -> tuple[int, int]:
        return (outside(idmap.uids, uid), outside(idmap.gids, gid)) if idmap else (uid, gid)

    stream = streams.Pieces(pack.pack(source))
    try:
        unpack.extract(reader.read(stream), target, owner=owner)
    except BaseException:
        for name in os.listdir(target):
            walk.remove_tree(target, name)
        raise
    found = os.fstat(source)
    os.fchmod(target, stat.S_IMODE(found.st_mode))


def _check(name: str, driver: str, options: Mapping[str, str]) -> None:
    if driver not in ("", "local"):
        raise errors.NotFound(f'error looking up volume plugin {driver}: plugin "{driver}" not found', name=driver,
                              action="only the driver local is known")
    if options:
        raise errors.Unsupported(f"volume option {min(options)!r} of the local driver is not supported yet",
                                 name=min(options))
    try:
        ids.check_name(name, "volume")
    except errors.Invalid as error:
        if len(name) < 2:
            raise errors.Invalid("volume name is too short, names should be at least two alphanumeric characters",
                                 name=name) from error
        raise errors.Invalid(
            f'create {name}: "{name}" includes invalid characters for a local volume name, only'
            ' "[a-zA-Z0-9][a-zA-Z0-9_.-]" are allowed. If you intended to pass a host directory, use absolute path',
            name=name) from error
