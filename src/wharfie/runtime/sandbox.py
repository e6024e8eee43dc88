"""The namespaces a container lives in, made before it exists, as fds: the user namespace first, the others from inside
it, so that the container's root owns its own network (CAP_NET_BIND_SERVICE, raw sockets, sysfs).

Without a user namespace the caller steps into new ones and stays there, or comes back (unshare, setns). Into one there
is no way back, so a throw-away child goes and sends the fds home.
"""

from __future__ import annotations

import _socket
import fcntl
import os

from wharfie.base import errors
from wharfie.base.undo import Undo
from wharfie.base.value import Value
from wharfie.kernel import namespaces, overlay, process

from .bundle import Sandbox
from .channel import Channel, pair
from .faults import StepFailed, describe, revive

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, NoReturn

_AF_NETLINK, _SOCK_RAW, _NETLINK_ROUTE = 16, 3, 0
_NS_GET_USERNS, _NS_GET_NSTYPE = 0xB701, 0xB703

# launch's word → (the sandbox's field, the specification's kind)
MADE = (("net", "network"), ("ipc", "ipc"), ("uts", "uts"))
_JOINABLE = (*MADE, ("pid", "pid"), ("cgroup", "cgroup"))


class Made(Value):
    """A sandbox; the kinds of namespaces that the caller is in now (`here`); and a NETLINK_ROUTE socket opened inside
    its new network namespace (-1 when that is not new). The fds are the caller's."""

    sandbox: Sandbox
    netlink: int = -1
    here: tuple[str, ...] = ()


def make(wanted: Mapping[str, Any], idmap: overlay.IdMap | None = None, *, stay: bool = False) -> Made:
    """The sandbox for `wanted`: kind ("net", "ipc", "uts", "pid", "cgroup") → "new", "none" (new, for net without
    links), "host", or the path of an existing namespace; "user" → {"uid_map", "gid_map"} or None, unless `idmap` says
    it. New pid and cgroup namespaces are left for later. With `stay`, and without a user namespace, the caller remains
    in what it makes: for a process that becomes the container's. Raises StepFailed, Invalid."""
    idmap = idmap if idmap is not None else _idmap(wanted.get("user"))
    fresh = [pair for pair in MADE if wanted.get(pair[0], "host") in ("new", "none")]
    paths = [(field, kind, str(wanted.get(field, ""))) for field, kind in _JOINABLE]
    with Undo() as undo:
        found: dict[str, int] = {}
        try:
            if idmap is not None:
                found = _outside(fresh, idmap)
            elif fresh and stay:
                namespaces.unshare(_flags(fresh))
                found = _open_all([row for row in fresh if row[0] == "net"])  # the engine's, to connect it
            elif fresh:
                found = _in_and_back(fresh)
        except OSError as error:
            raise StepFailed("make the sandbox", error.errno or 0, detail=str(error.strerror)) from error
        for fd in found.values():
            undo.push(os.close, fd)
        for field, kind, path in (row for row in paths if row[2].startswith("/")):
            found[field] = join_path(path, kind, found.get("user", -1))
            undo.push(os.close, found[field])
        undo.forget()
    netlink = found.pop("netlink", -1)
    return Made(Sandbox(**found), netlink, tuple(kind for _, kind in fresh) if stay and idmap is None else ())


def close(sandbox: Sandbox) -> None:
    """Close the sandbox's fds; a namespace lives on while a process is in it."""
    for fd in sandbox.asdict().values():
        if fd >= 0:
            os.close(fd)


def _idmap(raw: Any) -> overlay.IdMap | None:
    if not raw:
        return None
    return overlay.IdMap.from_dict({"uids": raw["uid_map"], "gids": raw["gid_map"]})


def _flags(fresh: list[tuple[str, str]]) -> int:
    total = 0
    for _, kind in fresh:
        total |= namespaces.FLAGS[kind]
    return total


def _open_all(fresh: list[tuple[str, str]]) -> dict[str, int]:
    found = {field: namespaces.open_ns("self", kind) for field, kind in fresh}
    if "net" in found:
        found["netlink"] = _socket.socket(_AF_NETLINK, _SOCK_RAW, _NETLINK_ROUTE).detach()
    return found


