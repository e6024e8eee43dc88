"""Two engines side by side, each in a network namespace of its own: ours and Debian's dockerd."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests import hosts

DOCKER = shutil.which("docker") or "docker"
IMAGE = "bench/busybox:latest"


class Engine:
    """One engine: started by `up`, with the bench image loaded; `down` removes everything it made."""

    def __init__(self, name: str, command: list[str]) -> None:
        self.name = name
        self.command = command
        self.root = Path(tempfile.mkdtemp(prefix=f"bench-{name}-"))
        self.socket = str(self.root / "s")
        self.namespace = f"bench{name}{os.getpid()}"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the engine on its root and wait until it answers; raises RuntimeError with its log's end."""
        log = open(self.root / "log", "ab")
        self.process = subprocess.Popen(
            [
                "nsenter",
                f"--net=/run/netns/{self.namespace}",
                *self.command,
                "--data-root",
                str(self.root / "data"),
                "--exec-root",
                str(self.root / "run"),
                "-H",
                f"unix://{self.socket}",
                "--pidfile",
                str(self.root / "pid"),
            ],
            stdout=log,
            stderr=log,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        deadline = time.monotonic() + 40
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                break
            if self.answers():
                return
            time.sleep(0.02)
        raise RuntimeError(f"{self.name} did not come up:\n{(self.root / 'log').read_text()[-3000:]}")

    def answers(self) -> bool:
        try:
            with socket.socket(socket.AF_UNIX) as s:
                s.connect(self.socket)
                s.sendall(b"GET /_ping HTTP/1.1\r\nHost: d\r\nConnection: close\r\n\r\n")
                return b"200" in s.recv(4096)[:20]
        except OSError:
            return False

    def up(self) -> Engine:
        subprocess.run(["ip", "netns", "add", self.namespace], check=True)
        subprocess.run(["ip", "-n", self.namespace, "link", "set", "lo", "up"], check=True)
        # Where both engines have it by default, /run, is a tmpfs.
        (self.root / "run").mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", str(self.root / "run")], check=True)
        self.start()
        self.docker("import", "-", IMAGE, stdin=hosts.tar_of(hosts.busybox_files()))
        return self

    def stop(self, sig: int = signal.SIGTERM) -> None:
        if self.process is not None:
            self.process.send_signal(sig)
            self.process.wait(60)
            self.process = None

    def down(self) -> None:
        try:
            left = self.docker("ps", "-aq").split()
            if left:
                self.docker("rm", "-f", *left)
        finally:
            self.stop()
            mounts = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
            for mount in sorted((m for m in mounts if m.startswith(str(self.root))), reverse=True):
                subprocess.run(["umount", "-l", mount], check=False)
            subprocess.run(["ip", "netns", "del", self.namespace], check=False)
            shutil.rmtree(self.root, ignore_errors=True)

    def docker(self, *args: str, stdin: bytes | None = None) -> str:
        """Run the docker client against this engine; raises CalledProcessError, its message shown."""
        done = subprocess.run([DOCKER, "-H", f"unix://{self.socket}", *args], input=stdin, capture_output=True)
        if done.returncode:
            raise RuntimeError(f"{self.name}: docker {' '.join(args)}: {done.stderr.decode()}")
        return done.stdout.decode()

    def pids(self) -> list[int]:
        """Every process of this engine outside its containers: itself and what it started, shims included."""
        marks = (str(self.root).encode(),)
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    if any(m in (entry / "cmdline").read_bytes() for m in marks):
                        found.append(int(entry.name))
                except OSError:
                    continue
        return found


def wharfie() -> Engine:
    """Our engine."""
    return Engine("w", [sys.executable, "-m", "wharfie.daemon"])


def dockerd() -> Engine:
    """The peer."""
    return Engine("d", [shutil.which("dockerd") or "/usr/sbin/dockerd"])


def descendants(root: int) -> list[int]:
    """`root` and all processes below it."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                parents.setdefault(int(fields[1]), []).append(int(entry.name))
            except OSError:
                continue
    out, todo = [], [root]
    while todo:
        pid = todo.pop()
        out.append(pid)
        todo += parents.get(pid, [])
    return out


def pss(pids: list[int]) -> int:
    """Sum of the proportional set sizes in KiB."""
    total = 0
    for pid in pids:
        try:
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1])
        except OSError:
            continue
    return total
