"""What run, start, attach and exec share: raw terminal, signal proxy, resizing, around one conversation."""

from __future__ import annotations

from wharfie.base import errors
from wharfie.client import calls

from . import streams, terminal
from .session import complain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .session import Session


class Stage:
    """Set up before the container starts, so that no signal is lost; `converse` after it.

    `target` is the container's or exec's id; `exec`: it is an exec, to which signals cannot be passed."""

    def __init__(
        self, session: Session, target: str, *, tty: bool, stdin: bool, proxy: bool, keys: str, exec: bool = False,
    ) -> None:
        self._session = session
        self._target = target
        self._tty = tty
        self._stdin = stdin
        self._exec = exec
        self._keys = detach_keys(session, keys) if tty and stdin else b""
        self._resizes = tty and terminal.is_terminal(1)
        numbers = list(terminal.PROXIED) if proxy and not exec else []
        if self._resizes:
            numbers.append(terminal.SIGWINCH)
        self._signals = terminal.Signals(numbers) if numbers else None
        self._size = terminal.size(1) if self._resizes else (0, 0)

    def converse(self, sock: Any, residue: bytes) -> bool:
        """False when the user detached."""
        raw = self._tty and self._stdin and terminal.is_terminal(0)
        if self._resizes and terminal.size(1) != self._size:
            self._resize()
        talk = streams.Conversation(
            sock, residue, mux=not self._tty, stdin=self._stdin, keys=self._keys, signals=self._signals,
            on_signal=self._on_signal,
        )
        try:
            if raw:
                with terminal.Raw(0):
                    talk.run()
            else:
                talk.run()
        except streams.Detached:
            complain("read escape sequence")
            return False
        finally:
            sock.close()
        return True

    def nudge(self) -> None:
        """Make a program that is already running redraw: another size, then the right one."""
        rows, columns = terminal.size(1) if self._resizes else (0, 0)
        if rows:
            self._ask(calls.container_resize(self._target, rows + 1, columns + 1, exec=self._exec))
            self._resize()

    def _on_signal(self, number: int) -> None:
        if number == terminal.SIGWINCH:
            self._resize()
        elif number in terminal.PROXIED:
            self._ask(calls.container_kill(self._target, terminal.PROXIED[number]))

    def _resize(self) -> None:
        self._size = terminal.size(1)
        rows, columns = self._size
        if rows or columns:
            self._ask(calls.container_resize(self._target, rows, columns, exec=self._exec))

    def _ask(self, call: calls.Call) -> None:
        """The container may have ended in the meantime: then there is nothing to tell it."""
        try:
            self._session.finish(call)
        except errors.WharfieError:
            self._session.connection.close()


def detach_keys(session: Session, given: str) -> bytes:
    """From the flag, else config.json, else docker's default. Raises errors.Invalid."""
    text = given or str(session.config.get("detachKeys")) or terminal.DEFAULT_DETACH
    return terminal.parse_keys(text)


def check_terminal(*, stdin: bool, tty: bool) -> None:
    """Refuse -it without a terminal, as docker does. Raises errors.Invalid."""
    if stdin and tty and not terminal.is_terminal(0):
        raise errors.Invalid("the input device is not a TTY")
