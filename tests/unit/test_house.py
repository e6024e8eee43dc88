"""The house test: floors, cycles, sizes and names, defended by a machine.

The table says which rooms a room may import. `planned` rows are rooms to come: a planned row whose directory exists
is stale, and so is an allowed import that no module uses. See docs/floors.md for the table in prose.
"""

from __future__ import annotations

import ast
import functools
import sys
from collections.abc import Iterator
from pathlib import Path

SRC = Path(__file__).resolve().parents[2] / "src" / "wharfie"

# room: (floor, rooms it may import)
FLOORS: dict[str, tuple[int, set[str]]] = {
    "base": (0, set()),
    "kernel": (0, {"base"}),
    "oci": (1, {"base"}),
    "web": (1, {"base"}),
    "template": (1, {"base"}),
    "netlink": (1, {"base"}),
    "archive": (1, {"kernel", "base"}),
    "logs": (2, {"base"}),
    "runtime": (2, {"oci", "kernel", "base"}),
    "client": (2, {"web", "base"}),
    "storage": (3, {"archive", "oci", "kernel", "base"}),
    "network": (3, {"netlink", "base"}),
    "drivers": (3, {"runtime", "oci", "kernel"}),
    "gate": (3, {"kernel", "base"}),
    "shim": (4, {"drivers", "runtime", "gate", "logs", "oci", "kernel", "base"}),
    "images": (4, {"storage", "archive", "oci", "base"}),
    "engine": (5, {"images", "storage", "network", "logs", "oci", "base", "shim.wire"}),
    "api": (7, {"engine", "images", "storage", "network", "logs", "web", "oci", "base"}),
    "daemon": (8, {"api", "engine", "images", "storage", "network", "shim", "web", "kernel", "base"}),
    "cli": (8, {"client", "template", "base"}),
}

# Rooms to come, and what they may import when they do (docs/floors.md).
PLANNED: dict[str, tuple[int, set[str]]] = {
    "dns": (1, {"base"}),
    "distribution": (2, {"web", "oci", "base"}),
    "compose": (3, {"client", "archive", "base"}),
    "doctor": (3, {"runtime", "netlink", "oci", "kernel", "base"}),
    "sdk": (4, {"client", "base"}),
    "registry": (5, {"images", "storage", "distribution", "web", "oci", "base"}),
    "builder": (6, {"engine", "images", "distribution", "storage", "archive", "oci", "base"}),
    "swarm": (6, {"engine", "images", "network", "template", "web", "base"}),
    "buildkit": (7, {"builder", "web", "base"}),
    "cri": (7, {"engine", "network", "web", "base"}),
}

KERNEL_SIDE = {"base", "kernel", "oci", "dns", "template", "netlink", "logs", "runtime", "drivers", "gate", "shim"}
GRAB_BAGS = {"utils", "util", "helpers", "helper", "common", "manager", "misc", "tools", "lib", "stuff"}
MAX_FILE = 400
MAX_FUNCTION = 60

# Exceptions may only shrink.
LONG_FILES: set[str] = set()
LONG_FUNCTIONS: set[str] = set()


@functools.cache
def modules() -> tuple[tuple[str, Path, ast.Module], ...]:
    """Every module as (dotted name below wharfie, path, tree)."""
    return tuple(
        (".".join(path.relative_to(SRC).with_suffix("").parts).removesuffix(".__init__"), path,
         ast.parse(path.read_text(), str(path)))
        for path in sorted(SRC.rglob("*.py"))
    )


def imports(name: str, path: Path, tree: ast.Module) -> Iterator[str]:
    """Absolute dotted names of everything a module imports, type-checking-only imports included."""
    package = name.split(".") if path.name == "__init__.py" else name.split(".")[:-1]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (a.name for a in node.names)
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                up = ["wharfie", *package][: len(package) + 2 - node.level]
                base = ".".join([*up, *([node.module] if node.module else [])])
            else:
                base = node.module or ""
            yield base
            yield from (f"{base}.{a.name}" for a in node.names)


@functools.cache
def edges() -> set[tuple[str, str]]:
    """(module, imported module below wharfie), resolved to modules that exist."""
    known = {name for name, _, _ in modules()}
    found = set()
    for name, path, tree in modules():
        for target in imports(name, path, tree):
            if target.startswith("wharfie."):
                inner = target.removeprefix("wharfie.")
                if inner in known and inner != name:
                    found.add((name, inner))
    return found


