"""The web server over real sockets: framing, limits, hijack, streams, garbage."""

from __future__ import annotations

import asyncio
import hashlib
import os
import socket
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from wharfie.web import connection, reply, request, response, server

Client = Callable[[asyncio.StreamReader, asyncio.StreamWriter, "Seen"], Awaitable[None]]


class Seen:
    """What the handler saw."""

    def __init__(self) -> None:
        self.left = asyncio.Event()
        self.closed = asyncio.Event()
        self.unread = asyncio.Event()
        self.residue = b""
        self.calls = 0


def make_handler(seen: Seen) -> connection.Handler:
    async def ticks() -> AsyncIterator[bytes]:
        try:
            while True:
                yield b"tick\n"
                await asyncio.sleep(0.005)
        finally:
            seen.closed.set()

    async def three() -> AsyncIterator[bytes]:
        for n in range(3):
            yield b"%d" % n

    async def echo(fd: int, residue: bytes) -> None:
        seen.residue = residue
        sock = socket.socket(fileno=fd)
        loop = asyncio.get_running_loop()
        with sock:
            await loop.sock_sendall(sock, residue)
            while data := await loop.sock_recv(sock, 65536):
                await loop.sock_sendall(sock, data)
            await loop.sock_sendall(sock, b"<eof>")

    async def handler(req: request.Request) -> response.Response:
        seen.calls += 1
        match req.path:
            case "/_ping":
                return response.Text("OK", headers={"Api-Version": "1.50"})
            case "/sum":
                digest = hashlib.sha256()
                size = 0
                async for piece in req.stream():
                    digest.update(piece)
                    size += len(piece)
                return response.Json({"size": size, "sha256": digest.hexdigest()})
            case "/small":
                return response.Bytes(await req.body(100))
            case "/query":
                return response.Json({"q": req.query, "raw": req.raw_path, "flag": req.flag("a"), "uid": req.peer.uid})
            case "/ticks":
                return response.Stream(ticks())
            case "/late":
                await req.until_disconnected(asyncio.sleep(5))
                return response.Stream(ticks(), unread=seen.unread.set)
            case "/three":
                return response.Stream(three(), "text/plain")
            case "/wait":
                gone = await req.until_disconnected(asyncio.sleep(5))
                seen.left.set()
                return response.Json({"finished": gone})
            case "/file":
                fd = os.memfd_create("t")
                os.write(fd, b"0123456789" * 1000)
                return response.File(fd, 5, 9000)
            case "/hijack":
                await req.body()
                return response.Hijack(echo)
            case "/missing":
                return response.Json({"message": "No such exec"}, 404)
            case "/ignore":
                return response.Empty()
            case "/evil":
                return response.Empty(200, {"X-A": "b\r\nX-C: d"})
        raise RuntimeError("boom")

    return handler


def drive(client: Client) -> Seen:
    async def main() -> Seen:
        with tempfile.TemporaryDirectory() as folder:
            path = f"{folder}/s"
            sock = socket.socket(socket.AF_UNIX)
            sock.bind(path)
            seen = Seen()
            srv = await server.serve(make_handler(seen), sock, log=lambda *a, **k: None)
            reader, writer = await asyncio.open_unix_connection(path)
            await asyncio.wait_for(client(reader, writer, seen), 10)
            writer.close()
            srv.close()
            srv.abort()
            return seen

    return asyncio.run(main())


async def answer(reader: asyncio.StreamReader, *, body: bool = True) -> tuple[int, dict[str, str], bytes]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    fields = {k.lower(): v for k, _, v in (line.partition(": ") for line in head[1:] if line)}
    status = int(head[0].split()[1])
    data = b""
    if body and "content-length" in fields:
        data = await reader.readexactly(int(fields["content-length"]))
    elif body and fields.get("transfer-encoding") == "chunked":
        while size := int((await reader.readline()).strip(), 16):
            data += await reader.readexactly(size)
            await reader.readexactly(2)
        await reader.readexactly(2)
    return status, fields, data


def once(sent: bytes, check: Callable[[int, dict[str, str], bytes], None]) -> None:
    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seen: Seen) -> None:
        writer.write(sent)
        check(*await answer(reader))

    drive(client)


def status_of(sent: bytes) -> int:
    got: list[int] = []
    once(sent, lambda status, fields, data: got.append(status))
    return got[0]


H = b"Host: docker\r\n"


def test_ping_and_keep_alive_and_pipelining() -> None:
    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seen: Seen) -> None:
        writer.write(b"GET /_ping HTTP/1.1\r\n" + H + b"\r\n" + b"HEAD /_ping HTTP/1.1\r\n" + H + b"\r\n")
        status, fields, data = await answer(reader)
        assert (status, data, fields["api-version"]) == (200, b"OK", "1.50")
        status, fields, _ = await answer(reader, body=False)
        assert (status, fields["content-length"]) == (200, "2")
        writer.write(b"POST /sum HTTP/1.1\r\n" + H + b"Content-Length: 3\r\n\r\nabc")
        writer.write(b"GET /_ping HTTP/1.1\r\n" + H + b"\r\n")
        assert b'"size":3' in (await answer(reader))[2]
        assert (await answer(reader))[2] == b"OK"

    drive(client)


