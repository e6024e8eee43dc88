"""What a shim leaves in its run directory: the lock that proves its life, init.json, exit.json, exec/<id>.json.

All by rename; durable=False, since the run root is a tmpfs and a power cut ends the container too.
"""

from __future__ import annotations

import fcntl
import json
import os

from wharfie.base import atomic

from .wire import Exit, Launch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from wharfie.base import paths

# Nobody saw the end of the process; Docker's own number for it.
UNKNOWN_CODE = 255


def lock(directory: paths.RunDirectory) -> int:
    """Hold the directory's lock: its fd. Raises BlockingIOError when somebody else holds it."""
    fd = os.open(directory.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(fd)
        raise
    return fd


def write_init(directory: paths.RunDirectory, pid: int, start_time: int) -> None:
    """Who init is: pid and start time name a process for good."""
    _write(directory.init, {"pid": pid, "start_time": start_time})


def write_exit(directory: paths.RunDirectory, exit: Exit) -> None:
    """The exit record. Before anybody is told."""
    _write(directory.exit, exit.asdict())


def write_exec(directory: paths.RunDirectory, identifier: str, exit: Exit) -> None:
    """The exit record of an exec, with its whole id inside."""
    os.makedirs(directory.execs, 0o700, exist_ok=True)
    _write(directory.exec_record(identifier), {"id": identifier, **exit.asdict()})


def read(path: str) -> dict[str, Any] | None:
    """A record, None when there is none (or it is not one)."""
    try:
        with open(path, "rb") as f:
            data = json.loads(f.read())
    except (FileNotFoundError, ValueError):
        return None
    return data if isinstance(data, dict) else None


def read_launch(directory: paths.RunDirectory) -> Launch | None:
    """What the engine asked for, None when it is not there. Raises Invalid."""
    data = read(directory.launch)
    return None if data is None else Launch.from_dict(data)


def _write(path: str, data: dict[str, Any]) -> None:
    atomic.write(path, json.dumps(data).encode(), durable=False)
