"""Ports: "80/tcp" and ranges, bindings and --publish-all, as values: pure."""

from __future__ import annotations

import ipaddress

from wharfie.base import errors
from wharfie.base.value import Value

from .model import HostConfig

PROTOCOLS = ("tcp", "udp")
_DIGITS = frozenset("0123456789")


class Wanted(Value):
    """One container port to be published. `host_ip` "" means every address; `first`..`last` is the range of host
    ports that will do (0..0: any free one)."""

    proto: str
    container_port: int
    host_ip: str = ""
    first: int = 0
    last: int = 0


def parse(text: str) -> tuple[int, str]:
    """"80" or "80/tcp" → (80, "tcp"). Raises Invalid."""
    number, _, proto = text.partition("/")
    proto = (proto or "tcp").lower()
    if proto == "sctp":
        raise errors.Unsupported(f"port {text}: sctp is not supported by this engine", name=text)
    if proto not in PROTOCOLS:
        raise errors.Invalid(f"invalid proto: {proto}", name=text)
    return _port(number, text), proto


def key(port: int, proto: str) -> str:
    return f"{port}/{proto}"


def wanted(exposed: dict[str, dict[str, object]] | None, host: HostConfig) -> list[Wanted]:
    """Everything to be published, in a stable order. Raises Invalid, Unsupported."""
    out = []
    bound = set()
    for text, bindings in (host.port_bindings or {}).items():
        port, proto = parse(text)
        bound.add((port, proto))
        for b in bindings or []:
            first, last = _range(b.host_port)
            out.append(Wanted(proto, port, _address(b.host_ip), first, last))
        if bindings is not None and not bindings:
            out.append(Wanted(proto, port))
    if host.publish_all_ports:
        for text in exposed or {}:
            port, proto = parse(text)
            if (port, proto) not in bound:
                out.append(Wanted(proto, port))
    return sorted(out, key=lambda w: (w.container_port, w.proto, w.host_ip, w.first))


def check_exposed(exposed: dict[str, dict[str, object]] | None) -> None:
    """Raises Invalid for a key that is no port."""
    for text in exposed or {}:
        parse(text)


def _port(text: str, whole: str) -> int:
    if text and len(text) <= 5 and _DIGITS.issuperset(text) and 1 <= int(text) <= 65535:
        return int(text)
    raise errors.Invalid(f"invalid port specification: \"{whole}\"", name=whole)


def _range(text: str) -> tuple[int, int]:
    if text in ("", "0"):
        return 0, 0
    low, dash, high = text.partition("-")
    first = _port(low, text)
    last = _port(high, text) if dash else first
    if last < first:
        raise errors.Invalid(f"invalid port range: {text}", name=text)
    return first, last


def _address(text: str) -> str:
    if not text:
        return ""
    try:
        return str(ipaddress.ip_address(text.strip("[]")))
    except ValueError as error:
        raise errors.Invalid(f"invalid IP address in port binding: {text}", name=text) from error
