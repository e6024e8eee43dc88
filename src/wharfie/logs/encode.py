"""Bytes of a container's output → lines of Docker's json-file, many at a time. No I/O.

    {"log":"hello\\n","stream":"stdout","time":"2026-01-01T00:00:00.000000000Z"}

A dict and json.dumps per line costs six times as much as this: everything here is a handful of bytes.replace over a
whole batch. All lines of a batch bear the instant at which it was read.

The rules of Docker's writer are kept: a line longer than PART bytes is cut in parts, all but its last without the
newline; bytes that are not UTF-8 become one U+FFFD each (Go's rule, not Python's, which replaces a whole broken
sequence by one); control characters, quotes, <, > and & are escaped.
"""

from __future__ import annotations

from wharfie.base import when

PART = 16 * 1024
STREAMS = {1: b"stdout", 2: b"stderr"}

_ESCAPES: dict[int, bytes] = {b: b"\\u%04x" % b for b in (*range(0x20), *b"<>&")}
_ESCAPES.update({ord("\\"): b"\\\\", ord('"'): b'\\"', ord("\r"): b"\\r"})
del _ESCAPES[ord("\n")]
_PLAIN = bytes(b for b in range(256) if b not in _ESCAPES)
_SEPARATORS = ((b"\xe2\x80\xa8", b"\\u2028"), (b"\xe2\x80\xa9", b"\\u2029"))


# Noncharacters of Unicode: one that a text does not hold stands for "?" while real replacements are made.
_STAND_INS = tuple(chr(n) for n in range(0xFDD0, 0xFDF0))


def escape(data: bytes) -> bytes:
    """The inside of a JSON string, newlines left as they are."""
    if data.isascii():
        return _escape_ascii(data)
    try:
        data.decode()
    except UnicodeDecodeError:
        data = _replace_broken(data)
    data = _escape_ascii(data)
    if b"\xe2\x80" in data:
        for raw, escaped in _SEPARATORS:
            data = data.replace(raw, escaped)
    return data


def _replace_broken(data: bytes) -> bytes:
    """One U+FFFD for each byte that is not UTF-8. Only passes in C: a codec error handler is called once per byte,
    which makes binary output twenty times slower."""
    text = data.decode("utf-8", "surrogateescape")
    stand_in = next((c for c in _STAND_INS if c not in text), "\ufffd")
    data = text.replace("?", stand_in).encode("utf-8", "replace")
    return data.replace(b"?", b"\xef\xbf\xbd").replace(stand_in.encode(), b"?")


def _escape_ascii(data: bytes) -> bytes:
    special = data.translate(None, _PLAIN)
    if special:
        present = set(special)
        if 0x5C in present:  # first, since every other escape brings a backslash
            data = data.replace(b"\\", b"\\\\")
            present.discard(0x5C)
        for byte in present:
            data = data.replace(bytes((byte,)), _ESCAPES[byte])
    return data


def tail(stream: int, now_ns: int) -> bytes:
    """What follows the text in every line of a batch."""
    return b'","stream":"%s","time":"%s"}\n' % (STREAMS[stream], when.rfc3339_fixed(now_ns).encode())


class Lines:
    """Cuts one stream into encoded lines; holds the unfinished last one (always less than PART bytes)."""

    def __init__(self, stream: int) -> None:
        self.stream = stream
        self.held = b""

    def feed(self, data: bytes, now_ns: int) -> bytes:
        """The encoded lines that are complete now."""
        if self.held:
            data = self.held + data
        end = data.rfind(b"\n") + 1
        if len(data) - end < PART and _all_short(data, end):
            self.held = data[end:]
            return _encode_lines(data[:end], tail(self.stream, now_ns)) if end else b""
        return self._feed_long(data, now_ns)

    def finish(self, now_ns: int) -> bytes:
        """End of the stream: what is held is written without a newline, as it came."""
        held, self.held = self.held, b""
        return b'{"log":"' + escape(held) + tail(self.stream, now_ns) if held else b""

    def _feed_long(self, data: bytes, now_ns: int) -> bytes:
        suffix = tail(self.stream, now_ns)
        out: list[bytes] = []
        at, size = 0, len(data)
        while True:
            cut = data.rfind(b"\n", at, at + PART) + 1
            if cut:  # as many whole lines as fit in PART bytes
                out.append(_encode_lines(data[at:cut], suffix))
                at = cut
            elif size - at >= PART:
                cut = _character_end(data, at + PART)
                out.append(b'{"log":"' + escape(data[at:cut]) + suffix)
                at = cut
            else:
                self.held = data[at:]
                return b"".join(out)


def _all_short(data: bytes, end: int) -> bool:
    """Whether no line in data[:end] (which ends with a newline) is longer than PART with its newline."""
    at = 0
    while end - at > PART:
        at = data.rfind(b"\n", at, at + PART) + 1
        if not at:
            return False
    return True


def _character_end(data: bytes, cut: int) -> int:
    """`cut`, or up to three bytes before it, so that a UTF-8 sequence is not torn apart."""
    for back in range(1, 4):
        byte = data[cut - back]
        if byte >= 0xC0:
            width = 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
            return cut - back if width > back else cut
        if byte < 0x80:
            break
    return cut


def _encode_lines(lines: bytes, suffix: bytes) -> bytes:
    """`lines` ends with a newline."""
    return b'{"log":"' + escape(lines).replace(b"\n", b"\\n" + suffix + b'{"log":"')[:-8]
