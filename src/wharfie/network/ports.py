"""Reserving host ports: a bound socket is the reservation. No table could be right, since any program of the host, and
a second engine, may take a port at any time.

The sockets are the gate's listeners. TCP sockets listen at once: with SO_REUSEADDR (needed, or a port stays blocked for
a minute by connections in TIME_WAIT) two sockets may be bound to one port, and only listen(2) is exclusive. UDP sockets
do without SO_REUSEADDR, which there would let anybody share the port.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterable, Sequence
from ipaddress import ip_address

from wharfie.base import errors, undo

from .model import Binding, Endpoint, Published

BACKLOG = 4096
_EPHEMERAL_TRIES = 32
_KINDS = {"tcp": socket.SOCK_STREAM, "udp": socket.SOCK_DGRAM}
_ANY4, _ANY6 = "0.0.0.0", "::"


def listen(
    endpoint: Endpoint, bindings: Iterable[Binding], *, default_ip: str = ""
) -> tuple[list[Published], list[int]]:
    """Reserve every port of `bindings`, or none.

    Out: what was reserved, one entry per address family, and the listening fds in the same order (close-on-exec,
    non-blocking; the caller owns them). Raises Conflict when a port is in use, Invalid for an address this host does
    not have, Denied without the right to a low port, Unsupported for a protocol other than tcp and udp."""
    made: list[Published] = []
    sockets: list[socket.socket] = []
    with undo.Undo() as back:
        for binding in bindings:
            if binding.proto not in _KINDS:
                raise errors.Unsupported(f"publishing {binding.proto} ports is not supported: tcp and udp are")
            host_ip = binding.host_ip or default_ip
            for held in _reserve(endpoint, binding, _addresses(host_ip)):
                back.push(held.close)
                sockets.append(held)
                ip, port = held.getsockname()[:2]
                made.append(Published(binding.proto, ip, port, endpoint.ip, binding.container_port))
        back.forget()
    return made, [held.detach() for held in sockets]


def _addresses(host_ip: str) -> Sequence[str]:
    if host_ip:
        ip = host_ip.strip("[]")
        try:
            ip_address(ip)
        except ValueError as error:
            raise errors.Invalid(f"invalid IP address: {host_ip}", name=host_ip) from error
        return (ip,)
    return (_ANY4, _ANY6) if has_ipv6() else (_ANY4,)


def has_ipv6() -> bool:
    """Whether this network namespace speaks IPv6 at all."""
    try:
        with open("/proc/sys/net/ipv6/conf/all/disable_ipv6", "rb") as file:
            return file.read(1) == b"0"
    except OSError:
        return False


def _reserve(endpoint: Endpoint, binding: Binding, addresses: Sequence[str]) -> list[socket.socket]:
    """All families on one port. A port that the kernel chose for the first family may be taken in the second."""
    tries = 1 if binding.host_port or len(addresses) == 1 else _EPHEMERAL_TRIES
    while True:
        tries -= 1
        held: list[socket.socket] = []
        port = binding.host_port
        try:
            for ip in addresses:
                held.append(_bind(binding.proto, ip, port))
                port = held[0].getsockname()[1]
            return held
        except OSError as error:
            for one in held:
                one.close()
            if error.errno == errno.EADDRINUSE and tries:
                continue
            raise _explain(endpoint, addresses[len(held)], port, error) from error


def _bind(proto: str, ip: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in ip else socket.AF_INET
    made = socket.socket(family, _KINDS[proto] | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
    try:
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if proto == "tcp":
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((ip, port))
        if proto == "tcp":
            made.listen(BACKLOG)
    except BaseException:
        made.close()
        raise
    return made


def _explain(endpoint: Endpoint, ip: str, port: int, error: OSError) -> errors.WharfieError:
    where = f"[{ip}]:{port}" if ":" in ip else f"{ip}:{port}"
    name = endpoint.name or endpoint.container_id[:12]
    told = f"driver failed programming external connectivity on endpoint {name} ({endpoint.id}): "
    told += f"Bind for {where} failed: "
    if error.errno == errno.EADDRINUSE:
        return errors.Conflict(
            told + "port is already allocated", name=where,
            action="another container, program or engine on this host holds it",
        )
    if error.errno == errno.EADDRNOTAVAIL:
        return errors.Invalid(
            told + "cannot assign requested address", name=where, action="no link of this host has that address")
    if error.errno in (errno.EACCES, errno.EPERM):
        return errors.Denied(
            told + "permission denied", name=where,
            action="ports below net.ipv4.ip_unprivileged_port_start need CAP_NET_BIND_SERVICE",
        )
    return errors.Unavailable(told + os.strerror(error.errno or 0), name=where)
