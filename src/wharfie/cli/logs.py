"""wharfie logs."""

from __future__ import annotations

import time

from wharfie.base import errors, flags, frames, units, when
from wharfie.client import calls

from . import streams
from .command import Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .session import Session

_TABLE = flags.Table("""
- details bool      Show extra details
f follow bool       Follow the output
- since string      Show logs since an instant or a time ago (2026-01-02T13:23:37Z, 42m)
n tail string=all   Number of lines to show from the end
t timestamps bool   Show timestamps
- until string      Show logs before an instant or a time ago
""")


def instant(text: str) -> str:
    """What the API takes for a time: seconds, from RFC 3339 or "42m ago" as "42m". A time without a zone is the local
    one, and its end may be left out. Raises errors.Invalid."""
    if not text or text.replace(".", "", 1).isdecimal():
        return text
    try:
        ns = when.now() - units.parse_duration(text)
    except errors.Invalid:
        ns = _absolute(text)
    return f"{ns // 10**9}.{ns % 10**9:09d}"


def _absolute(text: str) -> int:
    zoned = text.endswith(("Z", "z")) or "+" in text[10:] or "-" in text[10:]
    try:
        if zoned:
            return when.parse_rfc3339(text)
        date, _, clock = text.partition("T")
        padded = ":".join([*clock.split(":"), "00", "00"][:3]) if clock else "00:00:00"
        ns = when.parse_rfc3339(f"{date}T{padded}Z")
        return ns + (int(time.mktime((*time.gmtime(ns // 10**9)[:8], -1))) - ns // 10**9) * 10**9
    except (errors.Invalid, OverflowError):
        raise errors.Invalid(f'failed to parse value as time or duration: "{text}"') from None


def _logs(session: Session, parsed: flags.Parsed) -> int:
    name = parsed.args[0]
    tty = bool((session.json(calls.container_inspect(name)).get("Config") or {}).get("Tty"))
    answer = session.do(calls.container_logs(
        name, follow=parsed.on("follow"), timestamps=parsed.on("timestamps"), since=instant(parsed.text("since")),
        until=instant(parsed.text("until")), tail=parsed.text("tail"), details=parsed.on("details")))
    if tty:
        for piece in answer.pieces():
            streams.write_all(1, piece)
        return 0
    splitter = frames.Splitter()
    for piece in answer.pieces():
        _write(splitter.feed(piece))
    return 0


def _write(found: list[tuple[int, bytes]]) -> None:
    """Neighbouring frames of one stream go out in one write."""
    at = 0
    while at < len(found):
        stream = found[at][0]
        end = at + 1
        while end < len(found) and found[end][0] == stream:
            end += 1
        streams.write_all(2 if stream != frames.STDOUT else 1, b"".join(p for _, p in found[at:end]))
        at = end


LOGS = Command("[OPTIONS] CONTAINER", "Fetch the logs of a container", _TABLE, _logs, 1, 1)
