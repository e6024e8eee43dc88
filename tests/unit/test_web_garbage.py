"""Nothing dies on garbage: after any bytes, cut or not, the next connection is served."""

from __future__ import annotations

import asyncio
import random
import socket

import pytest

from tests.unit.test_web_server import Seen, answer, make_handler
from wharfie.web import connection, server

GOOD = [
    b"GET /_ping HTTP/1.1\r\nHost: x\r\n\r\n",
    b"POST /sum HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    b"POST /sum HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello",
    b"POST /hijack HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\nbytes",
    b"GET /ticks HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /file HTTP/1.1\r\nHost: x\r\n\r\n",
]


def mangled(rng: random.Random) -> bytes:
    raw = bytearray(b"".join(rng.choice(GOOD) for _ in range(rng.randint(1, 4))))
    for _ in range(rng.randint(0, 4)):
        at = rng.randrange(len(raw))
        match rng.randint(0, 3):
            case 0:
                raw[at] = rng.randrange(256)
            case 1:
                del raw[at : at + rng.randint(1, 20)]
            case 2:
                raw[at:at] = rng.randbytes(rng.randint(1, 50))
            case 3:
                del raw[at:]
        if not raw:
            raw = bytearray(b"\r\n")
    return bytes(raw)


def test_mangled_requests(tmp_path: object) -> None:
    rng = random.Random(7)
    failed: list[str] = []

    async def one(path: str) -> None:
        reader, writer = await asyncio.open_unix_connection(path)
        try:
            writer.write(mangled(rng))
            if rng.random() < 0.5:
                writer.write_eof()
            await asyncio.wait_for(reader.read(2000), 0.02)
        except (TimeoutError, ConnectionError):
            pass
        finally:
            if rng.random() < 0.5:
                writer.transport.abort()
            else:
                writer.close()

    async def main() -> None:
        sock = socket.socket(socket.AF_UNIX)
        path = f"{tmp_path}/s"
        sock.bind(path)
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, c: failed.append(str(c)))
        log = lambda text, **_: failed.append(text) if "boom" not in text and "handler failed" not in text else None  # noqa: E731
        srv = await server.serve(make_handler(Seen()), sock, log=log)
        for _ in range(10):
            await asyncio.gather(*(one(path) for _ in range(40)))
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(GOOD[0])
        assert (await answer(reader))[2] == b"OK"
        writer.close()
        srv.close()
        srv.abort()

    asyncio.run(main())
    assert failed == []


def test_a_head_that_never_ends_is_given_up(tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "_HEAD_SECONDS", 0.05)

    async def main() -> None:
        sock = socket.socket(socket.AF_UNIX)
        sock.bind(f"{tmp_path}/s")
        srv = await server.serve(make_handler(Seen()), sock)
        reader, writer = await asyncio.open_unix_connection(f"{tmp_path}/s")
        writer.write(b"GET / HTTP/1.1\r\nHo")
        assert (await answer(reader))[0] == 408
        assert await reader.read() == b""
        writer.close()
        srv.close()

    asyncio.run(main())


def test_closing_lets_running_handlers_finish(tmp_path: object) -> None:
    async def main() -> None:
        sock = socket.socket(socket.AF_UNIX)
        sock.bind(f"{tmp_path}/s")
        seen = Seen()
        srv = await server.serve(make_handler(seen), sock)
        reader, writer = await asyncio.open_unix_connection(f"{tmp_path}/s")
        idle, _ = await asyncio.open_unix_connection(f"{tmp_path}/s")
        writer.write(b"POST /sum HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhel")
        while not seen.calls:
            await asyncio.sleep(0.001)
        srv.close()
        assert await idle.read() == b""
        assert not await srv.wait_idle(0.05)
        writer.write(b"lo")
        status, fields, _ = await answer(reader)
        assert (status, fields["connection"]) == (200, "close")
        assert await srv.wait_idle(1)

    asyncio.run(main())
