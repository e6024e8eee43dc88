"""The console script `wharfie`."""

from __future__ import annotations

import os
import sys

from wharfie.base import errors, flags

from . import tree
from .command import PROGRAM, Command, Exit, check_count

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .session import Session

GLOBAL = flags.Table("""
- config string           Directory of the client's config files
c context string          Context to connect by (stronger than DOCKER_HOST)
D debug bool              Show Python's traceback of internal errors
H host list               Engine's socket to connect to
l log-level string=info   Accepted for docker's sake
- tls bool                Use TLS
- tlscacert string        Trust certificates signed by this CA only
- tlscert string          The client's certificate
- tlskey string           The client's key
- tlsverify bool          Use TLS and verify the engine
v version bool            Print version information and quit
""", interspersed=False)


def main(argv: list[str] | None = None) -> int:
    """Run one command line; the exit status. As the console script (`argv` None) it ends the process itself: taking the
    interpreter apart would cost a tenth of a short command."""
    if argv is None:
        status = _guarded(sys.argv[1:])
        sys.stderr.flush()
        os._exit(status)
    return _guarded(argv)


def _guarded(argv: list[str]) -> int:
    try:
        status = _run(argv)
        sys.stdout.flush()
        return status
    except Exit as leave:
        status = leave.status
        if leave.message:
            _say(leave.message)
    except (errors.WharfieError, OSError) as error:
        if isinstance(error, BrokenPipeError):
            # the reader of our output has gone; nothing more may be written at exit
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            return 141
        if "WHARFIE_DEBUG" in os.environ:
            raise
        _say(text_of(error))
        status = 1
    except KeyboardInterrupt:
        status = 130
    _flush()
    return status


def _flush() -> None:
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def _say(message: str) -> None:
    _flush()
    sys.stderr.write(message.rstrip("\n") + "\n")


def text_of(error: Exception) -> str:
    """How an error reads on the terminal; what the engine said is marked as such, as docker does."""
    from wharfie.client import faults

    if isinstance(error, faults.EngineFault):
        return f"Error response from daemon: {error.message}"
    if isinstance(error, OSError):
        where = f"open {error.filename}: " if error.filename else ""
        return f"{where}{(error.strerror or str(error)).lower()}"
    return str(error)


def load(path: str) -> Command:
    """The Command of a canonical path."""
    module, attribute = tree.COMMANDS[path]
    __import__(f"wharfie.cli.{module}")
    command = getattr(sys.modules[f"wharfie.cli.{module}"], attribute)
    assert isinstance(command, Command)
    return command


def _run(argv: list[str]) -> int:
    given, words = _globals(argv)
    if given.on("version"):
        from .system import version_line

        sys.stdout.write(version_line() + "\n")
        return 0
    if not words or words == ["help"]:
        return _top_help()
    if words[0] == "help":
        words = [*words[1:], "--help"]
    path, used = tree.resolve(words)
    if not path:
        return _no_command(words)
    command = load(path)
    shown = " ".join(words[:used])
    parsed = _parse(command, path, shown, words[used:])
    if parsed is None:
        return 0
    from .session import Session

    hosts = given.all("host")
    if len(hosts) > 1:
        raise Exit(1, "Specify only one -H")
    session = Session(
        host=hosts[0] if hosts else "", context=given.text("context"), config=given.text("config"), path=shown
    )
    return _perform(command, session, parsed)


def _perform(command: Command, session: Session, parsed: flags.Parsed) -> int:
    for name in sorted(command.later & parsed.changed):
        raise errors.Unsupported(f"--{name} is not supported yet by '{PROGRAM} {session.path}'")
    try:
        return command.run(session, parsed)
    except flags.Bad as error:
        raise _bad_flag(error, command, session.path) from error
    except Exit as leave:
        if leave.helped:
            raise Exit(
                leave.status,
                f"{PROGRAM}: {leave.message}\n\nRun '{PROGRAM} {session.path} --help' for more information",
            ) from leave
        raise


def _globals(argv: list[str]) -> tuple[flags.Parsed, list[str]]:
    try:
        given = flags.parse(GLOBAL, argv)
    except flags.HelpAsked:
        return flags.Parsed(GLOBAL), []
    except flags.Bad as error:
        raise Exit(125, f"{error}\n\nUsage:  {PROGRAM} [OPTIONS] COMMAND [ARG...]\n\n"
                        f"Run '{PROGRAM} --help' for more information") from error
    if given.on("debug"):
        os.environ["WHARFIE_DEBUG"] = "1"
    if given.on("tls") or given.on("tlsverify"):
        os.environ["DOCKER_TLS"] = "1"
        if given.on("tlsverify"):
            os.environ["DOCKER_TLS_VERIFY"] = "1"
    return given, given.args


def _parse(command: Command, path: str, shown: str, argv: list[str]) -> flags.Parsed | None:
    """None when help was asked for and given."""
    if command.raw:
        parsed = flags.Parsed(command.table)
        parsed.args = argv
        return parsed
    try:
        parsed = flags.parse(command.table, argv)
    except flags.HelpAsked as asked:
        from . import pages

        if asked.shorthand:
            sys.stdout.write("Flag shorthand -h has been deprecated, use --help\n")
        sys.stdout.write(pages.page(path, shown, command) + "\n")
        return None
    except flags.Bad as error:
        raise _bad_flag(error, command, shown) from error
    check_count(command, shown, parsed.args)
    return parsed


def _bad_flag(error: flags.Bad, command: Command, shown: str) -> Exit:
    return Exit(125, f"{error}\n\nUsage:  {PROGRAM} {shown} {command.usage}\n\n"
                     f"Run '{PROGRAM} {shown} --help' for more information")


def _top_help() -> int:
    from . import pages

    sys.stdout.write(pages.top(GLOBAL, load) + "\n")
    return 0


def _no_command(words: list[str]) -> int:
    first = words[0]
    if first in tree.GROUPS and (len(words) == 1 or words[1] in ("--help", "-h")):
        from . import pages

        sys.stdout.write(pages.group(first, load) + "\n")
        return 0
    two = " ".join(words[:2])
    later = first if first in tree.LATER else two if two in tree.LATER else ""
    if later:
        raise Exit(1, f"{PROGRAM}: '{later}' is a docker command that wharfie does not have yet; "
                      f"see '{PROGRAM} --help' for what it has")
    if first in tree.GROUPS:
        raise Exit(1, f"{PROGRAM}: unknown command: {PROGRAM} {two}\n\nUsage:  {PROGRAM} {first}\n\n"
                      f"Run '{PROGRAM} {first} --help' for more information")
    raise Exit(1, f"{PROGRAM}: unknown command: {PROGRAM} {first}\n\nRun '{PROGRAM} --help' for more information")


if __name__ == "__main__":
    sys.exit(main())
