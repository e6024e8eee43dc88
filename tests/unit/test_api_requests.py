"""The door: versions, routes, statuses, JSON, query words."""

from __future__ import annotations

import errno
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.api_stand_ins import Engine
from wharfie.api import faults, routes, versions
from wharfie.base import errors

OPERATIONS = json.loads((Path(__file__).parent / "data" / "operations_v1.50.json").read_text())


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    with Engine() as e:
        yield e


def test_ping_says_what_clients_look_for(engine: Engine) -> None:
    for method, body in (("GET", b"OK"), ("HEAD", b"")):
        got = engine.ask(method, "/_ping")
        assert (got.status, got.read()) == (200, body)
        assert got.headers["Api-Version"] == "1.50"
        assert got.headers["Builder-Version"] == "1"
        assert got.headers["Docker-Experimental"] == "false"
        assert got.headers["Ostype"] == "linux"
        assert "no-cache" in got.headers["Cache-Control"]


@pytest.mark.parametrize(
    ("path", "version"),
    [
        ("/v1.24/info", 24),
        ("/v1.50/info", 50),
        ("/info", 50),
        ("/v1.41/info", 41),
    ],
)
def test_version_of_a_path(path: str, version: int) -> None:
    assert versions.split(path) == (version, "/info")


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/v1.51/info", "client version 1.51 is too new. Maximum supported API version is 1.50"),
        ("/v2.0/info", "client version 2.0 is too new. Maximum supported API version is 1.50"),
        (
            "/v1.23/info",
            "client version 1.23 is too old. Minimum supported API version is 1.24, please upgrade your "
            "client to a newer version",
        ),
        ("/v0.9/info", "client version 0.9 is too old."),
    ],
)
def test_versions_out_of_range_are_told(engine: Engine, path: str, words: str) -> None:
    assert engine.json("GET", path, status=400)["message"].startswith(words)


@pytest.mark.parametrize(
    "path", ["/", "/nope", "/v1.50/nope", "/vx/info", "/containers", "/v1.50", "/containers/json/"]
)
def test_unknown_paths(engine: Engine, path: str) -> None:
    assert engine.json("GET", path, status=404) == {"message": "page not found"}


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_every_operation_of_the_description_has_a_route(method: str, path: str) -> None:
    for name in ("x", "a/b/c:1"):
        found = routes.find(method, path.replace("{id}", name).replace("{name}", name))
        assert found is not None
        assert found[1] == (name if "{" in path else "")


def test_names_with_slashes_and_percent(engine: Engine) -> None:
    assert engine.json("GET", "/images/a/b/img:1/json")["Id"].startswith("sha256:")
    assert engine.json("GET", "/images/a%2Fb%2Fimg:1/json")["Id"].startswith("sha256:")


@pytest.mark.parametrize("kind", list(errors.KINDS))
def test_every_meaning_has_a_status(kind: str) -> None:
    assert faults.STATUS[kind] in (304, 400, 403, 404, 409, 500, 501, 503)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (errors.NotFound("x"), 404),
        (errors.Conflict("x"), 409),
        (errors.Unsupported("x"), 501),
        (errors.Unavailable("x"), 503),
        (errors.Exhausted("x"), 500),
        (errors.Denied("x"), 403),
        (errors.Invalid("x"), 400),
    ],
)
def test_errors_become_messages(engine: Engine, error: errors.WharfieError, status: int) -> None:
    ref = engine.made()
    engine.containers.raises = error
    try:
        assert engine.json("POST", f"/containers/{ref}/start", status=status) == {"message": "x"}
    finally:
        engine.containers.raises = None


def test_unchanged_is_304_without_body(engine: Engine) -> None:
    ref = engine.made()
    engine.containers.raises = errors.Unchanged("runs already")
    try:
        got = engine.ask("POST", f"/containers/{ref}/start")
        assert (got.status, got.read()) == (304, b"")
    finally:
        engine.containers.raises = None


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (errors.NoCommand('exec: "x"'), "executable file not found in $PATH"),
        (errors.NotExecutable('exec: "x"'), "permission denied"),
    ],
)
def test_the_words_of_exit_codes_127_and_126(error: errors.WharfieError, words: str) -> None:
    assert words in faults.text(error)


CREATE = "/v1.50/containers/create"


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "invalid JSON: got EOF while reading request body"),
        (b"{", "invalid JSON"),
        (b"[]", "invalid JSON: cannot unmarshal array into an object"),
        (b"{}", "config cannot be empty in order to create a container"),
        (b'{"Image":"img"} x', "unexpected content after JSON"),
        (b'{"Image":"img"}{}', "unexpected content after JSON"),
        (b'{"Image":3}', "field Image of type string"),
        (b'{"Image":"img","HostConfig":{"Memory":"64m"}}', "field HostConfig.Memory of type int"),
        (b'{"Image":"img","HostConfig":{"Memory":9223372036854775808}}', "field HostConfig.Memory of type int64"),
        (
            b'{"Image":"img","HostConfig":{"PortBindings":{"80/tcp":[{"HostPort":80}]}}}',
            "field HostConfig.PortBindings[...][0].HostPort of type string",
        ),
        (b'{"Image":"img","HostConfig":[]}', "field HostConfig of type object"),
        (b'{"Image":"img","Env":["A=1",2]}', "field Env[1] of type string"),
        (
            b'{"Image":"img","NetworkingConfig":{"EndpointsConfig":{"n":{"Links":"x"}}}}',
            "EndpointsConfig[...].Links of",
        ),
        (b"\xff\xfe", "invalid JSON"),
        (b'{"a":' * 5000, "invalid JSON"),
    ],
)
def test_bad_bodies_name_the_place(engine: Engine, body: bytes, words: str) -> None:
    got = engine.ask("POST", CREATE, body, {"Content-Type": "application/json"})
    said = json.loads(got.read())["message"]
    assert got.status == 400
    assert words in said


