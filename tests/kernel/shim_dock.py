"""A place to launch shims from in tests: a zygote, a busybox root, and the engine's side of the wire, synchronously."""

from __future__ import annotations

import base64
import contextlib
import itertools
import json
import os
import select
import shutil
import signal
import socket
import time
from collections.abc import Iterator
from typing import Any

from wharfie.base import errors, frames, ids, paths
from wharfie.kernel import cgroups
from wharfie.shim import wire, zygote

PATIENCE = 10.0
CAPS = ["CAP_CHOWN", "CAP_KILL", "CAP_SETUID", "CAP_SETGID", "CAP_DAC_OVERRIDE", "CAP_NET_BIND_SERVICE"]


def make_root(where: str) -> str:
    """A root directory with busybox's programs."""
    os.makedirs(f"{where}/bin")
    for name in ("proc", "dev", "sys", "tmp", "etc", "root"):
        os.makedirs(f"{where}/{name}")
    shutil.copy("/bin/busybox", f"{where}/bin/busybox")
    for name in ("sh", "cat", "true", "sleep", "echo", "head", "yes", "id", "ls", "stty", "kill", "sha256sum", "dd",
                 "seq", "printf", "tr", "nc", "hostname", "wc", "touch", "test", "ps"):
        os.symlink("busybox", f"{where}/bin/{name}")
    with open(f"{where}/bin/notexec", "w") as f:
        f.write("no program\n")
    return where


_numbers = itertools.count(1)


class Dock:
    """One run root, one zygote, and a cgroup of its own for the containers."""

    def __init__(self, directory: str) -> None:
        self.directory = directory
        self.run = paths.RunRoot(f"{directory}/run")
        os.makedirs(self.run.containers)
        self.root = make_root(f"{directory}/root")
        self.cgroups = f"/wharfie-test-{os.getpid()}-{next(_numbers)}"
        self.boxes: list[Box] = []
        self._next = 0
        self.zygote = zygote.launch(self.run.root, cgroup_procs=[])

    def renew(self) -> None:
        """Another zygote."""
        self.zygote.close()
        self.zygote = zygote.launch(self.run.root, cgroup_procs=[])

    def fork(self, kind: str, directory: str, fds: list[int]) -> tuple[int, int]:
        """(pid, pidfd) of a new child of the zygote."""
        self._next += 1
        wire.send_bytes(self.zygote.sock, self.zygote.encode_fork(kind, self._next, directory), fds)
        wait(self.zygote.fileno())
        got = wire.recv(self.zygote.sock)
        if got is None:
            raise EOFError("the zygote has ended")
        if "error" in got[0]:
            raise errors.from_wire(got[0]["error"]["kind"], got[0]["error"]["message"])
        return got[0]["pid"], got[1][0]

    def container(self, **launch: Any) -> Box:
        return Box(self, **launch)

    def close(self) -> None:
        """End what a failed test has left, wait for the last shims, and leave nothing."""
        self.zygote.close()
        limit = time.monotonic() + PATIENCE / 2
        for box in self.boxes:
            try:
                wait(box.pidfd, max(0.0, limit - time.monotonic()))
            except TimeoutError:
                box.kill_shim()
        for name in os.listdir(self.run.containers):
            self.fork_undertaker(f"{self.run.containers}/{name}")
        group = cgroups.Cgroup(self.cgroups)
        group.delete()
        assert not group.exists()

    def fork_undertaker(self, directory: str) -> None:
        """Bury, and wait for it."""
        from wharfie.shim import undertaker

        pid = os.fork()
        if not pid:
            with contextlib.suppress(BaseException):
                undertaker._LOCK_TRIES = 4
                undertaker.run(directory)
            os._exit(0)
        os.waitpid(pid, 0)

    def log(self) -> str:
        with open(f"{self.run.root}/shims.log") as f:
            return f.read()


