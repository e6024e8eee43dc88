"""The one netlink socket: requests with acknowledgements, atomic nf_tables batches, dumps.

The kernel works a request off inside sendmsg(2), so that answers are queued when it returns; nothing here waits, except
for what the kernel itself takes. It may take long: every rtnetlink change waits for one lock, which the end of another
namespace can hold for tens of milliseconds. Callers with an event loop use a thread.
"""

from __future__ import annotations

import errno
import os
import select
import socket
import threading

from . import nft, rtnl, wire
from .wire import Message, NetlinkError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

ROUTE, NETFILTER = 0, 12
_SOL_NETLINK, _CAP_ACK, _EXT_ACK = 270, 10, 11
_SO_SNDBUFFORCE, _SO_RCVBUFFORCE = 32, 33
_BUFFER = 4 << 20
_RECEIVE = 1 << 18
# Acknowledgements wait in the receive buffer until the send is over: about 200 fill an unforced one.
_REQUESTS_PER_SEND = 64
_ANSWER_SECONDS = 10


def _open(kind: int, protocol: int) -> socket.socket:
    try:
        return socket.socket(socket.AF_NETLINK, kind, protocol)
    except OSError as failed:
        if failed.errno != errno.EPROTONOSUPPORT or protocol != NETFILTER:
            raise
        raise OSError(failed.errno, "this kernel offers no netfilter: the module nf_tables is missing or could not be "
                      "loaded (modprobe nf_tables)") from failed


