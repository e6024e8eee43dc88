"""The zygote: a process that only forks. It has imported all that its children will ever need, so that a child is born
in milliseconds and never imports anything again (a container's root may hold a hostile `encodings`).

It keeps no state: children are reaped silently, and it leaves when the engine's socket closes; shims live on.
"""

from __future__ import annotations

import gc
import importlib
import os
import signal
import socket
import sys

from wharfie.base import errors, points
from wharfie.kernel import namespaces, process

from . import main as shim
from . import sealed, undertaker, wire

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, NoReturn

# Rooms whose every module is imported before the first fork; of the others what these need.
_ROOMS = ("base", "kernel", "logs", "runtime", "drivers", "gate")
_CODECS = ("utf_8", "ascii", "latin_1")


def main(argv: list[str]) -> NoReturn:
    """argv: the socket's fd, the executable's fd (closed here)."""
    os.close(int(argv[1]))
    sock = socket.socket(fileno=int(argv[0]))
    process.set_dumpable(False)
    process.set_title("wharfie-zygote")
    _preload()
    _shut_imports()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, _reap)
    gc.collect()
    gc.freeze()
    gc.disable()
    wire.send(sock, {"hello": wire.VERSION, "pid": os.getpid(), "facts": sealed.facts()})
    while True:
        try:
            got = wire.recv(sock)
        except errors.Invalid:
            continue
        except OSError:
            got = None
        if got is None:
            os._exit(0)
        _serve(sock, *got)


def _preload() -> None:
    home = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    for room in _ROOMS:
        for name in sorted(os.listdir(f"{home}/{room}")):
            if name.endswith(".py") and name != "__init__.py":
                importlib.import_module(f"wharfie.{room}.{name[:-3]}")
    for name in _CODECS:
        importlib.import_module(f"encodings.{name}")


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


def _serve(sock: socket.socket, message: dict[str, Any], fds: list[int]) -> None:
    points.reach("zygote.fork.asked")
    n = message.get("n", 0)
    try:
        child = _child(message, fds)
        pid, pidfd = namespaces.clone3(0)
        if not pid:
            sock.close()
            _become(child)
    except (OSError, errors.WharfieError) as error:
        wire.close_all(fds)
        _answer(sock, wire.refusal(n, error, "fork"))
        return
    wire.close_all(fds)
    points.reach("zygote.fork.forked")
    _answer(sock, {"n": n, "pid": pid}, pidfd)
    os.close(pidfd)
    points.reach("zygote.fork.answered")


def _answer(sock: socket.socket, message: dict[str, Any], *fds: int) -> None:
    try:
        wire.send(sock, message, fds)
    except OSError:
        os._exit(0)  # the engine is gone


def _child(message: dict[str, Any], fds: list[int]) -> Callable[[], None]:
    """What the child will do, decided before the fork."""
    kind, directory = message.get("kind"), message.get("directory")
    if message.get("op") != "fork" or not isinstance(directory, str) or not os.path.isabs(directory):
        raise errors.Invalid("a fork needs an absolute directory")
    if kind == wire.KIND_SHIM:
        if len(fds) != 1:
            raise errors.Invalid("a shim needs one connection")
        conn = fds[0]
        return lambda: shim.run(directory, conn)
    if kind == wire.KIND_UNDERTAKER:
        return lambda: undertaker.run(directory)
    raise errors.Unsupported(f"the zygote forks no {kind!r}")


def _become(child: Callable[[], None]) -> NoReturn:
    code = 1
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.setsid()
        child()
        code = 0
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        os._exit(code)
