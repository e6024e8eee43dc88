"""The last stage of a process before it becomes the container's program; the same for init and for exec. It holds no
more than the container may hold."""

from __future__ import annotations

import fcntl
import os
import select

from wharfie.base.value import Value
from wharfie.kernel import caps, process, pty, seccomp

from . import command, entering
from .channel import Channel

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wharfie.oci import spec as oci_spec

    from .bundle import Stdio

_DEFAULT_UMASK = 0o022
_FIRST_FREE = 3


class Order(Value):
    """What the process shall be: prepared by the parent, carried through the fork as one value."""

    process: oci_spec.Process
    env: dict[bytes, bytes]
    stdio: Stdio
    seccomp: bytes | None
    tied: bool


def wire_stdio(order: Order, slave: int, null: int) -> None:
    """0, 1, 2 from the stdio fds, the terminal's slave or /dev/null; a session of its own. Fds may be anything, each
    other's targets too, so they are lifted above 2 first."""
    stdio = order.stdio
    given = (stdio.stdin, stdio.stdout, stdio.stderr)
    wanted = [slave] * 3 if slave >= 0 else [fd if fd >= 0 else null for fd in given]
    lifted = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _FIRST_FREE) for fd in wanted]
    for target, fd in enumerate(lifted):
        os.dup2(fd, target, inheritable=True)
    if slave < 0:
        _give(order)


def _give(order: Order) -> None:
    """Pipes belong to the container's user, or he could not open /dev/stdout again (moby#31243)."""
    stdio = order.stdio
    for target, fd in enumerate((stdio.stdin, stdio.stdout, stdio.stderr)):
        if fd >= 0:
            try:
                os.fchown(target, order.process.user.uid, -1)
            except OSError:
                pass  # sockets, files of a read-only file system, an unmapped user


def keep_only(fd: int) -> int:
    """Close everything above 2 but `fd`, which becomes 3."""
    if fd != _FIRST_FREE:
        os.dup2(fd, _FIRST_FREE, inheritable=False)
    process.close_range(_FIRST_FREE + 1)
    return _FIRST_FREE


def finish(order: Order, channel: Channel, *, ready: bool) -> None:
    """Session, terminal, signals, limits, program; if `ready`, say so and wait for the go; filter; execve. Returns
    only by raising."""
    wanted = order.process
    os.setsid()
    if wanted.terminal:
        pty.set_controlling(0)
    process.set_dumpable(False)
    path = command.find(wanted.args[0], order.env)
    entering.limit_now(wanted.rlimits)
    os.umask(_DEFAULT_UMASK if wanted.user.umask is None else wanted.user.umask)
    if ready:
        channel.send({"ready": 1})
        if channel.receive() is None:
            os._exit(1)
    if order.tied:
        process.pdeathsig(process.SIGKILL)
        if _hung_up(channel):
            os._exit(1)
    process.reset_signals()
    if wanted.no_new_privileges:
        caps.set_no_new_privs()
        if order.seccomp is not None:
            seccomp.load(order.seccomp, 0)
    channel.send({"exec": 1})
    command.execute(path, wanted.args, order.env)


def _hung_up(channel: Channel) -> bool:
    """Whether the parent ended before the parent-death signal was set (it can no longer be sent then)."""
    poll = select.poll()
    poll.register(channel.fileno(), 0)
    return bool(poll.poll(0))
