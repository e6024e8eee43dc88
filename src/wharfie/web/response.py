"""What a handler gives back."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

import msgspec

_encode = msgspec.json.Encoder().encode


class Response:
    """The root: a status and extra headers. Content-Length, Transfer-Encoding, Connection and Date are the server's."""

    content_type = ""

    def __init__(self, status: int = 200, headers: Mapping[str, str] | None = None) -> None:
        self.status = status
        self.headers: dict[str, str] = dict(headers) if headers else {}

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.status}>"


class Bytes(Response):
    """A body that is already there."""

    def __init__(
        self, data: bytes, content_type: str = "application/octet-stream", status: int = 200,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(status, headers)
        self.data = data
        self.content_type = content_type


class Json(Bytes):
    """A JSON document (anything msgspec encodes, Structs included), ended by a newline as Go's encoder does."""

    def __init__(self, obj: object, status: int = 200, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(_encode(obj) + b"\n", "application/json", status, headers)


class Text(Bytes):
    """Plain text."""

    def __init__(self, text: str, status: int = 200, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(text.encode(), "text/plain; charset=utf-8", status, headers)


class Empty(Response):
    """No body at all."""

    def __init__(self, status: int = 204, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(status, headers)


class Stream(Response):
    """A body that is made while it is sent, chunked, with back-pressure. When the client leaves, the iterator is
    cancelled at its await and closed. The head is sent at once, before the first piece. An exception out of the
    iterator ends the connection without the last chunk, so that the client sees a cut. `unread` is called when the
    first piece was never asked for (the client left before, or wanted the head only): closing a generator that has not
    begun runs nothing of it, its `finally` neither."""

    def __init__(
        self, pieces: AsyncIterator[bytes], content_type: str = "application/json", status: int = 200,
        headers: Mapping[str, str] | None = None, *, unread: Callable[[], object] | None = None,
    ) -> None:
        super().__init__(status, headers)
        self.pieces = pieces
        self.content_type = content_type
        self.unread = unread


class File(Response):
    """`length` bytes of an open regular file from `offset`, by sendfile(2). The server closes `fd`."""

    def __init__(
        self, fd: int, offset: int, length: int, content_type: str = "application/octet-stream", status: int = 200,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(status, headers)
        self.fd = fd
        self.offset = offset
        self.length = length
        self.content_type = content_type


class Hijack(Response):
    """The connection leaves HTTP: the server answers 101 (when the client asked for an upgrade, else 200 without a
    length), and awaits `take(fd, residue)`: a duplicate of the socket, non-blocking, owned by `take` from then on
    (also when it raises), and the bytes the client had already sent behind its request. Return it only when nothing
    can fail any more: errors are for other responses. The request's body is read to its end first."""

    def __init__(
        self, take: Callable[[int, bytes], Awaitable[None]],
        content_type: str = "application/vnd.docker.raw-stream", headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(101, headers)
        self.take = take
        self.content_type = content_type
