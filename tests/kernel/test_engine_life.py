"""The life of containers on the real kernel, at the engine's own door: no HTTP, everything else real."""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import signal
import socket

import pytest

from tests.kernel.engine_house import Place, eventually, inside
from wharfie.base import errors, frames
from wharfie.engine import model

pytestmark = pytest.mark.needs("root", "busybox")


def read_all(sock: socket.socket) -> bytes:
    sock.settimeout(10)
    out = b""
    while piece := sock.recv(65536):
        out += piece
    return out


def parent_of(pid: int) -> int:
    """Of a living process."""
    with open(f"/proc/{pid}/stat") as file:
        return int(file.read().rpartition(")")[2].split()[1])


def ended_by(init: int, shim: int) -> bool:
    """Tell a container's init to end until its shim has ended (both are pidfds): it may not listen yet."""
    if select.select([shim], [], [], 0)[0]:
        return True
    with contextlib.suppress(ProcessLookupError):
        signal.pidfd_send_signal(init, signal.SIGUSR1)
    return False


async def output(place: Place, identifier: str, options: model.AttachOptions) -> socket.socket:
    """Attach a client; the socket to read from."""
    assert place.house is not None
    mine, theirs = socket.socketpair()
    await place.house.containers.attach(identifier, options, theirs.detach(), b"")
    return mine


def test_a_whole_life() -> None:
    async def scenario(place: Place) -> None:
        assert place.house is not None
        engine = place.house.containers
        identifier = await place.create("sh", "-c", "id -u; cat /etc/hostname; exit 7", name="life")
        record = engine.get("life")
        assert record.state.status == "created"
        client = await output(place, identifier, model.AttachOptions(stdout=True, stderr=True))
        waiting = engine.watch(identifier, "next-exit")
        await engine.start(identifier)
        assert (await waiting).code == 7
        got = await asyncio.to_thread(read_all, client)
        said = frames.Splitter().feed(got)
        assert {stream for stream, _ in said} == {frames.STDOUT}
        assert b"".join(piece for _, piece in said).decode() == f"0\n{identifier[:12]}\n"
        assert record.state.status == "exited"
        assert record.endpoint is None
        with pytest.raises(errors.Unchanged):
            await engine.stop(identifier)
        with pytest.raises(errors.Conflict, match="is not running"):
            await engine.kill(identifier)
        await engine.start(identifier)
        await engine.wait(identifier)
        await engine.remove(identifier, volumes=True)
        with pytest.raises(errors.NotFound):
            engine.get(identifier)
        await place.nothing_in_run()

    inside(scenario)


def test_commands_that_cannot_be_started() -> None:
    async def scenario(place: Place) -> None:
        assert place.house is not None
        engine = place.house.containers
        for argv, kind, code in ((["nosuch"], errors.NoCommand, 127), (["/etc/passwd"], errors.NotExecutable, 126)):
            identifier = await place.create(*argv)
            with pytest.raises(kind):
                await engine.start(identifier)
            state = engine.get(identifier).state
            assert (state.exit_code, state.status) == (code, "created")
            assert argv[0] in state.error
        gone = await place.create("nosuch", auto_remove=True)
        removed = engine.watch(gone, "removed")
        with pytest.raises(errors.NoCommand):
            await engine.start(gone)
        await asyncio.wait_for(removed, 20)
        await place.nothing_in_run()

    inside(scenario)


def test_stop_kill_pause_restart_exec() -> None:
    async def scenario(place: Place) -> None:
        assert place.house is not None
        engine, execs = place.house.containers, place.house.containers.execs
        trap = "trap 'exit 5' TERM; while :; do sleep 0.05; done"
        identifier = await place.create("sh", "-c", trap, name="web")
        await engine.start(identifier)
        with pytest.raises(errors.Unchanged):
            await engine.start("web")
        await engine.pause("web")
        with pytest.raises(errors.Conflict, match="paused"):
            await execs.create("web", model.ExecConfig(cmd=["true"]))
        await engine.unpause("web")
        made = await execs.create("web", model.ExecConfig(cmd=["sh", "-c", "exit 9"], attach_stdout=True))
        mine, theirs = socket.socketpair()
        await execs.start(made, detach=False, fd=theirs.detach())
        await asyncio.to_thread(read_all, mine)
        assert execs.get(made).exit_code == 9
        bad = await execs.create("web", model.ExecConfig(cmd=["nosuch"]))
        with pytest.raises(errors.NoCommand, match="nosuch"):
            await execs.start(bad, detach=True)
        assert execs.get(bad).exit_code == 127
        with pytest.raises(errors.Conflict, match="already"):
            execs.check_start(bad)
        await engine.stop("web", timeout=5)
        assert engine.get("web").state.exit_code == 5
        await engine.restart("web")
        first = engine.get("web").state.pid
        await engine.restart("web", timeout=0)
        assert engine.get("web").state.pid != first
        with pytest.raises(errors.Conflict, match="running"):
            await engine.remove("web")
        await engine.kill("web", "KILL")
        assert engine.get("web").state.exit_code == 137
        await engine.rename("web", "other")
        assert engine.get("other").id == identifier

    inside(scenario)


