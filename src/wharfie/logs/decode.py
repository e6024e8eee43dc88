"""Lines of Docker's json-file → output bytes, many at a time. No I/O.

A batch that our writer wrote in one go has the same `","stream":...,"time":...}` behind every line: one bytes.replace
undoes it. Anything else (another writer's file, a torn line) goes line by line through json.
"""

from __future__ import annotations

import json

from wharfie.base import errors, when

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    # stream (1 stdout, 2 stderr), nanoseconds since 1970, one or more lines of that instant
    Entry = tuple[int, int, bytes]

_HEAD = b'{"log":"'
_TAIL = b'","stream":"'
_NUMBERS = {"stdout": 1, "stderr": 2}


def entries(block: bytes) -> Iterator[Entry]:
    """All entries of a block of whole lines (it ends with a newline). Lines that are no entries are skipped."""
    at, size = 0, len(block)
    while at < size:
        end = block.find(b"\n", at) + 1
        if not end:
            return
        mark = block.find(_TAIL, at, end)
        if mark >= 0 and block.startswith(_HEAD, at):
            run = _run_end(block, end, block[mark:end] + _HEAD)
            fast = _decode_run(block[at:run], block[mark:end])
            if fast is not None:
                yield fast
                at = run
                continue
        entry = _decode_line(block[at:end])
        if entry is not None:
            yield entry
        at = end


def _run_end(block: bytes, end: int, separator: bytes) -> int:
    """Where the run of lines that end like the first one ends. `separator` is that ending and the next line's head."""
    if not block.startswith(_HEAD, end):
        return end
    # Runs are whole batches or single lines: look near first, then at the block's far end.
    suffix = separator[: -len(_HEAD)]
    following = block.find(b"\n", end) + 1
    if not following or not block.endswith(suffix, end, following):
        return end
    last = block.rfind(suffix, end)
    return last + len(suffix)


def _decode_run(run: bytes, suffix: bytes) -> Entry | None:
    """One entry for lines that all end with `suffix`; None when they don't."""
    name, _, rest = suffix[len(_TAIL) :].partition(b'","time":"')
    stream = _NUMBERS.get(name.decode(errors="replace"), 0)
    if not stream or not rest.endswith(b'"}\n'):
        return None
    try:
        ns = when.parse_rfc3339(rest[:-3].decode())
    except (errors.Invalid, UnicodeDecodeError):
        return None
    text = run[len(_HEAD) : -len(suffix)].replace(b"\\n" + suffix + _HEAD, b"\n")
    if _TAIL in text:
        return None  # something else is among them
    if text.endswith(b"\\n") and not text.endswith(b"\\\\n"):
        text = text[:-2] + b"\n"
    if b"\\" in text:
        try:
            text = json.loads(b'"' + text + b'"', strict=False).encode(errors="replace")
        except (ValueError, RecursionError):
            return None
    return stream, ns, text


def _decode_line(line: bytes) -> Entry | None:
    try:
        data = json.loads(line)
        stream = _NUMBERS[data.get("stream", "stdout")]
        return stream, when.parse_rfc3339(data["time"]), data["log"].encode(errors="replace")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, errors.Invalid):
        return None
