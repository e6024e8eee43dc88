"""The netlink codecs: bytes in, values out, and the traps of the formats."""

from __future__ import annotations

import errno
import struct

import pytest

from wharfie.netlink import expr, nft, rtnl, wire


def test_attributes_are_padded_and_read_back() -> None:
    packed = wire.attr(3, "eth0") + wire.attr(4, 1500) + wire.nest(18, wire.attr(1, "veth"))
    assert len(packed) % 4 == 0
    assert packed[:12] == struct.pack("=HH", 9, 3) + b"eth0\0" + b"\0\0\0"
    found = wire.attrs(packed)
    assert wire.text(found[3]) == "eth0"
    assert found[4] == struct.pack("=I", 1500)
    assert wire.text(wire.attrs(found[18])[1]) == "veth"


@pytest.mark.parametrize("data", [b"", b"\1", b"\0\0\1\0", b"\3\0\1\0", b"\xff\xff\1\0abcd", b"\x08\0\1\0abc"])
def test_damaged_attributes_end_the_walk(data: bytes) -> None:
    assert list(wire.items(data)) == []


def test_an_attribute_that_does_not_fit_its_length_is_refused() -> None:
    with pytest.raises(ValueError, match="65536 bytes"):
        wire.nest(1, bytes(65536))


def test_messages_are_split() -> None:
    one = wire.encode(wire.Message(16, b"body", wire.EXCL), 7, wire.ACK)
    two = wire.encode(wire.Message(17, b""), 8)
    replies = list(wire.split(one + two))
    assert [(r.kind, r.seq, r.body) for r in replies] == [(16, 7, b"body"), (17, 8, b"")]
    assert replies[0].flags == wire.REQUEST | wire.EXCL | wire.ACK
    assert list(wire.split(one[:-1])) == []
    assert list(wire.split(struct.pack("=IHHII", 3, 1, 0, 0, 0))) == []


def _error(code: int, words: str, *, capped: bool) -> wire.Reply:
    original = wire.encode(wire.Message(16, b"payload!"), 5)
    kept = original[:16] if capped else original
    flags = wire.ACK_TLVS | (wire.CAPPED if capped else 0)
    return wire.Reply(wire.ERROR, flags, 5, struct.pack("=i", -code) + kept + wire.attr(1, words))


@pytest.mark.parametrize("capped", [True, False])
def test_the_reason_in_words_is_found(capped: bool) -> None:
    assert wire.verdict(_error(errno.EEXIST, "taken", capped=capped)) == (errno.EEXIST, "taken")


def test_plain_acknowledgements() -> None:
    assert wire.verdict(wire.Reply(wire.ERROR, 0, 1, bytes(20))) == (0, "")
    assert wire.verdict(wire.Reply(wire.DONE, 0, 1, struct.pack("=i", -4))) == (4, "")
    assert wire.verdict(wire.Reply(wire.DONE, 0, 1, b"")) == (0, "")


def test_an_error_names_the_message() -> None:
    error = wire.NetlinkError(errno.EEXIST, "Address already assigned", rtnl.add_address(4, "10.0.0.1", 8))
    assert str(error) == "[Errno 17] add address 10.0.0.1/8: File exists: Address already assigned"
    assert error.message.kind == rtnl.NEWADDR


def test_a_link_is_parsed() -> None:
    body = struct.pack("=BxHiII", 0, 1, 7, 0x1003, 0) + b"".join((
        wire.attr(3, "veth7"), wire.attr(4, 1400), wire.attr(1, bytes.fromhex("0242ac110002")), wire.attr(10, 2),
        wire.attr(27, 0x80000001), wire.attr(5, 6), wire.nest(18, wire.attr(1, "veth"))))
    link = rtnl.parse_link(body)
    assert link == rtnl.Link(7, "veth7", "veth", 0x1003, 1400, "02:42:ac:11:00:02", 2, 0x80000001, 6)
    assert link.is_up


def test_routes_and_addresses_are_parsed() -> None:
    default = struct.pack("=BBBBBBBBI", 2, 0, 0, 0, 254, 4, 0, 1, 0) + wire.attr(5, b"\n\0\0\1") + wire.attr(4, 3)
    assert rtnl.parse_route(default) == rtnl.Route("0.0.0.0", 0, 3, "10.0.0.1", 254)
    address = struct.pack("=BBBBI", 2, 16, 0, 0, 9) + wire.attr(1, b"\xac\x11\0\1") + wire.attr(2, b"\xac\x11\0\1")
    assert rtnl.parse_address(address) == rtnl.Address(9, "172.17.0.1", 16)


def test_the_group_of_all_ordinary_links_is_never_deleted() -> None:
    with pytest.raises(ValueError, match="every ordinary link"):
        rtnl.delete_group(0)


@pytest.mark.parametrize("text", ["", "02:42", "02:42:ac:11:00:0g", "0242ac110002", "2:42:ac:11:00:02:00"])
def test_bad_mac_addresses(text: str) -> None:
    with pytest.raises(ValueError, match=r"MAC|hexadecimal"):
        rtnl.mac_bytes(text)


def test_nft_rules_are_parsed_with_their_comment() -> None:
    made = nft.rule(nft.IPV4, "filter", "FORWARD", expr.counter(), comment="wharfie")
    body = made.body + wire.attr(3, struct.pack(">Q", 12))
    assert nft.parse_rule(body) == nft.Rule(nft.IPV4, "filter", "FORWARD", 12, "wharfie")


def test_nft_chains_are_parsed() -> None:
    made = nft.base_chain(nft.IPV4, "filter", "FORWARD", "filter", nft.FORWARD, 0, drop=True)
    assert nft.parse_chain(made.body) == nft.Chain(nft.IPV4, "filter", "FORWARD", "filter", nft.FORWARD, 0)
    assert nft.parse_chain(nft.chain(nft.IPV4, "t", "c").body).hook == -1


def test_many_elements_are_split_into_messages_that_fit() -> None:
    made = list(nft.add_elements(nft.IPV4, "t", "s", (nft.element(bytes(12), bytes(8)) for _ in range(1000))))
    assert len(made) == 3
    assert sum(len(list(nft.parse_elements(m.body))) for m in made) == 1000


def test_concatenated_types() -> None:
    assert nft.concat(nft.TYPE_PROTOCOL, nft.TYPE_PORT) == 12 << 6 | 13
