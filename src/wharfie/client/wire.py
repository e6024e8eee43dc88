"""HTTP/1.1 to an engine over `_socket` alone: keep-alive, streams both ways, hijacked connections.

One Connection is one socket, used by one thread. No ping comes first: the newest version is asked for, and an older
engine's refusal names the version that is then used.
"""

from __future__ import annotations

import _socket
import os

from wharfie.base import errors

from . import codec
from .endpoint import Endpoint
from .faults import Unreachable, from_answer
from .heads import MAX_HEAD, Body, Head, request

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any

    from .calls import Call

API_VERSION = "1.50"
_PIECE = 256 << 10
_TOO_NEW = "Maximum supported API version is "


def connect(endpoint: Endpoint) -> Any:
    """A connected socket: `_socket.socket`, or for TLS an `ssl.SSLSocket`. Raises Unreachable, Denied."""
    try:
        if endpoint.tls is not None:
            from . import tls

            return tls.connect(endpoint)
        if endpoint.kind == "unix":
            sock = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
            try:
                sock.connect(endpoint.address)
            except OSError:
                sock.close()
                raise
            return sock
        return _connect_tcp(endpoint)
    except PermissionError as error:
        raise errors.Denied(
            f"permission denied while trying to connect to the Docker daemon socket at {endpoint.url}",
            action="members of the socket's group may, see ls -l",
        ) from error
    except OSError as error:
        raise Unreachable(
            f"Cannot connect to the Docker daemon at {endpoint.url}. Is the docker daemon running?"
        ) from error


def _connect_tcp(endpoint: Endpoint) -> Any:
    last: OSError = OSError("no address")
    # bytes, not str: a str name makes _socket import encodings.idna
    for family, kind, proto, _, address in _socket.getaddrinfo(
        endpoint.address.encode(), endpoint.port, 0, _socket.SOCK_STREAM
    ):
        sock = _socket.socket(family, kind | _socket.SOCK_CLOEXEC, proto)
        try:
            sock.connect(address)
            sock.setsockopt(_socket.IPPROTO_TCP, _socket.TCP_NODELAY, 1)
            return sock
        except OSError as error:
            sock.close()
            last = error
    raise last


class Answer:
    """An answer whose head is read. Read its body to the end before the next request on the same connection."""

    def __init__(self, connection: Connection, head: Head, method: str) -> None:
        self.status = head.status
        self.headers = head.headers
        self._connection = connection
        self._body = Body(head, method)

    def pieces(self) -> Iterator[bytes]:
        """The body as it comes. Raises errors.Unavailable when it is cut."""
        while not self._body.done:
            payload = self._body.take(self._connection.held)
            if payload:
                yield payload
            elif not self._body.done and not self._connection.more():
                if self._body.until_close:
                    break
                raise errors.Unavailable("the engine's answer was cut off", action="see the engine's log")
        if self._body.until_close or self.headers.get("connection", "").lower() == "close":
            self._connection.close()

    def read(self) -> bytes:
        return b"".join(self.pieces())

    def json(self) -> Any:
        """Raises errors.Damaged."""
        return codec.loads(self.read())

    def lines(self) -> Iterator[bytes]:
        """The body by lines (JSON streams)."""
        rest = b""
        for piece in self.pieces():
            rest += piece
            *whole, rest = rest.split(b"\n")
            yield from whole
        if rest:
            yield rest

    def check(self) -> Answer:
        """Itself below 400; else raises the EngineFault its body tells of."""
        if self.status < 400:
            return self
        raw = self.read()
        try:
            said = codec.loads(raw)
            message = str(said.get("message") or said.get("error") or raw.decode("utf-8", "replace"))
        except (errors.Damaged, AttributeError):
            message = raw.decode("utf-8", "replace").strip() or f"status {self.status}"
        raise from_answer(self.status, message)


