"""Error meanings → HTTP statuses, the one table; and what an error looks like on the wire."""

from __future__ import annotations

import errno

from wharfie.base import errors
from wharfie.web import request, response

STATUS: dict[str, int] = {
    "invalid": 400,
    "not-executable": 400,
    "no-command": 400,
    "denied": 403,
    "not-found": 404,
    "conflict": 409,
    "unchanged": 304,
    "unsupported": 501,
    "unavailable": 503,
    "exhausted": 500,
    "damaged": 500,
    "internal": 500,
}

# What the kernel says of the request's own words, not of the host.
_LONGEST = 4096
HOST_STATUS = {errno.ENAMETOOLONG: 400}

# The CLI makes its exit codes 127 and 126 out of these words of the message (docker/cli, container/run.go).
_WORDS = {
    "no-command": ("executable file not found in $PATH", ("executable file not found", "no such file or directory")),
    "not-executable": ("permission denied", ("permission denied",)),
}


def text(error: errors.WharfieError) -> str:
    """The message for people, with the words that clients look for."""
    said = str(error)
    words = _WORDS.get(error.kind)
    if words is not None and not any(w in said for w in words[1]):
        return f"{said}: {words[0]}"
    return said


def of_host(error: OSError) -> str:
    """What the kernel has refused, in its words as Go writes them, with the thing and what to do when known."""
    said = (error.strerror or str(error)).lower()
    where = f"{error.filename}: " if error.filename else ""
    advice = " (make room on the disk of the data root)" if error.errno in (errno.ENOSPC, errno.EDQUOT) else ""
    return f"{where}{said}{advice}"


def answer(error: errors.WharfieError) -> response.Response:
    """The response that says `error`."""
    if isinstance(error, request.Refused):
        return message(error.status, error.message)
    status = STATUS.get(error.kind, 500)
    if status == 304:
        return response.Empty(304)
    return message(status, text(error))


def message(status: int, said: str) -> response.Response:
    """Docker's form of every error: `{"message": ...}`. What the request said is not sent back at any length."""
    if len(said) > _LONGEST:
        said = f"{said[:_LONGEST]}…"
    return response.Json({"message": said}, status)
