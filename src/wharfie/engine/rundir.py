"""Run directories, from the engine's side: made before a shim is forked, read after it has died, removed last."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
from typing import Any

import msgspec

from wharfie.base import atomic, paths
from wharfie.shim import wire

_encode = msgspec.json.Encoder().encode


def make(directory: paths.RunDirectory) -> None:
    """A fresh, empty directory; what an earlier start left is removed. Only call it when no shim lives there."""
    remove(directory)
    os.makedirs(os.path.dirname(directory.root), 0o700, exist_ok=True)
    os.mkdir(directory.root, 0o700)


def remove(directory: paths.RunDirectory) -> None:
    """Remove the directory with all in it; gone is fine. Nobody but this engine and its shims can write there."""
    try:
        for name in os.listdir(directory.root):
            os.unlink(f"{directory.root}/{name}")
        os.rmdir(directory.root)
    except FileNotFoundError:
        pass
    except OSError:
        shutil.rmtree(directory.root, ignore_errors=True)  # there were execs: they have a directory


def write_launch(directory: paths.RunDirectory, launch: wire.Launch, network: dict[str, Any] | None = None) -> None:
    """launch.json; `network` is the engine's own note beside it, which shims pass over."""
    atomic.write(directory.launch, _encode({**launch.asdict(), "network": network}), durable=False)


def write_spec(directory: paths.RunDirectory, spec: dict[str, Any]) -> None:
    atomic.write(directory.config, _encode(spec), durable=False)


def read(path: str) -> dict[str, Any] | None:
    """A JSON object from a file, None when there is none (or only half of one)."""
    try:
        with open(path, "rb") as file:
            found = json.load(file)
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def read_exit(directory: paths.RunDirectory) -> wire.Exit | None:
    """The exit record, when the shim or the undertaker has written one."""
    found = read(directory.exit)
    try:
        return wire.Exit.from_dict(found) if found is not None else None
    except TypeError:
        return None


def is_free(directory: paths.RunDirectory) -> bool:
    """Whether no shim holds the lock: the kernel drops it with its holder, so this is the proof of death."""
    try:
        fd = os.open(directory.lock, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return True
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            return False
        raise
    finally:
        os.close(fd)
    return True


def names(run: paths.RunRoot) -> list[str]:
    """The short ids of all run directories."""
    try:
        return sorted(os.listdir(run.containers))
    except FileNotFoundError:
        return []
