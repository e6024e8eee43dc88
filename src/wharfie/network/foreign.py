"""What other programs' firewall tables do to our traffic. An accept in our table cannot undo another table's drop, so a
FORWARD policy of DROP (Docker's, ufw's) has to be known, told, and answered: where that chain is one of nf_tables (all
present iptables programs make such) by rules at its head, marked with the engine's table name, that let the engine's
bridges through to its own table; where it is a legacy iptables chain by leaving published ports to the relay."""

from __future__ import annotations

import ctypes
import errno
import socket
import struct
from collections.abc import Iterable

from wharfie.netlink import conn, expr, nft

_FAMILIES = {nft.INET: "inet", nft.IPV4: "ip"}
# linux/netfilter_ipv4/ip_tables.h
_GET_INFO, _GET_ENTRIES = 64, 65
_INFO = struct.Struct("=32sI5I5III")
_NAMES = "/proc/net/ip_tables_names"
_FORWARD_HOOK = 2
_ENTRY_SIZE, _TARGET_OFFSET, _VERDICT_OFFSET = 112, 88, 32
_DROP_VERDICT = -1  # -NF_DROP - 1


def forward_drops(netfilter: conn.Socket, own_table: str) -> list[nft.Chain]:
    """The chains of nf_tables at the forward hook whose policy is drop."""
    chains = [nft.parse_chain(body) for body in netfilter.dump(nft.dump_chains())]
    return [
        chain for chain in chains
        if chain.family in _FAMILIES and chain.hook == nft.FORWARD and chain.policy == 0 and chain.table != own_table
    ]


def mark(netfilter: conn.Socket, chains: Iterable[nft.Chain], bridges: Iterable[str], comment: str) -> None:
    """Let the bridges through these chains: the marked rules are put in anew, and taken out of every other chain. With
    no chains it removes all marks. Raises NetlinkError (a chain can vanish between being listed and being changed)."""
    names = list(bridges)
    present = [nft.parse_rule(body) for body in netfilter.dump(nft.dump_rules())]
    batch = [
        nft.delete_rule(rule.family, rule.table, rule.chain, rule.handle) for rule in present if rule.comment == comment
    ]
    for chain in chains:
        for bridge in names:
            for key in (expr.META_IIFNAME, expr.META_OIFNAME):
                batch.append(nft.rule(
                    chain.family, chain.table, chain.name, expr.interface_is(key, bridge), expr.counter(),
                    expr.immediate(expr.ACCEPT), comment=comment, first=True))
    netfilter.batch(batch)


def warning(chain: nft.Chain) -> str:
    """The words for `info`."""
    name = f"{_FAMILIES[chain.family]} {chain.table} {chain.name}"
    return (
        f"WARNING: the firewall chain {name} drops forwarded packets: rules for the bridges were added to it; when its "
        "owner reloads it, containers may not reach other hosts until the engine is restarted"
    )


LEGACY_WARNING = (
    "WARNING: the legacy iptables chain FORWARD drops forwarded packets: containers may not reach other hosts, and "
    "published ports are served by the relay, which hides the client's address"
)


def legacy_forward_policy_is_drop() -> bool:
    """Whether the legacy (x_tables) filter table has FORWARD on DROP. A table that is not loaded is left unloaded:
    asking for it would load it."""
    try:
        with open(_NAMES) as file:
            if "filter" not in file.read().split():
                return False
        with socket.socket(socket.AF_INET, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.IPPROTO_RAW) as raw:
            info = _INFO.unpack(_ask(raw, _GET_INFO, b"filter", _INFO.size))
            return _policy(raw, underflow=info[7 + _FORWARD_HOOK], size=info[13]) == _DROP_VERDICT
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.EPERM, errno.EACCES, errno.ENOPROTOOPT):
            return False
        raise


def _policy(raw: socket.socket, *, underflow: int, size: int) -> int:
    """The verdict of the rule at a chain's end, which is its policy."""
    request = struct.pack("=32sI4x", b"filter", size)
    answer = _ask(raw, _GET_ENTRIES, request, len(request) + size)
    entry = len(request) + underflow
    target = entry + struct.unpack_from("=H", answer, entry + _TARGET_OFFSET)[0]
    verdict: int = struct.unpack_from("=i", answer, target + _VERDICT_OFFSET)[0]
    return verdict


def _ask(raw: socket.socket, option: int, request: bytes, size: int) -> bytes:
    """getsockopt(2) of the kind that reads its question from the buffer it answers into, which Python's cannot."""
    libc = ctypes.CDLL(None, use_errno=True)
    buffer = ctypes.create_string_buffer(request, size)
    length = ctypes.c_uint(size)
    if libc.getsockopt(raw.fileno(), socket.IPPROTO_IP, option, buffer, ctypes.byref(length)):
        raise OSError(ctypes.get_errno(), "cannot read the legacy iptables filter table")
    return buffer.raw
