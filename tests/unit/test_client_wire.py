"""The clients against a small engine; JSON without `json`; answers cut at every byte."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.cli_engine import CONTAINER, Engine
from wharfie.base import errors
from wharfie.client import aio, calls, codec, endpoint, faults, heads, sync, wire
from wharfie.web import exchange

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.text()
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4), max_leaves=20)


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    with Engine(str(tmp_path_factory.mktemp("e") / "s")) as made:
        yield made


@given(JSON)
def test_codec_is_json(value: object) -> None:
    assert codec.loads(json.dumps(value)) == value
    assert codec.dumps(value) == json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    assert json.loads(codec.pretty(value)) == value
    assert codec.loads(" \n" + codec.pretty(value) + "\n") == value


@pytest.mark.parametrize("text", ["", "{", '{"a":}', "nope", "[1,]", '"\\x"', "{}{}", "[" * 100000])
def test_codec_refuses(text: str) -> None:
    with pytest.raises(errors.Damaged):
        codec.loads(text)


def test_keep_alive_and_faults(engine: Engine) -> None:
    connection = wire.Connection(endpoint.parse(engine.url))
    for _ in range(3):
        assert connection.do(calls.version()).json()["Version"] == "9.9"
    with pytest.raises(errors.NotFound, match="No such container: gone") as caught:
        connection.do(calls.container_remove("gone"))
    assert isinstance(caught.value, faults.EngineFault)
    assert caught.value.status == 404
    assert connection.do(calls.version()).status == 200


def test_unreachable(tmp_path: object) -> None:
    with pytest.raises(faults.Unreachable, match="Is the docker daemon running"):
        wire.Connection(endpoint.parse(f"unix://{tmp_path}/none")).do(calls.version())
    with pytest.raises(faults.Unreachable):
        wire.Connection(endpoint.parse("tcp://127.0.0.1:1")).do(calls.version())


def test_sync_engine(engine: Engine) -> None:
    with sync.Engine(engine.url) as client:
        assert client.version()["ApiVersion"] == "1.50"
        assert client.create("x", ["true"], env={"A": "1"}, HostConfig={"Memory": 5}) == CONTAINER
        assert engine.bodies[-1] == {"Image": "x", "Cmd": ["true"], "Env": ["A=1"], "HostConfig": {"Memory": 5}}
        assert client.logs("web") == (b"one\nthree\n", b"two\n")
        assert client.containers()[0]["Names"] == ["/web"]
        got = client.exec("web", ["both"], user="me")
        assert (got.code, got.stdout, got.stderr) == (3, b"to out\n", b"to err\n")
        assert engine.bodies[-1]["User"] == "me"
        with pytest.raises(errors.NotFound):
            client.remove("gone")


def test_async_engine(engine: Engine) -> None:
    async def main() -> None:
        async with aio.Engine(engine.url) as client:
            versions = await asyncio.gather(*(client.version() for _ in range(20)))
            assert {v["Version"] for v in versions} == {"9.9"}
            assert await client.create("x", ["fail"]) == CONTAINER
            await client.start(CONTAINER)
            assert await client.wait(CONTAINER) == 7
            assert await client.logs("web") == (b"one\nthree\n", b"two\n")
            got = await client.exec("web", ["both"])
            assert (got.code, got.stdout, got.stderr) == (3, b"to out\n", b"to err\n")
            with pytest.raises(errors.NotFound):
                await client.remove("gone")

    asyncio.run(main())


ANSWERS = [
    (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", b"hello", b""),
    (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
     b"3\r\nhel\r\n2;x=y\r\nlo\r\n0\r\n\r\n", b"hello", b""),
    (b"HTTP/1.1 204 No Content\r\n\r\n", b"", b""),
    (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nxHTTP/1.1", b"x", b"HTTP/1.1"),
]


@pytest.mark.parametrize(("raw", "payload", "rest"), ANSWERS)
@pytest.mark.parametrize("step", [1, 2, 7, 1000])
def test_answers_in_pieces(raw: bytes, payload: bytes, rest: bytes, step: int) -> None:
    answer = exchange.Exchange("GET")
    got = b""
    for at in range(0, len(raw), step):
        answer.held += raw[at : at + step]
        if answer.head():
            got += answer.take()
    assert (got, answer.done(), bytes(answer.held)) == (payload, True, rest)


@pytest.mark.parametrize("step", [1, 2, 7, 1000])
def test_chunks_in_pieces(step: int) -> None:
    body = heads.Body(heads.Head(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked"), "GET")
    raw = b"3\r\nhel\r\n2;x=y\r\nlo\r\n0\r\nTrailer: x\r\n\r\nrest"
    held = bytearray()
    got = b""
    for at in range(0, len(raw), step):
        held += raw[at : at + step]
        got += body.take(held)
    assert (got, body.done, bytes(held)) == (b"hello", True, b"rest")


def test_queries() -> None:
    assert heads.query({"a": True, "b": False, "c": "", "d": "x/ y", "e": 0}) == "?a=1&d=x%2F%20y&e=0"
    assert calls.container_list(filters={"status": ["exited"]}).target == (
        "/containers/json?filters=%7B%22status%22%3A%7B%22exited%22%3Atrue%7D%7D")
    assert calls.image_inspect("a/b:c@d é").target == "/images/a/b:c@d%20%C3%A9/json"
    for text, parts in (("a:5000/b", ("a:5000/b", "", "")), ("a:5000/b:c", ("a:5000/b", ":", "c")),
                        ("b@sha256:x", ("b", "@", "sha256:x")), ("b", ("b", "", ""))):
        assert calls.split_tag(text) == parts
