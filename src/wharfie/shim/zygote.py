"""Launching the zygote: wharfied's side. Runs once at engine start, and again whenever the zygote has died.

    wharfied                                    zygote (shim.zygote_main)
    seals an interpreter, makes a socket pair
    exec  ----------------------------------->  imports everything, freezes, shuts imports off
          <-----------------------------------  hello {facts}
    compares facts; the same: done
    else kills it and tries the other way, else refuses with the reason
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys

from wharfie.base import errors

from . import sealed, wire
from .wire import ZygoteLink

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

Zygote = ZygoteLink

_START_SECONDS = 20.0
_WAYS: tuple[tuple[str, Callable[[], int]], ...] = (("memfd", sealed.by_memfd), ("tree", sealed.by_tree))
# -I: nothing of the environment or the working directory; -S: no site, so no .pth file runs. The code's directory is
# appended behind the standard library, where nothing of it can shadow a module of the latter.
_CODE = "import sys; sys.path.append(sys.argv[1]); from wharfie.shim import zygote_main; zygote_main.main(sys.argv[2:])"


def launch(run_root: str, *, cgroup_procs: list[str]) -> Zygote:
    """Start a zygote and wait until it is ready (some 0.1 s; blocking, call it in a thread).

    run_root: the engine's run root; what shims print when they fail goes to <run_root>/shims.log.
    cgroup_procs: cgroup.procs files the zygote is put into before it forks anything; shims inherit the place.
    Raises Unavailable with the reason when no sealed interpreter comes up the same as this one."""
    reasons: list[str] = []
    for name, seal in _WAYS:
        try:
            exe = seal()
        except OSError as error:
            reasons.append(f"{name}: {error}")
            continue
        try:
            return _start(name, exe, run_root, cgroup_procs)
        except (errors.Unavailable, OSError) as error:
            reasons.append(f"{name}: {error}")
        finally:
            os.close(exe)
    raise errors.Unavailable("no sealed interpreter could be started: " + "; ".join(reasons))


def _start(name: str, exe: int, run_root: str, cgroup_procs: list[str]) -> Zygote:
    mine, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    pidfd = -1
    try:
        with theirs, open(os.path.join(run_root, "shims.log"), "ab", 0) as log:
            code = os.path.dirname(sealed.facts()["code"])
            child = subprocess.Popen(
                # argv[0] is where the interpreter looks for its prefix: without it a virtual environment is lost
                [sys.executable, "-I", "-S", "-X", "utf8", "-c", _CODE, code, str(theirs.fileno()), str(exe), run_root],
                executable=f"/proc/self/fd/{exe}", pass_fds=(theirs.fileno(), exe), env=sealed.environment(),
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=log, cwd="/", start_new_session=True,
            )
        child.returncode = 0  # reaped by pidfd (ZygoteLink.close), not by subprocess
        pidfd = os.pidfd_open(child.pid)
        for path in cgroup_procs:
            with open(path, "w") as f:
                f.write(str(child.pid))
        _check(_hello(mine))
        mine.setblocking(False)
        return ZygoteLink(mine, child.pid, pidfd, name)
    except BaseException:
        mine.close()
        if pidfd >= 0:
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
            os.waitid(os.P_PIDFD, pidfd, os.WEXITED)
            os.close(pidfd)
        raise


def _hello(sock: socket.socket) -> dict[str, Any]:
    sock.settimeout(_START_SECONDS)
    try:
        got = wire.recv(sock)
    except TimeoutError as error:
        raise errors.Unavailable(f"the zygote did not answer within {_START_SECONDS:.0f} s") from error
    if got is None:
        raise errors.Unavailable("the zygote ended before it was ready (see shims.log in the run root)")
    wire.close_all(got[1])
    return got[0]


def _check(hello: dict[str, Any]) -> None:
    wrong = sealed.differences(sealed.facts(), hello.get("facts", {}))
    if wrong:
        raise errors.Unavailable(f"the re-executed interpreter is another one: {wrong}")
