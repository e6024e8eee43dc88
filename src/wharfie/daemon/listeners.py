"""The API's sockets: unix (0660, group docker), fd (systemd's LISTEN_FDS), tcp (only when spelled out)."""

from __future__ import annotations

import grp
import os
import socket

from wharfie.base import errors

_FIRST_FD = 3
DEFAULT_GROUP = "docker"
_BACKLOG = 1024


def open_all(hosts: tuple[str, ...], *, group: str, allow_tcp: bool) -> list[socket.socket]:
    """Listening sockets, or none and an error: Invalid, Conflict, Denied."""
    out: list[socket.socket] = []
    try:
        for host in hosts:
            out += _open(host, group, allow_tcp)
    except BaseException:
        for one in out:
            one.close()
        raise
    return out


def _open(host: str, group: str, allow_tcp: bool) -> list[socket.socket]:
    scheme, sign, rest = host.partition("://")
    if not sign:
        scheme, rest = ("unix", host) if host.startswith("/") else ("tcp", host)
    if scheme == "unix":
        return [unix(rest, group)]
    if scheme == "fd":
        return passed(rest)
    if scheme == "tcp":
        return [_tcp(rest, allow_tcp)]
    raise errors.Invalid(f"invalid -H {host!r}: unix://, fd:// and tcp:// are known", name=host)


def unix(path: str, group: str) -> socket.socket:
    """A socket at `path`; a stale one is replaced, a live one refused."""
    if not path.startswith("/") or len(path.encode()) > 107:
        raise errors.Invalid(f"invalid socket path {path!r}: an absolute path of at most 107 bytes is needed")
    gid = _gid(group)
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        os.makedirs(os.path.dirname(path), 0o755, exist_ok=True)
        _clear(path)
        former = os.umask(0o177)
        try:
            made.bind(path)
        finally:
            os.umask(former)
        if gid is not None:
            os.chown(path, 0, gid)
        os.chmod(path, 0o660)
        made.listen(_BACKLOG)
    except OSError as error:
        made.close()
        raise errors.Denied(f"cannot listen on unix://{path}: {error.strerror}", name=path) from error
    except BaseException:
        made.close()
        raise
    return made


def _gid(group: str) -> int | None:
    """The group of the socket: the one asked for must exist, "docker" need not. A number is taken as it is."""
    if group.isascii() and group.isdecimal():
        return int(group)
    try:
        return grp.getgrnam(group or DEFAULT_GROUP).gr_gid
    except KeyError:
        if group:
            raise errors.Invalid(f"group {group} not found", name=group) from None
        return None


def _clear(path: str) -> None:
    try:
        probe = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        with probe:
            probe.settimeout(1)
            probe.connect(path)
    except FileNotFoundError:
        return
    except (ConnectionRefusedError, TimeoutError):
        os.unlink(path)
        return
    raise errors.Conflict(f"another program listens on unix://{path}", name=path,
                          action="stop it, or choose another socket with -H")


def passed(which: str) -> list[socket.socket]:
    """Sockets handed over by the service manager (sd_listen_fds(3)); `which` may name one: its fd number or name."""
    if os.environ.get("LISTEN_PID") != str(os.getpid()):
        raise errors.Invalid("fd:// was asked for, but no sockets were passed to this process (LISTEN_PID)",
                             action="start the daemon by socket activation")
    count = os.environ.get("LISTEN_FDS", "")
    numbers = list(range(_FIRST_FD, _FIRST_FD + (int(count) if count.isascii() and count.isdecimal() else 0)))
    names = os.environ.get("LISTEN_FDNAMES", "").split(":")
    if which:
        numbers = [n for i, n in enumerate(numbers) if which in (str(n), names[i] if i < len(names) else "")]
    if not numbers:
        raise errors.Invalid(f"fd://{which}: no such socket was passed")
    out = []
    for number in numbers:
        os.set_inheritable(number, False)
        out.append(socket.socket(fileno=number))
    return out


def _tcp(rest: str, allowed: bool) -> socket.socket:
    if not allowed:
        raise errors.Unsupported(
            f"tcp://{rest}: listening on TCP needs TLS client certificates, which this version does not have yet",
            action="--allow-tcp-without-tls listens without any protection: whoever connects is root",
        )
    host, _, port = rest.rpartition(":")
    if not (port.isascii() and port.isdecimal() and int(port[:6]) <= 65535):
        raise errors.Invalid(f"invalid -H tcp://{rest}: a port is needed", name=rest)
    host = host.strip("[]") or "0.0.0.0"
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((host, int(port)))
        made.listen(_BACKLOG)
    except OSError as error:
        made.close()
        raise errors.Denied(f"cannot listen on tcp://{rest}: {error.strerror}", name=rest) from error
    return made


def describe(sock: socket.socket) -> str:
    """The -H form of a listening socket."""
    name = sock.getsockname()
    if sock.family == socket.AF_UNIX:
        return f"unix://{name}"
    return f"tcp://[{name[0]}]:{name[1]}" if sock.family == socket.AF_INET6 else f"tcp://{name[0]}:{name[1]}"


def tell_ready() -> None:
    """Tell whoever waits: the service manager, and a `wharfie run` that started this engine (a pipe's fd in
    WHARFIE_READY_FD, which gets one line)."""
    notify("READY=1")
    fd = os.environ.pop("WHARFIE_READY_FD", "")
    if fd.isascii() and fd.isdecimal():
        try:
            os.write(int(fd), b"READY\n")
            os.close(int(fd))
        except OSError:
            pass  # it does not wait any more


def notify(state: str) -> None:
    """Tell the service manager (sd_notify(3)); nothing happens without one."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address or address[0] not in "/@":
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        try:
            sock.sendto(state.encode(), "\0" + address[1:] if address[0] == "@" else address)
        except OSError:
            pass
