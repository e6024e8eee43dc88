"""The zygote: a process that only forks. It has imported all that its children will ever need, so that a child is born
in milliseconds and never imports anything again (a container's root may hold a hostile `encodings`).

    zygote                        child                             engine
    fork  --------------------->  waits on the engine's socket
                                  <------------------------------  fork {kind, directory} + fd
                                  {pid} + pidfd  ---------------->
    <-------------------- "taken" is a shim or an undertaker now
    fork the next one ...

One child is always born already: a start does not wait for a fork. The zygote keeps no state: children are reaped
silently, and it leaves when the engine's socket closes; shims live on.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import _socket
import gc
import importlib
import os
import select
import sys
import time

from wharfie.base import errors, points
from wharfie.kernel import cgroups, namespaces, process

from . import main as shim
from . import packing, rehearsal, sealed, undertaker, wire
from .title import Title

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, NoReturn

# Rooms whose every module is imported before the first fork; of the others what these need.
_ROOMS = ("base", "kernel", "logs", "runtime", "drivers", "gate")
_TAKEN, _ENGINE_GONE = b"t", b"e"
_PAUSE_SECONDS = 0.05
_FAILURES = 20  # one second of them is no hiccup any more
_CODECS = ("utf_8", "ascii", "latin_1")


def main(argv: list[str]) -> NoReturn:
    """argv: the socket's fd, the executable's fd (closed here), the run root."""
    os.close(int(argv[1]))
    sock = _socket.socket(fileno=int(argv[0]))
    process.set_dumpable(False)
    _preload()
    _shut_imports()
    title = Title()
    title.set("wharfie-zygote")
    if "WHARFIE_KILL_POINT" not in os.environ:
        rehearsal.play(argv[2], title)
    for number in (_signal.SIGINT, _signal.SIGHUP):
        _signal.signal(number, _signal.SIG_IGN)
    os.umask(0o022)
    ready = shim.Shim(title)
    _signal.signal(_signal.SIGCHLD, _reap)
    gc.collect()
    kept = packing.fill()
    gc.freeze()
    gc.disable()
    assert kept
    wire.send(sock, {"hello": wire.VERSION, "pid": os.getpid(), "facts": sealed.facts()})
    failures = 0
    while True:
        try:
            _next(sock, ready)
            failures = 0
        except OSError as error:  # no memory, too many processes, too many files: the engine waits meanwhile, a while
            failures += 1
            if failures >= _FAILURES:
                _decline(sock, error)
            time.sleep(_PAUSE_SECONDS)


def _decline(sock: _socket.socket, error: OSError) -> None:
    """No child can be made to take the request that is waiting, if one is: say so in its place."""
    if not select.select([sock], [], [], 0)[0]:
        return
    try:
        got = wire.recv(sock)
    except wire.Cut as cut:
        got = {"n": cut.n}, []
    except errors.Invalid:
        return
    except OSError:
        got = None
    if got is None:
        os._exit(0)
    wire.close_all(got[1])
    _refuse(sock, got[0].get("n", 0), error)


def _refuse(sock: _socket.socket, n: int, error: BaseException) -> None:
    """Answer a request that cannot be served, in the words of what ran out."""
    if not isinstance(error, errors.WharfieError):
        error = errors.Exhausted(f"no process can be made for a container: {error}")
    try:
        wire.send(sock, wire.refusal(n, error, "fork"))
    except OSError:
        pass  # the engine has gone, which the next look at the socket says


def _next(sock: _socket.socket, ready: shim.Shim) -> None:
    """Fork one child and wait until it has been given something to be. Whatever the zygote writes to in here, every
    child gets an old copy of: hence so little. Raises OSError when there can be no child."""
    mine, theirs = os.pipe2(os.O_CLOEXEC)
    try:
        pid, pidfd = namespaces.clone3(0)
    except OSError:
        os.close(mine)
        os.close(theirs)
        raise
    if not pid:
        _become(sock, theirs, ready)
    os.close(theirs)
    os.close(pidfd)
    word = os.read(mine, 1)
    os.close(mine)
    if word == _ENGINE_GONE:
        os._exit(0)
    if not word:
        time.sleep(_PAUSE_SECONDS)  # it was killed while it waited


def _preload() -> None:
    home = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    for room in _ROOMS:
        for name in sorted(os.listdir(f"{home}/{room}")):
            if name.endswith(".py") and name != "__init__.py":
                importlib.import_module(f"wharfie.{room}.{name[:-3]}")
    for name in _CODECS:
        importlib.import_module(f"encodings.{name}")
    cgroups.known()


def _shut_imports() -> None:
    """From here on an import that is not in sys.modules fails, in this process and all its children."""
    sys.path.clear()
    sys.meta_path.clear()
    sys.path_hooks.clear()
    sys.path_importer_cache.clear()


def _reap(_signal: int, _frame: object) -> None:
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


def _become(sock: _socket.socket, told: int, ready: shim.Shim) -> NoReturn:
    """The child: take one request, answer it, be what it asks for. Until then it dies with the zygote."""
    code = 1
    try:
        _signal.signal(_signal.SIGCHLD, _signal.SIG_DFL)
        zygote = os.getppid()
        process.pdeathsig(_signal.SIGKILL)
        child = _take(sock, zygote, ready)
        if child is None:
            os.write(told, _ENGINE_GONE)
            os._exit(0)
        os.write(told, _TAKEN)
        process.pdeathsig(0)
        sock.close()
        os.setsid()
        child()
        code = 0
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        os._exit(code)


def _take(sock: _socket.socket, zygote: int, ready: shim.Shim) -> Callable[[], None] | None:
    """Wait for a request that can be served; None when the engine has gone."""
    while True:
        try:
            got = wire.recv(sock)
        except wire.Cut as cut:
            _refuse(sock, cut.n, cut)
            continue
        except errors.Invalid:
            continue
        except OSError:
            got = None
        if got is None or os.getppid() != zygote:
            return None
        message, fds = got
        n = message.get("n", 0)
        _reach("zygote.fork.asked", zygote)
        try:
            child = _child(message, fds, ready)
            pidfd = process.pidfd_open(os.getpid())
        except (errors.WharfieError, OSError) as error:
            wire.close_all(fds)
            _refuse(sock, n, error)
            continue
        _reach("zygote.fork.forked", zygote)
        wire.send(sock, {"n": n, "pid": os.getpid()}, [pidfd])
        os.close(pidfd)
        _reach("zygote.fork.answered", zygote)
        return child


def _reach(point: str, zygote: int) -> None:
    """A kill point of the zygote, come to in its child: it is the zygote that ends (and with it a child not yet let
    go)."""
    if os.environ.get("WHARFIE_KILL_POINT") == point and point in points.POINTS:
        pidfd = process.pidfd_open(zygote)
        process.kill_pidfd(pidfd)
        select.select([pidfd], [], [])
        os.close(pidfd)


def _child(message: dict[str, Any], fds: list[int], ready: shim.Shim) -> Callable[[], None]:
    """What the child will be."""
    kind, directory = message.get("kind"), message.get("directory")
    if message.get("op") != "fork" or not isinstance(directory, str) or not os.path.isabs(directory):
        raise errors.Invalid("a fork needs an absolute directory")
    if kind == wire.KIND_SHIM:
        if len(fds) != 1:
            raise errors.Invalid("a shim needs one connection")
        return lambda: ready.run(directory, fds[0])
    if kind == wire.KIND_UNDERTAKER:
        reason, doomed = message.get("reason"), message.get("doomed")
        return lambda: undertaker.run(directory, reason if isinstance(reason, str) else "",
                                      doomed if isinstance(doomed, int) else 0)
    raise errors.Unsupported(f"the zygote forks no {kind!r}")
