"""Forgetting UDP flows whose published port came, went or moved: the kernel keeps a flow's translation as long as its
client keeps sending, so a restarted server would never be reached by its old clients."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterable

from wharfie.netlink import conn, conntrack

from .model import Published


def udp_ports(published: Iterable[Published]) -> frozenset[int]:
    """The host ports that matter here."""
    return frozenset(port.host_port for port in published if port.proto == "udp")


def forget(ports: frozenset[int]) -> None:
    """Forget every IPv4 UDP flow to one of these ports. Lists all flows of the host: for a worker thread. Raises
    nothing: without conntrack there is nothing to forget, and at worst a flow lives until its client pauses."""
    try:
        with conn.Socket(conn.NETFILTER) as tables:
            known = (conntrack.parse(body) for body in tables.dump(conntrack.dump()))
            stale = [
                flow for flow in known
                if flow is not None and flow.proto == socket.IPPROTO_UDP and flow.destination_port in ports
            ]
            tables.each(map(conntrack.delete, stale), ignoring=errno.ENOENT)
    except OSError:
        pass
