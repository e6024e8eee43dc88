"""The values of the container network model. All of them are plain data: `asdict()` gives what goes into JSON, and
`from_dict` reads it back, so that the engine can keep an endpoint and adopt it after a restart."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from wharfie.base.value import Value

# Docker's list (libnetwork's local address pools): base network, prefix length of the subnets cut from it.
DEFAULT_POOLS: tuple[tuple[str, int], ...] = (
    ("172.17.0.0/16", 16), ("172.18.0.0/16", 16), ("172.19.0.0/16", 16), ("172.20.0.0/14", 16),
    ("172.24.0.0/14", 16), ("172.28.0.0/14", 16), ("192.168.0.0/16", 20),
)

BRIDGE, HOST, NONE = "bridge", "host", "none"


class Settings(Value):
    """What the daemon's flags say about networks.

    bip                    address and prefix of the bridge, "172.20.0.1/16"; "" picks a free subnet
    bridge                 an existing bridge to use as it is; "none" switches the default network off
    dns…                   what resolv.conf says in containers; () takes the host's
    default_address_pools  (base network, prefix length) to cut subnets from
    host_ip                where `-p` without an address binds; "" is every address of both families
    relay_only             publish by the relay alone, so that the host's firewall (ufw, firewalld) is obeyed
    """

    bip: str = ""
    bridge: str = ""
    mtu: int = 1500
    dns: tuple[str, ...] = ()
    dns_search: tuple[str, ...] = ()
    dns_options: tuple[str, ...] = ()
    default_address_pools: tuple[tuple[str, int], ...] = DEFAULT_POOLS
    host_ip: str = ""
    relay_only: bool = False


class Network(Value):
    """One network. `subnet` and `gateway` are empty for host and none; `link` is the bridge's name. `options` and
    `labels` are pairs: `dict(network.options)`."""

    id: str
    name: str
    driver: str
    created: int
    scope: str = "local"
    subnet: str = ""
    gateway: str = ""
    link: str = ""
    mtu: int = 1500
    internal: bool = False
    attachable: bool = False
    enable_ipv6: bool = False
    options: tuple[tuple[str, str], ...] = ()
    labels: tuple[tuple[str, str], ...] = ()

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Network:
        """Fields that a newer version wrote are ignored."""
        known = {k: v for k, v in record.items() if k in cls._fields_}
        for pairs in ("options", "labels"):
            known[pairs] = tuple((str(k), str(v)) for k, v in known.get(pairs, ()))
        return cls(**known)


class Endpoint(Value):
    """A container's place in a network. `link` is the host's end of its veth, `ifname` the name inside; both and the
    addresses are empty in host and none. `name` is the container's name, for error texts."""

    id: str
    network_id: str
    network: str
    container_id: str
    name: str = ""
    ip: str = ""
    prefix_len: int = 0
    gateway: str = ""
    mac: str = ""
    ifname: str = ""
    link: str = ""
    mtu: int = 1500

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Endpoint:
        return cls(**{k: v for k, v in record.items() if k in cls._fields_})


class Binding(Value):
    """A wish: publish `container_port`. `host_ip` "" is every address of both families, `host_port` 0 lets the kernel
    choose (the same number for both families)."""

    proto: str
    container_port: int
    host_ip: str = ""
    host_port: int = 0


class Published(Value):
    """A reserved host port, one per address family. The engine keeps it, the shim's listeners are in the same order."""

    proto: str
    host_ip: str
    host_port: int
    container_ip: str
    container_port: int

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Published:
        return cls(**{k: v for k, v in record.items() if k in cls._fields_})
