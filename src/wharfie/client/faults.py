"""What goes wrong when asking an engine: it cannot be reached, or it refuses."""

from __future__ import annotations

from wharfie.base import errors


class EngineFault(errors.WharfieError):
    """The engine answered with an error; `status` is the HTTP status. Every fault is also the `base.errors` class of
    its meaning, so that `except errors.NotFound` works."""

    status = 500


class _NotFound(EngineFault, errors.NotFound):
    status = 404


class _Conflict(EngineFault, errors.Conflict):
    status = 409


class _Invalid(EngineFault, errors.Invalid):
    status = 400


class _Denied(EngineFault, errors.Denied):
    status = 403


class _Unsupported(EngineFault, errors.Unsupported):
    status = 501


class _Unavailable(EngineFault, errors.Unavailable):
    status = 503


class Unreachable(errors.Unavailable):
    """Nobody answers at the engine's address."""


_MEANINGS: dict[int, type[EngineFault]] = {
    400: _Invalid, 401: _Denied, 403: _Denied, 404: _NotFound, 405: _Unsupported, 409: _Conflict, 413: _Invalid,
    501: _Unsupported, 503: _Unavailable,
}


def from_answer(status: int, message: str) -> EngineFault:
    """The error that an answer's status and text mean."""
    fault = _MEANINGS.get(status, EngineFault)(message)
    fault.status = status
    return fault
