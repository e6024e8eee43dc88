"""The bridge driver: one bridge per network, one veth pair per endpoint.

The host's end of a pair is born as a port of the bridge, in a link group that belongs to this engine: by that group the
veths of a crashed engine are found again, and many are deleted by one message. In ordinary life nobody deletes a veth
(16-24 ms in the kernel): it goes with the container's namespace.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable
from ipaddress import IPv4Interface, IPv4Network

from wharfie.base import errors, paths, undo
from wharfie.netlink import conn, rtnl, wire

from . import pools
from .model import Endpoint, Network, Settings

DEFAULT_ROOT = "/var/lib/wharfie"
_SYSCTL = "/proc/sys/net"
_LOCAL_TABLE = 255


def bridge_name(instance: str) -> str:
    """The name of an engine's default bridge."""
    return "wharfie0" if instance == paths.DataRoot(DEFAULT_ROOT).instance else f"wh-{instance}"


def veth_name(instance: str, number: int) -> str:
    """A host-side name of 15 characters: the engine, and 25 bits of a running number."""
    digits = "abcdefghijklmnopqrstuvwxyz234567"
    return f"wh{instance}" + "".join(digits[number >> shift & 31] for shift in (20, 15, 10, 5, 0))


def link_groups(instance: str) -> tuple[int, int]:
    """(group of this engine's veths, group of those about to be deleted). The highest bit keeps both away from group 0,
    where every ordinary link is, and from the small numbers people use."""
    live = int(instance, 16) & 0xFFFFFFFF | 0x80000001
    return live, live & ~1


