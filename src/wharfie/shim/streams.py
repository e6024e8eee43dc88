"""The stdio of one process, container or exec: the child's ends, and our outlet and inlet behind them."""

from __future__ import annotations

import base64
import os

from wharfie.base import errors, frames
from wharfie.kernel import pty

from .attacher import Attacher
from .detach import Scanner, parse
from .inlet import Inlet
from .outlet import Outlet
from .spool import Spool

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from wharfie.logs import writer

    from .loop import Loop


class Streams:
    """Made before the process; `stdio` goes to the maker (-1: none), then `started`."""

    def __init__(self, loop: Loop, *, tty: bool, stdin: bool, log: writer.Writer | None, spool_dir: str) -> None:
        """tty: one pty, known only once the process is made; stdin: whether it has one at all."""
        self.tty = tty
        self._loop = loop
        self.outlet = Outlet(loop, Spool(spool_dir), log, framed=not tty)
        self.inlet = Inlet(loop) if stdin else None
        self.console = -1
        self._theirs: list[int] = []
        self.stdio = (-1, -1, -1) if tty else self._pipes()

    def started(self, console: int) -> None:
        """The process exists: close its ends, take the pty's master (ours now)."""
        self._close_theirs()
        if not self.tty:
            return
        self.console = console
        os.set_blocking(console, False)
        self.outlet.add(os.dup(console), frames.STDOUT)
        if self.inlet is not None:
            self.inlet.open(os.dup(console))

    def close(self) -> None:
        """No more input, no more output; attachers are served to their end. Idempotent."""
        self._close_theirs()
        if self.inlet is not None:
            self.inlet.close()
        self.outlet.close()
        if self.console >= 0:
            os.close(self.console)
            self.console = -1

    def attach(self, fd: int, request: dict[str, Any], *, ends_stdin: bool,
               replay: Callable[[frozenset[int], bool], Iterator[bytes]] | None = None,
               on_detach: Callable[[], None] | None = None) -> None:
        """Attach a client's socket, which becomes ours. Raises Invalid before anything is taken."""
        streams = request.get("streams") or {}
        outputs = frozenset(s for s, name in ((frames.STDOUT, "stdout"), (frames.STDERR, "stderr"))
                            if streams.get(name))
        if self.tty and outputs:
            outputs = frozenset((frames.STDOUT, frames.STDERR))
        residue = base64.b64decode(request.get("residue") or "")
        typed = self.inlet if streams.get("stdin") else None
        keys = parse(request.get("detach_keys") or "")
        mux = bool(request.get("mux"))
        self.outlet.attach(Attacher(
            self._loop, fd, self.outlet, outputs, mux=mux, inlet=typed,
            ends_stdin=ends_stdin and not self.tty, scanner=Scanner(keys) if self.tty and typed is not None else None,
            residue=residue, on_detach=on_detach,
            replay=replay(outputs, mux) if replay is not None and request.get("logs") else None,
        ))

    def resize(self, rows: int, columns: int) -> None:
        """Another terminal size. Raises Conflict when there is no terminal."""
        if self.console < 0:
            raise errors.Conflict("the process has no terminal")
        pty.set_size(self.console, rows, columns)

    def _pipes(self) -> tuple[int, int, int]:
        stdin = -1
        if self.inlet is not None:
            stdin, mine = os.pipe2(os.O_CLOEXEC)
            os.set_blocking(mine, False)
            self.inlet.open(mine)
            self._theirs.append(stdin)
        ends = []
        for stream in (frames.STDOUT, frames.STDERR):
            mine, theirs = os.pipe2(os.O_CLOEXEC)
            os.set_blocking(mine, False)
            self.outlet.add(mine, stream)
            self._theirs.append(theirs)
            ends.append(theirs)
        return stdin, ends[0], ends[1]

    def _close_theirs(self) -> None:
        for fd in self._theirs:
            os.close(fd)
        self._theirs.clear()
