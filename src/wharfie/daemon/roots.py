"""The daemon's claim on its roots: one lock each, held by an open fd as long as the process lives."""

from __future__ import annotations

import fcntl
import json
import os
import select
import signal
import time

from wharfie.base import errors

_TAKE_OVER_SECONDS = 15.0


class Claim:
    """A held lock. The file says who holds it."""

    def __init__(self, fd: int, path: str) -> None:
        self.fd = fd
        self.path = path

    def release(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


def claim(path: str, what: str, *, private: bool) -> Claim:
    """Hold the lock at `path`, or raise Conflict naming who does. A private engine (one that a `wharfie run` started)
    gives way to a real one: it is asked to leave; its containers do not notice."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        if not _try(fd):
            holder, is_private = _holder(fd)
            if private or not is_private or not _take_over(fd, holder):
                raise errors.Conflict(
                    f"{what} is in use by a wharfie daemon (pid {holder or 'unknown'})",
                    action="stop that daemon, or choose other roots with --data-root and --exec-root",
                )
        os.ftruncate(fd, 0)
        os.pwrite(fd, json.dumps({"pid": os.getpid(), "private": private}).encode(), 0)
    except BaseException:
        os.close(fd)
        raise
    return Claim(fd, path)


def _try(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _holder(fd: int) -> tuple[int, bool]:
    try:
        found = json.loads(os.pread(fd, 4096, 0))
        return int(found["pid"]), bool(found.get("private"))
    except (ValueError, KeyError, TypeError):
        return 0, False


def _take_over(fd: int, pid: int) -> bool:
    """Ask the private engine `pid` to leave. By pidfd, and only while the lock still is its: a pid alone proves
    nothing."""
    if pid <= 1:
        return False
    try:
        pidfd = os.pidfd_open(pid)
    except OSError:
        return _try(fd)
    try:
        if _try(fd):
            return True
        if _holder(fd)[0] == pid:
            signal.pidfd_send_signal(pidfd, signal.SIGTERM)
        poll = select.poll()
        poll.register(pidfd, select.POLLIN)
        poll.poll(_TAKE_OVER_SECONDS * 1000)
    finally:
        os.close(pidfd)
    end = time.monotonic() + 1
    while not _try(fd):
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True
