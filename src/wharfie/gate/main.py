"""The gate of one container: relays its published ports. Forked by the shim, which keeps copies of the listeners and
forks another when this one dies; so it may crash unnoticed. It lives in the host's network namespace with no
capability, as nobody, and keeps no descriptor but its listeners.
"""

from __future__ import annotations

import os
import resource
import signal
import socket

from wharfie.base import errors
from wharfie.base.value import Value
from wharfie.kernel import caps, process

from .events import Events
from .tcp import TcpRelay
from .udp import UdpRelay

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

NOBODY = 65534


class Rule(Value):
    """Where what comes to a listener goes."""

    proto: str
    ip: str
    port: int


def run(rules: list[Rule], fds: list[int], parent: int) -> NoReturn:
    """Serve listeners `fds` by `rules` (same order) until killed, or until `parent` (the shim's pid) is gone."""
    _keep_only(fds)
    listeners = [socket.socket(fileno=fd) for fd in fds]
    _drop(parent)
    events = Events()
    relays = [_relay(events, sock, rule) for sock, rule in zip(listeners, rules, strict=True)]
    while relays:
        events.turn()
    raise errors.Invalid("a gate without ports")


def _relay(events: Events, listener: socket.socket, rule: Rule) -> TcpRelay | UdpRelay:
    if rule.proto == "tcp":
        return TcpRelay(events, listener, (rule.ip, rule.port))
    if rule.proto == "udp":
        return UdpRelay(events, listener, (rule.ip, rule.port))
    raise errors.Unsupported(f"no relay for protocol {rule.proto}", name=rule.proto)


def _keep_only(fds: list[int]) -> None:
    """stderr and the listeners stay."""
    at = 3
    for fd in sorted(fds):
        process.close_range(at, fd - 1)
        at = fd + 1
    process.close_range(at)


def _drop(parent: int) -> None:
    """Give everything up. Raises OSError: a gate that cannot is not run."""
    process.reset_signals()
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    process.set_title("wharfie-gate")
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.chdir("/")
    if os.geteuid() == 0:
        caps.bounding_keep(0)
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
    caps.capset(caps.Caps())
    caps.set_no_new_privs()
    process.set_dumpable(False)
    process.pdeathsig(signal.SIGKILL)  # last: a change of uid clears it
    if os.getppid() != parent:
        os._exit(0)
