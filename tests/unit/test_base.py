"""base: values, errors, undo, atomic files, frames, units, instants."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wharfie.base import atomic, errors, frames, ids, paths, points, undo, units, when
from wharfie.base.value import Value


class Point(Value):
    x: int
    y: int = 2


def test_a_value_takes_positions_names_and_defaults() -> None:
    assert Point(1) == Point(x=1, y=2) != Point(1, 3)
    assert repr(Point(1)) == "Point(x=1, y=2)"
    assert Point(1).replace(y=9).asdict() == {"x": 1, "y": 9}
    assert len({Point(1), Point(1, 2)}) == 1


@pytest.mark.parametrize("make", [Point, lambda: Point(1, 2, 3), lambda: Point(1, z=3)])
def test_a_value_refuses_what_it_has_no_field_for(make: object) -> None:
    with pytest.raises(TypeError):
        make()  # type: ignore[operator]


def test_a_value_is_frozen() -> None:
    with pytest.raises(AttributeError):
        Point(1).x = 5  # type: ignore[misc]


def test_errors_keep_their_meaning_across_the_wire() -> None:
    for kind, cls in errors.KINDS.items():
        assert type(errors.from_wire(kind, "text")) is cls
    assert type(errors.from_wire("of the future", "text")) is errors.WharfieError


def test_undo_runs_newest_first_and_forgets_on_success() -> None:
    ran: list[int] = []
    with undo.Undo() as stack:
        stack.push(ran.append, 1)
        stack.push(ran.append, 2)
        stack.push(lambda: 1 / 0)
    assert ran == [2, 1]
    assert len(stack.failures) == 1
    with undo.Undo() as stack:
        stack.push(ran.append, 3)
        stack.forget()
    assert ran == [2, 1]


def test_atomic_write_is_whole_or_nothing(tmp_path: Path) -> None:
    target = tmp_path / "f"
    atomic.write(target, b"one")
    atomic.write(target, b"two", mode=0o640)
    assert target.read_bytes() == b"two"
    assert target.stat().st_mode & 0o777 == 0o640
    assert os.listdir(tmp_path) == ["f"]
    with pytest.raises(IsADirectoryError):
        atomic.write(tmp_path, b"x")
    assert os.listdir(tmp_path) == ["f"]


def test_rewrite_keeps_the_inode(tmp_path: Path) -> None:
    target = tmp_path / "hosts"
    target.write_bytes(b"a long first text")
    inode = target.stat().st_ino
    atomic.rewrite(target, b"short")
    assert target.read_bytes() == b"short"
    assert target.stat().st_ino == inode


@given(st.lists(st.tuples(st.integers(0, 2), st.binary(max_size=300)), max_size=12), st.integers(1, 40))
def test_frames_survive_any_cut(pieces: list[tuple[int, bytes]], cut: int) -> None:
    whole = b"".join(frames.frame(s, p) for s, p in pieces)
    splitter = frames.Splitter()
    out: list[tuple[int, bytes]] = []
    for at in range(0, len(whole), cut):
        out += splitter.feed(whole[at : at + cut])
    assert out == pieces
    assert splitter.pending == 0


def test_frames_refuse_another_protocol() -> None:
    with pytest.raises(ValueError, match="stream number"):
        frames.Splitter().feed(b"HTTP/1.1 200 OK\r\n")


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("512", 512),
        ("64m", 64 << 20),
        ("1.5GiB", 3 << 29),
        ("2 gb", 2 << 30),
        ("7kB", 7 << 10),
        ("0", 0),
        ("10B", 10),
    ],
)
def test_sizes(text: str, size: int) -> None:
    assert units.parse_size(text) == size


@pytest.mark.parametrize("text", ["", "m", "-1", "1x", "1.2.3m", "٣m", "1e3", "99999999999999999999p", "0x10"])
def test_bad_sizes(text: str) -> None:
    with pytest.raises(errors.Invalid):
        units.parse_size(text)


@pytest.mark.parametrize(("text", "ns"), [("10s", 10**10), ("1h2m3.5s", 3723500000000), ("-1m", -60 * 10**9), ("0", 0)])
def test_durations(text: str, ns: int) -> None:
    assert units.parse_duration(text) == ns


@pytest.mark.parametrize("text", ["", "10", "s", "1.s.s", "1 s", "1d"])
def test_bad_durations(text: str) -> None:
    with pytest.raises(errors.Invalid):
        units.parse_duration(text)


@given(st.integers(1, 4 * 10**18))
def test_instants_round_trip(ns: int) -> None:
    assert when.parse_rfc3339(when.rfc3339(ns)) == ns == when.parse_rfc3339(when.rfc3339_fixed(ns))


def test_instants_with_zones() -> None:
    assert when.parse_rfc3339("2026-01-02T15:04:05+01:00") == when.parse_rfc3339("2026-01-02T14:04:05Z")
    with pytest.raises(errors.Invalid):
        when.parse_rfc3339("yesterday")


@pytest.mark.parametrize("name", ["web", "a1", "web.1_x-y"])
def test_names(name: str) -> None:
    assert ids.check_name(name) == name


@pytest.mark.parametrize("name", ["", "a", "-web", "we b", "../x", "é1", "a\n", "x" * 300])
def test_bad_names(name: str) -> None:
    with pytest.raises(errors.Invalid):
        ids.check_name(name)


def test_ids_are_not_numbers() -> None:
    made = ids.new()
    assert len(made) == 64
    assert ids.is_hex(made)
    assert not made[:12].isdecimal()


def test_socket_paths_fit() -> None:
    run = paths.RunRoot("/run/wharfie").container("f" * 64)
    assert len(run.socket) < 80
    assert paths.DataRoot("/a").instance != paths.DataRoot("/b").instance


def test_unarmed_points_do_nothing() -> None:
    for name in points.POINTS:
        points.reach(name)
    assert len(set(points.POINTS)) == len(points.POINTS)


def test_every_point_is_reached_somewhere_and_every_place_is_in_the_table() -> None:
    """A step that names a place nobody walks, or a row that no step reaches, fails here."""
    source = Path(points.__file__).resolve().parents[1]
    reached = {
        node.args[0].value
        for path in source.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute | ast.Name)
        and (node.func.attr if isinstance(node.func, ast.Attribute) else node.func.id).lstrip("_") == "reach"
        and node.args
        and isinstance(node.args[0], ast.Constant)
    }
    assert reached == set(points.POINTS)


def test_base_is_cheap() -> None:
    """The command line and the cold runtime pay for every import of base (docs/hacking.md)."""
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]);"
        "from wharfie.base import errors, value, ids, undo, atomic, paths, units, when, frames;"
        "bad = {'re', 'typing', 'dataclasses', 'asyncio', 'json', 'enum'} & set(sys.modules);"
        "sys.exit(str(bad) if bad else 0)"
    )
    src = str(Path(__file__).resolve().parents[2] / "src")
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code, src], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
