"""Reserving ports by binding them, on this machine's loopback only."""

from __future__ import annotations

import errno
import os
import socket

import pytest

from wharfie.base import errors
from wharfie.network import ports
from wharfie.network.model import Binding, Endpoint

ENDPOINT = Endpoint("e" * 64, "n" * 64, "bridge", "c" * 64, "web", ip="172.17.0.2")


def test_a_reserved_port_is_refused_with_dockers_words() -> None:
    made, fds = ports.listen(ENDPOINT, [Binding("tcp", 80, "127.0.0.1", 0)])
    port = made[0].host_port
    try:
        assert os.get_inheritable(fds[0]) is False
        assert os.get_blocking(fds[0]) is False
        with pytest.raises(errors.Conflict) as caught:
            ports.listen(ENDPOINT, [Binding("tcp", 80, "127.0.0.1", port)])
        assert caught.value.message == (
            f"driver failed programming external connectivity on endpoint web ({'e' * 64}): "
            f"Bind for 127.0.0.1:{port} failed: port is already allocated")
    finally:
        os.close(fds[0])
    _, again = ports.listen(ENDPOINT, [Binding("tcp", 80, "127.0.0.1", port)])
    os.close(again[0])


def test_udp_ports_are_exclusive_too() -> None:
    made, fds = ports.listen(ENDPOINT, [Binding("udp", 53, "127.0.0.1", 0)])
    with pytest.raises(errors.Conflict):
        ports.listen(ENDPOINT, [Binding("udp", 53, "127.0.0.1", made[0].host_port)])
    os.close(fds[0])


def test_all_or_none() -> None:
    taken, fds = ports.listen(ENDPOINT, [Binding("tcp", 1, "127.0.0.1", 0)])
    free, more = ports.listen(ENDPOINT, [Binding("tcp", 2, "127.0.0.1", 0)])
    os.close(more[0])
    both = [Binding("tcp", 2, "127.0.0.1", free[0].host_port), Binding("tcp", 1, "127.0.0.1", taken[0].host_port)]
    with pytest.raises(errors.Conflict):
        ports.listen(ENDPOINT, both)
    _, again = ports.listen(ENDPOINT, both[:1])
    os.close(again[0])
    os.close(fds[0])


def test_both_families_get_the_same_ephemeral_port(monkeypatch: pytest.MonkeyPatch) -> None:
    if not ports.has_ipv6():
        pytest.skip("no IPv6 here")
    monkeypatch.setattr(ports, "_ANY4", "127.0.0.1")
    monkeypatch.setattr(ports, "_ANY6", "::1")
    made, fds = ports.listen(ENDPOINT, [Binding("tcp", 80), Binding("udp", 80)])
    for fd in fds:
        os.close(fd)
    assert [p.host_ip for p in made] == ["127.0.0.1", "::1"] * 2
    assert made[0].host_port == made[1].host_port
    assert made[2].host_port == made[3].host_port


def test_the_second_try_finds_a_port_free_in_both_families(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "_addresses", lambda ip: ("127.0.0.1", "::1"))
    calls: list[tuple[str, int]] = []

    def bind(proto: str, ip: str, port: int) -> socket.socket:
        calls.append((ip, port))
        if len(calls) == 2:
            raise OSError(errno.EADDRINUSE, "in use")
        made = socket.socket()
        made.bind(("127.0.0.1", 0))
        return made

    monkeypatch.setattr(ports, "_bind", bind)
    _, fds = ports.listen(ENDPOINT, [Binding("tcp", 80)])
    for fd in fds:
        os.close(fd)
    assert [ip for ip, _ in calls] == ["127.0.0.1", "::1", "127.0.0.1", "::1"]


@pytest.mark.parametrize(
    ("binding", "kind", "words"),
    [
        (Binding("tcp", 80, "198.51.100.77", 0), errors.Invalid, "cannot assign requested address"),
        (Binding("tcp", 80, "localhost", 0), errors.Invalid, "invalid IP address: localhost"),
        (Binding("sctp", 80, "", 0), errors.Unsupported, "sctp"),
    ],
)
def test_what_cannot_be_bound(binding: Binding, kind: type[errors.WharfieError], words: str) -> None:
    with pytest.raises(kind, match=words):
        ports.listen(ENDPOINT, [binding])
