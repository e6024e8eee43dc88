"""What one invocation shares: where the engine is, the connection to it, standard output."""

from __future__ import annotations

import os
import sys

from wharfie.client import endpoint, wire

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from wharfie.client.calls import Call


class Session:
    """Everything is made when first asked for."""

    def __init__(self, *, host: str = "", context: str = "", config: str = "", path: str = "") -> None:
        self.path = path
        self.config = endpoint.Config(endpoint.config_directory(os.environ, config))
        self._host = host
        self._context = context
        self._endpoint: endpoint.Endpoint | None = None
        self._connection: wire.Connection | None = None

    @property
    def place(self) -> endpoint.Endpoint:
        """Where the engine is. Raises errors.Invalid, NotFound, Damaged."""
        if self._endpoint is None:
            self._endpoint = endpoint.find(self.config, os.environ, host=self._host, context=self._context)
        return self._endpoint

    def use(self, where: endpoint.Endpoint) -> None:
        """Talk to this engine from now on (a private one that was just started)."""
        self._endpoint = where
        self._connection = None

    @property
    def connection(self) -> wire.Connection:
        """The keep-alive connection."""
        if self._connection is None:
            self._connection = wire.Connection(self.place)
        return self._connection

    def do(self, call: Call) -> wire.Answer:
        """Ask; error answers are raised. Read the answer before the next call."""
        return self.connection.do(call)

    def json(self, call: Call) -> Any:
        return self.connection.do(call).json()

    def finish(self, call: Call) -> None:
        """Ask and drop the body."""
        self.connection.do(call).read()


def say(text: str) -> None:
    """A line on standard output."""
    sys.stdout.write(text + "\n")


def complain(text: str) -> None:
    """A line on standard error, after what standard output holds."""
    sys.stdout.flush()
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def each(session: Session, names: list[str], act: Any) -> int:
    """Docker's loop over names: print each that went well, report each error, exit 1 when one failed.
    `act(name)` may return the text to print instead of the name, or None."""
    from wharfie.base import errors
    from wharfie.client import faults

    status = 0
    for name in names:
        try:
            said = act(name)
            say(name if said is None else said)
        except errors.WharfieError as error:
            if not isinstance(error, faults.EngineFault):
                raise
            complain(f"Error response from daemon: {error.message}")
            status = 1
    return status
