"""Networks: the three that every engine has. Making others comes later, and says so."""

from __future__ import annotations

import msgspec

from wharfie.base import errors, when
from wharfie.network import model as cnm
from wharfie.web import response

from . import body, query
from .call import Call

_ALLOWED = frozenset(("dangling", "driver", "id", "label", "name", "scope", "type"))
_LATER = "user-defined networks come with a later version of wharfie: bridge, host and none are there"


class Ipam(msgspec.Struct, rename="pascal"):
    driver: str
    options: dict[str, str] | None
    config: list[dict[str, str]]


class Attached(msgspec.Struct, rename="pascal"):
    """A container in a network, as inspect lists it."""

    name: str
    endpoint_id: str = msgspec.field(name="EndpointID")
    mac_address: str
    ipv4_address: str = msgspec.field(name="IPv4Address")
    ipv6_address: str = msgspec.field(name="IPv6Address")


class Shown(msgspec.Struct, rename="pascal"):
    """A network as the API shows it."""

    name: str
    id: str
    created: str
    scope: str
    driver: str
    enable_ipv4: bool = msgspec.field(name="EnableIPv4")
    enable_ipv6: bool = msgspec.field(name="EnableIPv6")
    ipam: Ipam = msgspec.field(name="IPAM")
    internal: bool
    attachable: bool
    ingress: bool
    config_from: dict[str, str]
    config_only: bool
    containers: dict[str, Attached]
    options: dict[str, str]
    labels: dict[str, str]


def shown(network: cnm.Network, containers: dict[str, Attached]) -> Shown:
    """The shape of list and inspect."""
    config = [{"Subnet": network.subnet, "Gateway": network.gateway}] if network.subnet else []
    return Shown(
        network.name, network.id, when.rfc3339(network.created), network.scope, network.driver, True,
        network.enable_ipv6, Ipam("default", None, config), network.internal, network.attachable, False,
        {"Network": ""}, False, containers, dict(network.options), dict(network.labels),
    )


async def listing(call: Call) -> response.Response:
    wanted = query.filters(call.request, _ALLOWED)
    for kind in wanted.get("type", []):
        if kind not in ("builtin", "custom"):
            raise errors.Invalid(f"invalid filter: 'type'='{kind}'")
    found = [n for n in call.services.networks.networks() if _keeps(call, n, wanted)]
    return response.Json([shown(n, {}) for n in found])


def _keeps(call: Call, network: cnm.Network, wanted: query.Filters) -> bool:
    predefined = network.name in (cnm.BRIDGE, cnm.HOST, cnm.NONE)
    for name, values in wanted.items():
        if name == "dangling":
            used = predefined or bool(_attached(call, network))
            ok = query.truth(wanted, "dangling") != used
        elif name == "type":
            ok = ("builtin" if predefined else "custom") in values
        elif name == "label":
            ok = query.has_label(dict(network.labels), values)
        elif name == "name":
            ok = any(v in network.name for v in values)
        elif name == "id":
            ok = any(network.id.startswith(v) for v in values)
        else:
            ok = getattr(network, name) in values
        if not ok:
            return False
    return True


def _attached(call: Call, network: cnm.Network) -> dict[str, Attached]:
    out = {}
    for record in call.services.containers.list():
        endpoint = record.endpoints.get(network.name)
        if endpoint is not None and record.state.running:
            address = f"{endpoint.ip_address}/{endpoint.ip_prefix_len}" if endpoint.ip_address else ""
            out[record.id] = Attached(record.name, endpoint.endpoint_id, endpoint.mac_address, address, "")
    return out


async def inspect(call: Call) -> response.Response:
    scope = call.request.value("scope")
    network = call.services.networks.get(call.name)
    if scope and scope != network.scope:
        raise errors.NotFound(f"network {call.name} not found", name=call.name)
    return response.Json(shown(network, _attached(call, network)))


async def create(call: Call) -> response.Response:
    given = await body.read(call.request, required=True)
    name = body.pick(given, "Name")
    if not isinstance(name, str) or not name:
        raise errors.Invalid("network name cannot be empty")
    if any(n.name == name for n in call.services.networks.networks()):
        raise errors.Conflict(f"network with name {name} already exists", name=name)
    raise errors.Unsupported(f"cannot create network {name}: {_LATER}", name=name)


async def connect(call: Call) -> response.Response:
    call.services.networks.get(call.name)
    raise errors.Unsupported(f"cannot connect a container to network {call.name}: {_LATER}", name=call.name)


async def disconnect(call: Call) -> response.Response:
    call.services.networks.get(call.name)
    raise errors.Unsupported(f"cannot disconnect a container from network {call.name}: {_LATER}", name=call.name)


async def remove(call: Call) -> response.Response:
    network = call.services.networks.get(call.name)
    raise errors.Denied(f"{network.name} is a pre-defined network and cannot be removed", name=network.name)
