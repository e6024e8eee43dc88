"""Help pages, in docker's layout."""

from __future__ import annotations

import os

from . import tree
from .command import PROGRAM, Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from wharfie.base import flags

_QUIET_DEFAULTS = frozenset(("", "false", "0", "0s"))


def page(path: str, shown: str, command: Command) -> str:
    """The --help of one command; `shown` is how the user spelled it."""
    out = [f"Usage:  {PROGRAM} {shown} {command.usage}".rstrip(), "", command.about]
    spellings = tree.spellings(path)
    if spellings:
        out += ["", "Aliases:", "  " + ", ".join(f"{PROGRAM} {s}" for s in spellings)]
    rows = options(command.table)
    if rows:
        out += ["", "Options:", *rows]
    return "\n".join(out)


def options(table: flags.Table) -> list[str]:
    """The lines of "Options:", wrapped to the terminal."""
    rows: list[tuple[str, str]] = []
    for flag in table:
        if flag.hidden:
            continue
        short = f"-{flag.short}, " if flag.short else "    "
        kind = "" if flag.kind == "bool" else f" {flag.kind}"
        text = flag.help
        if flag.default not in _QUIET_DEFAULTS:
            shown = f'"{flag.default}"' if flag.kind == "string" else flag.default
            text = f"{text} (default {shown})"
        rows.append((f"  {short}--{flag.name}{kind}", text))
    if not rows:
        return []
    left = max(len(r[0]) for r in rows) + 3
    room = max(_columns() - left, 24)
    out: list[str] = []
    for head, text in rows:
        lines = wrap(text, room)
        out.append(f"{head:<{left}}{lines[0]}".rstrip())
        out += [" " * left + line for line in lines[1:]]
    return out


def _columns() -> int:
    given = os.environ.get("COLUMNS", "")
    if given.isdecimal():
        return int(given)
    try:
        return os.get_terminal_size().columns
    except OSError:
        return 80


def wrap(text: str, room: int) -> list[str]:
    """Lines of at most `room` characters, by words."""
    lines = [""]
    for word in text.split():
        if lines[-1] and len(lines[-1]) + 1 + len(word) > room:
            lines.append(word)
        else:
            lines[-1] = f"{lines[-1]} {word}".strip()
    return lines


def group(name: str, load: Callable[[str], Command]) -> str:
    """The page of a group such as `wharfie container`."""
    names = sorted(p.partition(" ")[2] for p in tree.COMMANDS if p.startswith(name + " "))
    rows = [f"  {n:<10}  {load(f'{name} {n}').about}" for n in names]
    return "\n".join([f"Usage:  {PROGRAM} {name} COMMAND", "", tree.GROUPS[name], "", "Commands:", *rows, "",
                      f"Run '{PROGRAM} {name} COMMAND --help' for more information on a command."])


def top(global_flags: flags.Table, load: Callable[[str], Command]) -> str:
    """The page of `wharfie` itself; `load` gives the Command of a path."""
    singles = {n: load(tree.ALIASES.get(n, n)).about for n in (*tree.COMMANDS, *tree.ALIASES) if " " not in n}
    out = [f"Usage:  {PROGRAM} [OPTIONS] COMMAND", "", "A container platform in one pip install", "",
           "Common Commands:"]
    out += [f"  {n:<10}  {singles[n]}" for n in tree.COMMON]
    out += ["", "Management Commands:"] + [f"  {n:<10}  {about}" for n, about in sorted(tree.GROUPS.items())]
    out += ["", "Commands:"] + [f"  {n:<10}  {singles[n]}" for n in sorted(singles) if n not in tree.COMMON]
    out += ["", "Global Options:", *options(global_flags), "",
            f"Run '{PROGRAM} COMMAND --help' for more information on a command."]
    return "\n".join(out)
