"""What a handler is given."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Protocol
from urllib.parse import parse_qs, unquote

from wharfie.base import errors
from wharfie.base.value import Value

DEFAULT_LIMIT = 16 << 20
_FALSE = frozenset(("", "0", "no", "false", "none"))


class Refused(errors.Invalid):
    """The bytes of the request are wrong. `status` is the HTTP status that says so (400, 413, 431, …)."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


class Disconnected(errors.Unavailable):
    """The client left before its request was whole; nobody is there to read an answer."""


class Peer(Value):
    """Who is at the other end. `uid` and `pid` are -1 over TCP."""

    kind: str = "unix"
    address: str = ""
    pid: int = -1
    uid: int = -1


class Feed(Protocol):
    """Where the body comes from: the connection."""

    async def chunk(self) -> bytes:
        """The next piece of the body, b"" at its end. Raises Disconnected, Refused."""


class Request:
    """One request. `path` is decoded, `raw_path` as sent; header names are lower-case, repeated headers joined by ", ".

    `disconnected` is set when the client goes away (or half-closes: Go's server makes no difference either) while the
    handler runs; nothing is cancelled by it, except a Stream response's iterator."""

    def __init__(
        self, method: str, target: str, headers: dict[str, str], feed: Feed, *, version: str = "1.1",
        peer: Callable[[], Peer] = Peer,
    ) -> None:
        self.method = method
        self.target = target
        self.version = version
        self.headers = headers
        raw, _, query = target.partition("?")
        if raw.startswith(("http://", "https://")):
            raw = "/" + raw.split("//", 1)[1].partition("/")[2]
        self.raw_path = raw
        self.path = unquote(raw) if "%" in raw else raw
        self.query: dict[str, list[str]] = parse_qs(query, keep_blank_values=True) if query else {}
        self.disconnected = asyncio.Event()
        self._feed = feed
        self._peer = peer

    def __repr__(self) -> str:
        return f"<{self.method} {self.target}>"

    @property
    def peer(self) -> Peer:
        return self._peer()

    def value(self, name: str, default: str = "") -> str:
        """The first value of a query parameter."""
        values = self.query.get(name)
        return values[0] if values else default

    def flag(self, name: str, default: bool = False) -> bool:
        """A boolean query parameter as Docker reads it: "", 0, no, false and none are false, the rest is true."""
        values = self.query.get(name)
        return default if not values else values[0].strip().lower() not in _FALSE

    async def stream(self) -> AsyncIterator[bytes]:
        """The body in pieces as they come. Sends "100 Continue" first where the client waits for it."""
        while chunk := await self._feed.chunk():
            yield chunk

    async def body(self, limit: int = DEFAULT_LIMIT) -> bytes:
        """The whole body. Raises Refused (413) above `limit` bytes."""
        parts: list[bytes] = []
        size = 0
        while chunk := await self._feed.chunk():
            size += len(chunk)
            if size > limit:
                raise Refused(f"request body is larger than {limit} bytes", 413)
            parts.append(chunk)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    async def until_disconnected(self, work: Awaitable[object]) -> bool:
        """Awaits `work`; when the client leaves first, cancels it and returns False."""
        task = asyncio.ensure_future(work)
        gone = asyncio.ensure_future(self.disconnected.wait())
        try:
            await asyncio.wait((task, gone), return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                task.result()
                return True
            return False
        finally:
            task.cancel()
            gone.cancel()
