"""Errors as meanings.

A room raises what a failure *means*; the edges (HTTP, exit codes) map meanings in one table each.
Foreign errors (OSError, sqlite3.Error, h11 errors) are translated at the seam with the cause chained.
The text says what happened, to which thing, and what to do next.
"""

from __future__ import annotations


class WharfieError(Exception):
    """The root. `kind` is the stable word that crosses process borders (the shim's wire, the zygote's answers)."""

    kind = "internal"

    def __init__(self, message: str, *, name: str = "", action: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.name = name
        self.action = action

    def __str__(self) -> str:
        return f"{self.message} ({self.action})" if self.action else self.message


class Invalid(WharfieError):
    """The request itself is wrong: bad name, bad flag, bad field. Nothing was done."""

    kind = "invalid"


class NotFound(WharfieError):
    """The named thing does not exist."""

    kind = "not-found"


class Conflict(WharfieError):
    """The thing is in a state, or a name is in a use, that forbids the request."""

    kind = "conflict"


class Unchanged(WharfieError):
    """The thing is already as asked (starting a started container)."""

    kind = "unchanged"


class Denied(WharfieError):
    """Permission is missing: credentials, capability, policy."""

    kind = "denied"


class Unsupported(WharfieError):
    """Understood, and not done by this version, kernel or host; the text names the thing."""

    kind = "unsupported"


class Unavailable(WharfieError):
    """Something needed does not answer now; the same request may work later."""

    kind = "unavailable"


class Exhausted(WharfieError):
    """A resource has run out: disk, addresses, ports, processes."""

    kind = "exhausted"


class Damaged(WharfieError):
    """Stored or received bytes are not what their digest or format says."""

    kind = "damaged"


class NotExecutable(WharfieError):
    """The program to start exists and cannot be executed (Docker's exit code 126)."""

    kind = "not-executable"


class NoCommand(WharfieError):
    """The program to start does not exist in the container (Docker's exit code 127)."""

    kind = "no-command"


KINDS: dict[str, type[WharfieError]] = {
    c.kind: c
    for c in (
        WharfieError, Invalid, NotFound, Conflict, Unchanged, Denied, Unsupported, Unavailable, Exhausted, Damaged,
        NotExecutable, NoCommand,
    )
}


def from_wire(kind: str, message: str) -> WharfieError:
    """The error that another process described by its kind; an unknown kind (a newer peer) becomes the root."""
    return KINDS.get(kind, WharfieError)(message)