class Bridge:
    """Bridges and veths of one engine. `route` speaks rtnetlink in the host's namespace."""

    def __init__(self, instance: str, settings: Settings, route: conn.Socket) -> None:
        self._instance = instance
        self._settings = settings
        self._route = route
        self._group, self._doomed = link_groups(instance)
        self._has_ipv6 = os.path.isdir(f"{_SYSCTL}/ipv6")
        self._index: dict[str, int] = {}
        self.warnings: list[str] = []

    def prepare(self, network: Network) -> Network:
        """See `driver.Driver`. The default network gets its subnet here. Also turns IPv4 forwarding on."""
        link = self._route.link(network.link)
        if link is not None and link.kind != "bridge":
            raise errors.Conflict(f"link {network.link} exists and is no bridge but {link.kind or 'an ordinary link'}",
                                  name=network.link, action="rename it, or name another bridge with --bridge")
        borrowed = bool(self._settings.bridge)
        if link is None:
            if borrowed:
                raise errors.NotFound(f"bridge {network.link} (--bridge) does not exist", name=network.link)
            link = self._make(network)
        self._index[network.id] = link.index
        mine = [a for a in self._route.addresses() if a.index == link.index]
        at = pools.bridge_address(
            self._settings, _first(mine), _recorded(network), self._busy(link.index, network))
        if not borrowed:
            self._address(link, mine, at)
            self._harden(network.link, closed=not network.enable_ipv6)
            todo = [] if link.mtu == network.mtu else [rtnl.set_mtu(link.index, network.mtu)]
            self._route.run(*todo, rtnl.set_up(link.index))
        _write(f"{_SYSCTL}/ipv4/ip_forward", "1", only_from="0")
        return network.replace(subnet=str(at.network), gateway=str(at.ip))

    def _make(self, network: Network) -> rtnl.Link:
        mac = "02:42:" + ":".join(f"{b:02x}" for b in os.urandom(4))
        self._route.run(rtnl.add_bridge(network.link, mac=mac, mtu=network.mtu))
        made = self._route.link(network.link)
        if made is None:
            raise errors.Unavailable(f"bridge {network.link} went away while it was being made", name=network.link)
        return made

    def _busy(self, own: int, network: Network) -> list[IPv4Network]:
        """Networks this host reaches by other links, and its name servers."""
        found = [
            IPv4Network(f"{route.destination}/{route.prefix_len}") for route in self._route.routes()
            if route.prefix_len and route.index != own and route.table != _LOCAL_TABLE
        ]
        if self._settings.bip:
            wanted = pools.interface(self._settings.bip, "--bip").network
            self.warnings += [
                f"--bip {self._settings.bip} overlaps {other}, which this host reaches another way"
                for other in found if other.subnet_of(wanted)
            ]
        return found

    def _address(self, link: rtnl.Link, present: list[rtnl.Address], at: IPv4Interface) -> None:
        wanted = rtnl.Address(link.index, str(at.ip), at.network.prefixlen)
        todo = [rtnl.delete_address(a.index, a.ip, a.prefix_len) for a in present if a != wanted]
        if wanted not in present:
            broadcast = str(at.network.broadcast_address)
            todo.append(rtnl.add_address(link.index, wanted.ip, wanted.prefix_len, broadcast=broadcast))
        self._route.run(*todo)

    def _harden(self, link: str, *, closed: bool = False) -> None:
        # A container could otherwise announce itself as the host's IPv6 router (CVE-2020-13401), and on a bridge
        # without IPv6 reach the host's services by the bridge's link-local address.
        if self._has_ipv6:
            _write(f"{_SYSCTL}/ipv6/conf/{link}/accept_ra", "0")
            if closed:
                _write(f"{_SYSCTL}/ipv6/conf/{link}/disable_ipv6", "1")

    def join(self, endpoint: Endpoint, net_fd: int, inside: conn.Socket) -> None:
        """See `driver.Driver`."""
        with undo.Undo() as back:
            self._route.run(rtnl.add_veth(
                endpoint.link, endpoint.ifname, peer_netns=net_fd, peer_mac=endpoint.mac,
                master=self._index_of(endpoint), group=self._group, mtu=endpoint.mtu,
            ))
            outer = self._route.link(endpoint.link)
            if outer is None:
                raise errors.Unavailable(f"link {endpoint.link} went away while it was being made")
            back.push(self._route.run, rtnl.delete_link(outer.index))
            inner = inside.link(endpoint.ifname)
            if inner is None:
                raise errors.Unavailable(f"link {endpoint.ifname} went away while it was being made")
            quiet = [rtnl.no_ipv6_autoaddress(outer.index)] if self._has_ipv6 else []
            self._harden(endpoint.link)
            # Where bridge-nf-call-iptables is on, a container's call to its own published port is translated within the
            # bridge, and has to leave by the port it came from.
            self._route.run(*quiet, rtnl.set_hairpin(outer.index), rtnl.set_up(outer.index))
            self._configure(endpoint, inner.index, inside)
            back.forget()

    def _index_of(self, endpoint: Endpoint) -> int:
        index = self._index.get(endpoint.network_id)
        if index is None:
            raise errors.Unavailable(f"network {endpoint.network} is not prepared", name=endpoint.network)
        return index

    def _configure(self, endpoint: Endpoint, index: int, inside: conn.Socket) -> None:
        subnet = IPv4Interface(f"{endpoint.ip}/{endpoint.prefix_len}").network
        quiet = [rtnl.no_ipv6_autoaddress(index)] if self._has_ipv6 else []
        inside.run(
            rtnl.set_up(rtnl.LOOPBACK),
            rtnl.add_address(index, endpoint.ip, endpoint.prefix_len, broadcast=str(subnet.broadcast_address)),
            *quiet, rtnl.set_up(index),
        )
        if endpoint.gateway:
            inside.run(rtnl.add_route(endpoint.gateway))

    def reap(self, network: Network, keep: Iterable[Endpoint]) -> None:
        """See `driver.Driver`. Many veths are gone for the price of one: they are moved into a group of their own and
        deleted by it."""
        wanted = {endpoint.link for endpoint in keep}
        gone = [
            link.index for link in self._route.links()
            if link.kind == "veth" and link.group in (self._group, self._doomed) and link.name not in wanted
        ]
        if not gone:
            return
        for index in gone:
            _ignoring_absence(self._route, rtnl.set_group(index, self._doomed))
        _ignoring_absence(self._route, rtnl.delete_group(self._doomed))

    def remove(self, network: Network) -> None:
        """See `driver.Driver`. A bridge given by --bridge stays."""
        self.reap(network, ())
        link = None if self._settings.bridge else self._route.link(network.link)
        if link is not None:
            _ignoring_absence(self._route, rtnl.delete_link(link.index))


def _ignoring_absence(route: conn.Socket, message: wire.Message) -> None:
    try:
        route.run(message)
    except OSError as error:
        if error.errno != errno.ENODEV:  # gone with its namespace meanwhile
            raise


def _first(addresses: list[rtnl.Address]) -> IPv4Interface | None:
    return IPv4Interface(f"{addresses[0].ip}/{addresses[0].prefix_len}") if addresses else None


def _recorded(network: Network) -> IPv4Interface | None:
    if not network.subnet:
        return None
    return IPv4Interface(f"{network.gateway}/{network.subnet.split('/')[1]}")


def _write(path: str, value: str, *, only_from: str = "") -> None:
    """Set a sysctl; with `only_from`, if it has that value now: a read-only /proc where all is right is fine."""
    if only_from:
        with open(path) as file:
            if file.read().strip() != only_from:
                return
    with open(path, "w") as file:
        file.write(value)
