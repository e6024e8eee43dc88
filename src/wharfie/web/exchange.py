"""The client's half of HTTP/1.1 without I/O: bytes of an answer in, head and payload out. h11 reads the head, the
decoders of `bodies` the rest, so that a hijacked connection keeps every byte behind the head."""

from __future__ import annotations

import h11

from .bodies import Chunked, Decoder, Length, UntilClose
from .request import Refused

MAX_HEAD = 1 << 20


class Exchange:
    """One answer to a `method` request. Feed bytes into `held`; `head()` first, then `take()` until `done`."""

    def __init__(self, method: str, held: bytearray | None = None) -> None:
        self.held = bytearray() if held is None else held
        self.status = 0
        self.headers: dict[str, str] = {}
        self._method = method
        self._body: Decoder | None = None

    def head(self) -> bool:
        """Whether the head is whole; 100 Continue is skipped. Raises Refused on what is no HTTP."""
        while self._body is None:
            end = self.held.find(b"\r\n\r\n")
            if end < 0:
                if len(self.held) > MAX_HEAD:
                    raise Refused("the answer's head is too long")
                return False
            raw = bytes(self.held[: end + 4])
            del self.held[: end + 4]
            self._read(raw)
        return True

    def _read(self, raw: bytes) -> None:
        connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEAD)
        try:
            # h11 wants to have seen the request: an upgrade is claimed so that it accepts 101, a CONNECT never
            connection.send(h11.Request(method="GET", target="/", headers=[("Host", "x"), ("Upgrade", "tcp"),
                                                                            ("Connection", "upgrade")]))
            connection.send(h11.EndOfMessage())
            connection.receive_data(raw)
            event = connection.next_event()
        except h11.RemoteProtocolError as error:
            raise Refused(f"not an HTTP answer: {error}") from error
        if not isinstance(event, h11.Response | h11.InformationalResponse):
            raise Refused("not an HTTP answer")
        if isinstance(event, h11.InformationalResponse) and event.status_code != 101:
            return
        self.status = event.status_code
        self.headers = {k.decode("latin-1"): v.decode("latin-1") for k, v in event.headers}
        self._body = self._decoder()

    def _decoder(self) -> Decoder:
        if self._method == "HEAD" or self.status in (204, 304):
            return Length(0)
        if self.headers.get("transfer-encoding", "").lower() == "chunked":
            return Chunked()
        length = self.headers.get("content-length", "")
        return Length(int(length)) if length.isdecimal() and self.status != 101 else UntilClose()

    def done(self) -> bool:
        """Whether the body's end was seen."""
        return self._body is not None and self._body.done

    @property
    def until_close(self) -> bool:
        """The body ends with the connection: its end is no error."""
        return isinstance(self._body, UntilClose)

    def take(self) -> bytes:
        """The payload that has come since. Raises Refused on a malformed chunk."""
        return b"" if self._body is None else self._body.take(self.held)
