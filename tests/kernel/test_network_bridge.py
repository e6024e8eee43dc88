"""The bridge network on the real kernel: addresses, NAT, published ports, isolation, a second engine."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
import sqlite3
import subprocess
import time
from collections.abc import Sequence
from typing import Any

import pytest
from network_lab import Space, ask, lab, outside, sysctl, talk, tcp_server, udp_server

from wharfie.base import errors
from wharfie.netlink import conn, expr, nft, rtnl
from wharfie.network import bridge, firewall, model
from wharfie.network.controller import Controller
from wharfie.network.model import Binding, Endpoint, Published, Settings

pytestmark = pytest.mark.needs("root")

ONE, TWO = "0a1b2c3d", "4e5f6071"
HOST_IP = "198.51.100.1"


class Records:
    """Networks in SQLite, as the engine keeps them."""

    def __init__(self) -> None:
        self.writes = 0
        self._db = sqlite3.connect(":memory:")
        self._db.execute("CREATE TABLE networks (id TEXT PRIMARY KEY, name TEXT, record BLOB)")

    def read(self, sql: str, args: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        return self._db.execute(sql, args).fetchall()

    async def write(self, sql: str, args: Sequence[Any] = (), *, durable: bool = False) -> None:
        self.writes += 1
        self._db.execute(sql, args)


class Host:
    """An engine's network half in the laboratory."""

    def __init__(self, instance: str = ONE, settings: Settings | None = None, records: Records | None = None) -> None:
        self.controller = Controller(instance, settings or Settings(), records)

    async def container(self, name: str) -> tuple[Endpoint, Space]:
        space = Space()
        endpoint = self.controller.reserve(self.controller.get("bridge"), name * 64, name=name)
        await self.controller.connect(endpoint, space.fd, space.netlink.fileno())
        return endpoint, space

    def publish(self, endpoint: Endpoint, *bindings: Binding) -> tuple[list[Published], list[socket.socket]]:
        published, fds = self.controller.listen(endpoint, bindings)
        self.controller.publish(endpoint, published)
        return published, [socket.socket(fileno=fd) for fd in fds]


async def started(instance: str = ONE, settings: Settings | None = None) -> Host:
    host = Host(instance, settings)
    await host.controller.start()
    return host


@lab
def test_a_container_has_address_route_and_loopback_and_reaches_its_neighbours() -> None:
    async def scene() -> None:
        host = await started()
        network = host.controller.get("bridge")
        assert (network.subnet, network.gateway, network.link) == ("172.17.0.0/16", "172.17.0.1", f"wh-{ONE}")
        one, inside = await host.container("a")
        two, other = await host.container("b")
        assert (one.ip, two.ip) == ("172.17.0.2", "172.17.0.3")
        links = {link.name: link for link in inside.route.links()}
        assert set(links) == {"lo", "eth0"}
        assert links["lo"].is_up
        assert links["eth0"].is_up
        assert links["eth0"].mac == one.mac == "02:42:ac:11:00:02"
        defaults = [r for r in inside.route.routes() if r.prefix_len == 0 and r.table == 254]
        assert [r.gateway for r in defaults] == ["172.17.0.1"]
        with inside:
            server, local = tcp_server(port=80), tcp_server("127.0.0.1", 81)
        assert talk(other, one.ip, 80, server) == two.ip
        assert talk(None, one.ip, 80, server) == "172.17.0.1"
        assert talk(inside, "127.0.0.1", 81, local) == "127.0.0.1"
        v6 = [line for line in open("/proc/net/if_inet6") if line.split()[-1] != "lo"]
        assert v6 == [], "no IPv6 address may appear on the bridge or a port"

    asyncio.run(scene())


@lab
def test_outbound_traffic_is_masqueraded() -> None:
    async def scene() -> None:
        host = await started()
        _, inside = await host.container("a")
        far = outside()
        with far:
            server, datagrams = tcp_server(port=8000), udp_server(port=8001)
        assert talk(inside, "198.51.100.2", 8000, server) == HOST_IP
        assert ask(inside, "198.51.100.2", 8001, datagrams) == HOST_IP

    asyncio.run(scene())


