"""One engine for the whole walk of the command line, driven by every docker client found.

`CLI_WALK_HOST=unix:///…/docker.sock` drives another engine instead (the peer, to prove the tests): it needs IMAGE, and
what looks into the engine's own network namespace is skipped.
"""

from __future__ import annotations

import fcntl
import os
import pty
import secrets
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Iterator

import pytest

from tests.hosts import CLIENTS, IMAGE, Daemon, clients

PEER = os.environ.get("CLI_WALK_HOST", "")


class Cli:
    """A docker client on an engine. Every container it names is removed at the end of the test."""

    def __init__(self, kind: str, program: str, host: str, daemon: Daemon | None) -> None:
        self.kind = kind
        self.program = program
        self.host = host
        self.daemon = daemon
        self.made: list[str] = []
        self.running: list[subprocess.Popen[bytes]] = []
        self.environment = {**os.environ, "DOCKER_CONFIG": f"/tmp/wt-config-{os.getpid()}", "DOCKER_CLI_HINTS": "false"}

    def name(self) -> str:
        """A fresh container name."""
        made = "t" + secrets.token_hex(4)
        self.made.append(made)
        return made

    def run(self, *args: str, stdin: bytes = b"", timeout: float = 60) -> subprocess.CompletedProcess[bytes]:
        """The finished client."""
        return subprocess.run(
            [self.program, "-H", self.host, *args],
            input=stdin,
            capture_output=True,
            timeout=timeout,
            env=self.environment,
        )

    def ok(self, *args: str, stdin: bytes = b"", timeout: float = 60) -> str:
        """stdout without the last newline; the client must succeed."""
        done = self.run(*args, stdin=stdin, timeout=timeout)
        assert done.returncode == 0, (args, done.returncode, done.stdout[-2000:], done.stderr[-2000:])
        return done.stdout.decode(errors="replace").removesuffix("\n")

    def fails(self, code: int, *args: str) -> str:
        """stderr of a client that must end with `code`."""
        done = self.run(*args)
        assert done.returncode == code, (args, done.returncode, done.stdout[-2000:], done.stderr[-2000:])
        return done.stderr.decode(errors="replace")

    def spawn(self, *args: str) -> subprocess.Popen[bytes]:
        """A client that goes on, with pipes."""
        made = subprocess.Popen(
            [self.program, "-H", self.host, *args],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=self.environment,
        )
        self.running.append(made)
        return made

    def background(self, *args: str) -> str:
        """`run -d` of the image; the name."""
        name = self.name()
        self.ok("run", "-d", "--name", name, *args)
        return name

    def inspect(self, name: str, form: str) -> str:
        return self.ok("inspect", "-f", form, name)

    def until(self, wanted: str, *args: str, timeout: float = 10) -> None:
        """Ask again until the answer is `wanted`."""
        deadline = time.monotonic() + timeout
        while (got := self.ok(*args)) != wanted:
            assert time.monotonic() < deadline, f"{args}: {got!r}, not {wanted!r}"
            time.sleep(0.05)

    def close(self) -> None:
        for process in self.running:
            process.kill()
            process.wait()
            for stream in (process.stdin, process.stdout, process.stderr):
                if stream is not None:
                    stream.close()
        if self.made:
            self.run("rm", "-fv", *self.made)


class Terminal:
    """A client on a pseudo-terminal."""

    def __init__(self, cli: Cli, *args: str, rows: int = 24, columns: int = 80) -> None:
        self.fd, theirs = pty.openpty()
        self.size(rows, columns)
        self.pid = os.fork()
        if self.pid == 0:
            try:
                os.close(self.fd)
                os.login_tty(theirs)
                os.execve(cli.program, [cli.program, "-H", cli.host, *args], cli.environment)
            finally:
                os._exit(99)
        os.close(theirs)
        self.seen = b""
        self.code: int | None = None

    def size(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("4H", rows, columns, 0, 0))

    def type(self, text: bytes) -> None:
        os.write(self.fd, text)

    def expect(self, wanted: bytes, timeout: float = 15) -> bytes:
        """What was shown up to and including `wanted`."""
        deadline = time.monotonic() + timeout
        while wanted not in self.seen:
            left = deadline - time.monotonic()
            assert left > 0, f"{wanted!r} was not shown: {self.seen[-2000:]!r}"
            assert self._read(left), f"the client ended before {wanted!r}: {self.seen[-2000:]!r}"
        shown, _, self.seen = self.seen.partition(wanted)
        return shown + wanted

    def _read(self, timeout: float) -> bool:
        if not select.select([self.fd], [], [], timeout)[0]:
            return True
        try:
            data = os.read(self.fd, 65536)
        except OSError:
            return False
        self.seen += data
        return bool(data)

    def end(self, timeout: float = 15) -> int:
        """The exit code, once the client has ended."""
        deadline = time.monotonic() + timeout
        while self.code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.code = os.waitstatus_to_exitcode(status)
                break
            assert time.monotonic() < deadline, f"the client does not end: {self.seen[-2000:]!r}"
            self._read(0.05)
        return self.code

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        if self.code is None:
            fd = os.pidfd_open(self.pid)
            try:
                signal.pidfd_send_signal(fd, signal.SIGKILL)
            finally:
                os.close(fd)
            os.waitpid(self.pid, 0)
        os.close(self.fd)


@pytest.fixture(scope="session")
def walked() -> Iterator[Daemon | None]:
    """The engine that the command line walks through; None when another one was named."""
    if PEER:
        yield None
        return
    with Daemon() as daemon:
        yield daemon


@pytest.fixture(params=list(CLIENTS))
def cli(request: pytest.FixtureRequest, walked: Daemon | None) -> Iterator[Cli]:
    """Each client in turn; one that this machine does not have is one expected skip."""
    program = clients().get(request.param)
    if program is None:
        pytest.skip(f"expected: no client {request.param} on this machine")
    made = Cli(request.param, program, PEER or (walked.host if walked else ""), walked)
    yield made
    made.close()


@pytest.fixture
def image() -> str:
    return IMAGE
