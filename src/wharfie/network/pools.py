"""Which subnet a network gets. Pure: what the host has comes in as values."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address, IPv4Interface, IPv4Network

from wharfie.base import errors

from .model import Settings


def interface(text: str, what: str) -> IPv4Interface:
    """ "172.20.0.1/16" as a value. Raises Invalid for anything else, and for an address that no host can have."""
    try:
        made = IPv4Interface(text)
    except ValueError as error:
        raise errors.Invalid(f"invalid {what} {text!r}: give a host's address and its prefix, as in 172.20.0.1/16",
                             name=text) from error
    if "/" not in text or made.network.prefixlen > 30 or made.ip in (made.network[0], made.network[-1]):
        raise errors.Invalid(f"invalid {what} {text!r}: give a host's address and its prefix, as in 172.20.0.1/16")
    return made


def check(pools: Iterable[tuple[str, int]]) -> tuple[tuple[str, int], ...]:
    """The pools of --default-address-pool. Raises Invalid naming the bad one."""
    good = []
    for base, size in pools:
        try:
            network = IPv4Network(base)
        except ValueError as error:
            raise errors.Invalid(f"invalid default address pool base {base!r}: {error}", name=base) from error
        if not network.prefixlen <= size <= 30:
            raise errors.Invalid(
                f"invalid default address pool size {size}: {base} gives /{network.prefixlen} to /30", name=base
            )
        good.append((base, size))
    return tuple(good)


def candidates(pools: Iterable[tuple[str, int]]) -> Iterator[IPv4Network]:
    """Every subnet of the pools, in order."""
    for base, size in pools:
        yield from IPv4Network(base).subnets(new_prefix=size)


def is_free(subnet: IPv4Network, busy: Iterable[IPv4Network]) -> bool:
    return not any(subnet.overlaps(other) for other in busy)


def choose(pools: Iterable[tuple[str, int]], busy: Iterable[IPv4Network]) -> IPv4Network:
    """The first subnet that overlaps nothing in `busy`. Raises Exhausted."""
    taken = list(busy)
    for subnet in candidates(pools):
        if is_free(subnet, taken):
            return subnet
    raise errors.Exhausted(
        "all predefined address pools have been fully subnetted",
        action="every one overlaps a route of this host; name a free subnet with --bip or --default-address-pool",
    )


def bridge_address(
    settings: Settings, present: IPv4Interface | None, recorded: IPv4Interface | None, busy: Iterable[IPv4Network]
) -> IPv4Interface:
    """The default bridge's address: --bip; else what the bridge has already; else what it had before a reboot, if that
    is still free; else the first free subnet. With --bridge only the bridge's own address counts. `busy` are networks
    reached by other links. Raises Invalid or Exhausted."""
    if settings.bridge:
        if present is None:
            raise errors.Invalid(
                f"bridge {settings.bridge} has no IPv4 address", name=settings.bridge,
                action=f"ip address add ADDRESS/PREFIX dev {settings.bridge}",
            )
        return present
    if settings.bip:
        return interface(settings.bip, "--bip")
    taken = list(busy)
    if present is not None:
        return present
    if recorded is not None and is_free(recorded.network, taken):
        return recorded
    subnet = choose(settings.default_address_pools, taken)
    return IPv4Interface((IPv4Address(int(subnet.network_address) + 1), subnet.prefixlen))
