"""No field of ContainerCreate (API 1.50) is ever silently dropped: each is remembered, or refused by name."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.unit.api_stand_ins import Engine
from wharfie.engine import honoured, model

FIELDS: list[tuple[str, str]] = json.loads((Path(__file__).parent / "data" / "container_create_v1.50.json").read_text())
VALUES: dict[str, Any] = {
    "string": "word",
    "boolean": True,
    "integer": 7,
    "array of string": ["word"],
    "array of integer": [7, 8],
    "array of array": [["word"]],
    "map of string": {"key": "word"},
    "map of object": {"key": {}},
}
# What Docker's engine fills in itself and ignores from clients.
FROM_THE_ENGINE = {
    f"NetworkingConfig.EndpointsConfig.{{}}.{name}"
    for name in (
        "NetworkID",
        "EndpointID",
        "Gateway",
        "IPAddress",
        "IPPrefixLen",
        "IPv6Gateway",
        "GlobalIPv6Address",
        "GlobalIPv6PrefixLen",
        "DNSNames",
    )
}
# What only the client acts on, or what describes the image and not the container.
CLIENTS_OWN = {
    "container_id_file",
    "attach_stdout",
    "attach_stderr",
    "attach_stdin",
    "on_build",
    "shell",
    "args_escaped",
}
# Words by which Docker's own texts name a field.
WORDS = {"IPv4Address": "IP address"}
GOOD: dict[str, Any] = {
    "HostConfig.NetworkMode": "none",
    "HostConfig.RestartPolicy.Name": "always",
    "HostConfig.LogConfig.Type": "json-file",
    "HostConfig.ConsoleSize": [7, 8],
    "MacAddress": "02:00:00:00:00:01",
}


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    with Engine() as e:
        yield e


def nested(path: str, value: Any) -> dict[str, Any]:
    """The object in which only `path` is set."""
    out: Any = value
    for word in reversed(path.split(".")):
        out = [out] if word == "[]" else {"key": out} if word == "{}" else {word: out}
    assert isinstance(out, dict)
    return out


def found(obj: Any, path: str) -> Any:
    for word in path.split("."):
        if obj is None:
            return None
        obj = obj[0] if word == "[]" else obj.get("key") if word == "{}" else obj.get(word)
    return obj


@pytest.mark.parametrize(("path", "kind"), FIELDS, ids=[p for p, _ in FIELDS])
def test_each_field_is_kept_or_refused_by_name(engine: Engine, path: str, kind: str) -> None:
    value = GOOD.get(path, VALUES[kind])
    body = nested(path, value)
    body.setdefault("Image", "img")
    got = engine.ask("POST", "/v1.50/containers/create", body)
    said = json.loads(got.read())
    if got.status in (400, 501):
        words = [
            WORDS.get(w, w).lower() for w in path.split(".") if w not in ("HostConfig", "NetworkingConfig", "[]", "{}")
        ]
        assert any(word in said["message"].lower() for word in words), said
        return
    assert got.status == 201, said
    assert said["Warnings"] == []
    record = engine.containers.get(said["Id"])
    kept = {
        **msgspec.to_builtins(record.config),
        "HostConfig": msgspec.to_builtins(record.host_config),
        "NetworkingConfig": msgspec.to_builtins(record.networking),
    }
    if path not in FROM_THE_ENGINE:
        assert found(kept, path) == value


@pytest.mark.parametrize(("path", "kind"), FIELDS, ids=[p for p, _ in FIELDS])
def test_each_field_refuses_a_wrong_type_by_name(engine: Engine, path: str, kind: str) -> None:
    wrong: Any = 3.5 if kind != "integer" else "word"
    body = nested(path, wrong)
    body.setdefault("Image", "img")
    said = engine.json("POST", "/v1.50/containers/create", body, 400)
    last = path.removesuffix(".[]").rpartition(".")[2]
    assert last in said["message"]


def test_the_models_know_every_field() -> None:
    for shape, prefix in ((model.HostConfig, "HostConfig."), (model.Config, "")):
        known = {f.encode_name for f in msgspec.structs.fields(shape)}
        for path, _ in FIELDS:
            if path.startswith(prefix) and (prefix or not path.startswith(("HostConfig.", "NetworkingConfig."))):
                assert path.removeprefix(prefix).split(".")[0] in known


def test_each_honoured_field_is_read_by_the_engine() -> None:
    """A field that is not refused must be looked at somewhere in the engine: else it would be dropped in silence."""
    rooms = Path(model.__file__).parent
    text = "".join(p.read_text() for p in rooms.glob("*.py") if p.name not in ("model.py", "honoured.py"))
    for shape, refused in ((model.HostConfig, set(honoured.REFUSED)), (model.Config, set())):
        for field in msgspec.structs.fields(shape):
            if field.name not in refused | CLIENTS_OWN:
                assert re.search(rf"\.{field.name}\b", text), f"nobody reads {shape.__name__}.{field.name}"


def test_what_the_cli_sends_as_nothing_is_nothing(engine: Engine) -> None:
    """The body of `docker create IMAGE` of CLI 28, which spells every default out."""
    body = json.loads((Path(__file__).parent / "data" / "create_by_cli_28.json").read_text())
    made = engine.json("POST", "/v1.50/containers/create", body, 201)
    assert made["Warnings"] == []
    record = engine.containers.get(made["Id"])
    assert record.host_config.pids_limit is None
    assert record.host_config.memory_swappiness is None
