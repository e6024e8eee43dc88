"""What a network driver does, and the two drivers with next to nothing to do.

All verbs are synchronous and may wait for the kernel: the controller calls them from its worker thread.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from wharfie.netlink import conn, rtnl

from .model import Endpoint, Network


class Driver(Protocol):
    """One way to connect endpoints."""

    def prepare(self, network: Network) -> Network:
        """Make the network's host side, or find it made: idempotent. Out: the network as it is now (address decided).
        Raises OSError or an error of meaning; what is half made is completed by the next call."""

    def join(self, endpoint: Endpoint, net_fd: int, inside: conn.Socket) -> None:
        """Put the endpoint into the sandbox: `net_fd` is its network namespace, `inside` speaks rtnetlink there. Raises
        OSError; then nothing of the endpoint remains on the host."""

    def reap(self, network: Network, keep: Iterable[Endpoint]) -> None:
        """Remove the host side of endpoints that are not in `keep`: idempotent."""

    def remove(self, network: Network) -> None:
        """Take the host side away: idempotent."""


class Null:
    """Network "none": a namespace with nothing but its loopback."""

    def prepare(self, network: Network) -> Network:
        return network

    def join(self, endpoint: Endpoint, net_fd: int, inside: conn.Socket) -> None:
        inside.run(rtnl.set_up(rtnl.LOOPBACK))

    def reap(self, network: Network, keep: Iterable[Endpoint]) -> None:
        """Nothing is ever made."""

    def remove(self, network: Network) -> None:
        """Nothing is ever made."""


class Host(Null):
    """Network "host": the host's own namespace, which is left as it is."""

    def join(self, endpoint: Endpoint, net_fd: int, inside: conn.Socket) -> None:
        """The container sees what the host has."""
