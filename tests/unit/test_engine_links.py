"""The engine's ends of shim and zygote, over real sockets with a peer that speaks the wire."""

from __future__ import annotations

import asyncio
import os
import socket
from typing import Any

import pytest

from wharfie.base import errors
from wharfie.engine import forks, link
from wharfie.shim import wire


def pair() -> tuple[socket.socket, socket.socket]:
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


def test_requests_answers_events_and_the_end() -> None:
    async def scenario() -> None:
        mine, theirs = pair()
        told: list[dict[str, Any]] = []
        gone: list[object] = []
        one = link.Link(mine, on_event=lambda x, m: told.append(m), on_gone=gone.append)
        wire.send(theirs, {"hello": 1, "state": "born"})
        assert (await one.hello)["state"] == "born"
        first = asyncio.ensure_future(one.request("top", args="x"))
        second = asyncio.ensure_future(one.request("bad"))
        await asyncio.sleep(0.01)
        asked = [wire.recv(theirs)[0] for _ in range(2)]  # type: ignore[index]
        assert asked[0] == {"n": 1, "op": "top", "args": "x"}
        read, write = os.pipe()
        wire.send(theirs, wire.refusal(2, errors.NoCommand("no such program")))
        wire.send(theirs, {"event": "oom"})
        wire.send(theirs, wire.ok(1, {"a": 1}, ["pipe"]), [read])
        said, fds = await first
        assert said == {"a": 1}
        os.write(write, b"x")
        assert os.read(fds["pipe"], 1) == b"x"
        with pytest.raises(errors.NoCommand):
            await second
        assert told == [{"event": "oom"}]
        third = asyncio.ensure_future(one.request("stats"))
        await asyncio.sleep(0.01)
        theirs.close()
        with pytest.raises(link.ShimGone):
            await third
        assert gone == [one]
        with pytest.raises(link.ShimGone):
            await one.request("stats")
        for fd in (read, write, fds["pipe"]):
            os.close(fd)

    asyncio.run(scenario())


def test_a_full_socket_loses_nothing() -> None:
    async def scenario() -> None:
        mine, theirs = pair()
        one = link.Link(mine, on_event=lambda x, m: None, on_gone=lambda x: None)
        asked = [asyncio.ensure_future(one.request("x", blob="y" * 20_000)) for _ in range(50)]
        await asyncio.sleep(0.01)
        theirs.setblocking(False)
        seen = 0
        while seen < 50:
            try:
                got = wire.recv(theirs)
            except BlockingIOError:
                await asyncio.sleep(0.001)
                continue
            assert got is not None
            wire.send(theirs, wire.ok(got[0]["n"]))
            seen += 1
        await asyncio.wait_for(asyncio.gather(*asked), 5)
        one.close()
        theirs.close()

    asyncio.run(scenario())


def test_the_zygote_is_replaced() -> None:
    async def scenario() -> None:
        peers: list[socket.socket] = []

        def launch() -> wire.ZygoteLink:
            mine, theirs = pair()
            peers.append(theirs)
            return wire.ZygoteLink(mine, 2, -1, "memfd")

        asks = forks.Forks(launch)
        first = asyncio.ensure_future(asks.fork("shim", "/d"))
        while not peers:
            await asyncio.sleep(0.005)
        await asyncio.sleep(0.02)
        got = wire.recv(peers[0])
        assert got is not None
        assert got[0]["directory"] == "/d"
        peers[0].close()
        with pytest.raises(forks.ZygoteLost):
            await first
        second = asyncio.ensure_future(asks.fork("shim", "/d"))
        while len(peers) < 2:
            await asyncio.sleep(0.005)
        await asyncio.sleep(0.02)
        got = wire.recv(peers[1])
        assert got is not None
        pidfd = os.pidfd_open(os.getpid())
        wire.send(peers[1], {"n": got[0]["n"], "pid": 77}, [pidfd])
        pid, fd = await second
        assert pid == 77
        os.close(fd)
        os.close(pidfd)
        await asks.close()
        peers[1].close()

    asyncio.run(scenario())