@pytest.mark.parametrize(
    ("content_type", "words"),
    [
        ("text/plain", "unsupported Content-Type header (text/plain): must be 'application/json'"),
        ("", "malformed Content-Type header (): mime: no media type"),
    ],
)
def test_content_types(engine: Engine, content_type: str, words: str) -> None:
    got = engine.ask("POST", CREATE, b'{"Image":"img"}', {"Content-Type": content_type})
    assert (got.status, json.loads(got.read())["message"]) == (400, words)
    good = engine.ask("POST", CREATE, b'{"Image":"img"}', {"Content-Type": "application/json; charset=utf-8"})
    assert good.status == 201


def test_keys_match_without_case_and_null_means_nothing(engine: Engine) -> None:
    made = engine.json(
        "POST", CREATE, {"image": "img", "CMD": "true", "env": None, "hostconfig": {"autoremove": True}}, 201
    )
    record = engine.containers.get(made["Id"])
    assert (record.config.image, record.config.cmd, record.config.env) == ("img", ["true"], None)
    assert record.host_config.auto_remove


def test_unknown_fields_are_warned_of(engine: Engine) -> None:
    made = engine.json("POST", CREATE, {"Image": "img", "HostConfig": {"NoSuch": 1}, "Also": True}, 201)
    assert [w.split()[0] for w in made["Warnings"]] == ["Also", "HostConfig.NoSuch"]


@pytest.mark.parametrize(
    ("word", "on"),
    [
        ("1", True),
        ("true", True),
        ("True", True),
        ("yes", True),
        ("x", True),
        ("0", False),
        ("false", False),
        ("False", False),
        ("", False),
        ("no", False),
        ("none", False),
    ],
)
def test_query_booleans(engine: Engine, word: str, on: bool) -> None:
    ref = engine.made()
    engine.json("DELETE", f"/containers/{ref}?force={word}", status=204)
    assert engine.containers.said[-1] == ("remove", on, False, False)


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/containers/json?limit=x", 'strconv.ParseInt: parsing "x": invalid syntax'),
        ("/containers/json?filters={", "invalid filter"),
        ("/containers/json?filters=%7B%22nope%22:%5B%22x%22%5D%7D", "invalid filter 'nope'"),
        ("/containers/json?filters=%7B%22status%22:%5B%22x%22%5D%7D", "invalid filter 'status=x'"),
        ("/containers/json?filters=%5B%5D", "invalid filter"),
        ("/images/json?filters=%7B%22nope%22:%5B%22x%22%5D%7D", "invalid filter 'nope'"),
        ("/events?since=9&until=1", "cannot be after"),
        ("/events?since=abc", "invalid value for since"),
    ],
)
def test_bad_queries(engine: Engine, path: str, words: str) -> None:
    assert words in engine.json("GET", path, status=400)["message"]


@pytest.mark.parametrize(
    ("method", "path", "status", "words"),
    [
        ("GET", "/swarm", 503, "This node is not a swarm manager"),
        ("GET", "/services", 503, "not a swarm manager"),
        ("GET", "/tasks", 503, "not a swarm manager"),
        ("POST", "/swarm/init", 501, "later"),
        ("POST", "/build", 501, "building"),
        ("POST", "/session", 501, "building"),
        ("GET", "/images/search?term=x", 501, "searching"),
        ("POST", "/images/x/y/push", 501, "x/y"),
        ("GET", "/distribution/x/json", 501, "registries"),
        ("GET", "/plugins/x/json", 404, "not found"),
        ("POST", "/plugins/pull", 501, "plugins"),
        ("POST", "/networks/bridge/connect", 501, "user-defined"),
    ],
)
def test_what_is_absent_says_so(engine: Engine, method: str, path: str, status: int, words: str) -> None:
    body = {} if path.endswith("connect") else None
    assert words in engine.json(method, path, body, status)["message"]


def test_an_error_inside_is_logged_and_told(engine: Engine) -> None:
    ref = engine.made()
    engine.containers.raises = RuntimeError("boom")  # type: ignore[assignment]
    try:
        assert "boom" in engine.json("POST", f"/containers/{ref}/start", status=500)["message"]
    finally:
        engine.containers.raises = None
    assert "boom" in engine.logged[-1]


def test_what_the_kernel_refuses_is_said_without_pythons_words() -> None:
    full = faults.of_host(OSError(errno.ENOSPC, "No space left on device"))
    assert full == "no space left on device (make room on the disk of the data root)"
    assert faults.of_host(OSError(errno.EROFS, "Read-only file system", "/d/x")) == "/d/x: read-only file system"
    assert faults.of_host(OSError("odd")) == "odd"
