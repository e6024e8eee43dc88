"""Detach keys, the spool, and the streams of a process with real pipes and sockets but no process."""

from __future__ import annotations

import contextlib
import os
import socket
import threading

import pytest

from wharfie.base import errors, frames
from wharfie.logs import options, reader, writer
from wharfie.shim import detach, replay
from wharfie.shim.attacher import Attacher
from wharfie.shim.inlet import Inlet
from wharfie.shim.loop import Loop
from wharfie.shim.outlet import Outlet
from wharfie.shim.spool import SEGMENT, Allowance, Spool

BOTH = frozenset((1, 2))


@pytest.mark.parametrize(("keys", "raw"), [
    ("", b"\x10\x11"), ("ctrl-p,ctrl-q", b"\x10\x11"), ("a", b"a"), ("ctrl-@,ctrl-[,ctrl-_", b"\x00\x1b\x1f"),
    ("ctrl-\\", b"\x1c"), ("a,ctrl-z", b"a\x1a"),
])
def test_keys_are_parsed(keys, raw):
    assert detach.parse(keys) == raw


@pytest.mark.parametrize("keys", ["ctrl-", "ctrl-A", "ctrl-1", "ab", "\u00e9", "a,,b"])
def test_keys_that_are_none(keys):
    with pytest.raises(errors.Invalid, match="Invalid detach keys"):
        detach.parse(keys)


@pytest.mark.parametrize(("pieces", "passed", "left"), [
    ([b"abc"], b"abc", False), ([b"a\x10", b"\x11b"], b"a", True), ([b"\x10\x10\x11"], b"\x10", True),
    ([b"\x10", b"x"], b"\x10x", False), ([b"\x10"], b"", False), ([b"x\x10\x11rest"], b"x", True),
])
def test_keys_are_found_in_what_is_typed(pieces, passed, left):
    scanner = detach.Scanner(b"\x10\x11")
    got, detached = b"", False
    for piece in pieces:
        data, detached = scanner.feed(piece)
        got += data
    assert (got, detached) == (passed, left)


def test_the_spool_gives_segments_back(tmp_path):
    spool = Spool(str(tmp_path))
    data = os.urandom(1 << 20)
    count = 2 * SEGMENT // len(data) + 3
    for _ in range(count):
        assert spool.append(data)
    at, got = 0, 0
    while chunk := spool.read(at, 1 << 20):
        assert chunk == data[at % len(data) : at % len(data) + len(chunk)]
        at += len(chunk)
        got += len(chunk)
        spool.release(at)
    assert got == count * len(data) == spool.end
    assert spool.empty
    assert os.listdir(tmp_path) == []


def test_the_spools_of_one_container_share_an_allowance(tmp_path):
    allowance = Allowance(10)
    own, other = Spool(str(tmp_path), allowance), Spool(str(tmp_path), allowance)
    assert own.append(b"123456")
    assert not other.append(b"78901")  # in memory; nothing is lost
    assert other.read(0, 10) == b"78901"
    assert allowance.used == 6
    own.release(6)
    other.release(5)
    assert allowance.used == 0
    assert other.append(b"0123456789")
    other.release(15)
    assert (own.empty, other.empty, allowance.used) == (True, True, 0)
    nowhere = Spool("/nonexistent", allowance)
    assert not nowhere.append(b"x")
    assert allowance.used == 0


def test_a_spool_without_a_place_stays_in_memory():
    for spool in (Spool(""), Spool("/nonexistent")):
        assert not spool.append(b"abc")
        assert not spool.append(b"de")
        assert spool.read(2, 10) == b"c"
        assert spool.read(3, 10) == b"de"
        spool.release(3)
        assert not spool.empty
        spool.release(5)
        assert spool.empty


class _Stage:
    """An outlet with one pipe per stream, and clients."""

    def __init__(self, spool: Spool, log: writer.Writer | None = None, *, framed: bool = True) -> None:
        self.loop = Loop()
        self.loop.open()
        self.outlet = Outlet(self.loop, spool, log, framed=framed)
        self.pipes = {}
        for stream in (1, 2) if framed else (1,):
            mine, theirs = os.pipe2(os.O_NONBLOCK)
            self.outlet.add(mine, stream)
            self.pipes[stream] = theirs

    def client(self, **named) -> socket.socket:
        mine, theirs = socket.socketpair()
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        given = {"streams": BOTH, "mux": True, **named}
        streams = given.pop("streams")
        self.outlet.attach(Attacher(self.loop, theirs.detach(), self.outlet, streams, **given))
        mine.setblocking(False)
        return mine

    def turn(self, seconds: float = 0.02) -> None:
        self.loop.after(seconds, self.loop.stop)
        self.loop.run()

    def write(self, stream: int, data: bytes) -> None:
        view = memoryview(data)
        while view:
            try:
                view = view[os.write(self.pipes[stream], view) :]
            except BlockingIOError:
                self.turn(0)

    def end(self) -> None:
        for fd in self.pipes.values():
            os.close(fd)

    def drain(self, sock: socket.socket) -> bytes:
        parts = []
        while True:
            try:
                piece = sock.recv(1 << 16)
            except BlockingIOError:
                self.turn(0.001)
                continue
            if not piece:
                return b"".join(parts)
            parts.append(piece)


