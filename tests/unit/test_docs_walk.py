"""What the pages name exists: functions in docs/walk.md and the rooms' READMEs, paths everywhere."""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parents[2]
SRC = TOP / "src" / "wharfie"
ROOMS = {p.name for p in SRC.iterdir() if (p / "__init__.py").exists()}
PAGES = sorted(
    p for p in [TOP / "README.md", TOP / "CHANGELOG.md", *(TOP / "docs").rglob("*.md"), *SRC.rglob("README.md")]
    if p.exists()
)
NAMING = [TOP / "docs" / "walk.md", *sorted(SRC.rglob("README.md"))]
MOST_LINES = {"docs/walk.md": 250}
ROOM_README_LINES = 40

_CODE = re.compile(r"`([^`\n]+)`")
_FENCE = re.compile(r"^```.*?^```", re.M | re.S)
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_DOTTED = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+")
_TREES = ("src/", "docs/", "tests/", "tools/", "bench/")


def text_of(page: Path) -> str:
    """The page without its drawings and command lines."""
    return _FENCE.sub("", page.read_text())


def spans(page: Path) -> list[str]:
    return [s.removesuffix("()") for s in _CODE.findall(text_of(page))]


@functools.cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


@functools.cache
def names(path: Path) -> dict[str, ast.stmt]:
    """What a module defines at its top."""
    return dict(defined(tree(path).body))


def defined(body: list[ast.stmt]) -> Iterator[tuple[str, ast.stmt]]:
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name, node
        elif isinstance(node, ast.Assign):
            for target in node.targets:
                yield from ((n.id, node) for n in ast.walk(target) if isinstance(n, ast.Name))
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            yield node.target.id, node


@functools.cache
def classes() -> dict[str, list[ast.ClassDef]]:
    found: dict[str, list[ast.ClassDef]] = {}
    for path in SRC.rglob("*.py"):
        for node in tree(path).body:
            if isinstance(node, ast.ClassDef):
                found.setdefault(node.name, []).append(node)
    return found


def problem(name: str) -> str:
    """Why `name` names nothing; "" when it does, or when it is no name of ours (`docker.sock`)."""
    head, *rest = name.split(".")
    if head in ROOMS:
        path = SRC / head / f"{rest[0]}.py"
        if not path.exists():
            return f"{name}: there is no {path.relative_to(TOP)}"
        return within(name, names(path), rest[1:])
    if head in classes():
        if any(not within(name, dict(defined(c.body)), rest) for c in classes()[head]):
            return ""
        return f"{name}: no class {head} has a {'.'.join(rest)}"
    return "" if not head[0].isupper() else f"{name}: there is no class {head}"


def within(name: str, found: dict[str, ast.stmt], rest: list[str]) -> str:
    for word in rest:
        node = found.get(word)
        if node is None:
            return f"{name}: {word} is not there"
        found = dict(defined(node.body)) if isinstance(node, ast.ClassDef) else {}
    return ""


@pytest.mark.parametrize("page", NAMING, ids=lambda p: str(p.relative_to(TOP)))
def test_every_name_of_ours_exists(page: Path) -> None:
    wrong = [problem(s) for s in spans(page) if _DOTTED.fullmatch(s)]
    assert not any(wrong), "\n".join(w for w in wrong if w)


def test_the_walk_names_many_functions() -> None:
    named = [s for s in spans(NAMING[0]) if _DOTTED.fullmatch(s) and s.split(".")[0] in ROOMS]
    assert len(named) > 80, "either the walk or this test's reading of it has shrunk"
    assert problem("shim.life.Life.no_such_verb")
    assert problem("shim.lives.Life")
    assert problem("NoSuchClass.verb")


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(TOP)))
def test_every_path_and_link_exists(page: Path) -> None:
    wrong = []
    for target in _LINK.findall(text_of(page)):
        if "://" not in target and not (page.parent / target.partition("#")[0]).exists():
            wrong.append(f"link to {target}")
    for span in spans(page):
        word = span.partition(" ")[0].partition("::")[0].rstrip("/")
        if word.startswith(_TREES) and not list(TOP.glob(word.replace("<room>", "*"))):
            wrong.append(word)
        room, _, inner = word.partition("/")
        if room in ROOMS and re.fullmatch(r"[a-z_]\w*(\.py)?", inner):
            path = SRC / room / inner
            if not (path.exists() or path.with_suffix(".py").exists()):
                wrong.append(word)
    assert not wrong, ", ".join(wrong)


def test_pages_stay_short() -> None:
    long = [p for p, most in MOST_LINES.items() if len((TOP / p).read_text().splitlines()) > most]
    long += [str(p.relative_to(TOP)) for p in NAMING[1:] if len(p.read_text().splitlines()) > ROOM_README_LINES]
    assert not long, f"too long to be read: {long}"
