"""hosts, hostname and resolv.conf as texts."""

from __future__ import annotations

import pytest

from wharfie.base import errors
from wharfie.network import files
from wharfie.network.model import Settings

STUB = "nameserver 127.0.0.53\noptions edns0 trust-ad\nsearch example.org\n"
UPSTREAM = "# systemd\nnameserver 192.0.2.1\nnameserver 192.0.2.2\nsearch upstream.example\n"


def made(host: str, upstream: str = "", settings: Settings | None = None, **flags: tuple[str, ...]) -> str:
    return files.resolv_conf(files.resolver(settings or Settings(), host, upstream, **flags)).decode()


def test_a_stub_resolver_is_replaced_by_its_upstreams() -> None:
    assert made(STUB, UPSTREAM) == (
        "nameserver 192.0.2.1\nnameserver 192.0.2.2\nsearch example.org\noptions edns0 trust-ad\n")


def test_ordinary_servers_are_kept() -> None:
    assert made("nameserver 10.0.0.2\n", UPSTREAM) == "nameserver 10.0.0.2\n"


def test_loopback_servers_are_dropped_among_others() -> None:
    assert made("nameserver ::1\nnameserver 127.0.0.1\nnameserver 10.0.0.2\n") == "nameserver 10.0.0.2\n"


@pytest.mark.parametrize("host", ["", "nameserver 127.0.0.53\n", "nameserver ::1\n", "nameserver 0.0.0.0\n",
                                  "nameserver fe80::1%eth0\n", "nameserver nonsense\n"])
def test_without_any_reachable_server_the_public_ones_are_named(host: str) -> None:
    assert made(host) == "nameserver 8.8.8.8\nnameserver 8.8.4.4\n"


def test_flags_win_over_settings_and_settings_over_the_host() -> None:
    daemon = Settings(dns=("192.0.2.9",), dns_search=("daemon.example",), dns_options=("ndots:2",))
    assert made(STUB, UPSTREAM, daemon) == "nameserver 192.0.2.9\nsearch daemon.example\noptions ndots:2\n"
    assert made(STUB, UPSTREAM, daemon, dns=("192.0.2.7",), search=(".",), options=("ndots:5",)) == (
        "nameserver 192.0.2.7\noptions ndots:5\n")


def test_a_server_must_be_an_address() -> None:
    with pytest.raises(errors.Invalid, match=r"dns\.example is not an IP address"):
        made("", dns=("dns.example",))
    with pytest.raises(errors.Invalid):
        made("", dns=("fe80::1%\nsearch",))


def test_an_explicit_loopback_server_is_the_users_will() -> None:
    assert made("", dns=("127.0.0.1",)) == "nameserver 127.0.0.1\n"


def test_comments_and_domain_lines() -> None:
    parsed = files.parse("; old\ndomain a.example\nnameserver 10.0.0.1 # why\noptions a\noptions b\n")
    assert parsed == files.Resolver(("10.0.0.1",), ("a.example",), ("a", "b"))


def test_hosts() -> None:
    text = files.hosts("web", domain="example.org", ips=["172.17.0.2"], extra=["db:10.0.0.9", "gw=host-gateway"],
                       gateway="172.17.0.1").decode()
    assert text.startswith("127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n")
    assert text.endswith("10.0.0.9\tdb\n172.17.0.1\tgw\n172.17.0.2\tweb.example.org web\n")


def test_hosts_of_the_host_network() -> None:
    assert files.hosts("web", ips=["1.2.3.4"], extra=["a:10.0.0.1"], host_text="127.0.0.1 localhost box") == (
        b"127.0.0.1 localhost box\n10.0.0.1\ta\n")


def test_extra_hosts_with_ipv6() -> None:
    assert files.extra_host("six:2001:db8::1") == ("six", "2001:db8::1")
    assert files.extra_host("six=[2001:db8::1]") == ("six", "2001:db8::1")


@pytest.mark.parametrize("word", ["", "a", "a:", ":10.0.0.1", "a:b", "a b:10.0.0.1", "a:10.0.0.1\nx", "a:host-gateway"])
def test_bad_extra_hosts(word: str) -> None:
    with pytest.raises(errors.Invalid, match=r"add-host|host-gateway"):
        files.extra_host(word)


def test_hostname() -> None:
    assert files.hostname("web") == b"web\n"
