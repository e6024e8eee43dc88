"""Short commands stay short: what they may not load, seen in sys.modules of a real run."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

import wharfie
from tests.unit.cli_engine import Engine, environment

HEAVY = {"re", "typing", "dataclasses", "asyncio", "h11", "msgspec", "http.client", "socket", "selectors", "enum",
         "json", "subprocess", "signal", "pathlib", "logging", "argparse", "collections", "inspect", "shutil"}
CODE = """
import sys
from wharfie.cli import main
status = main.main(sys.argv[1:])
sys.stdout.flush()
print("MODULES", status, *sorted(sys.modules))
"""


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    with Engine(str(tmp_path_factory.mktemp("e") / "s")) as made:
        yield made


def modules(engine: Engine, words: list[str]) -> set[str]:
    source = os.path.dirname(wharfie.__path__[0])
    done = subprocess.run([sys.executable, "-S", "-c", CODE, *words], capture_output=True, text=True, timeout=20,
                          stdin=subprocess.DEVNULL, env={**environment(engine), "PYTHONPATH": source})
    marks = [line for line in done.stdout.splitlines() if line.startswith("MODULES ")]
    assert marks, done.stderr
    return set(marks[0].split()[2:])


@pytest.mark.parametrize("words", [
    ["run", "x", "true"], ["run", "-e", "A=1", "-p", "80:80", "-v", "/a:/b", "-m", "1g", "--network", "none", "x"],
    ["run", "-d", "x"], ["exec", "web", "echo", "hi"], ["ps"], ["ps", "-q"], ["ps", "--format", "{{.ID}}"],
    ["rm", "a"], ["stop", "a"], ["kill", "a"], ["images"], ["logs", "web"], ["version"], ["inspect", "web"],
    ["--version"], ["--help"], ["run", "--help"], ["run", "--nope"],
], ids=" ".join)
def test_nothing_heavy_is_loaded(engine: Engine, words: list[str]) -> None:
    loaded = modules(engine, words)
    assert not loaded & HEAVY
    # every module costs a fifth of a millisecond: a plain command stays below a fixed number of ours
    if words != ["--help"]:
        assert len([m for m in loaded if m.startswith("wharfie")]) <= 31


def test_a_plain_run_loads_no_reader_of_flags_it_was_not_given(engine: Engine) -> None:
    loaded = modules(engine, ["run", "x", "true"])
    assert not loaded & {f"wharfie.cli.{m}" for m in ("limits", "netspec", "mountspec", "portspec", "envspec", "pull")}
