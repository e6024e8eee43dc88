"""-p and --expose, as docker's nat package reads them."""

from __future__ import annotations

from wharfie.base import errors

_PROTOCOLS = frozenset(("tcp", "udp", "sctp"))

Bindings = dict[str, list[dict[str, str]]]


def publish(specs: list[str]) -> Bindings:
    """{"80/tcp": [{"HostIp": "", "HostPort": "8080"}]} of "[ip:][host[-end]:]port[-end][/proto]". Raises Invalid."""
    out: Bindings = {}
    for spec in specs:
        for port, binding in _one(_standard(spec)):
            out.setdefault(port, []).append(binding)
    return out


def expose(specs: list[str]) -> list[str]:
    """["80/tcp", …] of "80", "80-90/udp". Raises Invalid."""
    out: list[str] = []
    for spec in specs:
        if ":" in spec:
            raise errors.Invalid(f"invalid port format for --expose: {spec}")
        ports, protocol = _protocol(spec)
        low, high = _range(ports, f"invalid range format for --expose: {spec}")
        out += [f"{port}/{protocol}" for port in range(low, high + 1)]
    return out


def _standard(spec: str) -> str:
    """The long form `published=8080,target=80,protocol=tcp` as the short one."""
    if "=" not in spec:
        return spec
    fields: dict[str, str] = {}
    for part in spec.split(","):
        key, mark, value = part.partition("=")
        if not mark or key not in ("published", "target", "protocol", "mode"):
            raise errors.Invalid(f"invalid publish opts format (should be name=value but got '{part}')")
        fields[key] = value
    return f"{fields.get('published', '')}:{fields.get('target', '')}/{fields.get('protocol', 'tcp')}"


def _one(spec: str) -> list[tuple[str, dict[str, str]]]:
    address, host, container = _split(spec)
    if address and not _is_address(address):
        raise errors.Invalid(f"invalid IP address: {address}")
    ports, protocol = _protocol(container)
    if not ports:
        raise errors.Invalid(f"no port specified: {spec}<empty>")
    low, high = _range(ports, f"invalid containerPort: {ports}")
    host_low, host_high = _range(host, f"invalid hostPort: {host}") if host else (0, 0)
    if host and high - low != host_high - host_low and high != low:
        raise errors.Invalid(f"invalid ranges specified for container and host Ports: {ports} and {host}")
    out = []
    for offset in range(high - low + 1):
        chosen = str(host_low + offset) if host_low else ""
        if host_low and low == high and host_low != host_high:
            chosen = f"{host_low}-{host_high}"
        out.append((f"{low + offset}/{protocol}", {"HostIp": address, "HostPort": chosen}))
    return out


def _split(spec: str) -> tuple[str, str, str]:
    parts = spec.split(":")
    if len(parts) == 1:
        return "", "", parts[0]
    if len(parts) == 2:
        return "", parts[0], parts[1]
    address = ":".join(parts[:-2])
    if address.startswith("[") and address.endswith("]"):
        address = address[1:-1]
    return address, parts[-2], parts[-1]


def _protocol(text: str) -> tuple[str, str]:
    ports, mark, protocol = text.partition("/")
    protocol = protocol.lower() if mark and protocol else "tcp"
    if protocol not in _PROTOCOLS:
        raise errors.Invalid(f"invalid proto: {protocol}")
    return ports, protocol


def _range(text: str, complaint: str) -> tuple[int, int]:
    low, mark, high = text.partition("-")
    ends = [low, high] if mark else [low, low]
    if not all(e.isascii() and e.isdecimal() and int(e) <= 65535 for e in ends) or int(ends[0]) > int(ends[1]):
        raise errors.Invalid(complaint)
    return int(ends[0]), int(ends[1])


def _is_address(text: str) -> bool:
    import _socket

    for family in (_socket.AF_INET, _socket.AF_INET6):
        try:
            _socket.inet_pton(family, text)
            return True
        except OSError:
            continue
    return False
