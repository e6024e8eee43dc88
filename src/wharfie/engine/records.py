"""All containers: in memory, and behind it one row each in the state database."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec

from wharfie.base import errors, ids
from wharfie.storage import database

from .model import Container

_encode = msgspec.json.Encoder().encode
_decoder = msgspec.json.Decoder(Container)
_MIN_PREFIX = 1
_SOON = 0.003
_AGAIN = 10.0
_UPDATE = "UPDATE containers SET name = ?, record = ? WHERE id = ?"


class Records:
    """Finds containers by id, unique id prefix or name. Names are taken in memory first, so that two creates at once
    cannot both pass."""

    def __init__(self, store: database.Database, log: Callable[[str], None] = lambda line: None) -> None:
        self._database = store
        self._log = log
        self._unsaved: dict[str, Container] = {}
        self._flushing: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._by_id: dict[str, Container] = {}
        self._names: dict[str, str] = {}

    def load(self) -> list[Container]:
        """Read everything, once, at start. A record that cannot be read raises Damaged naming the container."""
        for identifier, name, blob in self._database.read("SELECT id, name, record FROM containers"):
            try:
                record = _decoder.decode(blob)
            except msgspec.DecodeError as error:
                raise errors.Damaged(f"the record of container {identifier} cannot be read: {error}") from error
            self._by_id[identifier] = record
            self._names[name] = identifier
        return list(self._by_id.values())

    def __len__(self) -> int:
        return len(self._by_id)

    def all(self) -> list[Container]:
        return list(self._by_id.values())

    def has(self, identifier: str) -> bool:
        return identifier in self._by_id

    def has_name(self, name: str) -> bool:
        return name in self._names

    def find(self, ref: str) -> Container:
        """Raises NotFound; Invalid when a prefix fits more than one."""
        found = self._by_id.get(ref) or self._by_id.get(self._names.get(ref.removeprefix("/"), ""))
        if found is not None:
            return found
        if _MIN_PREFIX <= len(ref) < 64 and ids.is_hex(ref):
            fitting = [c for i, c in self._by_id.items() if i.startswith(ref)]
            if len(fitting) == 1:
                return fitting[0]
            if fitting:
                raise errors.Invalid(f"Multiple IDs found with provided prefix: {ref}", name=ref)
        raise errors.NotFound(f"No such container: {ref}", name=ref)

    def take_name(self, name: str, identifier: str) -> None:
        """Reserve `name` for a container. Raises Conflict with Docker's words."""
        holder = self._names.get(name)
        if holder is not None and holder != identifier:
            raise errors.Conflict(
                f'Conflict. The container name "/{name}" is already in use by container "{holder}". You have to remove '
                "(or rename) that container to be able to reuse that name.", name=name,
            )
        self._names[name] = identifier

    def free_name(self, name: str, identifier: str) -> None:
        """Give a reserved name back; idempotent."""
        if self._names.get(name) == identifier:
            del self._names[name]

    async def add(self, record: Container) -> None:
        """Make a new record durable, then visible."""
        await self._database.write(
            "INSERT INTO containers (id, name, record) VALUES (?, ?, ?)", (record.id, record.name, _encode(record)),
            durable=True,
        )
        self._by_id[record.id] = record

    async def save(self, record: Container, *, durable: bool = False) -> None:
        """Write a changed record. Nothing happens for one that has been removed meanwhile."""
        if record.id in self._by_id:
            await self._database.write(_UPDATE, (record.name, _encode(record), record.id), durable=durable)

    async def note(self, record: Container) -> None:
        """`save` for what has happened or must happen all the same: a full disk must not keep anybody from ending a
        container, which may be what fills it. Kept, and written when there is room."""
        try:
            await self.save(record)
        except errors.WharfieError as error:
            self._log(f"container {record.id} could not be recorded: {error}")
            self._unsaved[record.id] = record
            self._flush_in(_AGAIN)

    def save_soon(self, record: Container) -> None:
        """`save` a moment later, together with others: for changes that the run directory can tell again after a crash.
        Whoever removes that directory awaits `flush` first."""
        self._unsaved[record.id] = record
        self._flush_in(_SOON)

    def _flush_in(self, seconds: float) -> None:
        if self._flushing is None:
            self._flushing = asyncio.get_running_loop().call_later(seconds, self._start_flush)

    async def flush(self) -> None:
        """Write what `save_soon` was told. A record is encoded when it is handed over, so a later write always has
        the later state."""
        unsaved, self._unsaved = self._unsaved, {}
        rows: list[database.Statement] = [
            (_UPDATE, (r.name, _encode(r), r.id)) for r in unsaved.values() if r.id in self._by_id
        ]
        if rows:
            try:
                await self._database.write_many(rows)
            except BaseException:
                self._unsaved = unsaved | self._unsaved  # a full disk may have room again at the next flush
                raise

    def _start_flush(self) -> None:
        self._flushing = None
        task = asyncio.get_running_loop().create_task(self.flush())
        self._tasks.add(task)
        task.add_done_callback(self._flushed)

    def _flushed(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._log(f"records could not be written: {error}")
            self._flush_in(_AGAIN)

    async def delete(self, record: Container) -> None:
        """Forget a container, durably."""
        await self._database.write("DELETE FROM containers WHERE id = ?", (record.id,), durable=True)
        self._by_id.pop(record.id, None)
        self.free_name(record.name, record.id)
