"""Real engines for tests: a daemon on throw-away roots in a network namespace of its own, and the docker clients.

A network namespace named `wt<random>` is made per daemon with loopback up and, on request, a neighbour "outside"
namespace joined by a veth pair, so that traffic can come from another host. Unix sockets cross namespaces, so clients
run anywhere.
"""

from __future__ import annotations

import io
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CLIENTS = {"docker28": "/usr/local/bin/docker", "docker20": str(ROOT / ".venv/docker20/usr/bin/docker")}
IMAGE = "test/busybox:latest"
_PATIENCE = 60


def version_of(program: str) -> str:
    """The client's version text, "" when there is none."""
    if not os.access(program, os.X_OK):
        return ""
    done = subprocess.run([program, "--version"], capture_output=True, text=True)
    return done.stdout.partition("version ")[2].partition(",")[0]


def clients() -> dict[str, str]:
    """Name → program of the docker clients on this machine: the newest we test with and Debian's 20.10."""
    found = {}
    for name, program in CLIENTS.items():
        if version_of(program).startswith(name.removeprefix("docker") + "."):
            found[name] = program
    return found


def tar_of(files: dict[str, bytes | str], *, modes: dict[str, int] | None = None) -> bytes:
    """A tar of name → content; a str starting with "->" is a symlink, a name ending in "/" a directory."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(name.rstrip("/"))
            entry.mode = (modes or {}).get(name, 0o755)
            if name.endswith("/"):
                entry.type = tarfile.DIRTYPE
                tar.addfile(entry)
            elif isinstance(content, str) and content.startswith("->"):
                entry.type, entry.linkname = tarfile.SYMTYPE, content[2:]
                tar.addfile(entry)
            else:
                data = content.encode() if isinstance(content, str) else content
                entry.size = len(data)
                tar.addfile(entry, io.BytesIO(data))
    return out.getvalue()


def busybox_files() -> dict[str, bytes | str]:
    """The files of a small root file system on Debian's static busybox."""
    program = Path(shutil.which("busybox") or "/bin/busybox").read_bytes()
    applets = subprocess.run(["busybox", "--list"], capture_output=True, text=True, check=True).stdout.split()
    files: dict[str, bytes | str] = {"bin/": b"", "etc/": b"", "tmp/": b"", "root/": b"", "var/": b"", "home/": b""}
    files["bin/busybox"] = program
    files.update({f"bin/{a}": "->busybox" for a in applets if a != "busybox"})
    files["etc/passwd"] = (
        "root:x:0:0:root:/root:/bin/sh\nann:x:1000:1000::/home:/bin/sh\nbob:x:1001:1000::/home:/bin/sh\n"
    )
    files["etc/group"] = "root:x:0:\nstaff:x:50:ann\nann:x:1000:\n"
    return files


