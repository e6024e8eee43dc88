"""The network verbs of the engine. One controller per engine; it lives on the event loop and is called there.

rtnetlink waits for a lock that a dying namespace may hold, so links are made by one worker thread (the kernel would let
only one at a time through anyway). nf_tables elements take a tenth of a millisecond and are changed at once.
"""

from __future__ import annotations

import asyncio
import errno
import json
import os
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

from wharfie.base import errors, ids
from wharfie.netlink import conn, rtnl, wire

from . import bridge, driver, firewall, flows, foreign, pools, ports
from .ipam import Leases, mac_of
from .model import BRIDGE, HOST, NONE, Binding, Endpoint, Network, Published, Settings

_DRIVERS = {BRIDGE: "bridge", HOST: "host", NONE: "null"}


class Records(Protocol):
    """Where networks are kept: a table `networks(id, name, record)`."""

    def read(self, sql: str, args: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Rows of a query."""

    async def write(self, sql: str, args: Sequence[Any] = (), *, durable: bool = False) -> None:
        """One statement."""


class Controller:
    """The networks of one engine and the endpoints in them.

    `records` None keeps networks in memory only: their ids are then new after every start."""

    def __init__(self, instance: str, settings: Settings, records: Records | None = None) -> None:
        pools.check(settings.default_address_pools)
        self._instance = instance
        self._settings = settings
        self._records = records
        self._route = conn.Socket()
        self._filter = conn.Socket(conn.NETFILTER)
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="network")
        self._bridge = bridge.Bridge(instance, settings, self._route)
        self._drivers: dict[str, driver.Driver] = {
            "bridge": self._bridge, "null": driver.Null(), "host": driver.Host()}
        self._networks: dict[str, Network] = {}
        self._kept: dict[str, Network] = {}
        self._leases: dict[str, Leases] = {}
        self._endpoints: dict[str, Endpoint] = {}
        self._published: dict[str, tuple[Published, ...]] = {}
        self._foreign: tuple[str, ...] = ()
        self._legacy = False
        self._number = time.time_ns() >> 20 & 0x1FFFFFF

    # Life

    async def start(self, live: Iterable[tuple[Endpoint, Sequence[Published]]] = ()) -> None:
        """Make the host as it has to be for these networks and the endpoints that still live, whatever an earlier
        engine left: bridge, subnet, firewall; veths and elements of endpoints that are gone are removed. Idempotent.
        Raises Invalid, Conflict or Exhausted for settings this host cannot satisfy, OSError from the kernel."""
        pairs = list(live)
        for network in self._known():
            self._networks[network.id] = network
        for made in await self._in_thread(self._prepare, [endpoint for endpoint, _ in pairs]):
            self._networks[made.id] = made
            await self._keep(made)
        for endpoint, published in pairs:
            self.adopt(endpoint, published)
        self.refresh()

    def _prepare(self, keep: list[Endpoint]) -> list[Network]:
        made = []
        for network in self._networks.values():
            using = self._drivers[network.driver]
            made.append(using.prepare(network))
            using.reap(network, keep)
        return made

    def refresh(self) -> None:
        """Look at foreign firewalls, and write the whole table of this engine anew in one atomic step."""
        name = firewall.table_name(self._instance)
        bridges = [n for n in self._networks.values() if n.driver == "bridge" and n.subnet]
        dropping = foreign.forward_drops(self._filter, name)
        self._legacy = foreign.legacy_forward_policy_is_drop()
        self._foreign = tuple(foreign.warning(chain) for chain in dropping)
        try:
            foreign.mark(self._filter, dropping, [n.link for n in bridges], name)
        except wire.NetlinkError as error:
            # Its owner is changing it right now, or it may not be touched. Our own table has to be right still.
            self._foreign += (f"WARNING: {error}",)
        translated = [p for found in self._published.values() for p in found] if not self._relayed else []
        try:
            self._filter.batch(firewall.rebuild(self._instance, bridges, translated))
        except wire.NetlinkError as error:
            if error.errno != errno.ENOENT:  # the kernel's word for an expression or chain type without its module
                raise
            raise errors.Unsupported(f"this kernel lacks what published ports and outbound traffic need: {error}",
                                     action=f"load the modules {', '.join(firewall.MODULES)}") from error

    @property
    def _relayed(self) -> bool:
        return self._settings.relay_only or self._legacy

    @property
    def warnings(self) -> list[str]:
        """What an administrator should know, for `info`."""
        told = [*self._foreign, *([foreign.LEGACY_WARNING] if self._legacy else [])]
        return told + [f"WARNING: {words}" for words in dict.fromkeys(self._bridge.warnings)]

    async def close(self, *, remove: bool = False) -> None:
        """Let go of the kernel's sockets. Bridge and firewall stay, for containers that live on; `remove` takes them
        away too, and every veth of this engine."""
        if remove:
            await self._in_thread(self._remove)
        self._worker.shutdown(wait=True)
        self._route.close()
        self._filter.close()

    def _remove(self) -> None:
        for network in self._networks.values():
            self._drivers[network.driver].remove(network)
        foreign.mark(self._filter, (), (), firewall.table_name(self._instance))
        self._filter.batch(firewall.remove(self._instance))

    # Networks

    def networks(self) -> list[Network]:
        return list(self._networks.values())

    def get(self, reference: str) -> Network:
        """By full id, name ("default" is bridge, as docker says it), or unambiguous id prefix. Raises NotFound,
        Conflict for an ambiguous prefix."""
        wanted = BRIDGE if reference == "default" else reference
        if wanted in self._networks:
            return self._networks[wanted]
        named = [n for n in self._networks.values() if n.name == wanted]
        found = named or [n for n in self._networks.values() if ids.is_hex(wanted) and n.id.startswith(wanted)]
        if len(found) > 1:
            raise errors.Conflict(f"network {reference} is ambiguous ({len(found)} matches found)", name=reference)
        if not found:
            raise errors.NotFound(f"network {reference} not found", name=reference)
        return found[0]

    def endpoints(self, network: Network) -> list[Endpoint]:
        """Who is in a network, for its inspection."""
        return [e for e in self._endpoints.values() if e.network_id == network.id]

    def _known(self) -> list[Network]:
        """The predefined networks, with the ids they have had since this data root was made."""
        kept = {network.name: network for network in self._networks.values()}
        if self._records is not None:
            for (record,) in self._records.read("SELECT record FROM networks"):
                network = Network.from_dict(json.loads(record))
                kept[network.name] = self._kept[network.id] = network
        wanted = [n for n in _DRIVERS if n != BRIDGE or self._settings.bridge != "none"]
        return [self._predefined(name, kept.get(name)) for name in wanted]

    def _predefined(self, name: str, kept: Network | None) -> Network:
        network = kept or Network(ids.new(), name, _DRIVERS[name], time.time_ns())
        if name != BRIDGE:
            return network
        link = self._settings.bridge or bridge.bridge_name(self._instance)
        options = {
            "com.docker.network.bridge.default_bridge": "true",
            "com.docker.network.bridge.enable_icc": "true",
            "com.docker.network.bridge.enable_ip_masquerade": "true",
            "com.docker.network.bridge.host_binding_ipv4": self._settings.host_ip or "0.0.0.0",
            "com.docker.network.bridge.name": link,
            "com.docker.network.driver.mtu": str(self._settings.mtu),
        }
        return network.replace(link=link, mtu=self._settings.mtu, options=tuple(options.items()))

    async def _keep(self, network: Network) -> None:
        if self._records is not None and self._kept.get(network.id) != network:
            await self._records.write(
                "INSERT OR REPLACE INTO networks (id, name, record) VALUES (?, ?, ?)",
                (network.id, network.name, json.dumps(network.asdict()).encode()), durable=True)
            self._kept[network.id] = network

    # Endpoints

    def reserve(
        self, network: Network, container_id: str, *, name: str = "", ip: str | None = None, mac: str | None = None
    ) -> Endpoint:
        """A new endpoint with its address; the kernel hears nothing yet. `name` is the container's, for error texts.
        `release` gives it back. Raises Exhausted, Conflict, Invalid."""
        plain = Endpoint(ids.new(), network.id, network.name, container_id, name, mtu=network.mtu)
        if network.driver != "bridge":
            self._endpoints[plain.id] = plain
            return plain
        if mac:
            _check_mac(mac)
        leases = self._leases_of(network)
        if ip:
            if network.name == BRIDGE:
                raise errors.Invalid("user specified IP address is supported on user defined networks only", name=ip)
            leases.take(ip)
        address = ip or leases.lease()
        nth = sum(e.container_id == container_id and bool(e.ifname) for e in self._endpoints.values())
        made = plain.replace(
            ip=address, prefix_len=leases.subnet.prefixlen, gateway="" if network.internal else network.gateway,
            mac=mac or mac_of(address), ifname=f"eth{nth}", link=self._link_name(),
        )
        self._endpoints[made.id] = made
        return made

    def adopt(self, endpoint: Endpoint, published: Sequence[Published] = ()) -> None:
        """Remember an endpoint that an earlier engine made; its ports join the table at the next `start` or
        `refresh`."""
        self._endpoints[endpoint.id] = endpoint
        if published:
            self._published[endpoint.id] = tuple(published)
        network = self._networks.get(endpoint.network_id)
        if endpoint.ip and network is not None and network.subnet:
            self._leases_of(network).adopt(endpoint.ip)

    async def connect(self, endpoint: Endpoint, net_fd: int, netlink_fd: int) -> None:
        """Put the endpoint into a sandbox, given by its network namespace and a NETLINK_ROUTE socket opened in there.
        The caller keeps both fds. Raises OSError; nothing of the endpoint is on the host then."""
        network = self._networks.get(endpoint.network_id)
        if network is None:
            raise errors.NotFound(f"network {endpoint.network} not found", name=endpoint.network)
        if network.driver == "host":
            return
        # Duplicates, so that a caller who is cancelled may close its own while the worker still works.
        inside = conn.Socket(fileno=netlink_fd)
        await self._in_thread(_join, self._drivers[network.driver], endpoint, os.dup(net_fd), inside)

    def configure_loopback(self, netlink_fd: int) -> None:
        """Set up only the loopback of a sandbox."""
        with conn.Socket(fileno=netlink_fd) as inside:
            inside.run(rtnl.set_up(rtnl.LOOPBACK))

    def release(self, endpoint: Endpoint) -> None:
        """The endpoint is over: its ports are translated no more, its address may be given to others. Its link goes
        with its namespace. Idempotent."""
        self.unpublish(endpoint)
        if self._endpoints.pop(endpoint.id, None) is not None and endpoint.network_id in self._leases and endpoint.ip:
            self._leases[endpoint.network_id].free(endpoint.ip)

    # Ports

    def listen(self, endpoint: Endpoint, bindings: Iterable[Binding]) -> tuple[list[Published], list[int]]:
        """Reserve host ports: see `ports.listen`."""
        return ports.listen(endpoint, bindings, default_ip=self._settings.host_ip)

    def publish(self, endpoint: Endpoint, published: Sequence[Published]) -> None:
        """Translate these ports to the endpoint, from now on until `release`. Raises OSError."""
        self._published[endpoint.id] = (*self._published.get(endpoint.id, ()), *published)
        if not self._relayed:
            self._change(firewall.add(self._instance, published))
            self._forget_flows(published)

    def unpublish(self, endpoint: Endpoint) -> None:
        """Translate none of the endpoint's ports any more. Idempotent."""
        published = self._published.pop(endpoint.id, ())
        if published and not self._relayed:
            self._change(firewall.delete(self._instance, published))
            self._forget_flows(published)

    def _forget_flows(self, published: Iterable[Published]) -> None:
        stale = flows.udp_ports(published)
        if stale:
            self._worker.submit(flows.forget, stale)

    def _change(self, batch: list[wire.Message]) -> None:
        try:
            self._filter.batch(batch)
        except wire.NetlinkError:
            # Somebody flushed or edited our table: what it has to be is known, so write it whole.
            self.refresh()

    # Within

    def _leases_of(self, network: Network) -> Leases:
        leases = self._leases.get(network.id)
        if leases is None:
            if not network.subnet:
                raise errors.Unavailable(f"network {network.name} has no subnet yet", name=network.name)
            leases = self._leases[network.id] = Leases(network.subnet, network.gateway)
        return leases

    def _link_name(self) -> str:
        # A running number: an old link may outlive its endpoint for a moment, so no name comes again soon.
        used = {e.link for e in self._endpoints.values()}
        while True:
            self._number = (self._number + 1) & 0x1FFFFFF
            name = bridge.veth_name(self._instance, self._number)
            if name not in used:
                return name

    async def _in_thread(self, work: Any, *args: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._worker, work, *args)


def _join(using: driver.Driver, endpoint: Endpoint, net_fd: int, inside: conn.Socket) -> None:
    try:
        using.join(endpoint, net_fd, inside)
    finally:
        os.close(net_fd)
        inside.close()


def _check_mac(mac: str) -> None:
    try:
        raw = rtnl.mac_bytes(mac)
    except ValueError as error:
        raise errors.Invalid(f"invalid MAC address: {mac}", name=mac) from error
    if raw[0] & 1 or not any(raw):
        raise errors.Invalid(f"invalid MAC address: {mac} is not one interface's", name=mac)
