"""The daemon's life: configuration, locks, cgroups, house, listeners; then wait for the word to leave."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from socket import socket

from wharfie.base import atomic, errors, flags, paths
from wharfie.web import server

from . import assemble, config, host, listeners, roots

PRIVATE_SECONDS = 60.0
_DRAIN_SECONDS = 5.0
_THREADS = 64
_USAGE = "Usage:  wharfie daemon [OPTIONS]\n\nA container engine that speaks Docker's API.\n\nOptions:\n"


def main(argv: list[str]) -> int:
    """Exit status: 0 after a clean end, 1 when the engine could not run, 125 for a bad command line."""
    try:
        told, warnings = config.load(argv)
    except flags.HelpAsked:
        sys.stdout.write(usage())
        return 0
    except flags.Bad as error:
        sys.stderr.write(f"wharfie daemon: {error}\nSee 'wharfie daemon --help'.\n")
        return 125
    except errors.WharfieError as error:
        sys.stderr.write(f"wharfie daemon: {error}\n")
        return 1
    log = Log(told.log_level)
    for line in warnings:
        log(f"warning: {line}")
    try:
        return _run(told, log)
    except errors.WharfieError as error:
        log(f"fatal: {error}")
    except OSError as error:
        if told.debug:
            traceback.print_exc()
        where = f"{error.filename}: " if error.filename else ""
        log(f"fatal: {where}{error.strerror or error}")
    return 1


def usage() -> str:
    """The help text."""
    lines = []
    for flag in config.TABLE:
        short = f"-{flag.short}, " if flag.short else "    "
        kind = "" if flag.kind == "bool" else f" {flag.kind}"
        lines.append(f"  {short}--{flag.name}{kind}".ljust(36) + flag.help)
    return _USAGE + "\n".join(lines) + "\n"


class Log:
    """One line a message on stderr; "debug: ..." only when asked for."""

    def __init__(self, level: str) -> None:
        self._debug = level == "debug"

    def __call__(self, text: str, *, exc_info: bool = False) -> None:
        if text.startswith("debug:") and not self._debug:
            return
        if exc_info:
            text = f"{text}\n{traceback.format_exc()}"
        try:
            sys.stderr.write(f"{time.strftime('%Y-%m-%dT%H:%M:%S')} {text}\n")
            sys.stderr.flush()
        except OSError:
            pass  # whoever read our stderr has left; the engine stays


def _run(told: config.Config, log: Log) -> int:
    if os.geteuid() != 0:
        raise errors.Denied("the engine needs root", action="use sudo; running without root comes later")
    os.umask(0o022)
    signal.signal(signal.SIGTERM, _told_early)
    data, run = paths.DataRoot(told.data_root), paths.RunRoot(told.exec_root)
    if data.root == run.root:
        raise errors.Invalid(f"--data-root and --exec-root are both {data.root}: two directories are needed")
    with ExitStack() as held:
        for root, mode, what in ((data.root, 0o700, "data"), (run.root, 0o711, "exec")):
            try:
                os.makedirs(root, mode=mode, exist_ok=True)
            except OSError as error:
                raise errors.Denied(f"cannot make the {what} root {root}: {error.strerror}") from error
        for path, what in ((data.lock, f"data root {data.root}"), (run.lock, f"exec root {run.root}")):
            held.callback(roots.claim(path, what, private=told.private).release)
        assemble.directories(told)
        groups = host.groups(told, data.instance)
        held.callback(groups.leave)
        groups.make()
        if groups.why:
            log(f"warning: {groups.why}")
        sockets = listeners.open_all(told.hosts, group=told.group, allow_tcp=told.allow_tcp)
        for host_name in told.hosts:
            if host_name.startswith("unix://"):
                held.callback(_unlink, host_name.removeprefix("unix://"))
        _write_pid(told.pidfile)
        held.callback(_unlink, told.pidfile)
        if told.private:
            os.chdir("/")  # not to hold the directory of whoever happened to be the first
        asyncio.run(_serve(told, groups, sockets, log))
    return 0


def _told_early(number: int, frame: object) -> None:
    """SIGTERM before there is a loop that listens: leave by the way everything is given back."""
    raise SystemExit(128 + number)


def _write_pid(path: str) -> None:
    try:
        atomic.write(path, f"{os.getpid()}\n".encode(), mode=0o644, durable=False)
    except OSError as error:
        raise errors.Denied(f"cannot write the pid file {path}: {error.strerror}") from error


async def _serve(told: config.Config, groups: host.Groups, sockets: list[socket], log: Log) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    # Threads only wait, for disks mostly: a few containers whose storage hangs must not use them up.
    loop.set_default_executor(ThreadPoolExecutor(_THREADS, thread_name_prefix="engine"))
    house = assemble.House(told, groups, log)
    try:
        await house.start()
        await _listen(told, house, sockets, stop, log)
    except BaseException:
        try:
            await house.stop()
        except Exception as error:  # the first error is the one that says what is wrong
            log(f"warning: not everything could be given back: {error}")
        raise
    await house.stop()
    log("debug: left; containers run on")


async def _listen(
    told: config.Config, house: assemble.House, sockets: list[socket], stop: asyncio.Event, log: Log
) -> None:
    """Serve until the word to leave, or until a private engine is lonely."""
    names = [listeners.describe(s) for s in sockets]
    servers = [await server.serve(house.handler, s, log=log) for s in sockets]
    _greet(names)
    listeners.tell_ready()
    if told.private:
        await _until_lonely(house, stop)
    else:
        await stop.wait()
    listeners.notify("STOPPING=1")
    for one in servers:
        one.close()
    for one in servers:
        await one.wait_idle(_DRAIN_SECONDS)
        one.abort()


async def _until_lonely(house: assemble.House, stop: asyncio.Event) -> None:
    """A private engine ends when no container has lived for a minute."""
    lonely_since = time.monotonic()
    while not stop.is_set():
        if house.containers.alive():
            lonely_since = time.monotonic()
        elif time.monotonic() - lonely_since > PRIVATE_SECONDS:
            return
        try:
            await asyncio.wait_for(stop.wait(), 1.0)
        except TimeoutError:
            continue


def _greet(names: list[str]) -> None:
    try:
        print("\n".join(greeting(names)), flush=True)
    except OSError:
        sys.stdout = None  # whoever read it has left; the engine stays, and nothing is flushed at its end


def greeting(names: list[str]) -> list[str]:
    """What to type to reach this engine."""
    first = names[0] if names else ""
    return [
        f"wharfie listens on {', '.join(names)}",
        f"  export DOCKER_HOST={first}",
        f"  docker context create wharfie --docker host={first}",
    ]


def _unlink(path: str) -> None:
    try:
        os.unlink(path)
    except OSError:
        pass
