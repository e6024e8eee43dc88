"""What is decided without the kernel: subnets, addresses, the firewall's elements, values that survive a restart."""

from __future__ import annotations

import json
from ipaddress import IPv4Interface, IPv4Network

import pytest

from wharfie.base import errors
from wharfie.network import bridge, firewall, ipam, pools
from wharfie.network.model import DEFAULT_POOLS, Endpoint, Network, Published, Settings

NETWORK = Network("a" * 64, "bridge", "bridge", 1, subnet="172.17.0.0/16", gateway="172.17.0.1", link="wh-00000001")


def test_the_first_free_subnet_is_chosen() -> None:
    busy = [IPv4Network("172.17.0.0/16"), IPv4Network("172.18.3.0/24"), IPv4Network("172.16.0.0/14")]
    assert str(pools.choose(DEFAULT_POOLS, busy)) == "172.20.0.0/16"
    assert len(list(pools.candidates(DEFAULT_POOLS))) == 15 + 16


def test_no_free_subnet() -> None:
    with pytest.raises(errors.Exhausted, match="all predefined address pools have been fully subnetted"):
        pools.choose(DEFAULT_POOLS, [IPv4Network("128.0.0.0/1")])


@pytest.mark.parametrize(
    ("settings", "present", "recorded", "expected"),
    [
        (Settings(), None, None, "172.17.0.1/16"),
        (Settings(), None, "172.21.0.1/16", "172.21.0.1/16"),
        (Settings(), None, "10.1.0.1/16", "172.17.0.1/16"),  # the recorded one is in use elsewhere now
        (Settings(), "172.25.0.1/16", "172.21.0.1/16", "172.25.0.1/16"),
        (Settings(bip="192.0.2.9/24"), "172.25.0.1/16", "172.21.0.1/16", "192.0.2.9/24"),
        (Settings(bridge="br0"), "192.0.2.1/24", None, "192.0.2.1/24"),
        (Settings(default_address_pools=(("192.168.64.0/20", 24),)), None, None, "192.168.64.1/24"),
    ],
)
def test_the_address_of_the_bridge(settings: Settings, present: str, recorded: str, expected: str) -> None:
    found = pools.bridge_address(
        settings, IPv4Interface(present) if present else None, IPv4Interface(recorded) if recorded else None,
        [IPv4Network("10.0.0.0/8")])
    assert str(found) == expected


@pytest.mark.parametrize(
    "bip", ["172.17.0.0/16", "172.17.255.255/16", "172.17.0.1", "172.17.0.1/33", "fe80::1/64", "x"])
def test_bad_bip(bip: str) -> None:
    with pytest.raises(errors.Invalid, match="--bip"):
        pools.bridge_address(Settings(bip=bip), None, None, [])


@pytest.mark.parametrize("pool", [("172.17.0.0/16", 8), ("172.17.0.0/16", 31), ("172.17.0.1/16", 24), ("x", 24)])
def test_bad_pools(pool: tuple[str, int]) -> None:
    with pytest.raises(errors.Invalid, match="default address pool"):
        pools.check([pool])


def test_leases_go_round() -> None:
    leases = ipam.Leases("10.0.0.0/29", "10.0.0.1")
    assert [leases.lease() for _ in range(3)] == ["10.0.0.2", "10.0.0.3", "10.0.0.4"]
    leases.free("10.0.0.2")
    leases.free("10.0.0.2")
    assert [leases.lease() for _ in range(3)] == ["10.0.0.5", "10.0.0.6", "10.0.0.2"]
    with pytest.raises(errors.Exhausted, match=r"10\.0\.0\.0/29"):
        leases.lease()
    leases.free("10.0.0.1")
    with pytest.raises(errors.Exhausted):
        leases.lease()


def test_leases_asked_for_and_adopted() -> None:
    leases = ipam.Leases("10.0.0.0/29", "10.0.0.1")
    leases.adopt("10.0.0.4")
    leases.adopt("192.0.2.1")
    with pytest.raises(errors.Conflict):
        leases.take("10.0.0.4")
    for bad in ("10.0.0.7", "10.0.0.0", "10.0.1.2", "nonsense"):
        with pytest.raises(errors.Invalid):
            leases.take(bad)
    leases.take("10.0.0.5")
    assert leases.lease() == "10.0.0.6"
    assert len(leases) == 3


def test_a_mac_goes_with_its_address() -> None:
    assert ipam.mac_of("172.17.0.2") == "02:42:ac:11:00:02"


def test_link_groups_are_never_the_ordinary_ones() -> None:
    for instance in ("00000000", "00000001", "ffffffff", "80000000"):
        live, doomed = bridge.link_groups(instance)
        assert live != doomed
        assert min(live, doomed) >= 0x80000000


def test_the_default_root_has_the_plain_bridge_name() -> None:
    from wharfie.base import paths

    assert bridge.bridge_name(paths.DataRoot("/var/lib/wharfie").instance) == "wharfie0"
    assert bridge.bridge_name("01234567") == "wh-01234567"


def test_elements_of_published_ports() -> None:
    everywhere = Published("tcp", "0.0.0.0", 8080, "172.17.0.2", 80)
    name, key, data = firewall.element(everywhere) or ("", b"", b"")
    assert (name, key.hex(), data.hex()) == ("publish_any", "060000001f900000", "ac11000200500000")
    name, key, _ = firewall.element(everywhere.replace(host_ip="192.0.2.1", proto="udp")) or ("", b"", b"")
    assert (name, key.hex()) == ("publish_at", "c0000201110000001f900000")
    for ip in ("::", "::1", "127.0.0.1", "2001:db8::1"):
        assert firewall.element(everywhere.replace(host_ip=ip)) is None


def test_one_batch_replaces_the_whole_table() -> None:
    batch = firewall.rebuild("00000001", [NETWORK], [Published("tcp", "0.0.0.0", 1, "172.17.0.2", 2)])
    assert [m.what for m in batch[:3]] == [
        "add table wharfie-00000001", "delete table wharfie-00000001", "add table wharfie-00000001"]
    assert batch[-1].what == "add to set publish_any"


def test_values_survive_json() -> None:
    endpoint = Endpoint("e", "n", "bridge", "c", "web", "172.17.0.2", 16, "172.17.0.1", "02:42:ac:11:00:02", "eth0")
    published = Published("tcp", "::", 80, "172.17.0.2", 80)
    network = NETWORK.replace(options=(("a", "b"),))
    newer = {**json.loads(json.dumps(endpoint.asdict())), "from_the_future": 1}
    assert Endpoint.from_dict(newer) == endpoint
    assert Published.from_dict(json.loads(json.dumps(published.asdict()))) == published
    assert Network.from_dict(json.loads(json.dumps(network.asdict()))) == network
