"""The wire: whole messages with their descriptors, and what is not one."""

from __future__ import annotations

import gc
import json
import os
import socket

import pytest

from wharfie.base import errors
from wharfie.shim import top, wire


@pytest.fixture
def pair():
    a, b = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with a, b:
        yield a, b


def test_a_message_and_its_descriptors(pair):
    r, w = os.pipe()
    wire.send(pair[0], {"n": 1, "ok": {}, "fds": ["read"]}, [r])
    message, fds = wire.recv(pair[1])
    named = wire.named(message, fds)
    os.write(w, b"x")
    assert os.read(named["read"], 1) == b"x"
    assert not os.get_inheritable(named["read"])


def test_the_end_is_none(pair):
    pair[0].close()
    assert wire.recv(pair[1]) is None


def test_the_largest_message_passes_and_a_larger_one_is_refused(pair):
    text = "x" * (wire.MAX_LARGE - 8)
    wire.send(pair[0], {"a": text})
    assert wire.recv(pair[1])[0]["a"] == text
    with pytest.raises(errors.Invalid):
        wire.send(pair[0], {"a": text + "y"})


@pytest.mark.parametrize("more", [0, 1])
def test_a_message_too_large_for_a_datagram_comes_in_a_memfd(pair, more):
    text = "x" * (wire.MAX_MESSAGE - 14 + more)
    r, w = os.pipe()
    before = len(os.listdir("/proc/self/fd"))
    wire.send(pair[0], {"n": 1, "a": text}, [r])
    data, fds, _, _ = socket.recv_fds(pair[1], wire.MAX_MESSAGE + 1, 3)
    assert len(fds) == 1 + more
    if more:  # what an engine or shim of before reads in it: the refusal it always got
        with pytest.raises(errors.Invalid, match="larger than the wire's"):
            wire.raise_for(wire.decode(data))
        assert wire.decode(data)["n"] == 1
    for fd in fds:
        os.close(fd)
    wire.send(pair[0], {"n": 1, "a": text}, [r])
    message, fds = wire.recv(pair[1])
    assert message == {"n": 1, "a": text}
    os.write(w, b"x")
    assert os.read(fds[0], 1) == b"x"
    os.close(fds[0])
    assert len(os.listdir("/proc/self/fd")) == before


def test_frames_as_they_were_recorded(pair):
    """What engines and shims of before have sent is read as it was, and the same is said in the same bytes."""
    with open(os.path.join(os.path.dirname(__file__), "data", "wire_frames.json")) as file:
        rows = json.load(file)
    for row in rows:
        large = row["message"].pop("args_length", 0)
        message = {**row["message"], "args": "x" * large} if large else row["message"]
        wire.send(pair[0], message)
        data, fds, _, _ = socket.recv_fds(pair[1], wire.MAX_MESSAGE, 4)
        assert (data.decode(), len(fds)) == (row["frame"], row["descriptors"]), row["name"]
        wire.send_bytes(pair[0], row["frame"].encode(), fds)
        wire.close_all(fds)
        assert wire.recv(pair[1]) == (message, []), row["name"]


def _unsealed(size: int) -> int:
    fd = os.memfd_create("t", os.MFD_ALLOW_SEALING)
    os.write(fd, b'{"n":1}'.ljust(size))
    return fd


@pytest.mark.parametrize(("head", "body"), [
    (b'{"large":7}', lambda: None), (b'{"large":7}', lambda: _unsealed(7)), (b'{"large":7}', lambda: os.pipe()[0]),
    (b'{"large":"7"}', lambda: _unsealed(7)), (b'{"large":-1}', lambda: _unsealed(7)),
    (b'{"large":99999999999}', lambda: _unsealed(7)),
])
def test_a_large_message_that_is_none_is_invalid(pair, head, body):
    fd = body()
    before = len(os.listdir("/proc/self/fd"))
    wire.send_bytes(pair[0], head, [] if fd is None else [fd])
    with pytest.raises(errors.Invalid):
        wire.recv(pair[1])
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("raw", [b"[]", b"{", b"\xff", b"3", b"[" * 50000])
def test_rubbish_is_invalid_and_leaks_no_descriptor(pair, raw):
    gc.collect()
    before = len(os.listdir("/proc/self/fd"))
    wire.send_bytes(pair[0], raw, [0])
    with pytest.raises(errors.Invalid):
        wire.recv(pair[1])
    assert len(os.listdir("/proc/self/fd")) == before


def test_names_without_descriptors_are_invalid():
    with pytest.raises(errors.Invalid):
        wire.named({"fds": ["a"]}, [])


def test_errors_come_home_as_what_they_mean():
    answer = wire.refusal(3, errors.NoCommand("no such program"), "exec")
    assert answer["error"] == {"kind": "no-command", "message": "no such program", "step": "exec"}
    with pytest.raises(errors.NoCommand, match="no such program"):
        wire.raise_for(answer)
    described = wire.describe(OSError(2, "No such file", "/x"))
    assert (described["errno"], described["path"], described["kind"]) == (2, "/x", "internal")


def test_launch_survives_the_wire_and_ignores_the_unknown():
    launch = wire.Launch(id="a", log=wire.Log("json-file", "/l", {"max-size": "1m"}),
                         namespaces=wire.Namespaces(net="none", user={"uid_map": [[0, 1, 2]], "gid_map": [[0, 1, 2]]}))
    data = wire.decode(wire.encode({**launch.asdict(), "later": 1}))
    assert wire.Launch.from_dict(data) == launch
    for bad in ({}, {"id": 3}, {"id": "a", "log": 5}, []):
        with pytest.raises(errors.Invalid):
            wire.Launch.from_dict(bad)


def test_top_shows_this_process():
    table = top.table([os.getpid(), 1 << 22], "-o pid,ppid,comm=NAME")
    assert table["titles"] == ["PID", "PPID", "NAME"]
    assert table["processes"][0][:2] == [str(os.getpid()), str(os.getppid())]
    assert top.table([os.getpid()], "")["titles"] == ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"]
    assert top.table([], "aux")["titles"][2] == "%CPU"
    with pytest.raises(errors.Unsupported):
        top.table([], "--forest")
