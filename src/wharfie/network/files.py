"""The three files every container gets: hosts, hostname, resolv.conf. Pure texts.

resolv.conf never names a server that the container cannot reach: in a namespace of its own, the host's loopback is
somebody else's, so 127.0.0.53 (systemd-resolved) and ::1 are replaced by the resolvers behind them.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from ipaddress import ip_address

from wharfie.base import errors
from wharfie.base.value import Value

from .model import Settings

# Where systemd-resolved writes the servers it asks itself.
UPSTREAM_PATH = "/run/systemd/resolve/resolv.conf"
FALLBACK = ("8.8.8.8", "8.8.4.4")
MAX_BYTES = 64 << 10

_LOCAL = """\
127.0.0.1\tlocalhost
::1\tlocalhost ip6-localhost ip6-loopback
fe00::\tip6-localnet
ff00::\tip6-mcastprefix
ff02::1\tip6-allnodes
ff02::2\tip6-allrouters
"""


class Resolver(Value):
    """What a resolv.conf says."""

    servers: tuple[str, ...] = ()
    search: tuple[str, ...] = ()
    options: tuple[str, ...] = ()


def parse(text: str) -> Resolver:
    """Read a resolv.conf (resolv.conf(5)); unknown lines and servers that are no addresses are passed over."""
    servers: list[str] = []
    search: tuple[str, ...] = ()
    options: list[str] = []
    for line in text[:MAX_BYTES].splitlines():
        words = line.split("#", 1)[0].split(";", 1)[0].split()
        if not words:
            continue
        if words[0] == "nameserver" and len(words) > 1 and _address(words[1]) is not None:
            servers.append(words[1])
        elif words[0] in ("search", "domain"):
            search = tuple(words[1:])
        elif words[0] == "options":
            options += words[1:]
    return Resolver(tuple(servers), search, tuple(options))


def resolver(
    settings: Settings, host: str, upstream: str = "", *, dns: Sequence[str] = (), search: Sequence[str] = (),
    options: Sequence[str] = (), ipv6: bool = False,
) -> Resolver:
    """What the resolv.conf of a container in a namespace of its own says: its own flags, else the daemon's, else the
    host's. `host` and `upstream` are the texts of /etc/resolv.conf and UPSTREAM_PATH ("" when there is none). A search
    of "." asks for none. Raises Invalid for a server that is no address."""
    own = parse(host)
    servers = tuple(dns) or settings.dns
    for server in servers:
        if _address(server) is None:
            raise errors.Invalid(f"invalid DNS server: {server} is not an IP address", name=server)
    if not servers:
        servers = _reachable(own.servers, ipv6=ipv6) if not _is_stub(own) else ()
        servers = servers or _reachable(parse(upstream).servers, ipv6=ipv6)
        servers = servers or _reachable(own.servers, ipv6=ipv6) or FALLBACK
    domains = tuple(search) or settings.dns_search or own.search
    if domains == (".",):
        domains = ()
    return Resolver(servers, domains, tuple(options) or settings.dns_options or own.options)


def resolv_conf(what: Resolver) -> bytes:
    """The file's content."""
    lines = [f"nameserver {server}" for server in what.servers]
    if what.search:
        lines.append(f"search {' '.join(what.search)}")
    if what.options:
        lines.append(f"options {' '.join(what.options)}")
    return _lines(lines)


def hostname(name: str) -> bytes:
    return name.encode() + b"\n"


def hosts(
    name: str, *, domain: str = "", ips: Iterable[str] = (), extra: Iterable[str] = (), gateway: str = "",
    host_text: str | None = None,
) -> bytes:
    """The file's content. `extra` are --add-host words, NAME:IP or NAME=IP, where the IP "host-gateway" is `gateway`.
    With `host_text` (network host) the host's own file comes first, and no line for the container. Raises Invalid."""
    lines = (host_text if host_text is not None else _LOCAL).splitlines()
    lines += [f"{ip}\t{host}" for host, ip in (extra_host(word, gateway) for word in extra)]
    if host_text is None:
        names = f"{name}.{domain} {name}" if domain else name
        lines += [f"{ip}\t{names}" for ip in ips]
    return _lines(lines)


def extra_host(word: str, gateway: str = "") -> tuple[str, str]:
    """One --add-host word as (name, address). Raises Invalid."""
    split = word.index("=") if "=" in word else word.find(":")
    name, ip = word[: max(split, 0)], word[split + 1 :].strip("[]")
    if ip == "host-gateway":
        ip = gateway
        if not ip:
            raise errors.Invalid(f"unable to derive the IP value for host-gateway in {word!r}: this network has none")
    if not name or any(c.isspace() for c in name) or _address(ip) is None:
        raise errors.Invalid(f"bad format for add-host: {word!r} (NAME:IP is wanted)", name=word)
    return name, ip


def _lines(lines: Iterable[str]) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode()


@functools.lru_cache(256)
def _address(text: str) -> bool | None:
    """Whether the address is reachable only on the host (loopback, unspecified); None if it is no address."""
    if any(c.isspace() for c in text):
        return None
    try:
        made = ip_address(text.split("%", 1)[0])
    except ValueError:
        return None
    return made.is_loopback or made.is_unspecified


def _is_stub(own: Resolver) -> bool:
    return any(_address(server) for server in own.servers)


def _reachable(servers: Iterable[str], *, ipv6: bool) -> tuple[str, ...]:
    return tuple(s for s in servers if _address(s) is False and (ipv6 or ":" not in s))
