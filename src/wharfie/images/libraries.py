"""Which shared libraries a program of this host loads: ld.so(8)'s search, done by reading headers. Nothing is run."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator

from . import elf

_CONFIG = "/etc/ld.so.conf"
_DEPTH = 8


def directories() -> list[str]:
    """Where the loader looks when the program does not say: ld.so.conf, then the usual places."""
    machine = os.uname().machine
    triplet = f"{machine}-linux-gnu"
    usual = [f"/lib/{triplet}", f"/usr/lib/{triplet}", "/lib64", "/usr/lib64", "/lib", "/usr/lib", "/usr/local/lib"]
    return list(dict.fromkeys([*_configured(_CONFIG, _DEPTH), *usual]))


def _configured(path: str, depth: int) -> Iterator[str]:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            lines = [line.partition("#")[0].strip() for line in file]
    except OSError:
        return
    for line in lines:
        if line.startswith("include ") and depth:
            pattern = os.path.join(os.path.dirname(path), line[8:].strip())
            for included in sorted(glob.glob(pattern)):
                yield from _configured(included, depth - 1)
        elif line.startswith("/"):
            yield line


def closure(programs: list[str]) -> dict[str, str]:
    """Everything these programs load: path inside (as the loader will look for it) → file of the host to read. The
    interpreter is there under the path that the program names. A library that is not found is left out."""
    search = directories()
    found: dict[str, str] = {}
    waiting = list(programs)
    done: set[str] = set()
    while waiting:
        path = waiting.pop()
        real = os.path.realpath(path)
        if real in done:
            continue
        done.add(real)
        needs = elf.read(real)
        if needs is None:
            continue
        if needs.interpreter and os.path.exists(needs.interpreter):
            found[needs.interpreter] = needs.interpreter
            waiting.append(needs.interpreter)
        for name in needs.needed:
            library = _locate(name, needs, os.path.dirname(real), search)
            if library:
                found[library] = library
                waiting.append(library)
    return found


def _locate(name: str, needs: elf.Needs, origin: str, search: list[str]) -> str:
    if "/" in name:
        return name if os.path.exists(name) else ""
    own = [d.replace("${ORIGIN}", origin).replace("$ORIGIN", origin) for d in needs.search]
    for directory in (*own, *search):
        path = os.path.normpath(f"{directory}/{name}")
        try:
            library = elf.read(path)
        except OSError:
            continue
        if library and library.kind == needs.kind:
            return path
    return ""