@pytest.mark.parametrize("bridged_frames_filtered", ["0", "1"])
@lab
def test_published_ports_keep_the_client_address_and_hairpin(bridged_frames_filtered: str) -> None:
    async def scene() -> None:
        if os.path.exists("/proc/sys/net/bridge"):
            sysctl("bridge/bridge-nf-call-iptables", bridged_frames_filtered)
        host = await started()
        one, inside = await host.container("a")
        two, other = await host.container("b")
        far = outside()
        with inside:
            server, datagrams = tcp_server(port=80), udp_server(port=53)
        published, held = host.publish(one, Binding("tcp", 80, "", 8080), Binding("udp", 53, "", 5353))
        assert [(p.proto, p.host_ip, p.host_port) for p in published] == [
            ("tcp", "0.0.0.0", 8080), ("tcp", "::", 8080), ("udp", "0.0.0.0", 5353), ("udp", "::", 5353)]
        assert talk(far, HOST_IP, 8080, server) == "198.51.100.2"
        assert ask(far, HOST_IP, 5353, datagrams) == "198.51.100.2"
        # A neighbour, and the container itself, by the host's addresses.
        for ip in (HOST_IP, "172.17.0.1"):
            assert talk(other, ip, 8080, server) == "172.17.0.1"
            assert talk(inside, ip, 8080, server) == "172.17.0.1"
            assert ask(other, ip, 5353, datagrams) == "172.17.0.1"
        # Neighbours among themselves are not masqueraded.
        assert talk(other, one.ip, 80, server) == two.ip
        # The host itself comes by the listener, which is the gate's.
        relay = held[0]
        relay.setblocking(True)
        relay.settimeout(6)
        assert talk(None, HOST_IP, 8080, relay) == HOST_IP
        assert talk(None, "127.0.0.1", 8080, relay) == "127.0.0.1"
        host.controller.release(one)
        with pytest.raises(TimeoutError):
            talk(far, HOST_IP, 8080, server, patience=0.7)

    asyncio.run(scene())


@lab
def test_a_port_on_one_host_address_is_translated_there_only() -> None:
    async def scene() -> None:
        host = await started()
        one, inside = await host.container("a")
        far, farther = outside(), outside("203.0.113", name="second")
        with inside:
            server = tcp_server(port=80)
        published, _held = host.publish(one, Binding("tcp", 80, HOST_IP, 8080))
        assert [(p.host_ip, p.host_port) for p in published] == [(HOST_IP, 8080)]
        assert talk(far, HOST_IP, 8080, server) == "198.51.100.2"
        with pytest.raises(ConnectionRefusedError):
            talk(farther, "203.0.113.1", 8080, server)

    asyncio.run(scene())


@lab
def test_unpublished_ports_are_not_reachable_from_outside() -> None:
    async def scene() -> None:
        host = await started()
        one, inside = await host.container("a")
        far = outside()
        far.route.run(rtnl.add_route(HOST_IP, destination="172.17.0.0", prefix_len=16))
        with inside:
            server = tcp_server(port=80)
        with pytest.raises(TimeoutError):
            talk(far, one.ip, 80, server, patience=0.7)

    asyncio.run(scene())


@lab
def test_two_engines_side_by_side() -> None:
    async def scene() -> None:
        first, second = await started(ONE), await started(TWO)
        assert second.controller.get("bridge").subnet == "172.18.0.0/16"
        one, inside = await first.container("a")
        two, other = await second.container("b")
        with inside:
            server = tcp_server(port=80)
        _, _held = first.publish(one, Binding("tcp", 80, "", 8080))
        with pytest.raises(errors.Conflict, match=r"Bind for 0\.0\.0\.0:8080 failed: port is already allocated"):
            second.controller.listen(two, [Binding("tcp", 80, "", 8080)])
        with pytest.raises(TimeoutError):
            talk(other, one.ip, 80, server, patience=0.7)
        assert talk(other, "172.18.0.1", 8080, server), "a published port is open to everybody"
        await second.controller.close(remove=True)
        assert talk(None, one.ip, 80, server) == "172.17.0.1"
        await first.controller.close(remove=True)
        with conn.Socket() as route, conn.Socket(conn.NETFILTER) as tables:
            assert [link.name for link in route.links()] == ["lo"]
            assert tables.dump(nft.dump_tables()) == []

    asyncio.run(scene())


