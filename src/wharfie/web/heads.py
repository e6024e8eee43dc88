"""Heads: h11 reads them, under rules that are stricter than its own; ours are written as plain bytes."""

from __future__ import annotations

import time
from collections.abc import Iterable
from http import HTTPStatus

import h11

from .bodies import Chunked, Decoder, Length
from .request import Refused

MAX_HEAD = 1 << 20
_REASONS = {s.value: s.phrase for s in HTTPStatus}
_DIGITS = frozenset("0123456789")


class Head:
    """A parsed request head and the decoder of the body that follows it."""

    __slots__ = ("body", "expects_continue", "headers", "keep_alive", "method", "target", "upgrade", "version")

    def __init__(self, method: str, target: str, version: str, headers: dict[str, str]) -> None:
        self.method = method
        self.target = target
        self.version = version
        self.headers = headers
        self.body = _decoder(headers)
        connection = {t.strip().lower() for t in headers.get("connection", "").split(",")}
        self.keep_alive = version == "1.1" and "close" not in connection
        self.upgrade = headers.get("upgrade", "") if "upgrade" in connection else ""
        self.expects_continue = version == "1.1" and headers.get("expect", "").lower() == "100-continue"


def find_end(held: bytearray, start: int) -> int:
    """Index behind the empty line that ends the head, or -1 when more is needed. Raises Refused on a bare LF (a
    smuggling vector that h11 accepts) and on a head above 1 MiB (`X-Registry-Config` alone may have 40 KB)."""
    end = held.find(b"\r\n\r\n", max(start - 3, 0))
    stop = end + 4 if end >= 0 else len(held)
    if stop > MAX_HEAD:
        raise Refused("request header fields too large", 431)
    at = max(start - 1, 0)
    while (at := held.find(b"\n", at, stop)) >= 0:
        if at == 0 or held[at - 1] != 13:
            raise Refused("bare LF in the request head")
        at += 1
    return stop if end >= 0 else -1


def parse(data: bytes) -> Head:
    """One whole head. Raises Refused."""
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD)
    try:
        connection.receive_data(data)
        event = connection.next_event()
    except h11.RemoteProtocolError as error:
        raise Refused(str(error), error.error_status_hint) from error
    if not isinstance(event, h11.Request):
        raise Refused("not a whole request head")
    headers: dict[str, str] = {}
    for raw_name, raw_value in event.headers:
        name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return Head(
        event.method.decode("ascii"), event.target.decode("latin-1"), event.http_version.decode("ascii"), headers
    )


def _decoder(headers: dict[str, str]) -> Decoder:
    coding = headers.get("transfer-encoding")
    length = headers.get("content-length")
    if coding is not None:
        if length is not None:
            raise Refused("both Content-Length and Transfer-Encoding are given")
        if coding.strip().lower() != "chunked":
            raise Refused(f"unsupported transfer encoding: {coding!r}", 501)
        return Chunked()
    if length is None:
        return Length(0)
    if not length or len(length) > 19 or not _DIGITS.issuperset(length):
        raise Refused("bad Content-Length")
    return Length(int(length))


def reason(status: int) -> str:
    return _REASONS.get(status, "Unknown")


def encode(status: int, headers: Iterable[tuple[str, str]], phrase: str = "") -> bytes:
    """A response head. Header values lose CR and LF, so that no value can become a header."""
    lines = [f"HTTP/1.1 {status} {phrase or reason(status)}"]
    for name, value in headers:
        if "\r" in value or "\n" in value:
            value = value.replace("\r", " ").replace("\n", " ")
        lines.append(f"{name}: {value}")
    lines.append("\r\n")
    return "\r\n".join(lines).encode("utf-8", "replace")


_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def date(seconds: float) -> str:
    """IMF-fixdate (RFC 9110 section 5.6.7), whatever the locale."""
    t = time.gmtime(seconds)
    return f"{_DAYS[t[6]]}, {t[2]:02d} {_MONTHS[t[1] - 1]} {t[0]} {t[3]:02d}:{t[4]:02d}:{t[5]:02d} GMT"