@pytest.mark.parametrize("chunked", [False, True])
def test_large_bodies_arrive_whole(chunked: bool) -> None:
    payload = os.urandom(3 << 20)

    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seen: Seen) -> None:
        writer.write(b"POST /sum HTTP/1.1\r\n" + H)
        if chunked:
            writer.write(b"Transfer-Encoding: chunked\r\n\r\n")
            for at in range(0, len(payload), 30011):
                piece = payload[at : at + 30011]
                writer.write(b"%x;ext=1\r\n%b\r\n" % (len(piece), piece))
                await writer.drain()
            writer.write(b"0\r\nTrailer: x\r\n\r\n")
        else:
            writer.write(b"Content-Length: %d\r\n\r\n" % len(payload) + payload)
        await writer.drain()
        status, _, data = await answer(reader)
        assert status == 200
        assert hashlib.sha256(payload).hexdigest().encode() in data
        writer.write(b"GET /_ping HTTP/1.1\r\n" + H + b"\r\n")
        assert (await answer(reader))[2] == b"OK"

    drive(client)


@pytest.mark.parametrize(("sent", "status"), [
    (b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", 400),
    (b"GET / HTTP/1.1\nHost: x\n\n", 400),
    (b"GET /_ping HTTP/1.1\r\n\r\n", 400),
    (b"GET /_ping HTTP/1.1\r\nHost: \r\n\r\n", 200),
    (b"GET /_ping HTTP/1.1\r\nHost: api.moby.localhost\r\n\r\n", 200),
    (b"GET /_ping HTTP/1.0\r\n\r\n", 200),
    (b"\r\n\r\nGET /_ping HTTP/1.1\r\nHost: x\r\n\r\n", 200),
    (b"POST /sum HTTP/1.1\r\n" + H + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    (b"POST /sum HTTP/1.1\r\n" + H + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", 400),
    (b"POST /sum HTTP/1.1\r\n" + H + b"Content-Length: -3\r\n\r\nabcd", 400),
    (b"POST /sum HTTP/1.1\r\n" + H + b"Transfer-Encoding: gzip\r\n\r\nabcd", 501),
    (b"POST /sum HTTP/1.1\r\n" + H + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
    (b"POST /sum HTTP/1.1\r\n" + H + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n", 400),
    (b"POST /sum HTTP/1.1\r\n" + H + b"Transfer-Encoding: chunked\r\n\r\n3\nabc\n0\n\n", 400),
    (b"POST /small HTTP/1.1\r\n" + H + b"Content-Length: 101\r\n\r\n" + b"x" * 101, 413),
    (b"GET / HTTP/1.1\r\n" + H + b"X: " + b"y" * (1 << 20) + b"\r\n\r\n", 431),
    (b"GET /_ping HTTP/1.1\r\n" + H + b"X: " + b"y" * 60000 + b"\r\n\r\n", 200),
    (b"GET /boom HTTP/1.1\r\n" + H + b"\r\n", 500),
])
def test_what_is_refused_and_what_is_not(sent: bytes, status: int) -> None:
    assert status_of(sent) == status


def test_heads_may_come_byte_by_byte() -> None:
    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seen: Seen) -> None:
        for byte in b"GET /_ping HTTP/1.1\r\nHost: x\r\n\r\n":
            writer.write(bytes([byte]))
            await asyncio.sleep(0)
        assert (await answer(reader))[0] == 200

    drive(client)


def test_query_is_decoded_and_the_raw_path_kept() -> None:
    def check(status: int, fields: dict[str, str], data: bytes) -> None:
        assert status == 200
        assert b'"raw":"/qu%65ry"' in data
        assert b'"q":{"a":["1","2"],"b":["x y/z"],"c":[""]}' in data
        assert b'"flag":true' in data
        assert b'"uid":%d' % os.geteuid() in data

    once(b"GET /qu%65ry?a=1&a=2&b=x+y%2Fz&c= HTTP/1.1\r\n" + H + b"\r\n", check)


def test_no_header_can_be_injected() -> None:
    def check(status: int, fields: dict[str, str], data: bytes) -> None:
        assert "x-c" not in fields

    once(b"GET /evil HTTP/1.1\r\n" + H + b"\r\n", check)


def test_continue_is_sent_only_when_the_body_is_wanted() -> None:
    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seen: Seen) -> None:
        writer.write(b"POST /sum HTTP/1.1\r\n" + H + b"Expect: 100-continue\r\nContent-Length: 3\r\n\r\n")
        assert (await answer(reader, body=False))[0] == 100
        writer.write(b"abc")
        assert (await answer(reader))[0] == 200
        writer.write(b"POST /ignore HTTP/1.1\r\n" + H + b"Expect: 100-continue\r\nContent-Length: 3\r\n\r\n")
        status, fields, _ = await answer(reader)
        assert (status, fields["connection"]) == (204, "close")
        assert await reader.read() == b""

    drive(client)


def test_an_unread_small_body_keeps_the_connection() -> None:
    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seen: Seen) -> None:
        writer.write(b"POST /ignore HTTP/1.1\r\n" + H + b"Content-Length: 3\r\n\r\n")
        assert (await answer(reader))[0] == 204
        writer.write(b"abcGET /_ping HTTP/1.1\r\n" + H + b"\r\n")
        assert (await answer(reader))[2] == b"OK"

    drive(client)


def test_streams_are_chunked_and_end() -> None:
    once(b"GET /three HTTP/1.1\r\n" + H + b"\r\n", lambda s, f, data: data == b"012" or pytest.fail(str(data)))


def test_a_stream_is_closed_when_the_client_leaves() -> None:
    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seen: Seen) -> None:
        writer.write(b"GET /ticks HTTP/1.1\r\n" + H + b"\r\n")
        await reader.readuntil(b"tick\n")
        writer.transport.abort()
        await asyncio.wait_for(seen.closed.wait(), 2)

    drive(client)


def test_a_stream_whose_client_left_before_its_first_byte_gives_back_what_it_holds() -> None:
    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seen: Seen) -> None:
        writer.write(b"GET /late HTTP/1.1\r\n" + H + b"\r\n")
        while not seen.calls:
            await asyncio.sleep(0.001)
        writer.transport.abort()
        await asyncio.wait_for(seen.unread.wait(), 2)
        assert not seen.closed.is_set()

    drive(client)