@lab
def test_a_foreign_forward_policy_of_drop_is_noticed_and_answered() -> None:
    async def scene() -> None:
        foreign = [
            nft.table(nft.IPV4, "filter"),
            nft.base_chain(nft.IPV4, "filter", "FORWARD", "filter", nft.FORWARD, 0, drop=True),
            nft.rule(nft.IPV4, "filter", "FORWARD", expr.counter())]
        tables = conn.Socket(conn.NETFILTER)
        tables.batch(foreign)
        host = await started()
        await host.controller.start()
        assert len(host.controller.warnings) == 1
        assert "ip filter FORWARD" in host.controller.warnings[0]
        one, inside = await host.container("a")
        far = outside()
        with far:
            far_server = tcp_server(port=8000)
        with inside:
            server = tcp_server(port=80)
        _, _held = host.publish(one, Binding("tcp", 80, "", 8080))
        assert talk(inside, "198.51.100.2", 8000, far_server) == HOST_IP
        assert talk(far, HOST_IP, 8080, server) == "198.51.100.2"
        comments = [nft.parse_rule(body).comment for body in tables.dump(nft.dump_rules())]
        assert comments.count(firewall.table_name(ONE)) == 2, "two starts put the marked rules in once"
        await host.controller.close(remove=True)
        left = [nft.parse_rule(body) for body in tables.dump(nft.dump_rules())]
        assert [(rule.table, rule.chain, rule.comment) for rule in left] == [("filter", "FORWARD", "")]

    asyncio.run(scene())


@lab
def test_behind_a_legacy_policy_of_drop_ports_are_left_to_the_relay() -> None:
    program = shutil.which("iptables-legacy")
    if program is None or subprocess.run([program, "-P", "FORWARD", "DROP"], capture_output=True).returncode:
        return

    async def scene() -> None:
        host = await started()
        assert "legacy iptables" in host.controller.warnings[0]
        one, _inside = await host.container("a")
        far = outside()
        _, held = host.publish(one, Binding("tcp", 80, "", 8080))
        held[0].settimeout(6)
        assert talk(far, HOST_IP, 8080, held[0]) == "198.51.100.2", "the listener is what outside clients reach"

    asyncio.run(scene())


@lab
def test_a_udp_client_that_goes_on_sending_reaches_the_next_server() -> None:
    async def scene() -> None:
        host = await started()
        far = outside()
        with far:
            client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        client.settimeout(6)
        for _ in range(3):
            one, inside = await host.container("a")
            with inside:
                server = udp_server(port=53)
            _, held = host.publish(one, Binding("udp", 53, "", 5353))
            await host.controller._in_thread(int)  # the worker has forgotten the old flow
            client.sendto(b"ping", (HOST_IP, 5353))
            assert server.recvfrom(16)[0] == b"ping"
            host.controller.release(one)
            for one_held in held:
                one_held.close()

    asyncio.run(scene())


@lab
def test_a_restart_keeps_the_living_and_removes_the_rest() -> None:
    async def scene() -> None:
        records = Records()
        host = Host(ONE, None, records)
        await host.controller.start()
        one, inside = await host.container("a")
        gone, _ = await host.container("b")
        far = outside()
        with inside:
            server = tcp_server(port=80)
        published, held = host.publish(one, Binding("tcp", 80, "", 8080))
        dead, held_too = host.publish(gone, Binding("tcp", 80, "", 9090))
        await host.controller.close()
        record = json.loads(json.dumps({"endpoint": one.asdict(), "published": [p.asdict() for p in published]}))
        again = Host(ONE, None, records)
        await again.controller.start(
            [(Endpoint.from_dict(record["endpoint"]), [Published.from_dict(p) for p in record["published"]])])
        with conn.Socket() as route, conn.Socket(conn.NETFILTER) as tables:
            assert {link.name for link in route.links()} == {"lo", f"wh-{ONE}", "uplink", one.link}
            bodies = tables.dump(nft.dump_elements(nft.IPV4, firewall.table_name(ONE), firewall.PUBLISH_ANY))
            assert len([e for body in bodies for e in nft.parse_elements(body)]) == 1
        assert talk(far, HOST_IP, 8080, server) == "198.51.100.2"
        assert [n.id for n in again.controller.networks()] == [n.id for n in host.controller.networks()]
        fresh = again.controller.reserve(again.controller.get("bridge"), "c" * 64)
        assert fresh.ip == "172.17.0.3"
        assert records.writes == 3, "an unchanged network is not written again"
        assert dead
        assert held
        assert held_too

    asyncio.run(scene())