class Daemon:
    """One engine under test. `up` starts it and imports IMAGE; `down` removes every trace and asserts it ended."""

    def __init__(self, *, outside: bool = False, flags: tuple[str, ...] = ()) -> None:
        self.root = Path(tempfile.mkdtemp(prefix="wt-", dir="/tmp"))
        self.data, self.run = self.root / "data", self.root / "run"
        self.socket = str(self.root / "s")
        self.host = f"unix://{self.socket}"
        self.namespace = "wt" + secrets.token_hex(3)
        self.outside = self.namespace + "o" if outside else ""
        self.flags = flags
        self.process: subprocess.Popen[bytes] | None = None

    def _ip(self, *args: str) -> None:
        subprocess.run(["ip", *args], check=True, capture_output=True)

    def network_up(self) -> None:
        self._ip("netns", "add", self.namespace)
        self._ip("-n", self.namespace, "link", "set", "lo", "up")
        if self.outside:
            self._ip("netns", "add", self.outside)
            self._ip("-n", self.outside, "link", "set", "lo", "up")
            self._ip(
                "-n",
                self.namespace,
                "link",
                "add",
                "ext0",
                "type",
                "veth",
                "peer",
                "name",
                "ext0",
                "netns",
                self.outside,
            )
            for ns, address in ((self.namespace, "10.199.7.2/24"), (self.outside, "10.199.7.1/24")):
                self._ip("-n", ns, "addr", "add", address, "dev", "ext0")
                self._ip("-n", ns, "link", "set", "ext0", "up")
            self._ip("-n", self.namespace, "route", "add", "default", "via", "10.199.7.1")

    def inside(self, *command: str) -> list[str]:
        """`command` as run in this engine's host network namespace."""
        return ["nsenter", f"--net=/run/netns/{self.namespace}", *command]

    def start(self, *, env: dict[str, str] | None = None, wait: bool = True) -> Daemon:
        """Start the engine process (again); waits until it answers."""
        log = open(self.root / "log", "ab")
        self.process = subprocess.Popen(
            self.inside(
                sys.executable,
                "-m",
                "wharfie.daemon",
                "--data-root",
                str(self.data),
                "--exec-root",
                str(self.run),
                "-H",
                self.host,
                "--pidfile",
                str(self.root / "pid"),
                *self.flags,
            ),
            stdout=log,
            stderr=log,
            stdin=subprocess.DEVNULL,
            env={**os.environ, **(env or {})},
            start_new_session=True,
        )
        log.close()
        deadline = time.monotonic() + _PATIENCE
        while wait and not self.answers():
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise RuntimeError(f"the engine did not come up:\n{self.log()[-4000:]}")
            time.sleep(0.02)
        return self

    def up(self) -> Daemon:
        self.network_up()
        self.start()
        self.docker("import", "-", IMAGE, stdin=tar_of(busybox_files()))
        return self

    def log(self) -> str:
        return (self.root / "log").read_text(errors="replace")

    def answers(self) -> bool:
        try:
            with socket.socket(socket.AF_UNIX) as s:
                s.settimeout(5)
                s.connect(self.socket)
                s.sendall(b"GET /_ping HTTP/1.1\r\nHost: d\r\nConnection: close\r\n\r\n")
                return s.recv(100).startswith(b"HTTP/1.1 200")
        except OSError:
            return False

    def kill(self, sig: int = signal.SIGKILL) -> None:
        """End the engine process only; its containers are left as they are."""
        assert self.process is not None
        self.process.send_signal(sig)
        self.process.wait(_PATIENCE)
        self.process = None

    def docker(
        self, *args: str, stdin: bytes | None = None, client: str = "", check: bool = True, timeout: float = 60
    ) -> str:
        """stdout of the docker client; with check, a failure raises RuntimeError with its stderr."""
        done = self.client(*args, stdin=stdin, client=client, timeout=timeout)
        if check and done.returncode:
            raise RuntimeError(
                f"docker {' '.join(args)}: exit {done.returncode}: {done.stderr.decode(errors='replace')}"
            )
        return done.stdout.decode(errors="replace")

    def client(
        self, *args: str, stdin: bytes | None = None, client: str = "", timeout: float = 60
    ) -> subprocess.CompletedProcess[bytes]:
        """The finished docker client: returncode, stdout, stderr."""
        program = client or next(iter(clients().values()))
        return subprocess.run(
            [program, "-H", self.host, *args],
            input=stdin if stdin is not None else b"",
            capture_output=True,
            timeout=timeout,
            env={**os.environ, "DOCKER_CONFIG": str(self.root / "config")},
        )

    def down(self) -> None:
        if self.process is None and self.data.exists():
            self.start()
        try:
            self.clear()
        finally:
            self.away()

    def clear(self) -> None:
        """Remove every container. One that is just leaving by itself is no error."""
        deadline = time.monotonic() + _PATIENCE
        while left := self.docker("ps", "-aq").split():
            done = self.client("rm", "-fv", *left)
            assert time.monotonic() < deadline, done.stderr.decode(errors="replace")

    def away(self) -> None:
        """End the engine, and remove its namespaces (a missing one is no error) and roots."""
        if self.process is not None:
            self.kill(signal.SIGTERM)
        for ns in filter(None, (self.namespace, self.outside)):
            subprocess.run(["ip", "netns", "del", ns], check=False, capture_output=True)
        shutil.rmtree(self.root, ignore_errors=True)

    def __enter__(self) -> Daemon:
        try:
            return self.up()
        except BaseException:
            self.away()
            raise

    def __exit__(self, *_: object) -> None:
        self.down()
