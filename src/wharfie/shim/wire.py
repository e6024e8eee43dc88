"""What engine, zygote and shim say to each other. A leaf: imports `base` only, so the engine may use it.

SOCK_SEQPACKET, one JSON object per message; file descriptors travel in the same message and are named, in order, by its
"fds". A message larger than MAX_MESSAGE (an exec's environment, the table of a top) lies in a sealed memfd, which comes
as the first descriptor of a short one: {"n", "large": bytes, "error"}. To who does not know "large" the error says what
it always said of such a message. The dialogue (engine left, shim right):

    (connects, or holds the first connection)   hello {id, pid, state, init, exit}
    prepare {launch}                        →   ok + fds net, netlink, rootfs
    create {spec}                           →   ok: init waits before its program
    start {listeners} + listener fds        →   ok {pid, start_time, started_at} + fd init
    signal resize attach exec pause resume
    stats top update rootfs                 →   ok {...}
                                                event exec-exit | oom | detach
                                                event exit {code, signal, oom, error, at}
    bye                                     →   ok, then the shim leaves

Answers may come in another order than their requests: `n` pairs them. Only additive changes: unknown fields are
ignored, an unknown op is answered with kind "unsupported". VERSION is in the hello.

`_socket` and prepared JSON coders instead of `socket` and `json.dumps`: every page of interpreter that an idle shim has
touched is its own for good, and the enums of `socket` alone are a quarter of a megabyte of them.

The zygote speaks the same framing: fork {kind, directory} + fd → {"n", "pid"} + pidfd, or {"n", "error"}.
"""

from __future__ import annotations

import _socket
import array
import fcntl
import json
import os

from wharfie.base import errors
from wharfie.base.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

VERSION = 1
MAX_MESSAGE = 192 * 1024
MAX_LARGE = 32 << 20
MAX_FDS = 253  # the kernel's SCM_MAX_FD
_F_ADD_SEALS, _F_GET_SEALS, _ALL_SEALS = 1033, 1034, 0xF  # fcntl(2): seal, shrink, grow, write

_encode = json.JSONEncoder(separators=(",", ":")).encode
_decode = json.JSONDecoder().raw_decode
_INT = array.array("i").itemsize
_CONTROL = _socket.CMSG_SPACE(MAX_FDS * _INT)

# Ops.
PREPARE, CREATE, START, SIGNAL, RESIZE = "prepare", "create", "start", "signal", "resize"
ATTACH, EXEC = "attach", "exec"
PAUSE, RESUME, STATS, TOP, UPDATE, ROOTFS, BYE = "pause", "resume", "stats", "top", "update", "rootfs", "bye"
# Events.
EVENT_EXIT, EVENT_EXEC_EXIT, EVENT_OOM, EVENT_DETACH = "exit", "exec-exit", "oom", "detach"
# States of a shim, in the hello.
BORN, PREPARED, CREATED, RUNNING, EXITED = "born", "prepared", "created", "running", "exited"
# What a zygote forks.
KIND_SHIM, KIND_UNDERTAKER = "shim", "undertaker"


class Cut(errors.Exhausted):
    """A message came without all of its descriptors: this process may open no more. `n` is the request's number."""

    n = 0


def encode(message: dict[str, Any]) -> bytes:
    """The bytes of one message. Raises Invalid when it is larger than the wire allows."""
    data = _encode(message).encode()
    if len(data) > MAX_LARGE:
        raise errors.Invalid(f"a message of {len(data)} bytes is larger than the wire's {MAX_LARGE}")
    return data


def decode(data: bytes) -> dict[str, Any]:
    """The object in one message. Raises Invalid for anything that is not one JSON object."""
    try:
        text = data.decode()
        message, end = _decode(text)
    except (ValueError, RecursionError) as error:
        raise errors.Invalid(f"not a message: {error}") from error
    if not isinstance(message, dict) or end != len(text):
        raise errors.Invalid("not a message: no JSON object")
    return message


def send(sock: _socket.socket, message: dict[str, Any], fds: Iterable[int] = ()) -> None:
    """Send one message whole, with descriptors. Raises BlockingIOError on a full non-blocking socket (nothing was
    sent), BrokenPipeError when the peer is gone, Invalid when it is too large, Exhausted when it is large and there is
    no memory or descriptor for it."""
    send_bytes(sock, encode(message), fds)


def send_bytes(sock: _socket.socket, data: bytes, fds: Iterable[int] = ()) -> None:
    """`send` for a message that is encoded already."""
    if len(data) > MAX_MESSAGE:
        _send_large(sock, data, fds)
        return
    rights = array.array("i", fds)
    ancillary = [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, rights)] if rights else []
    sock.sendmsg([data], ancillary, _socket.MSG_NOSIGNAL)


