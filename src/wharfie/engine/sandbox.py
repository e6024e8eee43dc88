"""The network of one start: an endpoint with its address, put into the shim's namespace, and its host ports."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import Any

from wharfie.base import errors
from wharfie.network import model as network_model
from wharfie.shim import wire

from . import ports, told
from .live import Live
from .model import Container, EndpointSettings, PublishedPort
from .services import Services


class Networking:
    """Connects and disconnects containers."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def reserve(self, live: Live, undo: AsyncExitStack) -> None:
        """Give the container its endpoint and address; the kernel hears nothing yet."""
        record, networks = live.record, self._services.networks
        mode = record.host_config.network_mode
        if mode.startswith("container:"):
            return
        network = networks.get(mode)
        endpoint = networks.reserve(network, record.id, name=record.name, mac=_wished_mac(record) or None)
        undo.callback(networks.release, endpoint)
        live.endpoint = endpoint
        record.endpoint = endpoint.asdict()
        record.endpoints = {network.name: settings(network, endpoint, _wish(record, mode))}
        undo.callback(self._forget, live)

    async def connect(self, live: Live, fds: dict[str, int]) -> None:
        """Put the endpoint into the shim's sandbox."""
        if live.endpoint is not None and "netlink" in fds and "net" in fds:
            await self._services.networks.connect(live.endpoint, fds["net"], fds["netlink"])

    def listen(self, live: Live, undo: AsyncExitStack) -> tuple[list[dict[str, Any]], list[int]]:
        """Reserve the host ports. Out: the listeners as the shim wants them described, and their fds (closed by `undo`,
        or by the caller)."""
        endpoint = live.endpoint
        if endpoint is None or not endpoint.ip:
            return [], []
        listeners, fds = self._listen(live, endpoint)
        undo.callback(wire.close_all, fds)
        return listeners, fds

    def _listen(
        self, live: Live, endpoint: network_model.Endpoint
    ) -> tuple[list[dict[str, Any]], list[int]]:
        record = live.record
        published: list[network_model.Published] = []
        fds: list[int] = []
        try:
            for wanted in ports.wanted(record.config.exposed_ports, record.host_config):
                made, opened = self._listen_in_range(endpoint, wanted)
                published += made
                fds += opened
            self._services.networks.publish(endpoint, published)
        except BaseException:
            wire.close_all(fds)
            raise
        record.published = [p.asdict() for p in published]
        record.ports = [
            PublishedPort(proto=p.proto, host_ip=p.host_ip, host_port=p.host_port, container_port=p.container_port)
            for p in published
        ]
        return list(record.published), fds

    def _listen_in_range(
        self, endpoint: network_model.Endpoint, wanted: ports.Wanted
    ) -> tuple[list[network_model.Published], list[int]]:
        """The first port of the range that is free. Raises Conflict when none is."""
        for port in range(wanted.first, wanted.last + 1):
            binding = network_model.Binding(wanted.proto, wanted.container_port, wanted.host_ip, port)
            try:
                return self._services.networks.listen(endpoint, [binding])
            except errors.Conflict:
                if port == wanted.last:
                    raise
        raise AssertionError("a range has at least one port")

    def _forget(self, live: Live) -> None:
        live.endpoint = None
        record = live.record
        record.endpoint, record.endpoints, record.ports, record.published = None, {}, [], []

    def tell_connected(self, live: Live) -> None:
        if live.endpoint is not None:
            network = self._services.networks.get(live.endpoint.network_id)
            told.network(self._services.events, live.record, "connect", network.id, network.name, network.driver)

    def disconnect(self, live: Live) -> None:
        """The container has ended: address and ports are free again. Idempotent."""
        endpoint = live.endpoint
        if endpoint is None:
            self._forget(live)
            return
        try:
            self._services.networks.release(endpoint)
        except OSError as error:
            self._services.log(f"container {live.id}: its network could not be released: {error}")
        self._forget(live)
        try:
            network = self._services.networks.get(endpoint.network_id)
        except errors.NotFound:
            return
        told.network(self._services.events, live.record, "disconnect", network.id, network.name, network.driver)


def settings(
    network: network_model.Network, endpoint: network_model.Endpoint, wish: EndpointSettings
) -> EndpointSettings:
    """The place of a container in a network, as inspect shows it: pure."""
    return EndpointSettings(
        ipam_config=wish.ipam_config, mac_address=endpoint.mac, network_id=network.id, endpoint_id=endpoint.id,
        gateway=endpoint.gateway, ip_address=endpoint.ip, ip_prefix_len=endpoint.prefix_len,
    )


def _wish(record: Container, mode: str) -> EndpointSettings:
    wished = record.networking.endpoints_config or {}
    return wished.get(mode) or wished.get("default") or EndpointSettings()


def _wished_mac(record: Container) -> str:
    return _wish(record, record.host_config.network_mode).mac_address or record.config.mac_address
