"""States, signals, restart policy, events, records, spec."""

from __future__ import annotations

import asyncio

import pytest

from wharfie.base import errors, when
from wharfie.engine import buildspec, events, model, names, records, resources, restart_policy, signals, states, users
from wharfie.engine.live import Live, Parked
from wharfie.storage import database


def container(identifier: str = "a" * 64, name: str = "web", **host: object) -> model.Container:
    return model.Container(
        id=identifier,
        name=name,
        created=1,
        path="sh",
        args=["-c", "x"],
        config=model.Config(image="img", labels={"k": "v"}),
        host_config=model.HostConfig(**host),
    )  # type: ignore[arg-type]


def test_illegal_moves_name_both_states() -> None:
    record = container()
    states.move(record, states.RUNNING)
    states.move(record, states.PAUSED)
    with pytest.raises(errors.Conflict, match=r"paused.*removing"):
        states.move(record, states.REMOVING)
    assert record.state.status == states.PAUSED
    assert set(states.MOVES) == {s for moves in states.MOVES.values() for s in moves} | {states.CREATED}


@pytest.mark.parametrize(
    ("text", "number"), [("SIGTERM", 15), ("kill", 9), ("1", 1), ("RTMIN+3", 37), ("SIGRTMAX-1", 63)]
)
def test_signals(text: str, number: int) -> None:
    assert signals.parse(text) == number


@pytest.mark.parametrize("text", ["", "0", "65", "-1", "SIGFOO", "RTMIN+99", "٣", "9999999"])
def test_bad_signals(text: str) -> None:
    with pytest.raises(errors.Invalid):
        signals.parse(text)


def decide(
    name: str,
    code: int = 1,
    *,
    stopped: bool = False,
    restarts: int = 0,
    ran: float = 0,
    backoff: float = 0,
    retries: int = 0,
) -> restart_policy.Verdict:
    return restart_policy.decide(
        model.RestartPolicy(name=name, maximum_retry_count=retries),
        code=code,
        stopped_by_user=stopped,
        restarts=restarts,
        ran=ran,
        backoff=backoff,
    )


def test_restart_policy() -> None:
    assert not decide("no").again
    assert decide("always", 0).again
    assert not decide("always", stopped=True).again
    assert not decide("on-failure", 0).again
    assert decide("on-failure", restarts=1, retries=2).again
    assert not decide("on-failure", restarts=2, retries=2).again
    assert [decide("always", backoff=b).wait for b in (0, 0.1, 0.2, 50)] == [0.1, 0.2, 0.4, 60.0]
    assert decide("always", backoff=30, ran=11).wait == 0.1
    always, unless = model.RestartPolicy(name="always"), model.RestartPolicy(name="unless-stopped")
    assert restart_policy.at_engine_start(always, code=0, stopped_by_user=True, restarts=0)
    assert not restart_policy.at_engine_start(unless, code=0, stopped_by_user=True, restarts=0)


def test_names_are_docker_names() -> None:
    from wharfie.base import ids

    made = names.make(lambda n: False)
    ids.check_name(made)
    assert names.make(lambda n: n.count("_") == 1 and not n[-1].isdigit())[-1].isdigit()


def test_records(tmp_path: object) -> None:
    path = f"{tmp_path}/state.db"
    store = database.Database(path)

    async def fill() -> None:
        kept = records.Records(store)
        for n in range(3):
            record = container(f"{n:x}" * 64, f"c{n}")
            kept.take_name(record.name, record.id)
            await kept.add(record)
        with pytest.raises(errors.Conflict, match="already in use"):
            kept.take_name("c1", "f" * 64)
        record = kept.find("c1")
        record.state.exit_code = 7
        await kept.save(record)
        await kept.delete(kept.find("c2"))

    asyncio.run(fill())
    store.close()
    again = database.Database(path)
    kept = records.Records(again)
    assert {c.name for c in kept.load()} == {"c0", "c1"}
    assert kept.find("11").state.exit_code == 7
    assert kept.find("/c0").id == "0" * 64
    for ref in ("2" * 64, "nope", "", "0" * 65):
        with pytest.raises(errors.NotFound, match="No such container"):
            kept.find(ref)
    again.close()


def test_a_thousand_records_are_loaded(tmp_path: object) -> None:
    store = database.Database(f"{tmp_path}/state.db")
    blob = records._encode(container())
    store.write_many_now(
        [
            ("INSERT INTO containers (id, name, record) VALUES (?, ?, ?)", (f"{n:064x}", f"c{n}", blob))
            for n in range(1000)
        ]
    )
    assert len(records.Records(store).load()) == 1000
    store.close()