def _send_large(sock: _socket.socket, data: bytes, fds: Iterable[int]) -> None:
    try:
        body = os.memfd_create("wharfie-message", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    except OSError as error:
        raise errors.Exhausted(f"a message of {len(data)} bytes cannot be sent: {error}") from error
    try:
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(body, view):]
            fcntl.fcntl(body, _F_ADD_SEALS, _ALL_SEALS)
        except OSError as error:
            raise errors.Exhausted(f"a message of {len(data)} bytes cannot be sent: {error}") from error
        old = errors.Invalid(f"a message of {len(data)} bytes is larger than the wire's {MAX_MESSAGE}")
        head = {"n": decode(data).get("n", 0), "large": len(data), "error": describe(old)}
        send_bytes(sock, encode(head), [body, *fds])
    finally:
        os.close(body)


def _read_large(head: dict[str, Any], fds: array.array[int]) -> dict[str, Any]:
    """The message behind a head; its memfd is taken out of `fds`. Raises Invalid."""
    size = head["large"]
    if not fds:
        raise errors.Invalid("a large message came without its body")
    body = fds.pop(0)
    try:
        sealed = fcntl.fcntl(body, _F_GET_SEALS) & _ALL_SEALS == _ALL_SEALS
        if not sealed or not isinstance(size, int) or not 0 < size <= MAX_LARGE or os.fstat(body).st_size != size:
            raise errors.Invalid("a large message is not sealed, or not of its size")
        data = os.pread(body, size, 0)
    except OSError as error:
        raise errors.Invalid(f"a large message cannot be read: {error}") from error
    finally:
        os.close(body)
    return decode(data)


def recv(sock: _socket.socket) -> tuple[dict[str, Any], list[int]] | None:
    """One message and its descriptors (close-on-exec; the caller owns them), or None when the peer has closed.
    Raises BlockingIOError on an empty non-blocking socket, Invalid for rubbish and Cut for a message whose descriptors
    could not all be taken (those that came are closed), ConnectionError when the peer died with unread messages."""
    data, ancillary, flags, _ = sock.recvmsg(MAX_MESSAGE + 1, _CONTROL, _socket.MSG_CMSG_CLOEXEC)
    fds = array.array("i")
    for level, kind, payload in ancillary:
        if level == _socket.SOL_SOCKET and kind == _socket.SCM_RIGHTS:
            fds.frombytes(payload[: len(payload) - len(payload) % _INT])
    if not data:
        close_all(fds)
        return None
    try:
        if flags & _socket.MSG_TRUNC:
            raise errors.Invalid("a message was cut short")
        message = decode(data)
        if flags & _socket.MSG_CTRUNC:
            raise _cut(message)
        return (_read_large(message, fds) if "large" in message else message), list(fds)
    except (errors.Invalid, Cut):
        close_all(fds)
        raise


def _cut(message: dict[str, Any]) -> Cut:
    made = Cut("the descriptors of a message could not be taken: too many open files")
    n = message.get("n")
    made.n = n if isinstance(n, int) else 0
    return made


def close_all(fds: Iterable[int]) -> None:
    """Close descriptors nobody wants."""
    for fd in fds:
        os.close(fd)


def named(message: dict[str, Any], fds: list[int]) -> dict[str, int]:
    """The descriptors of an answer by name ("fds": ["net", "netlink"]). Those without a name are closed; raises
    Invalid (all closed) when names are missing their descriptors."""
    names = message.get("fds", [])
    if not isinstance(names, list) or len(names) > len(fds):
        close_all(fds)
        raise errors.Invalid("a message names descriptors that it does not carry")
    close_all(fds[len(names):])
    return dict(zip(names, fds, strict=False))


# ---- requests and answers ------------------------------------------------------------------------------------------


def request(n: int, op: str, **fields: Any) -> dict[str, Any]:
    """A request message; `fds` names its descriptors."""
    return {"n": n, "op": op, **fields}


def ok(n: int, result: dict[str, Any] | None = None, names: list[str] | None = None) -> dict[str, Any]:
    """The answer to request `n`."""
    answer: dict[str, Any] = {"n": n, "ok": result or {}}
    if names:
        answer["fds"] = names
    return answer


def refusal(n: int, error: BaseException, step: str = "") -> dict[str, Any]:
    """The answer that says why not."""
    return {"n": n, "error": describe(error, step)}


def describe(error: BaseException, step: str = "") -> dict[str, Any]:
    """An error as data: kind, message, and errno, step and path where there are any."""
    out: dict[str, Any] = {"kind": getattr(error, "kind", "internal"), "message": str(error) or type(error).__name__}
    number = getattr(error, "errno", None)
    if isinstance(number, int):
        out["errno"] = number
    if step or getattr(error, "step", ""):
        out["step"] = step or getattr(error, "step", "")
    path = getattr(error, "filename", None) or getattr(error, "path", None)
    if isinstance(path, (str, bytes)):
        out["path"] = path if isinstance(path, str) else path.decode(errors="replace")
    return out