def test_restart_policy_and_auto_remove() -> None:
    async def scenario(place: Place) -> None:
        assert place.house is not None
        engine = place.house.containers
        flaky = await place.create(
            "sh", "-c", "exit 3", restart_policy=model.RestartPolicy(name="on-failure", maximum_retry_count=2)
        )
        await engine.start(flaky)
        record = engine.get(flaky)
        while record.state.status != "exited":
            await asyncio.sleep(0.05)
        assert (record.restart_count, record.state.exit_code) == (2, 3)
        always = await place.create("sleep", "0.05", restart_policy=model.RestartPolicy(name="always"))
        await engine.start(always)
        while engine.get(always).restart_count < 2:
            await asyncio.sleep(0.05)
        await engine.stop(always)
        await asyncio.sleep(1)
        assert engine.get(always).state.status == "exited"
        volatile = await place.create("true", auto_remove=True, config={"volumes": {"/data": {}}})
        names = engine.get(volatile).anonymous
        assert len(names) == 1
        removed = engine.watch(volatile, "removed")
        await engine.start(volatile)
        assert (await asyncio.wait_for(removed, 20)).code == 0
        assert not os.path.exists(f"{place.root}/data/volumes/{names[0]}")

    inside(scenario)


def test_the_engine_leaves_and_comes_back() -> None:
    async def scenario(place: Place) -> None:
        assert place.house is not None
        engine = place.house.containers
        stays = await place.create("sleep", "1000", name="stays")
        ends = await place.create("sh", "-c", "trap 'exit 4' USR1; while :; do sleep 0.05; done", name="ends")
        await place.create("true", name="never")
        await place.create("true", name="volatile", auto_remove=True)
        for ref in (stays, ends):
            await engine.start(ref)
        pid, ip = engine.get(stays).state.pid, engine.get(stays).endpoints["bridge"].ip_address
        init, shim = (os.pidfd_open(p) for p in (engine.get(ends).state.pid, parent_of(engine.get(ends).state.pid)))
        await place.close()
        await eventually(lambda: ended_by(init, shim))
        os.close(init)
        os.close(shim)
        house = await place.open()
        engine = house.containers
        assert engine.get("stays").state.pid == pid
        assert engine.get("stays").endpoints["bridge"].ip_address == ip
        assert engine.get("stays").state.status == "running"
        assert (engine.get("ends").state.status, engine.get("ends").state.exit_code) == ("exited", 4)
        assert engine.get("ends").endpoint is None
        assert engine.get("never").state.status == "created"
        await eventually(lambda: "volatile" not in [c.name for c in engine.list()])  # as dockerd: who would start it?
        _, other = await place.run("true")
        assert other.code == 0
        made = await engine.execs.create("stays", model.ExecConfig(cmd=["true"]))
        await engine.execs.start(made, detach=True)
        await engine.stop("stays", timeout=0)
        assert engine.get("stays").state.exit_code == 137

    inside(scenario)


def test_a_killed_shim_is_buried() -> None:
    async def scenario(place: Place) -> None:
        assert place.house is not None
        engine = place.house.containers
        identifier = await place.create("sleep", "1000")
        await engine.start(identifier)
        waiting = engine.watch(identifier, "next-exit")
        fd = os.pidfd_open(parent_of(engine.get(identifier).state.pid))
        signal.pidfd_send_signal(fd, signal.SIGKILL)
        os.close(fd)
        assert (await asyncio.wait_for(waiting, 10)).code == 255
        assert "shim" in engine.get(identifier).state.error
        await engine.start(identifier)
        assert engine.get(identifier).state.status == "running"

    inside(scenario)


def test_many_at_once() -> None:
    async def scenario(place: Place) -> None:
        async def one(n: int) -> None:
            identifier, result = await place.run("sh", "-c", f"exit {n}")
            assert result.code == n
            assert place.house is not None
            await place.house.containers.remove(identifier)

        await asyncio.gather(*(one(n) for n in range(30)))
        await place.nothing_in_run()

    inside(scenario)


@pytest.mark.parametrize("verb", ["kill", "stop", "remove"])
def test_an_end_that_comes_between_the_look_and_the_signal(verb: str) -> None:
    """It is heard, and nobody waits half a minute for another one."""

    async def scenario(place: Place) -> None:
        assert place.house is not None
        engine, records = place.house.containers, place.house._parts.records
        identifier = await place.create("sleep", "1000")
        await engine.start(identifier)
        record, note = engine.get(identifier), records.note

        async def noting(changed: model.Container) -> None:
            records.note = note  # type: ignore[method-assign]
            fd = os.pidfd_open(record.state.pid)
            signal.pidfd_send_signal(fd, signal.SIGKILL)
            os.close(fd)
            await eventually(lambda: not record.state.running)
            await note(changed)

        records.note = noting  # type: ignore[method-assign]
        async with asyncio.timeout(15):
            if verb == "kill":
                await engine.kill(identifier, "")
            elif verb == "stop":
                await engine.stop(identifier, timeout=None, signal="")
            else:
                await engine.remove(identifier, force=True, volumes=False)
        assert records.note == note, "the way led through"

    inside(scenario)


def test_a_sysctl_of_an_interface_finds_it_there() -> None:
    """However long the network takes to connect: what is set per interface has to wait for it."""
    async def scenario(place: Place) -> None:
        assert place.house is not None
        networks = place.house._networks
        connect = networks.connect

        async def late(*args: object) -> None:
            await asyncio.sleep(0.5)
            await connect(*args)  # type: ignore[arg-type]

        networks.connect = late  # type: ignore[method-assign]
        for name in ("net.ipv4.conf.eth0.log_martians", "net/ipv4/conf/eth0/log_martians"):
            path = "/proc/sys/net/ipv4/conf/eth0/log_martians"
            _, end = await place.run("sh", "-c", f"exit $((40 + $(cat {path})))", sysctls={name: "1"})
            assert end.code == 41, name

    inside(scenario)
