"""Address leases of one subnet, in memory. They are rebuilt at start from the endpoints that are adopted.

Addresses are handed out round robin, not lowest first: a namespace dies some time after its container, and until then
still answers for its address.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network

from wharfie.base import errors


class Leases:
    """The leases of a subnet. The network, broadcast and gateway addresses are never given away."""

    def __init__(self, subnet: str, gateway: str) -> None:
        self.subnet = IPv4Network(subnet)
        self._first = int(self.subnet.network_address) + 1
        self._last = int(self.subnet.broadcast_address) - 1
        self._gateway = int(IPv4Address(gateway))
        self._taken = {self._gateway}
        self._next = self._first

    def __len__(self) -> int:
        return len(self._taken) - 1

    def lease(self) -> str:
        """A free address. Raises Exhausted."""
        if len(self._taken) > self._last - self._first:
            raise errors.Exhausted(
                f"no available IPv4 addresses on this network's address pool {self.subnet}",
                action="remove containers, or give the network a larger subnet",
            )
        at = self._next
        while at in self._taken:
            at = at + 1 if at < self._last else self._first
        self._taken.add(at)
        self._next = at + 1 if at < self._last else self._first
        return str(IPv4Address(at))

    def take(self, ip: str) -> None:
        """Lease this very address. Raises Invalid outside the subnet, Conflict when it is taken."""
        try:
            at = int(IPv4Address(ip))
        except ValueError as error:
            raise errors.Invalid(f"invalid IPv4 address: {ip}", name=ip) from error
        if not self._first <= at <= self._last:
            raise errors.Invalid(f"no configured subnet contains IP address {ip} ({self.subnet} is it)", name=ip)
        if at in self._taken:
            raise errors.Conflict("Address already in use", name=ip)
        self._taken.add(at)

    def adopt(self, ip: str) -> None:
        """Remember a lease from before a restart. One outside the subnet, which has changed since, needs no care."""
        at = int(IPv4Address(ip))
        if self._first <= at <= self._last:
            self._taken.add(at)
            self._next = at + 1 if self._next <= at < self._last else self._next

    def free(self, ip: str) -> None:
        """Give an address back; idempotent."""
        at = int(IPv4Address(ip))
        if at != self._gateway:
            self._taken.discard(at)


def mac_of(ip: str) -> str:
    """The MAC that goes with an address, as Docker makes it: 02:42 and the four bytes. So an address always has the
    same MAC, and nobody's neighbour table goes stale."""
    return "02:42:" + ":".join(f"{b:02x}" for b in IPv4Address(ip).packed)
