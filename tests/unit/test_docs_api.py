"""docs/api.md is current, and what it says of the routes is what the engine answers."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from tests.unit.api_stand_ins import Engine
from wharfie.base import errors
from wharfie.engine import honoured, model

TOP = Path(__file__).resolve().parents[2]
TOOL = TOP / "tools" / "api-reference"


def load() -> ModuleType:
    loader = importlib.machinery.SourceFileLoader("api_reference", str(TOOL))
    spec = importlib.util.spec_from_loader("api_reference", loader)
    assert spec is not None
    made = importlib.util.module_from_spec(spec)
    sys.dont_write_bytecode, former = True, sys.dont_write_bytecode
    try:
        loader.exec_module(made)
    finally:
        sys.dont_write_bytecode = former
    return made


reference = load()
OPERATIONS: list[tuple[str, str]] = reference.operations()


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    with Engine() as e:
        e.made()
        yield e


def test_the_page_is_current() -> None:
    made = subprocess.run([sys.executable, TOOL], capture_output=True, text=True, check=True)
    assert made.stdout == (TOP / "docs" / "api.md").read_text(), "run tools/api-reference > docs/api.md"


def test_every_word_by_hand_is_about_something() -> None:
    handlers = {reference.handler_of(m, p) for m, p in OPERATIONS}
    assert set(reference.NOT_DONE) <= handlers
    assert set(reference.NOTES) <= handlers
    assert set(reference.HOST_NOTES) <= set(reference.top_fields("HostConfig."))
    assert set(reference.CONFIG_NOTES) | reference.CONFIG_REFUSED <= set(reference.top_fields(""))


@pytest.mark.parametrize(("method", "path"), OPERATIONS, ids=[f"{m} {p}" for m, p in OPERATIONS])
def test_a_route_answers_as_its_row_says(engine: Engine, method: str, path: str) -> None:
    """What is done is asked about a thing that is not there, so that nothing streams; what is not done about one that
    is."""
    handler = reference.handler_of(method, path)
    done = handler not in reference.NOT_DONE
    there = "bridge" if path.startswith("/networks") else engine.containers.list()[0].name
    name = "no-such-thing" if done else there
    query = "?until=1" if path == "/events" else ""
    body = {"Name": "word", "Container": there} if method in ("POST", "PUT") and not done else None
    got = engine.ask(method, "/v1.50" + path.replace("{id}", name).replace("{name}", name) + query, body)
    if done:
        assert got.status not in (501, 503), (handler, got.read())
        return
    said = got.read()
    refused = got.status in (501, 503) or (handler == "absent.plugins" and got.status == 404)
    assert refused, f"{handler} answers {got.status}: if it is done now, drop its row in tools/api-reference and run it"
    assert str(got.status) in reference.NOT_DONE[handler][1]
    assert method == "HEAD" or len(json.loads(said)["message"]) > 20


def test_a_refused_field_is_refused_and_nothing_else() -> None:
    """The rows come from honoured.REFUSED; those written by hand are tried."""
    assert {name for name, _ in honoured.REFUSED.values()} >= {"Links", "DeviceRequests"}
    for config in (model.Config(args_escaped=True), model.Config(healthcheck=model.HealthConfig(test=["CMD", "true"]))):
        with pytest.raises(errors.Unsupported):
            honoured.check(config, model.HostConfig(), model.NetworkingConfig())
    honoured.check(model.Config(healthcheck=model.HealthConfig(test=["NONE"])), model.HostConfig(),
                   model.NetworkingConfig())
