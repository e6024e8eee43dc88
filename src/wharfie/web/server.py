"""The server: accepts, keeps count of its connections, closes in order."""

from __future__ import annotations

import asyncio
import socket
import ssl as tls
import sys
import traceback
from collections.abc import Callable

from .connection import Connection, Handler, Shared


def _to_stderr(text: str, *, exc_info: bool = False) -> None:
    print(f"web: {text}", file=sys.stderr)
    if exc_info:
        traceback.print_exc()


class Server(Shared):
    """One listening socket and its connections."""

    def __init__(self, handler: Handler, log: Callable[..., None]) -> None:
        super().__init__(handler, log)
        self.listener: asyncio.Server | None = None

    def close(self) -> None:
        """Stop accepting and drop idle connections; running handlers finish and then close theirs."""
        self.closing = True
        if self.listener is not None:
            self.listener.close()
        for connection in list(self.connections):
            connection.close_if_idle()

    async def wait_idle(self, timeout: float = 10.0) -> bool:
        """Until no handler runs any more. False when `timeout` seconds were not enough."""
        end = self.loop.time() + timeout
        while any(c.busy for c in self.connections):
            if self.loop.time() > end:
                return False
            await asyncio.sleep(0.02)
        return True

    def abort(self) -> None:
        """Cut every connection now."""
        for connection in list(self.connections):
            connection.transport.abort()


async def serve(
    handler: Handler, sock: socket.socket, *, ssl: tls.SSLContext | None = None, log: Callable[..., None] = _to_stderr,
) -> Server:
    """Serve HTTP/1.1 on a bound stream socket (unix or TCP). `log(text, exc_info=bool)` gets what handlers failed with.
    Raises OSError."""
    server = Server(handler, log)
    server.listener = await server.loop.create_server(lambda: Connection(server), sock=sock, ssl=ssl, backlog=1024)
    return server
