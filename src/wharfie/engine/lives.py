"""The table of Live beside the records: find one by id, prefix or name."""

from __future__ import annotations

from .live import Live
from .model import Container
from .records import Records


class Lives:
    """One Live per record."""

    def __init__(self, records: Records) -> None:
        self._records = records
        self._by_id: dict[str, Live] = {}

    def add(self, record: Container) -> Live:
        live = self._by_id[record.id] = Live(record)
        return live

    def find(self, ref: str) -> Live:
        """Raises NotFound, Invalid."""
        return self._by_id[self._records.find(ref).id]

    def record(self, ref: str) -> Container:
        """Raises NotFound, Invalid."""
        return self._records.find(ref)

    def forget(self, live: Live) -> None:
        self._by_id.pop(live.id, None)

    def all(self) -> list[Live]:
        return list(self._by_id.values())

    def users_of(self, volume: str) -> list[str]:
        """The ids of containers that have a volume."""
        return [x.id for x in self._by_id.values() if any(m.name == volume for m in x.record.mounts)]
