"""The verbs of the wire, one method each, and the table of them. Every method takes the message and its descriptors
(those it keeps it takes out of the list) and returns (result, names of descriptors, descriptors).
"""

from __future__ import annotations

from wharfie.base import errors
from wharfie.kernel import process

from . import top, wire
from .pausing import Pausing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from .connections import Later
    from .execs import Execs
    from .life import Life
    from .ports import Ports

    Message = dict[str, Any]
    Answer = tuple[dict[str, Any], list[str], list[int]]

_MAX_SIGNAL = 64


class Verbs:
    """What the engine may ask. `tell` sends an event, `leave` ends the shim once everybody is served."""

    def __init__(self, life: Life, execs: Execs, ports: Ports, tell: Callable[[Message], None],
                 leave: Callable[[], None], pausing: Pausing) -> None:
        self._life = life
        self._pausing = pausing
        self._execs = execs
        self._ports = ports
        self._tell = tell
        self._leave = leave
        self._table: dict[str, Callable[[Message, list[int]], Answer | Later]] = {
            wire.PREPARE: self._prepare, wire.CREATE: self._create, wire.START: self._start,
            wire.SIGNAL: self._signal, wire.RESIZE: self._resize, wire.ATTACH: self._attach, wire.EXEC: self._exec,
            wire.PAUSE: self._pause, wire.RESUME: self._resume,
            wire.STATS: self._stats, wire.TOP: self._top, wire.UPDATE: self._update, wire.ROOTFS: self._rootfs,
            wire.BYE: self._bye,
        }

    def handle(self, message: Message, fds: list[int]) -> Answer | Later:
        """Perform one request. Raises WharfieError, OSError; KeyError and the like for a malformed one."""
        op = message.get("op")
        verb = self._table.get(op) if isinstance(op, str) else None
        if verb is None:
            raise errors.Unsupported(f"this shim knows no verb {op!r}")
        return verb(message, fds)

    def _prepare(self, message: Message, _fds: list[int]) -> Answer:
        return self._life.prepare(message["launch"])

    def _create(self, message: Message, _fds: list[int]) -> Answer:
        self._life.create(message["spec"])
        return {}, [], []

    def _start(self, message: Message, fds: list[int]) -> Answer:
        listeners = message.get("listeners") or []
        result = self._life.start(lambda: self._ports.open(listeners, fds))
        return result, ["init"], [self._life.running().process.pidfd]

    def _signal(self, message: Message, _fds: list[int]) -> Answer:
        number = message["signal"]
        if not isinstance(number, int) or not 0 <= number <= _MAX_SIGNAL:
            raise errors.Invalid(f"invalid signal: {number}")
        try:
            process.pidfd_send_signal(self._life.running().process.pidfd, number)
        except ProcessLookupError as error:
            raise errors.Conflict("the container's process has ended") from error
        if number == process.SIGKILL:
            self._pausing.killed()
        return {}, [], []

    def _resize(self, message: Message, _fds: list[int]) -> Answer:
        rows, columns = int(message["height"]), int(message["width"])
        if not (0 <= rows <= 0xFFFF and 0 <= columns <= 0xFFFF):
            raise errors.Invalid(f"invalid terminal size {rows}x{columns}")
        if message.get("exec"):
            self._execs.resize(message["exec"], rows, columns)
        else:
            self._life.running()
            assert self._life.streams is not None
            self._life.streams.resize(rows, columns)
        return {}, [], []

    def _attach(self, message: Message, fds: list[int]) -> Answer:
        if not fds:
            raise errors.Invalid("attach needs the client's socket")
        self._life.attach(fds[0], message, lambda: self._tell({"event": wire.EVENT_DETACH}))
        fds.pop(0)
        return {}, [], []

    def _exec(self, message: Message, fds: list[int]) -> Later:
        return self._execs.start(message, fds)

    def _pause(self, _message: Message, _fds: list[int]) -> Answer | Later:
        return self._pausing.pause() or ({}, [], [])

    def _resume(self, _message: Message, _fds: list[int]) -> Answer:
        self._pausing.resume()
        return {}, [], []

    def _stats(self, _message: Message, _fds: list[int]) -> Answer:
        numbers = dict(self._life.limits().stats())
        numbers["networks"] = _networks(self._life.running().process.pid)
        return numbers, [], []

    def _top(self, message: Message, _fds: list[int]) -> Answer:
        return dict(top.table(self._life.limits().pids(), str(message.get("args") or ""))), [], []

    def _update(self, message: Message, _fds: list[int]) -> Answer:
        self._life.limits().apply(message["resources"])
        return {}, [], []

    def _rootfs(self, _message: Message, _fds: list[int]) -> Answer:
        return {}, ["rootfs"], [self._life.root()]

    def _bye(self, _message: Message, _fds: list[int]) -> Answer:
        self._leave()
        return {}, [], []


def _networks(pid: int) -> dict[str, dict[str, int]]:
    """The counters of each interface but lo, in Docker's names, as /proc/<pid>/net/dev has them (proc(5))."""
    names = ("rx_bytes", "rx_packets", "rx_errors", "rx_dropped", "tx_bytes", "tx_packets", "tx_errors", "tx_dropped")
    found: dict[str, dict[str, int]] = {}
    try:
        with open(f"/proc/{pid}/net/dev", "rb") as file:
            lines = file.read().decode().splitlines()[2:]
    except OSError:
        return found
    for line in lines:
        name, _, rest = line.partition(":")
        numbers = [int(x) for x in rest.split()]
        if name.strip() != "lo" and len(numbers) >= 12:
            found[name.strip()] = dict(zip(names, numbers[:4] + numbers[8:12], strict=True))
    return found
