"""The tables of state.db, as numbered steps. A step once released is never edited; a new one is appended.

`PRAGMA user_version` is the number of steps done. A database from a newer version is refused: an older engine would
not know what it breaks.
"""

from __future__ import annotations

import sqlite3

from wharfie.base import errors

MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        # One row per container; the record is the engine's own JSON.
        "CREATE TABLE containers (id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, record BLOB NOT NULL) STRICT",
        # reference: normalised text of oci.reference; target: an image id; updated: ns since 1970
        "CREATE TABLE tags (reference TEXT PRIMARY KEY, target TEXT NOT NULL, updated INTEGER NOT NULL) STRICT",
        "CREATE INDEX tags_target ON tags (target)",
        # digest: the image id, that is the digest of its config; size: bytes of its layers unpacked
        "CREATE TABLE images (digest TEXT PRIMARY KEY, manifest TEXT NOT NULL, parent TEXT NOT NULL DEFAULT '',"
        " size INTEGER NOT NULL DEFAULT 0, added INTEGER NOT NULL) STRICT",
        "CREATE TABLE volumes (name TEXT PRIMARY KEY, record BLOB NOT NULL) STRICT",
        "CREATE TABLE networks (id TEXT PRIMARY KEY, name TEXT NOT NULL, record BLOB NOT NULL) STRICT",
        "CREATE INDEX networks_name ON networks (name)",
        "CREATE TABLE events (seq INTEGER PRIMARY KEY AUTOINCREMENT, at INTEGER NOT NULL, record BLOB NOT NULL) STRICT",
        "CREATE INDEX events_at ON events (at)",
    ),
)


def migrate(connection: sqlite3.Connection) -> None:
    """Bring the tables to the newest version, one transaction per step. Raises Unsupported for a newer database."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > len(MIGRATIONS):
        raise errors.Unsupported(
            f"the state database has version {version}, this wharfie knows versions up to {len(MIGRATIONS)}",
            action="use the newer wharfie that wrote it",
        )
    for number, statements in enumerate(MIGRATIONS[version:], start=version + 1):
        connection.execute("BEGIN IMMEDIATE")
        try:
            for statement in statements:
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {number}")
            connection.execute("COMMIT")
        except BaseException:
            connection.execute("ROLLBACK")
            raise