@lab
def test_flushed_tables_are_written_again_at_the_next_change() -> None:
    async def scene() -> None:
        host = await started()
        one, inside = await host.container("a")
        far = outside()
        with inside:
            server = tcp_server(port=80)
        _, _first = host.publish(one, Binding("tcp", 80, "", 8080))
        with conn.Socket(conn.NETFILTER) as tables:
            tables.batch([nft.delete_table(nft.IPV4, firewall.table_name(ONE))])
        _, _second = host.publish(one, Binding("tcp", 80, "", 8081))
        assert talk(far, HOST_IP, 8080, server) == "198.51.100.2"
        assert talk(far, HOST_IP, 8081, server) == "198.51.100.2"

    asyncio.run(scene())


@lab
def test_subnets_avoid_the_routes_of_the_host() -> None:
    async def scene() -> None:
        outside("172.17.5")
        host = await started()
        assert host.controller.get("bridge").subnet == "172.18.0.0/16"
        await host.controller.close(remove=True)
        given = await started(TWO, Settings(bip="10.9.8.1/24", mtu=1400))
        assert given.controller.get("bridge").gateway == "10.9.8.1"
        endpoint, inside = await given.container("a")
        link = inside.route.link("eth0")
        assert link is not None
        assert (endpoint.ip, link.mtu) == ("10.9.8.2", 1400)
        with pytest.raises(errors.NotFound, match="nosuch0"):
            await started(ONE, Settings(bridge="nosuch0"))
        with pytest.raises(errors.Conflict, match="uplink exists and is no bridge but veth"):
            await started(ONE, Settings(bridge="uplink"))
        borrowed = await started(ONE, Settings(bridge=f"wh-{TWO}"))
        assert borrowed.controller.get("bridge").subnet == "10.9.8.0/24"
        await borrowed.controller.close(remove=True)
        with conn.Socket() as route:
            assert route.link(f"wh-{TWO}") is not None, "a bridge that was there before stays"
        without = await started(ONE, Settings(bridge="none"))
        assert [n.name for n in without.controller.networks()] == ["host", "none"]

    asyncio.run(scene())


@lab
def test_none_has_its_loopback_and_host_is_left_alone() -> None:
    async def scene() -> None:
        host = await started()
        controller, space = host.controller, Space()
        alone = controller.reserve(controller.get("none"), "a" * 64)
        await controller.connect(alone, space.fd, space.netlink.fileno())
        assert [(link.name, link.is_up) for link in space.route.links()] == [("lo", True)]
        plain = controller.reserve(controller.get("host"), "b" * 64)
        await controller.connect(plain, -1, -1)
        assert (alone.ip, plain.ip) == ("", "")

    asyncio.run(scene())


@lab
def test_a_failed_connect_leaves_nothing() -> None:
    async def scene() -> None:
        host = await started()
        space = Space()
        endpoint = host.controller.reserve(host.controller.get("bridge"), "a" * 64)
        with conn.Socket() as route:
            space.route.run(rtnl.add_bridge("eth0", mac="02:42:00:00:00:01", mtu=1500))
            with pytest.raises(OSError, match="eth0: File exists"):
                await host.controller.connect(endpoint, space.fd, space.netlink.fileno())
            assert {link.name for link in route.links()} == {"lo", f"wh-{ONE}"}

    asyncio.run(scene())


@lab
def test_links_go_with_their_namespace_and_names_do_not_come_again() -> None:
    async def scene() -> None:
        host = await started()
        seen: set[str] = set()
        for _ in range(5):
            endpoint, space = await host.container("a")
            assert endpoint.link not in seen
            seen.add(endpoint.link)
            space.end()
            host.controller.release(endpoint)
        with conn.Socket() as route:
            deadline = time.monotonic() + 5
            while {link.name for link in route.links()} != {"lo", f"wh-{ONE}"}:
                assert time.monotonic() < deadline
                await asyncio.sleep(0.02)

    asyncio.run(scene())


def test_names_fit_and_carry_the_instance() -> None:
    assert len(bridge.veth_name(ONE, 0x1FFFFFF)) == 15
    assert ONE in bridge.veth_name(ONE, 1)
    assert bridge.bridge_name(ONE) == f"wh-{ONE}"
    assert model.DEFAULT_POOLS[0] == ("172.17.0.0/16", 16)