def test_a_waiting_handler_learns_that_the_client_left() -> None:
    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seen: Seen) -> None:
        writer.write(b"POST /wait HTTP/1.1\r\n" + H + b"\r\n")
        while not seen.calls:
            await asyncio.sleep(0.001)
        writer.close()
        await asyncio.wait_for(seen.left.wait(), 2)

    drive(client)


def test_files_go_by_sendfile() -> None:
    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seen: Seen) -> None:
        for _ in range(2):
            writer.write(b"GET /file HTTP/1.1\r\n" + H + b"\r\n")
            _, _, data = await answer(reader)
            assert data == (b"0123456789" * 1000)[5:9005]

    drive(client)


@pytest.mark.parametrize("upgrade", [True, False])
@pytest.mark.parametrize("early", [b"", b"early bytes"])
@pytest.mark.parametrize("body", ["none", "length", "chunked"])
def test_hijack_loses_no_byte(upgrade: bool, early: bytes, body: str) -> None:
    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seen: Seen) -> None:
        sent = b"POST /hijack HTTP/1.1\r\n" + H
        if upgrade:
            sent += b"Connection: Upgrade\r\nUpgrade: tcp\r\n"
        sent += {"none": b"\r\n", "length": b"Content-Length: 4\r\n\r\n{ \n}",
                 "chunked": b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"}[body]
        writer.write(sent + early)
        status, fields, _ = await answer(reader)
        assert status == (101 if upgrade else 200)
        assert fields["content-type"] == "application/vnd.docker.raw-stream"
        late = os.urandom(100_000)
        writer.write(late)
        writer.write_eof()
        assert await reader.read() == early + late + b"<eof>"

    drive(client)


def test_what_follows_the_head_of_a_hijack_waits_until_the_client_has_read_it() -> None:
    """docker-py reads the head through a buffer: what comes together with it, it loses."""

    async def scenario() -> None:
        mine, theirs = socket.socketpair()
        with mine, theirs:
            await asyncio.wait_for(reply.until_read(mine.fileno()), 0.1)
            mine.send(b"head")
            waiting = asyncio.create_task(reply.until_read(mine.fileno(), 10))
            await asyncio.sleep(0.02)
            assert not waiting.done()
            theirs.recv(100)
            await asyncio.wait_for(waiting, 1)
            mine.send(b"head")
            await asyncio.wait_for(reply.until_read(mine.fileno(), 0.01), 1)  # one who never reads holds up nobody

    asyncio.run(scenario())


def test_an_error_before_the_upgrade_is_an_ordinary_answer() -> None:
    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seen: Seen) -> None:
        writer.write(b"POST /missing HTTP/1.1\r\n" + H + b"Connection: Upgrade\r\nUpgrade: tcp\r\n\r\n")
        assert (await answer(reader))[0] == 404
        writer.write(b"GET /_ping HTTP/1.1\r\n" + H + b"\r\n")
        assert (await answer(reader))[0] == 200

    drive(client)


def test_hijack_after_early_half_close() -> None:
    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seen: Seen) -> None:
        writer.write(b"POST /hijack HTTP/1.1\r\n" + H + b"Connection: Upgrade\r\nUpgrade: tcp\r\n\r\nall of it")
        writer.write_eof()
        assert (await answer(reader))[0] == 101
        assert await reader.read() == b"all of it<eof>"

    drive(client)


def test_a_slow_reader_holds_the_stream_back() -> None:
    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seen: Seen) -> None:
        writer.write(b"".join(b"GET /file HTTP/1.1\r\n" + H + b"\r\n" for _ in range(300)))
        await asyncio.sleep(0.1)
        for _ in range(300):
            assert len((await answer(reader))[2]) == 9000

    assert drive(client).calls == 300
