"""The relays, on loopback: bytes, half-closes, refused targets, many connections, datagrams."""

from __future__ import annotations

import contextlib
import gc
import os
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from wharfie.gate import events, tcp, udp

PATIENCE = 10


class _Gate:
    """A relay in a child process that is ready: it has opened what it keeps. Nothing that it has of its parent's goes
    by itself: the parent's garbage may hold descriptors."""

    def __init__(self, kind: type, listener: socket.socket, target: tuple[str, int]) -> None:
        self.address = listener.getsockname()[:2]
        ready, said = os.pipe()
        self.pid = os.fork()
        if not self.pid:
            try:
                gc.freeze()
                os.close(ready)
                loop = events.Events()
                kind(loop, listener, target)
                os.close(said)  # the word that all is set up; it leaves no descriptor itself
                while True:
                    loop.turn()
            finally:
                os._exit(1)
        os.close(said)
        os.read(ready, 1)
        os.close(ready)
        listener.close()

    def close(self) -> None:
        os.kill(self.pid, 9)
        os.waitpid(self.pid, 0)

    def descriptors(self) -> dict[str, str]:
        """Number → what it is; one that is closed meanwhile is passed over."""
        found = {}
        for name in os.listdir(f"/proc/{self.pid}/fd"):
            with contextlib.suppress(FileNotFoundError):
                found[name] = os.readlink(f"/proc/{self.pid}/fd/{name}")
        return found


def _listener(kind: int = socket.SOCK_STREAM) -> socket.socket:
    sock = socket.socket(socket.AF_INET, kind)
    sock.bind(("127.0.0.1", 0))
    sock.settimeout(PATIENCE)
    if kind == socket.SOCK_STREAM:
        sock.listen(128)
    return sock


@pytest.fixture
def server() -> Iterator[socket.socket]:
    with _listener() as sock:
        yield sock


@pytest.fixture
def gate(server) -> Iterator[_Gate]:
    made = _Gate(tcp.TcpRelay, _listener(), server.getsockname())
    yield made
    made.close()


def _through(gate: _Gate, server: socket.socket) -> tuple[socket.socket, socket.socket]:
    client = socket.create_connection(gate.address, PATIENCE)
    there, _ = server.accept()
    there.settimeout(PATIENCE)
    return client, there


def _all(sock: socket.socket) -> bytes:
    parts = []
    while piece := sock.recv(1 << 16):
        parts.append(piece)
    return b"".join(parts)


def test_both_ways_with_half_closes(gate, server):
    client, there = _through(gate, server)
    big = os.urandom(3 << 20)
    writer = threading.Thread(target=lambda: (client.sendall(big), client.shutdown(socket.SHUT_WR)))
    writer.start()
    assert _all(there) == big
    writer.join()
    there.sendall(b"late answer")
    there.close()
    assert _all(client) == b"late answer"


def test_the_server_ends_first(gate, server):
    client, there = _through(gate, server)
    there.sendall(b"bye")
    there.shutdown(socket.SHUT_WR)
    assert _all(client) == b"bye"
    client.sendall(b"still heard")
    client.close()
    assert _all(there) == b"still heard"


def test_a_reader_that_is_slow_gets_everything(gate, server):
    client, there = _through(gate, server)
    big = b"x" * (8 << 20)
    writer = threading.Thread(target=lambda: (there.sendall(big), there.close()))
    writer.start()
    assert len(_all(client)) == len(big)
    writer.join()


def test_a_target_that_refuses_closes_the_client(server):
    address = server.getsockname()
    server.close()
    gate = _Gate(tcp.TcpRelay, _listener(), address)
    with socket.create_connection(gate.address, PATIENCE) as client:
        try:
            assert client.recv(1) == b""
        except ConnectionResetError:
            pass
    gate.close()


def test_many_connections_leave_no_descriptor(gate, server):
    before = gate.descriptors()
    for n in range(60):
        client, there = _through(gate, server)
        client.sendall(b"%d" % n)
        assert there.recv(10) == b"%d" % n
        there.close()
        client.close()
    limit = time.monotonic() + PATIENCE
    while gate.descriptors() != before and time.monotonic() < limit:
        time.sleep(0.01)
    assert gate.descriptors() == before


def test_a_reset_client_is_passed_on(gate, server):
    client, there = _through(gate, server)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    client.close()
    try:
        assert there.recv(1) == b""
    except ConnectionResetError:
        pass


def test_datagrams_find_their_clients():
    with _listener(socket.SOCK_DGRAM) as server:
        gate = _Gate(udp.UdpRelay, _listener(socket.SOCK_DGRAM), server.getsockname())
        clients = []
        for n in range(5):
            client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            client.settimeout(PATIENCE)
            client.connect(gate.address)
            client.send(b"ask %d" % n)
            clients.append(client)
        for _ in clients:
            data, peer = server.recvfrom(100)
            server.sendto(data.replace(b"ask", b"answer"), peer)
        assert [c.recv(100) for c in clients] == [b"answer %d" % n for n in range(5)]
        clients[0].send(b"again")
        data, peer = server.recvfrom(100)
        assert data == b"again"
        gate.close()


def test_a_datagram_for_which_there_is_no_descriptor_is_lost_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    loop, listener = events.Events(), _listener(socket.SOCK_DGRAM)
    udp.UdpRelay(loop, listener, ("127.0.0.1", 9))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.sendto(b"x", listener.getsockname())

    def none_left(*_: object) -> None:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(udp.socket, "socket", none_left)
    loop.turn()
    listener.close()
