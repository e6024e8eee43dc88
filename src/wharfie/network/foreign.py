"""What other programs' firewall tables do to our traffic. An accept in our table cannot undo another table's drop, so a
FORWARD policy of DROP (Docker's, ufw's) has to be known and told."""

from __future__ import annotations

import ctypes
import errno
import socket
import struct

from wharfie.netlink import conn, nft

_FAMILIES = {nft.INET: "inet", nft.IPV4: "ip"}
# linux/netfilter_ipv4/ip_tables.h
_GET_INFO, _GET_ENTRIES = 64, 65
_INFO = struct.Struct("=32sI5I5III")
_NAMES = "/proc/net/ip_tables_names"
_FORWARD_HOOK = 2
_ENTRY_SIZE, _TARGET_OFFSET, _VERDICT_OFFSET = 112, 88, 32
_DROP_VERDICT = -1  # -NF_DROP - 1


def forward_drops(netfilter: conn.Socket, own_table: str) -> list[str]:
    """The chains at the forward hook with policy drop, in nf_tables and legacy iptables, as "ip filter FORWARD"."""
    found = []
    for body in netfilter.dump(nft.dump_chains()):
        chain = nft.parse_chain(body)
        if chain.family in _FAMILIES and chain.hook == nft.FORWARD and chain.policy == 0 and chain.table != own_table:
            found.append(f"{_FAMILIES[chain.family]} {chain.table} {chain.name}")
    if legacy_forward_policy_is_drop():
        found.append("legacy iptables filter FORWARD")
    return found


def warning(chain: str, *, relayed: bool) -> str:
    """The words for `info`."""
    ports = "published ports are served by the relay and lose the client's address" if relayed else ""
    return (
        f"WARNING: the firewall chain {chain} drops forwarded packets: containers may not reach other hosts"
        + (f"; {ports}" if ports else "")
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