class Box:
    """One container, from the engine's side."""

    def __init__(self, dock: Dock, **changes: Any) -> None:
        self.dock = dock
        self.id = ids.new()
        self.home = dock.run.container(self.id)
        os.makedirs(self.home.root)
        data = f"{dock.directory}/data/{self.id}"
        for name in ("upper", "work"):
            os.makedirs(f"{data}/{name}")
        self.log = f"{data}/{self.id}-json.log"
        self.launch = wire.Launch(
            id=self.id, cgroup=f"{dock.cgroups}/{self.id}", log=wire.Log("json-file", self.log, {}),
            rootfs={"lowers": [dock.root], "upper": f"{data}/upper", "work": f"{data}/work"},
            seccomp_dir=dock.run.seccomp,
        ).replace(**changes)
        with open(self.home.launch, "w") as f:
            json.dump(self.launch.asdict(), f)
        self.events: list[dict[str, Any]] = []
        self._n = 0
        mine, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.sock = mine
        self.pid, self.pidfd = dock.fork(wire.KIND_SHIM, self.home.root, [theirs.fileno()])
        theirs.close()
        dock.boxes.append(self)
        self.hello = self.receive()[0]

    def receive(self) -> tuple[dict[str, Any], list[int]]:
        wait(self.sock.fileno())
        got = wire.recv(self.sock)
        if got is None:
            raise EOFError(f"the shim has closed: {self.dock.log()}")
        return got

    def ask(self, op: str, fds: list[int] | None = None, **fields: Any) -> tuple[dict[str, Any], dict[str, int]]:
        """The answer; events that come before it are kept."""
        self._n += 1
        wire.send(self.sock, wire.request(self._n, op, **fields), fds or [])
        while True:
            message, got = self.receive()
            if "event" in message:
                self.events.append(message)
            elif message.get("n") == self._n:
                return wire.raise_for(message), wire.named(message, got)

    def event(self, kind: str) -> dict[str, Any]:
        """Wait for an event of a kind."""
        while True:
            for at, event in enumerate(self.events):
                if event.get("event") == kind:  # else an answer nobody waits for
                    return self.events.pop(at)
            message, _ = self.receive()
            self.events.append(message)

    def prepare(self) -> dict[str, int]:
        return self.ask("prepare", launch=self.launch.asdict())[1]

    def start(self, *args: str, listeners: list[dict[str, Any]] | None = None, fds: list[int] | None = None,
              **process: Any) -> dict[str, Any]:
        with open(self.home.config, "w") as f:
            json.dump(spec(list(args), tty=self.launch.tty, namespaces=self.launch.namespaces, **process), f)
        self.ask("create", spec="config.json")
        return self.ask("start", fds, listeners=listeners or [])[0]

    def run(self, *args: str, **process: Any) -> dict[str, Any]:
        """prepare and start."""
        self.prepare()
        return self.start(*args, **process)

    def attach(self, **fields: Any) -> socket.socket:
        """Attach a client with stdin, stdout and stderr; our end of it."""
        mine, theirs = socket.socketpair()
        self.ask("attach", [theirs.fileno()], **attachment(mux=not self.launch.tty, **fields))
        theirs.close()
        mine.settimeout(PATIENCE)
        return mine

    def exec(self, *args: str, tty: bool = False, stdin: bool = True, **fields: Any) -> tuple[str, socket.socket]:
        """Run one more process, attached."""
        identifier = ids.new()
        mine, theirs = socket.socketpair()
        try:
            self.ask("exec", [theirs.fileno()], id=identifier, process=process_of(list(args), tty), tty=tty,
                     stdin=stdin, console_size=[24, 80], attach=attachment(mux=not tty, **fields))
        finally:
            theirs.close()
        mine.settimeout(PATIENCE)
        return identifier, mine

    def exit(self) -> dict[str, Any]:
        return self.event("exit")

    def gone(self) -> None:
        """Wait until the shim has left."""
        wait(self.pidfd)

    def logged(self) -> bytes:
        from wharfie.logs import reader

        return b"".join(e[2] for e in reader.read(self.log))

    def kill_shim(self) -> None:
        signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)
        wait(self.pidfd)

    def reconnect(self) -> dict[str, Any]:
        """Another engine comes: its hello."""
        self.sock.close()
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.sock.connect(self.home.socket)
        return self.receive()[0]


def attachment(*, mux: bool, residue: bytes = b"", stdin: bool = True, stdout: bool = True, stderr: bool = True,
               **fields: Any) -> dict[str, Any]:
    return {"streams": {"stdin": stdin, "stdout": stdout, "stderr": stderr}, "mux": mux, "detach_keys": "",
            "logs": False, "residue": base64.b64encode(residue).decode(), **fields}


def process_of(args: list[str], tty: bool) -> dict[str, Any]:
    return {
        "terminal": tty, "user": {"uid": 0, "gid": 0}, "args": args, "cwd": "/", "env": ["PATH=/bin", "TERM=xterm"],
        "capabilities": {"bounding": CAPS, "effective": CAPS, "permitted": CAPS},
    }


def spec(args: list[str], *, tty: bool, namespaces: wire.Namespaces, resources: dict[str, Any] | None = None,
         **process: Any) -> dict[str, Any]:
    kinds = [("mount", "new"), ("pid", namespaces.pid), ("network", namespaces.net), ("ipc", namespaces.ipc),
             ("uts", namespaces.uts), ("cgroup", namespaces.cgroup)]
    rows = [{"type": k} for k, v in kinds if v != "host"]
    if namespaces.user:
        rows.append({"type": "user"})
    linux: dict[str, Any] = {"namespaces": rows, "resources": resources or {}}
    for name, wanted in (("uidMappings", "uid_map"), ("gidMappings", "gid_map")):
        if namespaces.user:
            linux[name] = [{"containerID": i, "hostID": o, "size": n} for i, o, n in namespaces.user[wanted]]
    return {
        "ociVersion": "1.0.2", "root": {"path": "rootfs"}, "process": {**process_of(args, tty), **process},
        "hostname": "box" if namespaces.uts != "host" else "",
        "mounts": [{"destination": "/proc", "type": "proc", "source": "proc"},
                   {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755"]},
                   {"destination": "/dev/pts", "type": "devpts", "source": "devpts",
                    "options": ["newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]}],
        "linux": linux,
    }


def wait(fd: int, seconds: float = PATIENCE) -> None:
    """Until something is readable."""
    ready, _, _ = select.select([fd], [], [], seconds)
    if not ready:
        raise TimeoutError("nothing came")


def read_all(sock: socket.socket) -> bytes:
    """Until the end of the stream."""
    parts = []
    while piece := sock.recv(1 << 16):
        parts.append(piece)
    sock.close()
    return b"".join(parts)


def demux(data: bytes) -> dict[int, bytes]:
    """A multiplexed stream's payloads by stream number."""
    splitter = frames.Splitter()
    out: dict[int, bytes] = {}
    for stream, piece in splitter.feed(data):
        out[stream] = out.get(stream, b"") + piece
    assert not splitter.pending
    return out


def until(sock: socket.socket, wanted: bytes) -> bytes:
    """Read until the bytes have come."""
    got = b""
    while wanted not in got:
        piece = sock.recv(4096)
        assert piece, got
        got += piece
    return got


def eventually(check: Any, seconds: float = PATIENCE) -> None:
    limit = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < limit, "it never came true"
        time.sleep(0.01)


@contextlib.contextmanager
def dock_at(directory: str) -> Iterator[Dock]:
    made = Dock(directory)
    try:
        yield made
    finally:
        made.close()
