"""The state database: SQLite in WAL mode, read from any thread, written by one thread that commits in groups.

Whatever waits when the writer comes round goes into one transaction, each request under its own savepoint, so that
one that breaks a constraint fails alone. A group is synced (FULL) when any of its requests asks for durability;
otherwise it is in the WAL unsynced (NORMAL): a crash of the process loses nothing, a power cut the last moments.
A FULL commit makes everything before it durable too.
"""

from __future__ import annotations

import asyncio
import queue
import sqlite3
import threading
from collections.abc import Iterable, Sequence
from concurrent.futures import Future
from typing import Any

from wharfie.base import errors

from . import schema

Statement = tuple[str, Sequence[Any]]
_GROUP = 512


class _Request:
    """Statements that succeed or fail together, and who waits for them."""

    __slots__ = ("done", "durable", "statements")

    def __init__(self, statements: list[Statement], durable: bool) -> None:
        self.statements = statements
        self.durable = durable
        self.done: Future[None] = Future()


class Database:
    """Opens (and migrates) the database at `path`. Errors: Conflict for a broken UNIQUE constraint, Exhausted for a
    full disk, Damaged for a file that is no database, Unavailable for everything else that SQLite reports."""

    def __init__(self, path: str) -> None:
        self.path = path
        try:
            self._reader = _connect(path)
            schema.migrate(self._reader)
            self._writer = _connect(path)
        except sqlite3.Error as error:
            raise translate(error) from error
        self._reading = threading.Lock()
        self._queue: queue.SimpleQueue[_Request | None] = queue.SimpleQueue()
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="database-writer", daemon=True)
        self._thread.start()

    def read(self, sql: str, args: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """All rows of a query, as committed last. Callable from any thread; takes microseconds, so also from a loop."""
        try:
            with self._reading:
                return self._reader.execute(sql, args).fetchall()
        except sqlite3.Error as error:
            raise translate(error) from error

    async def write(self, sql: str, args: Sequence[Any] = (), *, durable: bool = False) -> None:
        """Run one statement; returns when its group is committed."""
        await self.write_many([(sql, args)], durable=durable)

    async def write_many(self, statements: Iterable[Statement], *, durable: bool = False) -> None:
        """Run several statements that succeed or fail together."""
        # Shielded by nature: cancelling the waiter does not cancel what is already queued.
        await asyncio.wrap_future(self._submit(list(statements), durable))

    def write_now(self, sql: str, args: Sequence[Any] = (), *, durable: bool = False) -> None:
        """`write` for worker threads. Blocks until the group is committed."""
        self.write_many_now([(sql, args)], durable=durable)

    def write_many_now(self, statements: Iterable[Statement], *, durable: bool = False) -> None:
        """`write_many` for worker threads."""
        self._submit(list(statements), durable).result()

    def close(self) -> None:
        """Commit what is queued, end the writer, close the file. Idempotent."""
        if self._closed:
            return
        self._closed = True
        self._queue.put(None)
        self._thread.join()
        self._writer.close()
        with self._reading:
            self._reader.close()

    def _submit(self, statements: list[Statement], durable: bool) -> Future[None]:
        if self._closed:
            raise errors.Unavailable("the state database is closed")
        request = _Request(statements, durable)
        self._queue.put(request)
        return request.done

    def _work(self) -> None:
        while True:
            first = self._queue.get()
            if first is None:
                return
            group, last = [first], False
            while len(group) < _GROUP:
                try:
                    more = self._queue.get_nowait()
                except queue.Empty:
                    break
                if more is None:
                    last = True
                    break
                group.append(more)
            self._commit(group)
            if last:
                return

    def _commit(self, group: list[_Request]) -> None:
        outcomes: list[BaseException | None] = []
        try:
            level = "FULL" if any(r.durable for r in group) else "NORMAL"
            self._writer.execute(f"PRAGMA synchronous = {level}")
            self._writer.execute("BEGIN IMMEDIATE")
            outcomes = [self._run(r) for r in group]
            self._writer.execute("COMMIT")
        except Exception as error:
            if self._writer.in_transaction:
                self._writer.execute("ROLLBACK")
            outcomes = [translate(error)] * len(group)
        for request, outcome in zip(group, outcomes, strict=True):
            if not request.done.set_running_or_notify_cancel():
                continue
            if outcome is None:
                request.done.set_result(None)
            else:
                request.done.set_exception(outcome)

    def _run(self, request: _Request) -> errors.WharfieError | None:
        """Perform one request inside the group's transaction. A full disk ends the whole group: SQLite has rolled
        the transaction back by itself then."""
        self._writer.execute("SAVEPOINT request")
        try:
            for sql, args in request.statements:
                self._writer.execute(sql, args)
        except Exception as error:
            if not self._writer.in_transaction:
                raise
            self._writer.execute("ROLLBACK TO request")
            self._writer.execute("RELEASE request")
            return translate(error)
        self._writer.execute("RELEASE request")
        return None


def _connect(path: str) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=10)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")
    return connection


def translate(error: Exception) -> errors.WharfieError:
    """SQLite's errors as meanings."""
    text = f"state database: {error}"
    made: errors.WharfieError
    if isinstance(error, sqlite3.IntegrityError):
        made = errors.Conflict(text)
    elif getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_FULL:
        made = errors.Exhausted(text, action="make room on the disk of the data root")
    elif getattr(error, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        made = errors.Damaged(text)
    else:
        made = errors.Unavailable(text)
    made.__cause__ = error
    return made
