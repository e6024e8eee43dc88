"""Answers as bytes, without I/O: the head, and bodies by length, by chunks, or until the connection ends. Lenient where
h11 is strict, since the other side is our own engine or dockerd, and fast to import."""

from __future__ import annotations

from wharfie.base import errors

MAX_HEAD = 1 << 20


class Head:
    """A response head; header names are lower-case, of repeated ones the last counts."""

    __slots__ = ("headers", "status")

    def __init__(self, raw: bytes) -> None:
        """Raises errors.Damaged."""
        lines = raw.decode("latin-1").split("\r\n")
        words = lines[0].split(" ", 2)
        if len(words) < 2 or not words[0].startswith("HTTP/1.") or not words[1].isdecimal():
            raise errors.Damaged(f"not an HTTP answer: {lines[0][:80]!r}")
        self.status = int(words[1])
        self.headers: dict[str, str] = {}
        for line in lines[1:]:
            name, mark, value = line.partition(":")
            if mark:
                self.headers[name.strip().lower()] = value.strip()


class Body:
    """`take(held)` removes the body's bytes from the front of `held` and returns their payload; `done` at the end."""

    def __init__(self, head: Head, method: str) -> None:
        self.chunked = head.headers.get("transfer-encoding", "").lower() == "chunked"
        length = head.headers.get("content-length", "")
        self.left = int(length) if length.isdecimal() and not self.chunked else -1
        if method == "HEAD" or head.status in (204, 304) or head.status < 200:
            self.chunked, self.left = False, 0
        self.done = self.left == 0
        self.until_close = not self.chunked and self.left < 0
        self._data = -1

    def take(self, held: bytearray) -> bytes:
        """Raises errors.Damaged on a malformed chunk."""
        if self.chunked:
            return self._chunks(held)
        if self.left < 0 or len(held) <= self.left:
            out = bytes(held)
            held.clear()
        else:
            out = bytes(held[: self.left])
            del held[: self.left]
        if self.left >= 0:
            self.left -= len(out)
            self.done = self.left == 0
        return out

    def _chunks(self, held: bytearray) -> bytes:
        out: list[bytes] = []
        at = 0
        while not self.done:
            if self._data < 0:
                end = held.find(b"\r\n", at)
                if end < 0:
                    break
                line = bytes(held[at:end]).partition(b";")[0].strip()
                at = end + 2
                if not line:
                    continue
                try:
                    self._data = int(line, 16)
                except ValueError:
                    raise errors.Damaged(f"not a chunk: {line[:40]!r}") from None
                continue
            if self._data == 0:
                end = held.find(b"\r\n", at)
                if end < 0:
                    break
                self.done = end == at
                at = end + 2
                continue
            piece = bytes(held[at : at + self._data])
            if not piece:
                break
            out.append(piece)
            at += len(piece)
            self._data -= len(piece)
            if self._data == 0:
                self._data = -1
        del held[:at]
        return out[0] if len(out) == 1 else b"".join(out)


def request(
    method: str, target: str, headers: dict[str, str], body: bytes | None = None, *, chunked: bool = False,
) -> bytes:
    """The bytes of a request, small bodies included."""
    lines = [f"{method} {target} HTTP/1.1", "Host: api.moby.localhost", "User-Agent: wharfie"]
    lines += [f"{k}: {v}" for k, v in headers.items()]
    if chunked:
        lines.append("Transfer-Encoding: chunked")
    elif body is not None or method in ("POST", "PUT"):
        lines.append(f"Content-Length: {len(body or b'')}")
    return "\r\n".join([*lines, "\r\n"]).encode("latin-1", "replace") + (body or b"")


_SAFE = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-~")


def escape(text: str, safe: bytes = b"") -> str:
    """Percent-encoding of a query value or a path part."""
    data = text.encode("utf-8", "surrogateescape")
    if _SAFE.issuperset(data):
        return text
    return "".join(chr(b) if b in _SAFE or b in safe else f"%{b:02X}" for b in data)


def query(pairs: dict[str, str | int | bool]) -> str:
    """"?a=1&b=1" of what is neither empty nor False; True is 1."""
    parts = [f"{k}={'1' if v is True else escape(str(v))}" for k, v in pairs.items() if v is not False and v != ""]
    return "?" + "&".join(parts) if parts else ""
