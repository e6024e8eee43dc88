"""What happened, for those who follow and for those who ask later.

The newest thousand are in memory; all of them go to the state database in groups, since an event is worth less than
the latency of whoever caused it: a crash may lose the last moments of history, never a notification.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping

import msgspec

from wharfie.base import when
from wharfie.storage import database

from .model import Event

_HELD = 1024
_KEPT_ROWS = 20_000
_FLUSH_AFTER = 0.2
_QUEUE = 10_000
_encode = msgspec.json.Encoder().encode
_decoder = msgspec.json.Decoder(Event)


class Events:
    """Publishes, remembers, and lets others follow. Used from the event loop only."""

    def __init__(self, store: database.Database) -> None:
        self._database = store
        self._held: deque[Event] = deque(maxlen=_HELD)
        self._followers: set[Follower] = set()
        self._unwritten: list[Event] = []
        self._timer: asyncio.TimerHandle | None = None
        self._writing: set[asyncio.Task[None]] = set()

    def load(self) -> None:
        """Bring back the newest events of former lives of this engine."""
        rows = self._database.read("SELECT record FROM events ORDER BY seq DESC LIMIT ?", (_HELD,))
        for (blob,) in reversed(rows):
            try:
                self._held.append(_decoder.decode(blob))
            except msgspec.DecodeError:
                continue  # written by another version: history, not state

    def publish(self, kind: str, action: str, actor_id: str, attributes: Mapping[str, str]) -> Event:
        """Say that `action` happened to `actor_id`; kind is container, image, volume, network or daemon."""
        now = when.now()
        if self._held and now <= self._held[-1].time:
            now = self._held[-1].time + 1  # `since` must be able to tell any two apart
        event = Event(type=kind, action=action, actor_id=actor_id, attributes=dict(attributes), time=now)
        self._held.append(event)
        for follower in list(self._followers):
            follower.offer(event)
        self._unwritten.append(event)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_FLUSH_AFTER, self._start_flush)
        return event

    def subscribe(
        self, *, since: int = 0, until: int = 0, filters: Mapping[str, list[str]] | None = None
    ) -> Follower:
        """Events from `since` (ns; 0: from now on) to `until` (ns; 0: for ever). Subscribed when this call returns.
        Filters as Docker's: type, event, container, image, volume, network, label, scope, daemon; words of one filter
        are alternatives, different filters must all fit. A follower that does not read loses its oldest events."""
        chosen = dict(filters or {})
        past = [e for e in self._held if since and e.time >= since and (not until or e.time <= until)]
        follower = Follower(self, until, chosen)
        for event in past:
            follower.offer(event)
        if not until or until > when.now():
            self._followers.add(follower)
        else:
            follower.end()
        return follower

    def leave(self, follower: Follower) -> None:
        self._followers.discard(follower)

    async def flush(self) -> None:
        """Write what is not written yet."""
        rows, self._unwritten = self._unwritten, []
        if rows:
            statements: list[database.Statement] = [
                ("INSERT INTO events (at, record) VALUES (?, ?)", (e.time, _encode(e))) for e in rows
            ]
            statements.append((
                "DELETE FROM events WHERE seq <= (SELECT max(seq) FROM events) - ?", (_KEPT_ROWS,)
            ))
            await self._database.write_many(statements)

    def _start_flush(self) -> None:
        self._timer = None
        task = asyncio.get_running_loop().create_task(self.flush())
        self._writing.add(task)
        task.add_done_callback(self._flushed)

    def _flushed(self, task: asyncio.Task[None]) -> None:
        self._writing.discard(task)
        if not task.cancelled():
            task.exception()  # history lost to a broken database is told by every other write


class Follower:
    """One reader of events."""

    def __init__(self, events: Events, until: int, filters: dict[str, list[str]]) -> None:
        self._events = events
        self._until = until
        self._filters = filters
        self._queue: deque[Event | None] = deque(maxlen=_QUEUE)
        self._wake = asyncio.Event()

    def offer(self, event: Event) -> None:
        if fits(event, self._filters):
            self._queue.append(event)
            self._wake.set()

    def end(self) -> None:
        self._queue.append(None)
        self._wake.set()

    def leave(self) -> None:
        """No more events. Needed of one that was never asked for its first, too. Idempotent."""
        self._events.leave(self)

    async def aclose(self) -> None:
        """`leave`, as closers of iterators call it."""
        self.leave()

    def __aiter__(self) -> Follower:
        return self

    async def __anext__(self) -> Event:
        event = await self._next()
        if event is None or (self._until and event.time > self._until):
            self.leave()
            raise StopAsyncIteration
        return event

    async def _next(self) -> Event | None:
        """None at the end of the time."""
        while not self._queue:
            self._wake.clear()
            left = (self._until - when.now()) / 1e9 if self._until else None
            if left is not None and left <= 0:
                return None
            try:
                await asyncio.wait_for(self._wake.wait(), left)
            except TimeoutError:
                return None
        return self._queue.popleft()


def fits(event: Event, filters: Mapping[str, list[str]]) -> bool:
    """Whether an event passes Docker's filters: pure."""
    return all(_fits_one(event, key, words) for key, words in filters.items() if words)


def _fits_one(event: Event, key: str, words: list[str]) -> bool:
    if key == "type":
        return event.type in words
    if key == "event":
        # "exec_start: sh -c x" is found as exec_start too
        return any(event.action == w or event.action.partition(":")[0] == w for w in words)
    if key == "scope":
        return "local" in words
    if key == "label":
        return all(_has_label(event.attributes, w) for w in words)
    if key == "image":
        return any(_is_named(event, w, "image") for w in words)
    if key in ("container", "volume", "network", "daemon"):
        return any(_is_named(event, w, key) for w in words)
    return False


def _has_label(attributes: Mapping[str, str], word: str) -> bool:
    key, sign, value = word.partition("=")
    return key in attributes and (not sign or attributes[key] == value)


def _is_named(event: Event, word: str, kind: str) -> bool:
    attributes = event.attributes
    if kind == "image":
        names = (event.actor_id if event.type == "image" else "", attributes.get("image", ""),
                 attributes.get("name", "") if event.type == "image" else "")
        return any(n and (n == word or n.partition(":")[0] == word) for n in names)
    if event.type != kind:
        return kind == "container" and event.type == "network" and attributes.get("container") == word
    return event.actor_id == word or attributes.get("name") == word or (
        len(word) >= 4 and event.actor_id.startswith(word))