def test_every_room_stands_in_the_table() -> None:
    rooms = {p.name for p in SRC.iterdir() if p.is_dir() and p.name != "__pycache__"}
    assert rooms <= set(FLOORS), f"rooms without a row: {rooms - set(FLOORS)}"
    assert set(FLOORS) <= rooms, f"rows whose room does not exist: {set(FLOORS) - rooms}"
    assert not rooms & set(PLANNED), f"planned rows whose room exists: {rooms & set(PLANNED)}"


def test_the_table_only_points_down() -> None:
    for room, (floor, allowed) in {**FLOORS, **PLANNED}.items():
        for other in allowed:
            below = {**FLOORS, **PLANNED}[other.split(".")[0]][0]
            siblings_on_the_ground = floor == below == 0 and (room, other) == ("kernel", "base")
            assert below < floor or siblings_on_the_ground, f"{room} (floor {floor}) may not import {other} ({below})"


def test_rooms_import_only_what_their_row_allows() -> None:
    wrong = []
    used: dict[str, set[str]] = {room: set() for room in FLOORS}
    for source, target in edges():
        room, other = source.split(".")[0], target.split(".")[0]
        if room == other or room not in FLOORS:
            continue
        allowed = FLOORS[room][1]
        if other in allowed:
            used[room].add(other)
        elif any(target == a or target.startswith(a + ".") for a in allowed if "." in a):
            used[room].add(".".join(target.split(".")[:2]))
        elif (other, "") != ("shim", "") or not any(a.startswith("shim.") for a in allowed) or target != "shim":
            wrong.append(f"{source} imports {target}")
    assert not wrong, "\n".join(sorted(wrong))
    stale = {room: FLOORS[room][1] - used[room] for room in FLOORS if FLOORS[room][1] - used[room]}
    assert not stale, f"allowed imports that nobody uses: {stale}"


def test_no_import_cycles() -> None:
    graph: dict[str, set[str]] = {}
    for source, target in edges():
        graph.setdefault(source, set()).add(target)
    state: dict[str, int] = {}
    cycle: list[str] = []

    def visit(node: str, trail: list[str]) -> bool:
        state[node] = 1
        for after in sorted(graph.get(node, ())):
            # A package's own __init__ is loaded before its modules: `from . import x` is not a cycle of meanings.
            if node.startswith(after + "."):
                continue
            if state.get(after) == 1:
                cycle.extend([*trail[trail.index(after) :], after] if after in trail else [node, after])
                return True
            if after not in state and visit(after, [*trail, after]):
                return True
        state[node] = 2
        return False

    assert not any(visit(n, [n]) for n in sorted(graph) if n not in state), " → ".join(cycle)


def test_the_kernel_side_needs_the_standard_library_only() -> None:
    foreign = []
    for name, path, tree in modules():
        if name.split(".")[0] not in KERNEL_SIDE:
            continue
        for target in imports(name, path, tree):
            top = target.split(".")[0]
            if top and top not in sys.stdlib_module_names and top != "wharfie":
                foreign.append(f"{name} imports {target}")
    assert not foreign, "\n".join(foreign)


def test_files_and_functions_are_short() -> None:
    long_files, long_functions = set(), set()
    for _name, path, tree in modules():
        relative = str(path.relative_to(SRC))
        if len(path.read_text().splitlines()) > MAX_FILE:
            long_files.add(relative)
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                size = (node.end_lineno or node.lineno) - node.lineno + 1
                if size > MAX_FUNCTION:
                    long_functions.add(f"{relative}:{node.name}")
    assert long_files == LONG_FILES, f"files over {MAX_FILE} lines changed: {long_files ^ LONG_FILES}"
    assert long_functions == LONG_FUNCTIONS, f"functions over {MAX_FUNCTION} lines: {long_functions ^ LONG_FUNCTIONS}"


def test_no_grab_bags() -> None:
    bags = [name for name, _, _ in modules() if GRAB_BAGS & set(name.split("."))]
    assert not bags, f"name the room by what lives there: {bags}"


def test_the_page_has_the_same_table() -> None:
    page = (SRC.parents[1] / "docs" / "floors.md").read_text()
    said = {}
    for line in page.splitlines():
        cells = [c.strip() for c in line.strip("|").split("|")]
        if len(cells) == 4 and cells[0].isdecimal():
            allowed = cells[3].replace("`", "").split(", ")
            said[cells[1].strip("`")] = (int(cells[0]), set(allowed) - {"nothing"})
    assert said == FLOORS
