"""The state database: grouped commits, requests that fail alone, migrations."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from wharfie.base import errors
from wharfie.storage import schema
from wharfie.storage.database import Database

INSERT = "INSERT INTO containers (id, name, record) VALUES (?, ?, ?)"


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    made = Database(str(tmp_path / "state.db"))
    yield made
    made.close()


def test_one_broken_request_of_a_group_fails_alone(database: Database) -> None:
    async def run() -> list[BaseException | None]:
        jobs = [database.write(INSERT, (str(i), str(i % 9), b""), durable=i % 2 == 0) for i in range(10)]
        return await asyncio.gather(*jobs, return_exceptions=True)

    outcomes = asyncio.run(run())
    assert [i for i, o in enumerate(outcomes) if o] == [9]
    assert isinstance(outcomes[9], errors.Conflict)
    assert isinstance(outcomes[9].__cause__, sqlite3.IntegrityError)
    assert database.read("SELECT count(*) FROM containers") == [(9,)]


def test_several_statements_succeed_or_fail_together(database: Database) -> None:
    with pytest.raises(errors.Conflict):
        database.write_many_now([(INSERT, ("a", "a", b"")), (INSERT, ("b", "a", b""))])
    assert database.read("SELECT * FROM containers") == []


def test_writers_in_many_threads(database: Database) -> None:
    def work(n: int) -> None:
        for i in range(20):
            database.write_now(INSERT, (f"{n}-{i}", f"{n}-{i}", b"x"))
            assert database.read("SELECT record FROM containers WHERE id = ?", (f"{n}-{i}",)) == [(b"x",)]

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert database.read("SELECT count(*) FROM containers") == [(160,)]


def test_a_bad_statement_is_an_error_and_nothing_more(database: Database) -> None:
    for bad in ("nonsense", "INSERT INTO nowhere VALUES (1)", "INSERT INTO tags VALUES (?)"):
        with pytest.raises(errors.WharfieError):
            database.write_now(bad)
        with pytest.raises(errors.WharfieError):
            database.read(bad)
    database.write_now(INSERT, ("a", "a", b""))


def test_closing_commits_what_is_queued(tmp_path: Path) -> None:
    database = Database(str(tmp_path / "db"))
    futures = [database._submit([(INSERT, (str(i), str(i), b""))], False) for i in range(100)]
    database.close()
    database.close()
    assert all(f.done() for f in futures)
    again = Database(str(tmp_path / "db"))
    assert again.read("SELECT count(*) FROM containers") == [(100,)]
    again.close()
    with pytest.raises(errors.Unavailable):
        again.write_now("SELECT 1")


def test_a_newer_database_is_refused(tmp_path: Path) -> None:
    path = str(tmp_path / "db")
    Database(path).close()
    with sqlite3.connect(path) as raw:
        raw.execute(f"PRAGMA user_version = {len(schema.MIGRATIONS) + 1}")
    raw.close()
    with pytest.raises(errors.Unsupported, match="version"):
        Database(path)


def test_a_file_that_is_no_database_is_damaged(tmp_path: Path) -> None:
    (tmp_path / "db").write_bytes(b"hello" * 1000)
    with pytest.raises(errors.Damaged):
        Database(str(tmp_path / "db"))