def _in_and_back(fresh: list[tuple[str, str]]) -> dict[str, int]:
    """Step into new namespaces and back. If there were no way back this process must not go on; it is the caller's
    only thread, and the error says so."""
    home = [(namespaces.open_ns("self", kind), namespaces.FLAGS[kind]) for _, kind in fresh]
    try:
        namespaces.unshare(_flags(fresh))
        try:
            return _open_all(fresh)
        finally:
            for fd, flag in home:
                namespaces.setns(fd, flag)
    finally:
        for fd, _ in home:
            os.close(fd)


def _outside(fresh: list[tuple[str, str]], idmap: overlay.IdMap) -> dict[str, int]:
    """A child makes the user namespace, gets its maps from here, then makes the others inside and sends all home."""
    mine, theirs = pair()
    pid = os.fork()
    if pid == 0:
        mine.close()
        _child(fresh, theirs)
    theirs.close()
    pidfd = process.pidfd_open(pid)
    try:
        _expect(mine)
        for name, rows in (("uid_map", idmap.uids), ("gid_map", idmap.gids)):
            _write_map(f"/proc/{pid}/{name}", rows)
        mine.send({"mapped": 1})
        message, fds = _expect(mine)
        return dict(zip(message["fields"], fds, strict=True))
    finally:
        mine.close()
        process.kill_pidfd(pidfd)
        process.waitid_pidfd(pidfd, block=True)
        os.close(pidfd)


def _expect(channel: Channel) -> tuple[dict[str, Any], list[int]]:
    got = channel.receive()
    if got is None:
        raise StepFailed("make the user namespace", 0, detail="its maker ended without a word")
    if "failed" in got[0]:
        raise revive(got[0]["failed"])
    return got


def _write_map(path: str, rows: tuple[tuple[int, int, int], ...]) -> None:
    """One write: the kernel takes a map once, whole (user_namespaces(7))."""
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, "".join(f"{inside} {outside} {count}\n" for inside, outside, count in rows).encode())
    finally:
        os.close(fd)


def _child(fresh: list[tuple[str, str]], channel: Channel) -> NoReturn:
    try:
        namespaces.unshare(namespaces.CLONE_NEWUSER)
        channel.send({"user": 1})
        if channel.receive() is not None:
            os.setgroups([])
            os.setresgid(0, 0, 0)
            os.setresuid(0, 0, 0)
            if fresh:
                namespaces.unshare(_flags(fresh))
            found = {"user": namespaces.open_ns("self", "user"), **_open_all(fresh)}
            channel.send({"fields": list(found)}, list(found.values()))
    except BaseException as error:
        try:
            channel.send({"failed": describe(error, "make the user namespace")})
        except OSError:
            pass
    finally:
        os._exit(0)


def join_path(path: str, kind: str, user: int = -1) -> int:
    """An fd on the namespace at `path` (/proc/<pid>/ns/net), which must be of this kind and belong to the user
    namespace behind `user` (-1: this process's own). Raises StepFailed, Invalid."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise StepFailed(f"open the {kind} namespace", error.errno or 0, path) from error
    try:
        if fcntl.ioctl(fd, _NS_GET_NSTYPE) != namespaces.FLAGS[kind]:
            raise errors.Invalid(f"{path} is no {kind} namespace", name=path)
        owner = fcntl.ioctl(fd, _NS_GET_USERNS)
    except BaseException as error:
        os.close(fd)
        if isinstance(error, OSError):
            raise errors.Invalid(f"{path} is no namespace that may be joined: {error.strerror}", name=path) from error
        raise
    own = user if user >= 0 else namespaces.open_ns("self", "user")
    try:
        if not os.path.sameopenfile(owner, own):
            os.close(fd)
            raise errors.Invalid(
                f"the {kind} namespace {path} belongs to another user namespace", name=path,
                action="containers that share namespaces need the same user mapping",
            )
    finally:
        os.close(owner)
        if own != user:
            os.close(own)
    return fd
