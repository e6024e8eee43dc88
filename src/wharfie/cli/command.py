"""What a command is, and how it ends badly."""

from __future__ import annotations

from wharfie.base import flags
from wharfie.base.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from .session import Session

PROGRAM = "wharfie"


class Command(Value):
    """`usage` is what follows the command's path, `least` and `most` count its arguments (-1: no limit).
    `raw`: the words go to `run` as they are, flags too. `later`: flags that are known and refused, by name."""

    usage: str
    about: str
    table: flags.Table
    run: Callable[[Session, flags.Parsed], int]
    least: int = 0
    most: int = -1
    raw: bool = False
    later: frozenset[str] = frozenset()


class Exit(Exception):
    """Leave with `status`; `message` goes to stderr as it is, when there is one. `helped`: prefix the program's
    name and add the "Run … --help" line, as docker run does."""

    def __init__(self, status: int, message: str = "", *, helped: bool = False) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.helped = helped


def check_count(command: Command, path: str, args: list[str]) -> None:
    """Docker's words for a wrong number of arguments. Raises Exit."""
    least, most, count = command.least, command.most, len(args)
    if count >= least and (most < 0 or count <= most):
        return
    name = f"{PROGRAM} {path}"
    plural = "s" if max(least, most) > 1 else ""
    if most == 0:
        what, verb = "accepts no arguments", "Run"
    elif most == least:
        what, verb = f"requires {least} argument{plural}", "Run"
    elif most < 0:
        what, verb = f"requires at least {least} argument{'s' if least > 1 else ''}", "See"
    elif least == 0:
        what, verb = f"requires at most {most} argument{plural}", "See"
    else:
        what, verb = f"requires at least {least} and at most {most} arguments", "See"
    raise Exit(1, f"{PROGRAM}: '{name}' {what}\n\nUsage:  {name} {command.usage}\n\n"
                  f"{verb} '{name} --help' for more information")