def _demux(data: bytes) -> dict[int, bytes]:
    out: dict[int, bytes] = {}
    for stream, piece in frames.Splitter().feed(data):
        out[stream] = out.get(stream, b"") + piece
    return out


@pytest.mark.parametrize("wanted", [
    {"streams": BOTH, "mux": True}, {"streams": frozenset((1,)), "mux": True},
    {"streams": frozenset((2,)), "mux": False},
])
def test_a_lagging_client_gets_exactly_its_streams(tmp_path, wanted):
    stage = _Stage(Spool(str(tmp_path)))
    client = stage.client(**wanted)
    sent = {1: b"", 2: b""}
    for n in range(40):
        for stream in (1, 2):
            data = os.urandom(5000 + n)
            stage.write(stream, data)
            sent[stream] += data
    stage.end()
    got = stage.drain(client)
    if wanted["mux"]:
        assert _demux(got) == {s: sent[s] for s in wanted["streams"]}
    else:
        assert got == sent[2]
    assert stage.outlet.spool.empty
    assert stage.outlet.attachers == []


def test_who_lags_past_the_allowance_holds_the_process_back_and_loses_nothing(tmp_path):
    allowance = Allowance(1 << 20)
    stage = _Stage(Spool(str(tmp_path), allowance))
    client = stage.client()
    data, view = os.urandom(4 << 20), 0
    for _ in range(200):
        stage.turn(0.001)
        with contextlib.suppress(BlockingIOError):
            view += os.write(stage.pipes[1], data[view : view + (1 << 16)])
    assert 1 << 20 < view < 2 << 20
    assert allowance.used <= 1 << 20

    def write_the_rest() -> None:
        os.set_blocking(stage.pipes[1], True)
        os.write(stage.pipes[1], data[view:])
        stage.end()

    rest = threading.Thread(target=write_the_rest)
    rest.start()
    got = stage.drain(client)
    rest.join()
    assert _demux(got) == {1: data}
    assert allowance.used == 0


def test_a_client_that_leaves_holds_nothing_back():
    stage = _Stage(Spool(""))
    client = stage.client()
    other = stage.client()
    os.write(stage.pipes[1], b"x" * 60000)
    stage.turn()
    client.close()
    other.close()
    stage.turn()
    assert stage.outlet.attachers == []
    stage.write(1, b"y" * 500000)  # would block for ever if the pause had stayed
    stage.end()
    stage.turn()
    assert stage.outlet.ended


def test_replay_then_live_without_a_seam(tmp_path):
    log = writer.Writer(str(tmp_path / "log"), options.Options())
    stage = _Stage(Spool(str(tmp_path)), log)
    stage.write(1, b"".join(b"old %d\n" % n for n in range(5000)) + b"unfin")
    stage.turn()
    client = stage.client(replay=replay.pieces(log, BOTH, mux=True))
    stage.write(1, b"ished\nnew\n")
    stage.turn()
    stage.end()
    assert _demux(stage.drain(client))[1] == b"".join(b"old %d\n" % n for n in range(5000)) + b"unfinished\nnew\n"
    assert b"".join(e[2] for e in reader.read(log.path)).endswith(b"unfinished\nnew\n")


def test_stdin_waits_for_its_reader_and_ends_with_the_client():
    stage = _Stage(Spool(""))
    theirs, mine = os.pipe2(os.O_NONBLOCK)
    inlet = Inlet(stage.loop, mine)
    client = stage.client(inlet=inlet, ends_stdin=True, residue=b"first ")
    data = os.urandom(1 << 20)
    got, at = b"", 0
    while len(got) < len(data) + 6:
        try:
            at += client.send(data[at : at + 65536]) if at < len(data) else 0
        except BlockingIOError:
            pass
        if at == len(data):
            client.close()  # gone altogether, with input still on its way
            at += 1
        stage.turn(0.001)
        try:
            got += os.read(theirs, 50000)
        except BlockingIOError:
            pass
    assert got == b"first " + data
    stage.turn()
    assert os.read(theirs, 1) == b""
    assert stage.outlet.attachers == []


def test_a_detached_client_leaves_stdin_open():
    stage = _Stage(Spool(""), framed=False)
    theirs, mine = os.pipe2(os.O_NONBLOCK)
    left = []
    client = stage.client(mux=False, inlet=Inlet(stage.loop, mine), scanner=detach.Scanner(b"\x10\x11"),
                          on_detach=lambda: left.append(1))
    client.send(b"ab\x10\x11c")
    stage.turn()
    assert client.recv(10) == b""
    assert os.read(theirs, 10) == b"ab"
    assert left == [1]
    with pytest.raises(BlockingIOError):
        os.read(theirs, 10)
