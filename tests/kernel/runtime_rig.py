"""A busybox root and a driver: run a container and get its output, from tests of runtime and drivers."""

from __future__ import annotations

import os
import select
import shutil
import tempfile
from typing import Any

from wharfie.drivers import contract, native
from wharfie.kernel import mounts, process
from wharfie.oci import defaults, spec

APPLETS = (
    "cat chmod chown cp echo env false grep head hostname id kill ln ls mkdir mount mv ps pwd readlink rm sh sleep "
    "sort stat stty sync test touch tr true tty umount wc yes"
)
NAMESPACES = ("pid", "mount", "network", "ipc", "uts", "cgroup")
PATIENCE = 20


def make_root() -> str:
    """A fresh root directory; its maker removes it."""
    where = tempfile.mkdtemp(prefix="rt-")
    os.chmod(where, 0o755)
    for name in ("bin", "proc", "sys", "dev", "tmp", "etc", "home"):
        os.mkdir(f"{where}/{name}")
    os.chmod(f"{where}/tmp", 0o1777)
    shutil.copy(shutil.which("busybox") or "/bin/busybox", f"{where}/bin/busybox")
    for name in APPLETS.split():
        os.symlink("busybox", f"{where}/bin/{name}")
    with open(f"{where}/bin/plain", "w") as file:
        file.write("no program\n")
    shutil.copy(f"{where}/bin/plain", f"{where}/bin/garbage")
    os.chmod(f"{where}/bin/garbage", 0o755)
    return where


def process_of(*args: str, **changes: Any) -> dict[str, Any]:
    """An OCI process object with Docker's defaults."""
    names = list(defaults.CAPABILITIES)
    caps = dict.fromkeys(("bounding", "effective", "permitted"), names)
    return {"args": list(args), "cwd": "/", "env": ["PATH=/bin"], "capabilities": caps, **changes}


def spec_of(
    *args: str, mounts: list[dict[str, Any]] | None = None, linux: dict[str, Any] | None = None,
    namespaces: tuple[str, ...] = NAMESPACES, readonly: bool = False, **changes: Any,
) -> spec.Spec:
    """A runtime spec with Docker's defaults."""
    return spec.parse({
        "ociVersion": "1.2.0",
        "root": {"path": "rootfs", "readonly": readonly},
        "process": process_of(*args, **changes),
        "hostname": "box" if "uts" in namespaces else "",
        "mounts": defaults.mounts() + (mounts or []),
        "linux": {
            "namespaces": [{"type": kind} for kind in namespaces],
            "maskedPaths": list(defaults.MASKED_PATHS),
            "readonlyPaths": list(defaults.READONLY_PATHS),
            **(linux or {}),
        },
    })


class Result:
    """How a process ended, and what it said."""

    def __init__(self, ended: tuple[str, int], output: str) -> None:
        self.ended = ended
        self.output = output

    @property
    def lines(self) -> list[str]:
        return self.output.split("\n")[:-1]

    def __repr__(self) -> str:
        return f"Result({self.ended}, {self.output!r})"


def read_all(fd: int) -> str:
    """Everything up to the end; EIO is the end of a terminal."""
    data = b""
    while True:
        if not select.select([fd], [], [], PATIENCE)[0]:
            raise AssertionError(f"nothing came for {PATIENCE} s after {data!r}")
        try:
            piece = os.read(fd, 65536)
        except OSError:
            break
        if not piece:
            break
        data += piece
    os.close(fd)
    return data.decode()


def reap(pidfd: int) -> tuple[str, int]:
    """Wait for the end of a child and close its pidfd."""
    assert select.select([pidfd], [], [], PATIENCE)[0], "the process does not end"
    ended = process.waitid_pidfd(pidfd, block=True)
    os.close(pidfd)
    assert ended is not None
    return ended


class Rig:
    """Runs containers on one root by one driver."""

    def __init__(self, driver: Any = None) -> None:
        self.driver = driver or native.Native()
        self.root = make_root()

    def close(self) -> None:
        shutil.rmtree(self.root)

    def rootfs(self) -> int:
        return mounts.open_tree(-100, self.root)

    def create(self, wanted: spec.Spec, stdio: contract.Stdio, **more: Any) -> contract.Created:
        """Created, with the rootfs of `more` or a fresh one, which is closed."""
        rootfs = more.pop("rootfs", -1)
        mine = rootfs < 0
        rootfs = self.rootfs() if mine else rootfs
        try:
            return self.driver.create(contract.Bundle("test", wanted, rootfs, **more), stdio)
        finally:
            if mine:
                os.close(rootfs)

    def hold(self, *args: str, **more: Any) -> contract.Container:
        """A running container that sleeps unless told otherwise."""
        wanted = more.pop("wanted", None) or spec_of(*(args or ("sleep", "1000")))
        made = self.create(wanted, contract.Stdio(), **more)
        self.driver.start(made)
        return made.container

    def drop(self, container: contract.Container) -> None:
        """The end of a held one."""
        self.driver.kill(container)
        reap(container.process.pidfd)
        self.driver.delete(container)

    def run(self, wanted: spec.Spec, **more: Any) -> Result:
        """One whole life."""
        terminal = wanted.process is not None and wanted.process.terminal
        read, write = os.pipe2(os.O_CLOEXEC)
        try:
            stdio = contract.Stdio() if terminal else contract.Stdio(-1, write, write)
            made = self.create(wanted, stdio, **more)
        except BaseException:
            os.close(read)
            raise
        finally:
            os.close(write)
        try:
            self.driver.start(made)
        except BaseException:
            os.close(read)
            os.close(made.process.pidfd)
            self.driver.delete(made.container)
            raise
        if terminal:
            os.close(read)
        output = read_all(made.process.console if terminal else read)
        ended = reap(made.process.pidfd)
        self.driver.delete(made.container)
        return Result(ended, output)

    def sh(self, script: str, **changes: Any) -> Result:
        """A container that runs a script."""
        more = {key: changes.pop(key) for key in ("sandbox", "cgroup", "idmap", "seccomp", "rootfs") if key in changes}
        return self.run(spec_of("sh", "-c", script, **changes), **more)

    def exec(self, container: contract.Container, *args: str, **changes: Any) -> Result:
        """One more process in it."""
        seccomp, size = changes.pop("seccomp", None), changes.pop("size", (0, 0))
        wanted = spec.parse_process(process_of(*args, **changes))
        read, write = os.pipe2(os.O_CLOEXEC)
        try:
            stdio = contract.Stdio() if wanted.terminal else contract.Stdio(-1, write, write)
            made = self.driver.exec(container, wanted, stdio, size, seccomp)
        except BaseException:
            os.close(read)
            raise
        finally:
            os.close(write)
        if wanted.terminal:
            os.close(read)
        output = read_all(made.console if wanted.terminal else read)
        return Result(reap(made.pidfd), output)