def test_events_history_filters_and_followers(tmp_path: object) -> None:
    store = database.Database(f"{tmp_path}/state.db")

    async def scenario() -> list[str]:
        told = events.Events(store)
        begin = when.now() - 1
        told.publish("container", "create", "a" * 64, {"name": "web", "image": "img:1", "k": "v"})
        told.publish("container", "exec_start: sh", "a" * 64, {"name": "web"})
        told.publish("network", "connect", "n" * 64, {"container": "a" * 64, "name": "bridge"})
        past = [e.action async for e in told.subscribe(since=begin, until=when.now())]
        assert past == ["create", "exec_start: sh", "connect"]

        async def of(**filters: list[str]) -> list[str]:
            return [e.action async for e in told.subscribe(since=begin, until=when.now(), filters=filters)]

        assert await of(event=["exec_start"]) == ["exec_start: sh"]
        assert await of(type=["network"]) == ["connect"]
        assert await of(container=["web"]) == ["create", "exec_start: sh"]
        assert await of(label=["k=v"]) == ["create"]
        assert await of(label=["k=w"]) == []
        assert await of(image=["img"]) == ["create"]
        live = told.subscribe(filters={"event": ["die"]})
        told.publish("container", "start", "a" * 64, {})
        told.publish("container", "die", "a" * 64, {})
        assert (await anext(live)).action == "die"
        await live.aclose()
        assert not told._followers
        told.subscribe().leave()  # a client that left before its first event
        assert not told._followers
        until = told.subscribe(until=when.now() + 50_000_000)
        assert [e async for e in until] == []
        await told.flush()
        return past

    asyncio.run(scenario())
    again = events.Events(store)
    again.load()
    assert [e.action for e in again._held] == ["create", "exec_start: sh", "connect", "start", "die"]
    store.close()


def parts(**more: object) -> buildspec.Parts:
    plain: dict[str, object] = {
        "identity": users.Identity(0, 0, (0,), "/root"),
        "hostname": "h",
        "planned": (),
        "files": (("/etc/hosts", "/d/hosts"),),
        "joined": (),
        "devices": buildspec.Devices(),
        "host": resources.Host(),
    }
    return buildspec.Parts(**{**plain, **more})


def test_the_default_spec() -> None:
    spec = buildspec.build(container(), parts())
    assert {n["type"] for n in spec["linux"]["namespaces"]} == {"mount", "network", "ipc", "uts", "pid", "cgroup"}
    caps = spec["process"]["capabilities"]
    assert len(caps["bounding"]) == 14
    assert caps["inheritable"] == caps["ambient"] == []
    assert spec["linux"]["seccomp"]["defaultAction"] == "SCMP_ACT_ERRNO"
    assert "/proc/kcore" in spec["linux"]["maskedPaths"]
    assert spec["process"]["args"] == ["sh", "-c", "x"]
    assert [m["destination"] for m in spec["mounts"]][:2] == ["/proc", "/dev"]
    assert spec["mounts"][-1]["destination"] == "/etc/hosts"


def test_modes_change_the_spec() -> None:
    spec = buildspec.build(container(privileged=True, network_mode="host", pid_mode="host", uts_mode="host"), parts())
    assert {n["type"] for n in spec["linux"]["namespaces"]} == {"mount", "ipc", "cgroup"}
    assert "seccomp" not in spec["linux"]
    assert spec["linux"]["maskedPaths"] == []
    assert "hostname" not in spec
    assert "ro" not in next(m for m in spec["mounts"] if m["destination"] == "/sys")["options"]
    none = buildspec.build(container(ipc_mode="none"), parts(use_init=True))
    assert "/dev/shm" not in [m["destination"] for m in none["mounts"]]
    assert none["process"]["args"][:2] == ["/sbin/docker-init", "--"]
    joined = buildspec.build(container(network_mode="container:x"), parts(joined=(("network", "/proc/7/ns/net"),)))
    assert {"type": "network", "path": "/proc/7/ns/net"} in joined["linux"]["namespaces"]
    assert joined["linux"]["sysctl"] == {}


def test_watchers() -> None:
    async def scenario() -> None:
        live = Live(container())
        assert (await live.watch("not-running")).code == 0
        removed = live.watch("removed")
        exit_ = live.watch("next-exit")
        live.record.state.exit_code = 3
        live.tell_ended()
        assert (await exit_).code == 3
        assert not removed.done()
        live.tell_removed()
        assert (await removed).code == 3
        with pytest.raises(errors.Invalid):
            live.watch("never")

    asyncio.run(scenario())


def test_parked_clients_that_left_are_let_go() -> None:
    import socket

    async def scenario() -> None:
        live = Live(container())
        for _ in range(3):
            mine, theirs = socket.socketpair()
            live.park(Parked(model.AttachOptions(), theirs.detach(), b""))
            mine.close()
        assert len(live.parked) == 1
        mine, theirs = socket.socketpair()
        mine.shutdown(socket.SHUT_WR)
        live.park(Parked(model.AttachOptions(), theirs.detach(), b""))
        assert not live.parked[-1].has_left()
        live.drop_parked()
        assert mine.recv(1) == b""
        mine.close()

    asyncio.run(scenario())


def test_a_full_disk_loses_no_record_and_stops_no_end(tmp_path: object) -> None:
    """What could not be written is written when there is room again."""

    async def scenario() -> None:
        kept = records.Records(store, said.append)
        record = container()
        await kept.add(record)
        write = store.write_many

        async def full(*_: object, **__: object) -> None:
            raise errors.Exhausted("state database: database or disk is full")

        store.write_many = full  # type: ignore[method-assign, assignment]
        record.state.exit_code = 7
        await kept.note(record)
        record.stopped_by_user = True
        kept.save_soon(record)
        with pytest.raises(errors.Exhausted):
            await kept.flush()
        with pytest.raises(errors.Exhausted):
            await kept.save(record)
        store.write_many = write  # type: ignore[method-assign]
        await kept.flush()

    said: list[str] = []
    store = database.Database(f"{tmp_path}/state.db")
    asyncio.run(scenario())
    (found,) = records.Records(store).load()
    assert (found.state.exit_code, found.stopped_by_user) == (7, True)
    assert "could not be recorded" in said[0]
    store.close()
