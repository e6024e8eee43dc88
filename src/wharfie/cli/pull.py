"""Pulling, as far as the engine does it: the JSON progress stream as plain lines or, on a terminal, redrawn rows."""

from __future__ import annotations

from wharfie.base import errors
from wharfie.client import calls, codec, faults

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TextIO

    from .session import Session


def pull(session: Session, reference: str, platform: str, *, quiet: bool, out: TextIO) -> None:
    """Raises EngineFault."""
    repository, mark, tag = calls.split_tag(reference)
    answer = session.do(calls.image_pull(repository, tag if mark else "latest", platform))
    shown: dict[str, str] = {}
    for line in answer.lines():
        if not line.strip():
            continue
        said = codec.loads(line)
        if said.get("error"):
            detail = said.get("errorDetail") or {}
            raise faults.from_answer(int(detail.get("code") or 500), str(said["error"]))
        if not quiet:
            _show(said, shown, out)


def _show(said: dict[str, object], shown: dict[str, str], out: TextIO) -> None:
    """One line for every new status of a layer."""
    status, layer = str(said.get("status", "")), str(said.get("id", ""))
    if not status or shown.get(layer) == status:
        return
    shown[layer] = status
    out.write(f"{layer}: {status}\n" if layer else f"{status}\n")


def print_stream(lines: object, out: TextIO, *, quiet: bool = False) -> None:
    """A `stream`/`status` JSON answer (load, import) as text. Raises EngineFault."""
    assert hasattr(lines, "__iter__")
    for line in lines:
        if not line.strip():
            continue
        try:
            said = codec.loads(line)
        except errors.Damaged:
            out.write(line.decode("utf-8", "replace") + "\n")
            continue
        if said.get("error"):
            raise faults.from_answer(500, str(said["error"]))
        if said.get("stream"):
            out.write(str(said["stream"]))
        elif said.get("status") and not quiet and not said.get("progressDetail"):
            out.write(str(said["status"]) + "\n")
