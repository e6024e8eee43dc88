"""Requests that nobody should send, against a real engine: each is answered with a 4xx (501 for what is understood and
not done) that says what is wrong, the engine lives on, and nothing half-made stays."""

from __future__ import annotations

import http.client
import json
import os
import socket
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from msgspec import inspect

from tests.hosts import IMAGE, Daemon
from wharfie.engine import model

JUNK: list[Any] = [
    -1, 1 << 31, 1 << 63, -(1 << 63) - 1, 10**400, 1.5, True, "", "x", "\0", "x" * 70000, [], ["x"], [None], [[]], {},
    {"a": None}, {"": ""}, {"a": [{}]}, [{}], [{"": 1}], "\ud800", {"\0": "\0"},
]
REFUSED = (400, 404, 409, 413, 501)


class Raw:
    """One engine, spoken to without a client."""

    def __init__(self, daemon: Daemon) -> None:
        self.daemon = daemon

    def ask(self, method: str, path: str, body: bytes | None = None, **headers: str) -> tuple[int, str]:
        """(status, the first kilobyte of the answer)."""
        connection = http.client.HTTPConnection("d", timeout=30)
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.settimeout(30)
        connection.sock.connect(self.daemon.socket)
        try:
            connection.request(method, path, body, headers or ({"Content-Type": "application/json"} if body else {}))
            answer = connection.getresponse()
            return answer.status, answer.read(8192).decode()
        finally:
            connection.close()

    def bytes(self, data: bytes) -> bytes:
        """What is answered to these bytes, up to the end of the connection."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(30)
            connection.connect(self.daemon.socket)
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
            out = b""
            while piece := connection.recv(65536):
                out += piece
            return out

    def refused(self, method: str, path: str, body: bytes | None = None, **headers: str) -> str:
        """The message of a refusal; anything else fails."""
        status, said = self.ask(method, path, body, **headers)
        assert status in REFUSED, (method, path[:200], (body or b"")[:200], status, said[:500])
        message = json.loads(said)["message"]
        assert 0 < len(message) < 5000
        assert not any(word in message for word in ("Traceback", "Error:", "object has no", "Errno")), message
        return message

    def create(self, wish: Any) -> str:
        """A create of junk: "" when it was taken (and removed again), else the message of the refusal."""
        body = json.dumps(wish).encode()
        status, said = self.ask("POST", "/containers/create", body, **{"Content-Type": "application/json"})
        if status != 201:
            return self.refused("POST", "/containers/create", body)
        assert self.ask("DELETE", f"/containers/{json.loads(said)['Id']}?force=1&v=1")[0] == 204
        return ""


@pytest.fixture
def raw(walked: Daemon | None) -> Iterator[Raw]:
    """The engine, which has the same process and the same things afterwards."""
    if walked is None:
        pytest.skip("expected: this looks at our own engine")
    engine = Raw(walked)
    things = ("/containers/json?all=1", "/volumes", "/images/json?all=1")
    before = [engine.ask("GET", path)[1] for path in things], _directories(walked)
    assert walked.process is not None
    yield engine
    assert walked.process.poll() is None
    assert engine.ask("GET", "/_ping") == (200, "OK")
    assert ([engine.ask("GET", path)[1] for path in things], _directories(walked)) == before
    assert "Traceback" not in walked.log()


def _directories(daemon: Daemon) -> set[str]:
    return {top for root in (daemon.data, daemon.run) for top, _, _ in os.walk(root)}


def _fields(shape: type[msgspec.Struct]) -> list[str]:
    info = inspect.type_info(shape)
    assert isinstance(info, inspect.StructType)
    return [f.encode_name for f in info.fields]


@pytest.mark.parametrize(("shape", "place"), [
    (model.Config, ()), (model.HostConfig, ("HostConfig",)),
    (model.EndpointSettings, ("NetworkingConfig", "EndpointsConfig", "bridge")),
    (model.Mount, ("HostConfig", "Mounts", 0)),
])
def test_every_field_with_junk(raw: Raw, shape: type[msgspec.Struct], place: tuple[Any, ...]) -> None:
    for field in _fields(shape):
        for junk in JUNK:
            inner: Any = {field: junk}
            for step in reversed(place):
                inner = [inner] if step == 0 else {step: inner}
            said = raw.create({"Image": IMAGE, "Cmd": ["true"], **inner})
            if "cannot unmarshal" in said:
                assert field in said


@pytest.mark.parametrize("body", [
    b"", b" " * 100000, b"nul", b"null", b"3", b"[]", b'"x"', b'{"Image":"x"}{', b'{"Image":"x",}', b'{"Image":NaN}',
    b'{"Image":1e999}', b'{"Image":"\xff\xfe"}', b"\xef\xbb\xbf{}", b'{"Image":' + b"[" * 200000,
    b'{"Labels":' + b'{"a":' * 200000, b'{"x":"' + b"y" * (17 << 20) + b'"}', b'{"Image":"' + b"\0" + b'"}',
], ids=range(17))
def test_bodies_that_are_none(raw: Raw, body: bytes) -> None:
    assert raw.refused("POST", "/containers/create", body, **{"Content-Type": "application/json"})


def test_a_key_twice_is_the_last_one_and_unknown_ones_are_told(raw: Raw) -> None:
    said = raw.refused("POST", "/containers/create", b'{"Image":"a1","Image":"b2"}')
    assert "b2" in said
    status, answer = raw.ask("POST", "/containers/create", json.dumps(
        {"image": IMAGE, "Cmd": ["true"], "Foo": 1, "hostconfig": {"Nope": {}}}).encode(),
        **{"Content-Type": "application/json"})
    assert status == 201
    made = json.loads(answer)
    assert [w.partition(" ")[0] for w in made["Warnings"]] == ["Foo", "HostConfig.Nope"]
    assert raw.ask("DELETE", f"/containers/{made['Id']}")[0] == 204


QUERIES = [
    "GET /containers/C/logs", "GET /containers/C/logs?stdout=1&since=abc", "GET /containers/C/logs?stdout=1&until=1.x",
    "GET /containers/C/logs?stdout=1&since=99999999999999999999", "POST /containers/C/stop?t=abc",
    "POST /containers/C/stop?t=99999999999999999999", "POST /containers/C/stop?signal=FOO",
    "POST /containers/C/restart?t=1.5", "POST /containers/C/kill?signal=FOO", "POST /containers/C/kill?signal=-1",
    "POST /containers/C/kill?signal=99999999999999999999", "POST /containers/C/resize", "POST /containers/C/resize?h=1",
    "POST /containers/C/resize?h=x&w=1", "POST /containers/C/resize?h=-1&w=1", "POST /containers/C/wait?condition=x",
    "POST /containers/C/rename", "POST /containers/C/rename?name=a/b", "POST /containers/C/rename?name=%00",
    "POST /containers/C/update", "GET /containers/C/top?ps_args=%00", "GET /containers/C/archive",
    "GET /containers/C/archive?path=%00", "GET /containers/C/archive?path=" + "x" * 5000,
    "PUT /containers/C/archive?path=/", "GET /containers/json?limit=x",
    "GET /containers/json?limit=9999999999999999999",
    *(f"GET /containers/json?filters={said}" for said in (
        "zz", "[]", "3", "%00", "%ff", "[" * 100000, '{"x":["y"]}', '{"status":3}', '{"status":["x"]}',
        '{"exited":["' + "9" * 6000 + '"]}', '{"name":["("]}', '{"before":["nope"]}', '{"publish":["a-b"]}')),
    'GET /images/json?filters={"dangling":["x"]}', 'GET /networks?filters={"type":["x"]}', "GET /volumes?filters=zz",
    "GET /events?since=abc", "GET /events?since=2&until=1", "GET /events?filters=zz", "GET /system/df?type=zz",
    "POST /commit?container=C&changes=FOO", "POST /images/create", "POST /images/create?fromImage=%00",
    "POST /images/create?fromImage=x&platform=a/b/c/d", "POST /containers/create?platform=a/b/c/d",
    "GET /volumes/%2e%2e%2fetc", "GET /images/../json", "GET /containers/" + "a" * 70000 + "/json",
    "GET /nope", "GET /", "GET /containers", "GET /containers/create", "DELETE /info", "PATCH /containers/json",
    "FOO /info", "OPTIONS /info", "GET /v1.99/info", "GET /v0.1/info", "GET /v1.23/info", "GET /v2.0/info",
    "GET /v99999999.1/info", "GET /v1.x/info", "GET /v1.50", "GET //info", "GET /info/",
    "POST /containers/prune?filters=x",
]


@pytest.mark.parametrize("request_line", QUERIES, ids=range(len(QUERIES)))
def test_queries_routes_and_versions(raw: Raw, request_line: str) -> None:
    status, answer = raw.ask("POST", "/containers/create", json.dumps({"Image": IMAGE, "Cmd": ["true"]}).encode(),
                             **{"Content-Type": "application/json"})
    assert status == 201
    identifier = json.loads(answer)["Id"]
    method, _, path = request_line.partition(" ")
    try:
        raw.refused(method, path.replace("/C/", f"/{identifier}/").replace("=C&", f"={identifier}&"))
    finally:
        assert raw.ask("DELETE", f"/containers/{identifier}")[0] == 204


@pytest.mark.parametrize(("head", "body", "status"), [
    (b"Content-Length: abc", b"{}", 400), (b"Content-Length: -1", b"{}", 400),
    (b"Content-Length: 2\r\nContent-Length: 3", b"{}", 400), (b"Content-Length: 99999999999999999999", b"{}", 400),
    (b"Content-Length: 2\r\nTransfer-Encoding: chunked", b"0\r\n\r\n", 400),
    (b"Transfer-Encoding: chunked", b"zz\r\n{}\r\n", 400), (b"Transfer-Encoding: gzip", b"", 501),
    (b"X: " + b"a" * (1 << 20), b"", 431), (b"X: a\0b", b"", 400),
], ids=range(9))
def test_heads(raw: Raw, head: bytes, body: bytes, status: int) -> None:
    line = b"POST /containers/create HTTP/1.1\r\nHost: d\r\nContent-Type: application/json\r\n"
    said = raw.bytes(line + head + b"\r\n\r\n" + body)
    assert said.startswith(b"HTTP/1.1 %d " % status), said[:200]
    assert json.loads(said.partition(b"\r\n\r\n")[2])["message"]


def test_a_ping_by_head(raw: Raw) -> None:
    said = raw.bytes(b"HEAD /_ping HTTP/1.1\r\nHost: d\r\nConnection: close\r\n\r\n")
    head, _, body = said.partition(b"\r\n\r\n")
    assert (head.startswith(b"HTTP/1.1 200 "), body) == (True, b"")
    assert b"api-version: 1.50" in head.lower()