class Socket:
    """A netlink socket of one protocol. Safe to use from several threads (one conversation at a time).

    With `fileno` it takes a duplicate of that socket, perhaps opened inside another network namespace and passed here:
    the kernel acts in the namespace where the socket was made. The caller keeps, and closes, its own."""

    def __init__(self, protocol: int = ROUTE, *, fileno: int = -1) -> None:
        kind = socket.SOCK_RAW | socket.SOCK_CLOEXEC
        if fileno >= 0:
            self._sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, protocol, fileno=os.dup(fileno))
        else:
            self._sock = _open(kind, protocol)
        self._seq = 0
        self._lock = threading.Lock()
        self._sock.setsockopt(_SOL_NETLINK, _EXT_ACK, 1)
        self._sock.setsockopt(_SOL_NETLINK, _CAP_ACK, 1)
        if protocol == NETFILTER:
            self._enlarge()

    def _enlarge(self) -> None:
        # A table with thousands of elements is one send. Without CAP_NET_ADMIN the ordinary limits stay.
        for option in (_SO_SNDBUFFORCE, _SO_RCVBUFFORCE):
            try:
                self._sock.setsockopt(socket.SOL_SOCKET, option, _BUFFER)
            except PermissionError:
                pass

    def fileno(self) -> int:
        return self._sock.fileno()

    def close(self) -> None:
        self._sock.close()

    def __enter__(self) -> Socket:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def run(self, *messages: Message) -> None:
        """Carry out rtnetlink requests in order. Not atomic: the kernel goes on after a failed one within a send.
        Raises NetlinkError for the first that failed."""
        with self._lock:
            for at in range(0, len(messages), _REQUESTS_PER_SEND):
                asked: dict[int, Message] = {}
                out = []
                for message in messages[at : at + _REQUESTS_PER_SEND]:
                    asked[self._next()] = message
                    out.append(wire.encode(message, self._seq, wire.ACK))
                self._sock.send(b"".join(out))
                failed = self._acknowledged(asked)
                if failed:
                    raise failed

    def batch(self, messages: Iterable[Message]) -> None:
        """Commit nf_tables changes: all or, with NetlinkError naming the first message that failed, none."""
        todo = list(messages)
        if not todo:
            return
        with self._lock:
            edge = self._next()
            out = [wire.encode(nft.batch_edge(nft.BATCH_BEGIN), edge)]
            asked: dict[int, Message] = {}
            for message in todo:
                asked[self._next()] = message
                out.append(wire.encode(message, self._seq, wire.ACK if message is todo[-1] else 0))
            last = self._seq
            out.append(wire.encode(nft.batch_edge(nft.BATCH_END), self._next()))
            asked[edge] = Message(0, b"", 0, "commit")
            self._sock.send(b"".join(out))
            failed = self._committed(asked, last)
            if failed:
                raise failed

    def each(self, messages: Iterable[Message], *, ignoring: int) -> None:
        """Carry out netfilter requests that stand alone (no batch), passing over one kind of error number. Raises
        NetlinkError for the first other one, after all were tried."""
        failed: NetlinkError | None = None
        for message in messages:
            try:
                self.run(message)
            except NetlinkError as error:
                failed = failed or (error if error.errno != ignoring else None)
        if failed:
            raise failed

    def get(self, message: Message) -> bytes:
        """The body of the one answer to a question. Raises NetlinkError (ENODEV for a link that is not there)."""
        with self._lock:
            seq = self._next()
            self._sock.send(wire.encode(message, seq))
            while True:
                for reply in self._receive():
                    if reply.seq != seq:
                        continue
                    if reply.kind == wire.ERROR:
                        raise NetlinkError(*wire.verdict(reply), message)
                    return reply.body

    def dump(self, message: Message) -> list[bytes]:
        """The bodies of all answers to a listing, taken again when it changed meanwhile. Raises NetlinkError."""
        with self._lock:
            for _ in range(5):
                bodies, whole = self._dump_once(message)
                if whole:
                    break
            return bodies

    def _dump_once(self, message: Message) -> tuple[list[bytes], bool]:
        seq, whole = self._next(), True
        bodies: list[bytes] = []
        self._sock.send(wire.encode(message, seq, wire.DUMP))
        while True:
            for reply in self._receive():
                if reply.seq != seq:
                    continue
                whole = whole and not reply.flags & wire.DUMP_INTERRUPTED
                if reply.kind in (wire.ERROR, wire.DONE):
                    code, reason = wire.verdict(reply)
                    if code:
                        raise NetlinkError(code, reason, message)
                    return bodies, whole
                bodies.append(reply.body)

    # The links, as nearly every caller wants them.

    def link(self, name: str) -> rtnl.Link | None:
        """The link of that name, or None."""
        try:
            return rtnl.parse_link(self.get(rtnl.get_link(name)))
        except NetlinkError as error:
            if error.errno == errno.ENODEV:
                return None
            raise

    def links(self) -> list[rtnl.Link]:
        return [rtnl.parse_link(body) for body in self.dump(rtnl.dump_links())]

    def addresses(self) -> list[rtnl.Address]:
        """IPv4 addresses of all links."""
        return [rtnl.parse_address(body) for body in self.dump(rtnl.dump_addresses())]

    def routes(self) -> list[rtnl.Route]:
        """IPv4 routes of all tables."""
        return [rtnl.parse_route(body) for body in self.dump(rtnl.dump_routes())]

    def _next(self) -> int:
        self._seq = (self._seq + 1) & 0x7FFFFFFF or 1
        return self._seq

    def _acknowledged(self, asked: dict[int, Message]) -> NetlinkError | None:
        waiting = dict(asked)
        failures: dict[int, NetlinkError] = {}
        while waiting:
            for reply in self._receive():
                if reply.kind != wire.ERROR or reply.seq not in waiting:
                    continue
                code, reason = wire.verdict(reply)
                if code:
                    failures[reply.seq] = NetlinkError(code, reason, waiting[reply.seq])
                del waiting[reply.seq]
        for seq in asked:
            if seq in failures:
                return failures[seq]
        return None

    def _committed(self, asked: dict[int, Message], last: int) -> NetlinkError | None:
        # Failing messages are all reported, then the last one's acknowledgement (unless it failed), and a failed commit
        # under the number of the batch's beginning. All of it is queued already: read until there is no more.
        first: NetlinkError | None = None
        done = False
        while not done or self._poll(0):
            for reply in self._receive():
                if reply.kind != wire.ERROR or reply.seq not in asked:
                    continue
                code, reason = wire.verdict(reply)
                if code and first is None:
                    first = NetlinkError(code, reason, asked[reply.seq])
                done = done or bool(code) or reply.seq == last
        return first

    def _poll(self, milliseconds: int) -> bool:
        poller = select.poll()
        poller.register(self._sock, select.POLLIN)
        return bool(poller.poll(milliseconds))

    def _receive(self) -> list[wire.Reply]:
        try:
            data = self._sock.recv(_RECEIVE, socket.MSG_DONTWAIT)
        except BlockingIOError:
            if not self._poll(_ANSWER_SECONDS * 1000):
                raise TimeoutError("the kernel did not answer a netlink request") from None
            data = self._sock.recv(_RECEIVE)
        return list(wire.split(data))
