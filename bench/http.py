"""The smallest Engine API client: one keep-alive connection, so that what is measured is the engine."""

from __future__ import annotations

import json
import socket
from typing import Any


class Connection:
    """One connection to an engine's unix socket."""

    def __init__(self, path: str) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(path)
        self.held = b""

    def call(self, method: str, path: str, body: Any = None) -> tuple[int, bytes]:
        """One request, its status and body."""
        data = b"" if body is None else json.dumps(body).encode()
        self.sock.sendall(
            f"{method} /v1.41{path} HTTP/1.1\r\nHost: d\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(data)}\r\n\r\n".encode()
            + data
        )
        while b"\r\n\r\n" not in self.held:
            self._more()
        head, _, self.held = self.held.partition(b"\r\n\r\n")
        lines = head.decode().lower().split("\r\n")
        status = int(lines[0].split()[1])
        headers = dict(line.split(": ", 1) for line in lines[1:])
        if "chunked" in headers.get("transfer-encoding", ""):
            return status, self._chunked()
        length = int(headers.get("content-length", 0))
        while len(self.held) < length:
            self._more()
        out, self.held = self.held[:length], self.held[length:]
        return status, out

    def _more(self) -> None:
        data = self.sock.recv(1 << 16)
        if not data:
            raise ConnectionError("the engine closed the connection")
        self.held += data

    def _chunked(self) -> bytes:
        out = b""
        while True:
            while b"\r\n" not in self.held:
                self._more()
            line, _, self.held = self.held.partition(b"\r\n")
            size = int(line, 16)
            while len(self.held) < size + 2:
                self._more()
            out += self.held[:size]
            self.held = self.held[size + 2 :]
            if size == 0:
                return out

    def life(self, image: str) -> None:
        """create, start, wait, remove; raises AssertionError when a step is refused or the exit code is not 0."""
        status, body = self.call("POST", "/containers/create", {"Image": image, "Cmd": ["true"]})
        assert status == 201, body
        name = json.loads(body)["Id"]
        status, body = self.call("POST", f"/containers/{name}/start")
        assert status == 204, body
        status, body = self.call("POST", f"/containers/{name}/wait")
        assert status == 200, body
        assert json.loads(body)["StatusCode"] == 0, body
        status, body = self.call("DELETE", f"/containers/{name}")
        assert status == 204, body
