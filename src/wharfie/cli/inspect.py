"""wharfie inspect, and inspect of each resource."""

from __future__ import annotations

import sys

from wharfie.base import errors, flags
from wharfie.client import calls, codec, faults

from .command import Command, Exit
from .session import complain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from .session import Session

    Finder = Callable[[str], calls.Call]

_FORMAT = "f format string   \"json\" or a Go template for the output\n"
_FINDERS: dict[str, Finder] = {
    "container": calls.container_inspect, "image": calls.image_inspect, "network": calls.network_inspect,
    "volume": calls.volume_inspect,
}


def _show(session: Session, parsed: flags.Parsed, find: Callable[[str], Any]) -> int:
    """Print what is found, name the rest; exit 1 when something is missing."""
    form = parsed.text("format")
    found: list[Any] = []
    missing: list[str] = []
    for name in parsed.args:
        try:
            found.append(find(name))
        except errors.NotFound as error:
            missing.append(_missing(error))
    if form in ("", "json"):
        sys.stdout.write((codec.pretty(found) if not form else codec.dumps(found)) + "\n")
    else:
        _template(found, form)
    for text in missing:
        complain(text)
    return 1 if missing else 0


def _missing(error: errors.NotFound) -> str:
    return f"Error response from daemon: {error.message}" if isinstance(error, faults.EngineFault) else error.message


def _template(found: list[Any], form: str) -> None:
    from wharfie.template import text

    try:
        template = text.Template(form, missing="error")
    except errors.Invalid as error:
        raise Exit(64, f"template parsing error: {error.message}") from error
    for item in found:
        try:
            sys.stdout.write(template.render(item) + "\n")
        except errors.Invalid as error:
            sys.stdout.write("\n")
            raise Exit(1, f"template parsing error: {error.message}") from error


def _one_kind(kind: str) -> Callable[[Session, flags.Parsed], int]:
    def run(session: Session, parsed: flags.Parsed) -> int:
        def find(name: str) -> Any:
            if kind == "container":
                return session.json(calls.container_inspect(name, size=parsed.on("size")))
            return session.json(_FINDERS[kind](name))

        return _show(session, parsed, find)

    return run


def _any(session: Session, parsed: flags.Parsed) -> int:
    wanted = parsed.text("type")
    if wanted and wanted not in _FINDERS:
        raise Exit(1, f'unknown type: "{wanted}": must be one of "container", "image", "network", "volume"')

    def find(name: str) -> Any:
        for kind, finder in _FINDERS.items():
            if wanted not in ("", kind):
                continue
            sized = kind == "container" and parsed.on("size")
            try:
                return session.json(calls.container_inspect(name, size=True) if sized else finder(name))
            except errors.NotFound:
                if wanted:
                    raise
        raise errors.NotFound(f"Error: No such object: {name}", name=name)

    return _show(session, parsed, find)


ANY = Command("[OPTIONS] NAME|ID [NAME|ID...]", "Return low-level information on objects", flags.Table(_FORMAT + """
s size bool       Show sizes of containers
- type string     Only this type
"""), _any, 1)
CONTAINER = Command("[OPTIONS] CONTAINER [CONTAINER...]", "Display detailed information on containers",
                    flags.Table(_FORMAT + "s size bool   Show sizes"), _one_kind("container"), 1)
IMAGE = Command("[OPTIONS] IMAGE [IMAGE...]", "Display detailed information on images",
                flags.Table(_FORMAT + "- platform string   Platform to inspect"), _one_kind("image"), 1,
                later=frozenset(("platform",)))
NETWORK = Command("[OPTIONS] NETWORK [NETWORK...]", "Display detailed information on networks",
                  flags.Table(_FORMAT + "v verbose bool  More for diagnosis"), _one_kind("network"), 1)
VOLUME = Command("[OPTIONS] VOLUME [VOLUME...]", "Display detailed information on volumes",
                 flags.Table(_FORMAT), _one_kind("volume"), 1)

