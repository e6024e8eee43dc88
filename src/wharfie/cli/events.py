"""wharfie events."""

from __future__ import annotations

import sys
import time

from wharfie.base import errors, flags
from wharfie.client import calls, codec

from . import tables
from .command import Command
from .logs import instant

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .session import Session


def line(event: dict[str, Any]) -> str:
    """"2026-01-02T03:04:05.000000006+00:00 container start ID (image=x, name=y)"."""
    ns = event.get("timeNano") or (event.get("time") or 0) * 10**9
    actor = event.get("Actor") or {}
    attributes = actor.get("Attributes") or {}
    text = f"{_stamp(ns)} {event.get('Type')} {event.get('Action')} {actor.get('ID')}"
    inside = ", ".join(f"{k}={attributes[k]}" for k in sorted(attributes))
    return f"{text} ({inside})" if inside else text


def _stamp(ns: int) -> str:
    seconds, fraction = divmod(ns, 10**9)
    t = time.localtime(seconds)
    zone = time.strftime("%z", t)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', t)}.{fraction:09d}{zone[:3]}:{zone[3:]}"


def _events(session: Session, parsed: flags.Parsed) -> int:
    form = parsed.text("format")
    show = _shower(form)
    answer = session.do(calls.events(
        instant(parsed.text("since")), instant(parsed.text("until")), tables.filters(parsed.all("filter"))))
    for raw in answer.lines():
        if raw.strip():
            sys.stdout.write(show(codec.loads(raw)) + "\n")
            sys.stdout.flush()
    return 0


def _shower(form: str) -> Any:
    if not form:
        return line
    if form == "json":
        return codec.dumps
    from wharfie.template import text

    try:
        return text.Template(form, missing="error").render
    except errors.Invalid as error:
        raise tables.parsing_error(error) from error


EVENTS = Command("[OPTIONS]", "Get events from the engine as they happen", flags.Table("""
f filter filter   Show what matches (name=value)
- format string   "json" or a Go template an event
- since string    Show events since an instant or a time ago
- until string    Stop at an instant
"""), _events, 0, 0)
