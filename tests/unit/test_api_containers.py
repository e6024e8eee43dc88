"""Containers over the API: the shapes, the filters, the streams."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote

import pytest

from tests.unit.api_stand_ins import IMAGE_ID, Engine
from wharfie.api import call, shapes_container, streams, transfer
from wharfie.base import errors, frames, when
from wharfie.engine import model
from wharfie.logs import encode
from wharfie.web import request as web
from wharfie.web import response


@pytest.fixture
def engine() -> Iterator[Engine]:
    with Engine() as e:
        yield e


def running(engine: Engine, ref: str) -> model.Container:
    record = engine.containers.get(ref)
    record.state = model.State(status="running", started_at=when.now() - 3 * 60 * 10**9, pid=77)
    return record


def test_create_answers_with_id_and_warnings(engine: Engine) -> None:
    got = engine.json("POST", "/containers/create?name=/warned&platform=linux/amd64", {"Image": "img"}, 201)
    assert set(got) == {"Id", "Warnings"}
    assert got["Warnings"] == ["a warning"]
    assert engine.containers.said == [("create", "warned", "linux/amd64")]
    assert "No such image" in engine.json("POST", "/containers/create", {"Image": "missing"}, 404)["message"]


def test_inspect_has_the_whole_shape(engine: Engine) -> None:
    ref = engine.made(Labels={"a": "b"}, Tty=True, ExposedPorts={"80/tcp": {}, "81/udp": {}})
    record = running(engine, ref)
    record.ports = [model.PublishedPort(proto="tcp", host_ip="0.0.0.0", host_port=8080, container_port=80)]
    record.endpoints = {
        "bridge": model.EndpointSettings(ip_address="172.17.0.2", ip_prefix_len=16, mac_address="02:42")
    }
    record.mounts = [
        model.MountPoint(source="/a", destination="/b"),
        model.MountPoint(type="volume", name="v", source="/x", destination="/c", driver="local"),
    ]
    got = engine.json("GET", f"/containers/{ref}/json?size=1")
    assert (got["Id"], got["Name"], got["Image"]) == (ref, "/c0", IMAGE_ID)
    assert (got["Path"], got["Args"]) == ("sh", ["-c", "a b"])
    assert got["State"]["Running"]
    assert (got["State"]["Pid"], got["State"]["FinishedAt"]) == (77, when.ZERO)
    assert (got["SizeRw"], got["SizeRootFs"]) == (11, 22)
    assert got["Config"]["Labels"] == {"a": "b"}
    assert got["HostConfig"]["NetworkMode"] == "default"
    assert got["NetworkSettings"]["Ports"] == {"80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}], "81/udp": None}
    assert got["NetworkSettings"]["IPAddress"] == "172.17.0.2"
    assert got["NetworkSettings"]["Networks"]["bridge"]["MacAddress"] == "02:42"
    assert [m.get("Name") for m in got["Mounts"]] == [None, "v"]
    assert got["HostsPath"].endswith("/hosts")
    for left_out in ("Healthcheck", "StopTimeout", "Shell", "MacAddress"):
        assert left_out not in got["Config"]
    for left_out in ("Tmpfs", "Sysctls", "Init", "Mounts"):
        assert left_out not in got["HostConfig"]


def test_list_shows_running_ones_unless_told(engine: Engine) -> None:
    first, second = engine.made(), engine.made()
    running(engine, second)
    assert [c["Id"] for c in engine.json("GET", "/containers/json")] == [second]
    assert [c["Id"] for c in engine.json("GET", "/containers/json?all=1")] == [second, first]
    assert [c["Id"] for c in engine.json("GET", "/containers/json?limit=1")] == [second]
    got = engine.json("GET", "/containers/json?size=1")[0]
    assert got["Names"] == ["/c1"]
    assert (got["Image"], got["ImageID"], got["Command"]) == ("img", IMAGE_ID, "sh -c 'a b'")
    assert (got["State"], got["Status"]) == ("running", "Up 3 minutes")
    assert (got["SizeRw"], got["SizeRootFs"]) == (11, 22)
    assert got["HostConfig"] == {"NetworkMode": "bridge"}
    assert list(got["NetworkSettings"]["Networks"]) == ["bridge"]


FILTERS: list[tuple[dict[str, list[str]], str]] = [
    ({"name": ["^/?a"]}, "a"),
    ({"name": ["b"]}, "b"),
    ({"label": ["x"]}, "ab"),
    ({"label": ["x=1"]}, "a"),
    ({"label": ["x=1", "y"]}, "a"),
    ({"label!": ["x=1"]}, "b"),
    ({"status": ["exited"]}, "b"),
    ({"status": ["running", "exited"]}, "ab"),
    ({"exited": ["3"]}, "b"),
    ({"exited": ["0"]}, ""),
    ({"ancestor": ["img"]}, "ab"),
    ({"ancestor": ["nothing"]}, ""),
    ({"before": ["b"]}, "a"),
    ({"since": ["a"]}, "b"),
    ({"volume": ["v"]}, "a"),
    ({"volume": ["/c"]}, "a"),
    ({"network": ["none"]}, "b"),
    ({"network": ["bridge"]}, "a"),
    ({"publish": ["8080"]}, "a"),
    ({"publish": ["8000-8100/tcp"]}, "a"),
    ({"publish": ["8080/udp"]}, ""),
    ({"expose": ["80"]}, "a"),
    ({"health": ["none"]}, "ab"),
    ({"health": ["healthy"]}, ""),
    ({"is-task": ["true"]}, ""),
    ({"is-task": ["false"]}, "ab"),
    ({"isolation": ["default"]}, "ab"),
]


@pytest.mark.parametrize(("wanted", "names"), FILTERS, ids=[str(f[0]) for f in FILTERS])
def test_filters(engine: Engine, wanted: dict[str, list[str]], names: str) -> None:
    for name, labels in (("a", {"x": "1", "y": ""}), ("b", {"x": "2"})):
        body = {"Image": "img", "Labels": labels, "HostConfig": {"NetworkMode": "none" if name == "b" else ""}}
        engine.json("POST", f"/containers/create?name={name}", body, 201)
    a = running(engine, "a")
    a.config.exposed_ports = {"80/tcp": {}}
    a.ports = [model.PublishedPort(proto="tcp", host_ip="", host_port=8080, container_port=80)]
    a.mounts = [model.MountPoint(type="volume", name="v", destination="/c")]
    engine.containers.get("b").state = model.State(status="exited", exit_code=3, started_at=1, finished_at=2)
    for form in (wanted, {k: dict.fromkeys(v, True) for k, v in wanted.items()}):
        got = engine.json("GET", f"/containers/json?all=1&filters={quote(json.dumps(form))}")
        assert "".join(sorted(c["Names"][0][1:] for c in got)) == names


@pytest.mark.parametrize(
    ("state", "text"),
    [
        (model.State(status="created"), "Created"),
        (model.State(status="running", started_at=1), "Up 10 seconds"),
        (model.State(status="paused", started_at=1), "Up 10 seconds (Paused)"),
        (model.State(status="exited", exit_code=137, started_at=1, finished_at=1), "Exited (137) 10 seconds ago"),
        (model.State(status="restarting", exit_code=1, started_at=1, finished_at=1), "Restarting (1) 10 seconds ago"),
        (model.State(status="removing"), "Removal In Progress"),
        (model.State(status="dead"), "Dead"),
    ],
)
def test_status_texts(state: model.State, text: str) -> None:
    assert shapes_container.status(state, 10 * 10**9 + 1) == text


def test_a_thousand_containers_are_listed_quickly(engine: Engine) -> None:
    for n in range(1000):
        record = model.Container(
            id=f"{n:064x}",
            name=f"n{n}",
            created=n,
            config=model.Config(image="img"),
            host_config=model.HostConfig(),
            image=IMAGE_ID,
            image_name="img",
            path="sh",
        )
        engine.containers.records[record.id] = record
    start = time.process_time()
    assert len(engine.json("GET", "/containers/json?all=1")) == 1000
    assert time.process_time() - start < 1


@pytest.mark.parametrize(
    ("method", "path", "status", "call"),
    [
        ("POST", "start", 204, ("start",)),
        ("POST", "stop?t=3", 204, ("stop", "", 3)),
        ("POST", "stop?t=-1&signal=INT", 204, ("stop", "INT", -1)),
        ("POST", "stop", 204, ("stop", "", None)),
        ("POST", "restart?t=1", 204, ("restart", "", 1)),
        ("POST", "kill?signal=HUP", 204, ("kill", "HUP")),
        ("POST", "pause", 204, ("pause",)),
        ("POST", "unpause", 204, ("unpause",)),
        ("POST", "rename?name=new", 204, ("rename", "new")),
        ("POST", "resize?h=24&w=80", 200, ("resize", 24, 80)),
        ("DELETE", "?force=1&v=1", 204, ("remove", True, False, True)),
    ],
)
def test_verbs(engine: Engine, method: str, path: str, status: int, call: tuple[Any, ...]) -> None:
    ref = engine.made()
    joined = path if path.startswith("?") else f"/{path}"
    engine.json(method, f"/v1.50/containers/{ref}{joined}", status=status)
    assert engine.containers.said[-1] == call
    unknown = engine.json(method, f"/containers/unknown{joined}", status=404)
    assert unknown == {"message": "No such container: unknown"}


@pytest.mark.parametrize(
    ("method", "path", "status", "words"),
    [
        ("POST", "resize?h=x&w=1", 400, "height"),
        ("POST", "resize?h=1", 400, "width"),
        ("POST", "wait?condition=x", 400, 'invalid condition: "x"'),
        ("POST", "rename", 400, "may be empty"),
        ("POST", "stop?t=x", 400, "invalid value for t"),
        ("GET", "logs", 400, "at least one stream"),
        ("PUT", "archive", 400, "path cannot be empty"),
        ("GET", "archive?path=", 400, "path cannot be empty"),
        ("GET", "archive?path=%00", 400, "null byte"),
        ("GET", "attach/ws", 501, "websocket"),
        ("DELETE", "?link=1", 501, "link"),
        ("POST", "start?checkpoint=x", 501, "checkpoint"),
        ("GET", "stats?stream=1&one-shot=1", 400, "one-shot"),
    ],
)
def test_refusals(engine: Engine, method: str, path: str, status: int, words: str) -> None:
    ref = engine.made()
    joined = path if path.startswith("?") else f"/{path}"
    assert words in engine.json(method, f"/containers/{ref}{joined}", status=status)["message"]


def test_update_hands_the_wish_over(engine: Engine) -> None:
    ref = engine.made()
    said = engine.json("POST", f"/containers/{ref}/update", {"Memory": 5 << 20, "RestartPolicy": {"Name": "always"}})
    verb, wish = engine.containers.said[-1]
    assert (verb, wish.memory, wish.restart_policy.name, said) == ("update", 5 << 20, "always", {"Warnings": None})
    assert "Memory" in engine.json("POST", f"/containers/{ref}/update", {"Memory": "x"}, 400)["message"]


@pytest.mark.parametrize(
    ("mode", "go"),
    [(0o40755, 1 << 31 | 0o755), (0o100644, 0o644), (0o120777, 1 << 27 | 0o777), (0o104711, 1 << 23 | 0o711),
     (0o41777, 1 << 31 | 1 << 20 | 0o777), (0o20620, 1 << 26 | 1 << 21 | 0o620), (0o10600, 1 << 25 | 0o600)],
)
def test_modes_as_go_has_them(mode: int, go: int) -> None:
    assert transfer.go_mode(mode) == go


def test_commit_hands_the_wish_over(engine: Engine) -> None:
    ref = engine.made()
    path = f"/commit?container={ref}&repo=a/b&tag=1&author=me&comment=c&pause=0&changes=CMD%20x%0AENV%20a=b"
    engine.json("POST", path, {"Labels": {"k": "v"}}, 201)
    verb, wish, config, changes, pause = engine.containers.said[-1]
    assert (verb, wish.name, wish.author, wish.comment, pause) == ("commit", "a/b:1", "me", "c", False)
    assert (config.labels, changes) == ({"k": "v"}, ["CMD x", "ENV a=b"])
    engine.json("POST", f"/commit?container={ref}", status=201)
    assert engine.containers.said[-1][2:] == (None, [], True)
    assert engine.json("POST", "/commit?container=unknown", status=404)


def test_start_with_a_body_is_refused(engine: Engine) -> None:
    ref = engine.made()
    assert "non-empty request body" in engine.json("POST", f"/containers/{ref}/start", {"a": 1}, 400)["message"]
    engine.json("POST", f"/containers/{ref}/start", status=204)


def test_wait_sends_its_head_before_the_container_ends(engine: Engine) -> None:
    ref = engine.made()
    got = engine.ask("POST", f"/v1.50/containers/{ref}/wait?condition=next-exit")  # the head is here
    assert got.status == 200
    assert engine.containers.said[-1] == ("watch", "next-exit")
    future = engine.containers.futures[-1]
    engine.loop.call_soon_threadsafe(future.set_result, model.WaitResult(code=7, error=""))
    assert json.loads(got.read()) == {"StatusCode": 7}


def test_wait_tells_an_error(engine: Engine) -> None:
    ref = engine.made()
    got = engine.ask("POST", f"/containers/{ref}/wait")
    future = engine.containers.futures[-1]
    engine.loop.call_soon_threadsafe(future.set_result, model.WaitResult(code=255, error="lost"))
    assert json.loads(got.read()) == {"StatusCode": 255, "Error": {"Message": "lost"}}


def test_a_client_that_leaves_cancels_its_wait(engine: Engine) -> None:
    ref = engine.made()
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(engine.path)
        s.sendall(f"POST /containers/{ref}/wait HTTP/1.1\r\nHost: d\r\nContent-Length: 0\r\n\r\n".encode())
        assert b"200 OK" in s.recv(4096)
    deadline = time.monotonic() + 5
    while not engine.containers.futures[-1].cancelled():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def hijack(engine: Engine, path: str, *, upgrade: bool, early: bytes = b"", body: bytes = b"") -> tuple[str, bytes]:
    """(head, everything after it) of a hijacked request with bytes sent early."""
    extra = "Connection: Upgrade\r\nUpgrade: tcp\r\n" if upgrade else ""
    kind = "Content-Type: application/json\r\n" if body else ""
    head = f"POST {path} HTTP/1.1\r\nHost: d\r\n{extra}{kind}Content-Length: {len(body)}\r\n\r\n"
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(10)
        s.connect(engine.path)
        s.sendall(head.encode() + body + early)
        data = b""
        while piece := s.recv(65536):
            data += piece
    start, _, rest = data.partition(b"\r\n\r\n")
    return start.decode(), rest


@pytest.mark.parametrize(
    ("tty", "version", "kind"),
    [
        (False, 50, "application/vnd.docker.multiplexed-stream"),
        (False, 41, "application/vnd.docker.raw-stream"),
        (True, 50, "application/vnd.docker.raw-stream"),
    ],
)
@pytest.mark.parametrize("upgrade", [True, False])
def test_attach_leaves_http(engine: Engine, tty: bool, version: int, kind: str, upgrade: bool) -> None:
    ref = engine.made(Tty=tty, OpenStdin=True)
    head, rest = hijack(
        engine, f"/v1.{version}/containers/{ref}/attach?stdin=1&stdout=1&stream=1", upgrade=upgrade, early=b"early"
    )
    assert head.startswith("HTTP/1.1 101 UPGRADED" if upgrade else "HTTP/1.1 200 OK")
    assert f"Content-Type: {kind}" in head
    assert rest == f"attached {not tty} early".encode()


def test_what_attach_refuses_it_refuses_in_http(engine: Engine) -> None:
    assert engine.json("POST", "/containers/unknown/attach?stream=1", status=404)
    ref = engine.made()
    engine.containers.raises = errors.Conflict("container c0 is paused, unpause the container before attach")
    assert "paused" in engine.json("POST", f"/containers/{ref}/attach?stream=1", status=409)["message"]


@pytest.mark.parametrize("terminal", [True, False])
@pytest.mark.parametrize("tty", [True, False])
def test_exec_that_cannot_start_says_so_on_the_stream(engine: Engine, tty: bool, terminal: bool) -> None:
    """The `Tty` of the start decides on frames, whatever the exec was created with."""
    ref = engine.made()
    made = engine.json("POST", f"/containers/{ref}/exec", {"Cmd": ["nope"], "Tty": terminal, "AttachStdout": True}, 201)
    path, body = f"/exec/{made['Id']}/start", b'{"Detach":false,"Tty":%s}' % (b"true" if tty else b"false")
    head, rest = hijack(engine, path, upgrade=True, body=body, early=b"in")
    assert head.startswith("HTTP/1.1 101")
    assert rest == b"exec %d in" % (not tty)
    engine.execs.raises = errors.NoCommand('exec: "nope"')
    _, rest = hijack(engine, path, upgrade=True, body=body)
    words = b'exec: "nope": executable file not found in $PATH\r\n'
    assert rest == (words if tty else frames.frame(frames.STDERR, words))


def test_exec_inspect_detach_and_resize(engine: Engine) -> None:
    ref = engine.made()
    assert "No exec command" in engine.json("POST", f"/containers/{ref}/exec", {}, 400)["message"]
    made = engine.json("POST", f"/containers/{ref}/exec", {"Cmd": ["a", "b"], "User": "u", "Tty": True}, 201)["Id"]
    engine.json("POST", f"/exec/{made}/start", {"Detach": True, "ConsoleSize": [10, 20]}, 200)
    engine.json("POST", f"/exec/{made}/resize?h=3&w=4", status=200)
    assert engine.execs.sizes == [(10, 20), (3, 4)]
    got = engine.json("GET", f"/exec/{made}/json")
    assert (got["ID"], got["ExitCode"], got["Running"], got["ContainerID"]) == (made, None, False, ref)
    assert got["ProcessConfig"] == {
        "tty": True,
        "entrypoint": "a",
        "arguments": ["b"],
        "privileged": False,
        "user": "u",
    }
    assert engine.json("GET", "/exec/unknown/json", status=404)["message"] == "No such exec instance: unknown"


def test_top_and_stats(engine: Engine) -> None:
    ref = engine.made()
    assert engine.json("GET", f"/containers/{ref}/top") == {"Titles": ["PID"], "Processes": [["1"]]}
    got = engine.json("GET", f"/containers/{ref}/stats?stream=0")
    assert got["cpu_stats"]["cpu_usage"]["total_usage"] == 0
    running(engine, ref)
    got = engine.json("GET", f"/containers/{ref}/stats?stream=0&one-shot=1")
    assert (got["name"], got["memory_stats"]["usage"], got["cpu_stats"]["cpu_usage"]["total_usage"]) == ("/c0", 9, 5)


def write_log(record: model.Container, pieces: list[tuple[int, int, bytes]]) -> None:
    lines = {stream: encode.Lines(stream) for stream in (1, 2)}
    with open(record.log_path, "ab") as file:
        for stream, ns, data in pieces:
            file.write(lines[stream].feed(data, ns))


def split(data: bytes) -> list[tuple[int, bytes]]:
    return frames.Splitter().feed(data)


def logs(engine: Engine, ref: str, query: str) -> bytes:
    got = engine.ask("GET", f"/v1.50/containers/{ref}/logs?{query}")
    assert got.status == 200
    return got.read()


SECOND = 10**9


def test_logs_are_framed_a_line_at_a_time(engine: Engine) -> None:
    ref = engine.made()
    write_log(
        engine.containers.get(ref),
        [(1, 5 * SECOND, b"one\ntwo\r\nthree\n"), (2, 6 * SECOND, b"bad\n"), (1, 7 * SECOND + 5, b"four\n")],
    )
    both = split(logs(engine, ref, "stdout=1&stderr=1"))
    assert both == [(1, b"one\n"), (1, b"two\r\n"), (1, b"three\n"), (2, b"bad\n"), (1, b"four\n")]
    assert split(logs(engine, ref, "stderr=1")) == [(2, b"bad\n")]
    assert split(logs(engine, ref, "stdout=1&stderr=1&tail=2")) == both[-2:]
    assert split(logs(engine, ref, "stdout=1&tail=0")) == []
    assert split(logs(engine, ref, "stdout=1&stderr=1&since=6")) == both[-2:]
    assert split(logs(engine, ref, "stdout=1&stderr=1&since=7.000000005")) == both[-1:]
    assert split(logs(engine, ref, "stdout=1&stderr=1&until=6.5")) == both[:-1]
    stamped = split(logs(engine, ref, "stdout=1&timestamps=1"))
    assert stamped[1] == (1, b"1970-01-01T00:00:05.000000000Z two\r\n")


def test_logs_of_a_terminal_are_raw(engine: Engine) -> None:
    ref = engine.made(Tty=True)
    write_log(engine.containers.get(ref), [(1, 5, b"one\r\n")])
    got = engine.ask("GET", f"/v1.50/containers/{ref}/logs?stdout=1")
    assert got.headers["Content-Type"] == "application/vnd.docker.raw-stream"
    assert got.read() == b"one\r\n"


def test_logs_without_a_log(engine: Engine) -> None:
    ref = engine.made()
    assert logs(engine, ref, "stdout=1&follow=1") == b""
    none = engine.json(
        "POST", "/containers/create", {"Image": "img", "HostConfig": {"LogConfig": {"Type": "none"}}}, 201
    )
    said = engine.json("GET", f"/containers/{none['Id']}/logs?stdout=1", status=501)
    assert "does not support reading" in said["message"]


def test_logs_follow_to_the_end(engine: Engine) -> None:
    ref = engine.made()
    record = running(engine, ref)
    write_log(record, [(1, 1, b"before\n")])
    got = engine.ask("GET", f"/v1.50/containers/{ref}/logs?stdout=1&follow=1")
    seen = got.read1(100)
    assert split(seen) == [(1, b"before\n")]
    write_log(record, [(1, 2, b"while\n")])
    assert split(got.read1(100)) == [(1, b"while\n")]
    write_log(record, [(1, 3, b"last\n")])
    engine.loop.call_soon_threadsafe(engine.containers.futures[-1].set_result, model.WaitResult(code=0, error=""))
    assert split(got.read()) == [(1, b"last\n")]


def test_logs_whose_client_leaves_before_the_first_byte_watch_nobody(engine: Engine) -> None:
    ref = engine.made()
    write_log(running(engine, ref), [(1, 1, b"line\n")])

    async def left() -> bool:
        asked = web.Request("GET", f"/containers/{ref}/logs?stdout=1&follow=1", {}, None)  # type: ignore[arg-type]
        services = SimpleNamespace(containers=engine.containers)
        answer = await streams.logs(call.Call(services, asked, 50, ref))  # type: ignore[arg-type]
        assert isinstance(answer, response.Stream)
        assert answer.unread is not None
        answer.unread()
        return engine.containers.futures[-1].cancelled()

    assert asyncio.run_coroutine_threadsafe(left(), engine.loop).result(5)
    held = [os.path.realpath(f"/proc/self/fd/{name}") for name in os.listdir("/proc/self/fd")]
    assert os.path.realpath(engine.containers.get(ref).log_path) not in held


def test_a_slow_reader_of_a_long_log_holds_no_memory(engine: Engine) -> None:
    """64 MB of log, a client that reads nothing for a while: the server's buffers stay bounded, and nothing is lost."""
    ref = engine.made()
    record = engine.containers.get(ref)
    chunk = b"".join(b"%099d\n" % n for n in range(10_000))
    write_log(record, [(1, n, chunk) for n in range(1, 65)])
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(30)
        s.connect(engine.path)
        s.sendall(f"GET /v1.50/containers/{ref}/logs?stdout=1 HTTP/1.0\r\nHost: d\r\n\r\n".encode())
        time.sleep(0.3)
        before = memory()
        time.sleep(0.3)
        assert memory() - before < 16 << 20
        got = 0
        while piece := s.recv(1 << 20):
            got += len(piece)
    assert got > 64 * 10_000 * 108


def memory() -> int:
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * 4096