class Connection:
    """See the module. `fresh()` makes another one to the same engine."""

    def __init__(self, endpoint: Endpoint, version: str = "") -> None:
        self.endpoint = endpoint
        self.version = version or os.environ.get("DOCKER_API_VERSION", "") or API_VERSION
        self.held = bytearray()
        self._sock: Any = None
        self._asked = ""
        # Done once, after the next call has been sent and before its answer is waited for.
        self.meanwhile: Callable[[], None] | None = None

    def fresh(self) -> Connection:
        return Connection(self.endpoint, self.version)

    def close(self) -> None:
        if self._sock is not None:
            self._sock.close()
            self._sock = None
        self.held.clear()

    def more(self) -> bool:
        """Read on; False at the end."""
        data = self._sock.recv(_PIECE) if self._sock is not None else b""
        self.held += data
        return bool(data)

    def ask(self, call: Call) -> Answer:
        """Send a call; the answer whatever its status. Raises Unreachable, Denied, Unavailable."""
        answer = self._ask(call)
        if answer.status == 400 and self.version == API_VERSION:
            try:
                answer.check()
            except errors.Invalid as error:
                if _TOO_NEW not in error.message:
                    raise
                self.version = error.message.partition(_TOO_NEW)[2].split(",")[0].strip().rstrip(".")
            return self._ask(call)
        return answer

    def do(self, call: Call) -> Answer:
        """`ask`, with an error status raised as its EngineFault."""
        return self.ask(call).check()

    def _ask(self, call: Call) -> Answer:
        if call.body is not None:
            call = call.replace(headers=(*call.headers, ("Content-Type", "application/json")))
        self.begin(call)
        meanwhile, self.meanwhile = self.meanwhile, None
        if meanwhile is not None:
            meanwhile()
        return self.answer()

    def _send(self, data: bytes) -> None:
        if self._sock is None:
            self._sock = connect(self.endpoint)
        try:
            self._sock.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            # an idle connection that the engine has closed, unless it says why
            if not self.held and not self._sock.recv(1, _socket.MSG_PEEK):
                raise errors.Unavailable("the engine closed the connection") from None

    def head(self) -> Head:
        """The next response head, past any 100 Continue."""
        while True:
            while (end := self.held.find(b"\r\n\r\n")) < 0:
                if len(self.held) > MAX_HEAD or not self.more():
                    raise errors.Unavailable("the engine closed the connection before it answered")
            head = Head(bytes(self.held[:end]))
            del self.held[: end + 4]
            if head.status != 100:
                return head

    def upload(self, call: Call, pieces: Iterable[bytes]) -> Answer:
        """A call whose body is a stream, sent in chunks. The engine may answer (and close) before the end."""
        start = request(call.method, f"/v{self.negotiated()}{call.target}", dict(call.headers), chunked=True)
        self._send(start)
        try:
            for piece in pieces:
                if piece:
                    self._sock.sendall(b"%x\r\n%b\r\n" % (len(piece), piece))
            self._sock.sendall(b"0\r\n\r\n")
        except (BrokenPipeError, ConnectionResetError):
            pass
        return Answer(self, self.head(), call.method).check()

    def negotiated(self) -> str:
        """The version to use, after asking the engine: for requests that cannot be sent twice."""
        if self.version == API_VERSION:
            self._send(request("HEAD", "/_ping", {}))
            answer = Answer(self, self.head(), "HEAD")
            offered = answer.headers.get("api-version", "")
            if offered and _number(offered) < _number(self.version):
                self.version = offered
        return self.version

    def begin(self, call: Call) -> None:
        """Send a call without waiting; `answer` reads what comes of it."""
        self._asked = call.method
        body = None if call.body is None else call.body.encode("utf-8", "surrogateescape")
        self._send(request(call.method, f"/v{self.version}{call.target}", dict(call.headers), body))

    def answer(self) -> Answer:
        """The answer to what `begin` sent."""
        return Answer(self, self.head(), self._asked)

    def begin_hijack(self, call: Call) -> None:
        """Send a call that asks for the raw stream; `hijacked` follows."""
        self.begin(call.replace(headers=(
            ("Content-Type", "application/json" if call.body else "text/plain"), ("Connection", "Upgrade"),
            ("Upgrade", "tcp"))))

    def hijacked(self) -> tuple[Any, bytes, str]:
        """The socket, bytes that came with the answer, and its content type. This connection gives the socket away.
        Raises EngineFault."""
        head = self.head()
        if head.status >= 400:
            Answer(self, head, self._asked).check()
        sock, residue = self._sock, bytes(self.held)
        self._sock = None
        self.held.clear()
        return sock, residue, head.headers.get("content-type", "")

    def hijack(self, call: Call) -> tuple[Any, bytes, str]:
        """Both at once."""
        self.begin_hijack(call)
        return self.hijacked()


def _number(version: str) -> tuple[int, ...]:
    return tuple(int(p) for p in version.split(".") if p.isdecimal())