def raise_for(message: dict[str, Any]) -> dict[str, Any]:
    """The "ok" of an answer; an error in it is raised as what it means (`base.errors`)."""
    error = message.get("error")
    if error is not None:
        raise revive(error)
    result = message.get("ok")
    return result if isinstance(result, dict) else {}


def revive(error: dict[str, Any]) -> errors.WharfieError:
    """The error that `describe` described; errno, step and path stay with it for the next hop."""
    made = errors.from_wire(str(error.get("kind", "internal")), str(error.get("message", "")))
    for name in ("errno", "step", "path"):
        if name in error:
            setattr(made, name, error[name])
    return made


# ---- launch --------------------------------------------------------------------------------------------------------


class Log(Value):
    """Where the container's output goes. `config` are Docker's --log-opt strings (max-size, max-file, ...)."""

    driver: str = "json-file"
    path: str = ""
    config: dict[str, str] = {}


class Namespaces(Value):
    """Which namespaces the shim makes: "new", "host", "none" (net: new with only lo), "private"/"shareable" are "new",
    or a path to join. `user` is None or {"uid_map": [[inside, outside, count], ...], "gid_map": ...}. `owners` are the
    processes whose namespaces are joined, pid → start time: a pid in a path may have become another process's."""

    net: str = "new"
    ipc: str = "new"
    uts: str = "new"
    pid: str = "new"
    cgroup: str = "new"
    user: dict[str, Any] | None = None
    owners: dict[str, int] = {}


class Launch(Value):
    """What the engine asks of a shim: written to launch.json and sent in `prepare`. `cgroup` is the path below each
    hierarchy; `rootfs` is kernel.overlay.Rootfs as a dict; `console_size` is (height, width)."""

    id: str
    name: str = ""
    hostname: str = ""
    driver: str = "native"
    cgroup: str = ""
    tty: bool = False
    open_stdin: bool = False
    stdin_once: bool = False
    console_size: tuple[int, int] = (0, 0)
    log: Log = Log()
    rootfs: dict[str, Any] = {}
    namespaces: Namespaces = Namespaces()
    seccomp_dir: str = ""
    stop_signal: str = "SIGTERM"

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Launch:
        """Parse; unknown fields are ignored (a newer engine), a wrong shape is Invalid."""
        if not isinstance(data, dict):
            raise errors.Invalid("launch: not an object")
        known = {k: v for k, v in data.items() if k in cls._fields_}
        if not isinstance(known.get("id"), str):
            raise errors.Invalid("launch.id: a string is needed")
        size = known.get("console_size") or (0, 0)
        known["console_size"] = (int(size[0]), int(size[1]))
        known["log"] = _part(Log, known.get("log"), "launch.log")
        known["namespaces"] = _part(Namespaces, known.get("namespaces"), "launch.namespaces")
        return cls(**known)


def _part(kind: Any, data: Any, path: str) -> Any:
    if isinstance(data, kind):
        return data
    if data is not None and not isinstance(data, dict):
        raise errors.Invalid(f"{path}: an object is needed")
    return kind(**{k: v for k, v in (data or {}).items() if k in kind._fields_ and (v is not None or k == "user")})


class Exit(Value):
    """The exit record: exit.json and the `exit` event. `at` is nanoseconds since 1970; `code` is 128+signal when the
    process was killed; 255 with an `error` when nobody saw the end. `began`: the program was let go (a record without
    the field says so too)."""

    code: int
    signal: int | None = None
    oom: bool = False
    error: str = ""
    at: int = 0
    began: bool = True

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Exit:
        """Parse an exit.json or an event; unknown fields are ignored."""
        return cls(**{k: v for k, v in data.items() if k in cls._fields_})


# ---- zygote --------------------------------------------------------------------------------------------------------


class ZygoteLink:
    """The engine's end of the zygote. `sock` is a non-blocking SEQPACKET socket: send `encode_fork(...)` with
    `send_bytes(sock, data, fds)`, read answers with `recv(sock)`; end of stream means that the zygote is dead and
    another must be launched. `sealed` says how its interpreter is protected: "memfd", "tree" or "none: <why>"."""

    def __init__(self, sock: _socket.socket, pid: int, pidfd: int, sealed: str) -> None:
        self.sock = sock
        self.pid = pid
        self.pidfd = pidfd
        self.sealed = sealed

    def fileno(self) -> int:
        return self.sock.fileno()

    @staticmethod
    def encode_fork(kind: str, n: int, directory: str, **more: Any) -> bytes:
        """The request for one child. Beside it goes [conn] for KIND_SHIM (one end of a SEQPACKET socketpair, the
        shim's first connection), nothing for KIND_UNDERTAKER; `more` are what undertaker.run takes. Answer: {"n",
        "pid"} + [pidfd] or {"n", "error"}."""
        return encode({"n": n, "op": "fork", "kind": kind, "directory": directory, **more})

    def close(self) -> None:
        """Let the zygote go: it leaves when this socket closes; shims live on."""
        self.sock.close()
        if self.pidfd >= 0:
            os.close(self.pidfd)
            self.pidfd = -1
