"""--network, --ip, --link, --network-alias and their like: NetworkMode and the endpoints' settings."""

from __future__ import annotations

from wharfie.base import errors, flags

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_BUILTIN = frozenset(("bridge", "host", "none", "default", "nat"))


def networking(parsed: flags.Parsed) -> tuple[str, dict[str, Any]]:
    """(NetworkMode, EndpointsConfig). Raises errors.Invalid."""
    wanted = [_network(spec) for spec in parsed.all("network")]
    first = wanted[0] if wanted else {"name": ""}
    mode = first["name"]
    _merge(first, parsed)
    endpoints: dict[str, Any] = {}
    for network in wanted or [first]:
        name = network["name"]
        settings = _settings(network)
        if len(wanted) > 1 and (name in endpoints or name in _BUILTIN - {"bridge"} or name.startswith("container:")):
            raise errors.Invalid(f"network {name!r} cannot be combined with others".replace("'", '"'))
        if settings or (name and name not in _BUILTIN and not name.startswith("container:")):
            endpoints[name or "default"] = settings
    return mode, endpoints


def _network(spec: str) -> dict[str, Any]:
    if "=" not in spec:
        if not spec:
            raise errors.Invalid("no name set for network")
        return {"name": spec}
    out: dict[str, Any] = {"name": ""}
    for part in spec.split(","):
        key, mark, value = part.partition("=")
        key = key.strip().lower()
        if not mark:
            raise errors.Invalid(f"invalid field {part}")
        if key in ("name", "ip", "ip6", "mac-address"):
            out[key] = value
        elif key in ("alias", "link-local-ip"):
            out.setdefault(key, []).append(value)
        elif key == "driver-opt":
            name, _, setting = value.partition("=")
            out.setdefault(key, {})[name] = setting
        elif key == "gw-priority":
            if not value.lstrip("-").isdecimal():
                raise errors.Invalid(f"invalid gw-priority: {value}")
            out[key] = int(value)
        else:
            raise errors.Invalid(f"invalid field key {key}")
    if not out["name"]:
        raise errors.Invalid("no name set for network")
    return out


def _merge(first: dict[str, Any], parsed: flags.Parsed) -> None:
    """The single flags belong to the first network."""
    for name in ("ip", "ip6", "mac-address"):
        if name in parsed.changed:
            if name in first:
                raise errors.Invalid(f"conflicting options: cannot specify both --{name} and per-network {name}")
            first[name] = parsed.text(name)
    for flag, key in (("network-alias", "alias"), ("link-local-ip", "link-local-ip"), ("link", "link")):
        if flag in parsed.changed:
            first[key] = [*first.get(key, []), *parsed.all(flag)]


def _settings(network: dict[str, Any]) -> dict[str, Any]:
    out: dict[str, Any] = {}
    address = {field: network[key] for key, field in (
        ("ip", "IPv4Address"), ("ip6", "IPv6Address"), ("link-local-ip", "LinkLocalIPs")) if key in network}
    if address:
        out["IPAMConfig"] = address
    # links of the default bridge go into HostConfig
    if "link" in network and network["name"] not in _BUILTIN and network["name"]:
        out["Links"] = network["link"]
    for key, field in (("alias", "Aliases"), ("mac-address", "MacAddress"), ("driver-opt", "DriverOpts"),
                       ("gw-priority", "GwPriority")):
        if key in network:
            out[field] = network[key]
    return out
