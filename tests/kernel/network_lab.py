"""A laboratory of network namespaces for one test: the machine's own namespace is never touched.

`@lab` runs a test in a forked child with a fresh network namespace as "the host"; in it `Space()` makes others
(containers, the outside), and `with space:` makes sockets in them (a socket stays in the namespace it was made in).
"""

from __future__ import annotations

import ctypes
import functools
import os
import socket
import sys
import traceback
from collections.abc import Callable
from typing import Any

from wharfie.netlink import conn, rtnl

_LIBC = ctypes.CDLL(None, use_errno=True)
CLONE_NEWNET = 0x40000000


def _check(result: int) -> None:
    if result:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def lab(test: Callable[..., Any]) -> Callable[..., Any]:
    """Run the test in a child with a network namespace of its own; what it prints and raises is reported here."""

    @functools.wraps(test)
    def outer(*args: Any, **named: Any) -> None:
        read, write = os.pipe()
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                os.close(read)
                _check(_LIBC.unshare(CLONE_NEWNET))
                with conn.Socket() as route:
                    route.run(rtnl.set_up(rtnl.LOOPBACK))
                test(*args, **named)
                code = 0
            except BaseException:
                os.write(write, traceback.format_exc().encode()[-60000:])
            finally:
                sys.stdout.flush()
                os._exit(code)
        os.close(write)
        with open(read, "rb") as pipe:
            said = pipe.read().decode()
        _, status = os.waitpid(pid, 0)
        assert status == 0, f"in the laboratory (status {status}):\n{said}"

    return outer


class Space:
    """A network namespace. `fd` is the namespace, `netlink` a NETLINK_ROUTE socket made inside."""

    def __init__(self) -> None:
        self._home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        _check(_LIBC.unshare(CLONE_NEWNET))
        self.fd = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        self.netlink = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
        _check(_LIBC.setns(self._home, CLONE_NEWNET))
        self.route = conn.Socket(fileno=self.netlink.fileno())

    def __enter__(self) -> Space:
        _check(_LIBC.setns(self.fd, CLONE_NEWNET))
        return self

    def __exit__(self, *_: object) -> None:
        _check(_LIBC.setns(self._home, CLONE_NEWNET))

    def end(self) -> None:
        """Let the kernel take the namespace away, as the death of a container does."""
        self.route.close()
        self.netlink.close()
        os.close(self.fd)


def outside(network: str = "198.51.100", *, name: str = "uplink") -> Space:
    """A neighbour of the host: the host has .1 on link `name`, the neighbour .2 on eth0 and no route back to anything
    behind the host."""
    space = Space()
    with conn.Socket() as host:
        host.run(rtnl.add_veth(name, "eth0", peer_netns=space.fd))
        link, inner = host.link(name), space.route.link("eth0")
        assert link is not None
        assert inner is not None
        host.run(rtnl.add_address(link.index, f"{network}.1", 24), rtnl.set_up(link.index))
        space.route.run(
            rtnl.set_up(rtnl.LOOPBACK), rtnl.add_address(inner.index, f"{network}.2", 24), rtnl.set_up(inner.index))
    return space


def tcp_server(ip: str = "0.0.0.0", port: int = 80) -> socket.socket:
    """Listening in the namespace of the moment."""
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.bind((ip, port))
    made.listen(16)
    made.settimeout(6)
    return made


def udp_server(ip: str = "0.0.0.0", port: int = 53) -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.bind((ip, port))
    made.settimeout(6)
    return made


def talk(space: Space | None, ip: str, port: int, server: socket.socket, *, patience: float = 6) -> str:
    """Connect from a namespace (None: the host), exchange bytes both ways. Out: the client's address as the server
    sees it. Raises OSError (TimeoutError when nobody answers)."""
    client = _client(space, socket.SOCK_STREAM)
    client.settimeout(patience)
    with client:
        client.connect((ip, port))
        accepted, peer = server.accept()
        with accepted:
            client.sendall(b"ping")
            assert accepted.recv(16) == b"ping"
            accepted.sendall(b"pong")
            assert client.recv(16) == b"pong"
    return str(peer[0])


def ask(space: Space | None, ip: str, port: int, server: socket.socket) -> str:
    """The same by UDP."""
    with _client(space, socket.SOCK_DGRAM) as client:
        client.sendto(b"ping", (ip, port))
        data, peer = server.recvfrom(64)
        assert data == b"ping"
        server.sendto(b"pong", peer)
        assert client.recv(64) == b"pong"
    return str(peer[0])


def _client(space: Space | None, kind: int) -> socket.socket:
    if space is None:
        made = socket.socket(socket.AF_INET, kind)
    else:
        with space:
            made = socket.socket(socket.AF_INET, kind)
    made.settimeout(6)
    return made


def sysctl(name: str, value: str) -> None:
    with open(f"/proc/sys/net/{name}", "w") as file:
        file.write(value)
