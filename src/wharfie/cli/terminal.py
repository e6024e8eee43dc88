"""The terminal: raw mode, size, detach keys, and signals as bytes on a pipe. C modules only: `signal`, `tty` and their
enums would cost more than the rest of the command."""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import os

from wharfie.base import errors

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

SIGWINCH = _signal.SIGWINCH
# What is passed on to the process. SIGKILL and SIGSTOP cannot be caught; SIGCHLD, SIGPIPE and SIGURG are our own
# business; SIGTSTP, SIGTTIN and SIGTTOU stay with the shell's job control.
PROXIED = {
    _signal.SIGHUP: "HUP", _signal.SIGINT: "INT", _signal.SIGQUIT: "QUIT", _signal.SIGUSR1: "USR1",
    _signal.SIGUSR2: "USR2", _signal.SIGALRM: "ALRM", _signal.SIGTERM: "TERM", _signal.SIGCONT: "CONT",
}
DEFAULT_DETACH = "ctrl-p,ctrl-q"
_CONTROL = "@abcdefghijklmnopqrstuvwxyz[\\]^_"


def is_terminal(fd: int) -> bool:
    return os.isatty(fd)


def size(fd: int) -> tuple[int, int]:
    """(rows, columns); (0, 0) where there is no terminal."""
    try:
        columns, rows = os.get_terminal_size(fd)
        return rows, columns
    except OSError:
        return 0, 0


class Raw:
    """The terminal in raw mode for the length of a `with` block (cfmakeraw, output processing included)."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._before: list[Any] | None = None

    def __enter__(self) -> Raw:
        import termios

        self._before = termios.tcgetattr(self._fd)
        iflag, oflag, cflag, lflag, ispeed, ospeed, cc = termios.tcgetattr(self._fd)
        iflag &= ~(termios.IGNBRK | termios.BRKINT | termios.PARMRK | termios.ISTRIP | termios.INLCR | termios.IGNCR
                   | termios.ICRNL | termios.IXON)
        oflag &= ~termios.OPOST
        lflag &= ~(termios.ECHO | termios.ECHONL | termios.ICANON | termios.ISIG | termios.IEXTEN)
        cflag = cflag & ~(termios.CSIZE | termios.PARENB) | termios.CS8
        cc[termios.VMIN], cc[termios.VTIME] = 1, 0
        termios.tcsetattr(self._fd, termios.TCSANOW, [iflag, oflag, cflag, lflag, ispeed, ospeed, cc])
        return self

    def __exit__(self, *_: object) -> None:
        if self._before is not None:
            import termios

            termios.tcsetattr(self._fd, termios.TCSANOW, self._before)
            self._before = None


class Signals:
    """Signals that arrive become bytes on `fd`, to be polled with everything else."""

    def __init__(self, numbers: list[int]) -> None:
        self.fd, self._write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        _signal.set_wakeup_fd(self._write)
        for number in numbers:
            _signal.signal(number, _nothing)

    def taken(self) -> list[int]:
        """The numbers since the last call, in order."""
        try:
            return list(os.read(self.fd, 4096))
        except BlockingIOError:
            return []


def _nothing(number: int, frame: object) -> None:
    """The interpreter writes the number to the wake-up pipe; nothing else is to be done."""


def parse_keys(text: str) -> bytes:
    """The bytes of a detach sequence such as "ctrl-p,ctrl-q" or "a". Raises errors.Invalid."""
    out = bytearray()
    for key in text.split(","):
        if len(key) == 1 and key.isascii():
            out.append(ord(key))
        elif key.lower().startswith("ctrl-") and len(key) == 6 and key[5].lower() in _CONTROL:
            out.append(_CONTROL.index(key[5].lower()))
        else:
            raise errors.Invalid(f"invalid detach keys ({text}): unknown character: '{key}'")
    return bytes(out)


class Escape:
    """Looks for the detach sequence in what is typed; holds back a beginning of it."""

    def __init__(self, keys: bytes) -> None:
        self._keys = keys
        self._held = b""

    def feed(self, data: bytes) -> tuple[bytes, bool]:
        """What may go on to the container, and whether the sequence was typed."""
        if not self._keys:
            return data, False
        out = bytearray()
        for byte in data:
            self._held += bytes((byte,))
            if self._held == self._keys:
                return bytes(out), True
            while self._held and not self._keys.startswith(self._held):
                out.append(self._held[0])
                self._held = self._held[1:]
        return bytes(out), False
