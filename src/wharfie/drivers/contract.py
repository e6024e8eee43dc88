"""What every driver promises the shim: create, start, exec, kill, delete. The suite in
tests/contracts/test_driver_contract.py takes a factory of drivers and holds each to this page.

    shim                                driver
    ----                                ------
    create(bundle, stdio)  ----------->  init exists, in its namespaces and cgroup, with every mount in place, its root
                                         entered, its privileges dropped. It waits before execve: nothing of the image
                                         has run.
    (the shim records pid and start time, opens the ports, tells the attached)
    start(created)         ----------->  init is let go; returns when execve has succeeded
    exec(created.container, process, …)  another process in the same container
    kill(container)        ----------->  SIGKILL for all of it
    delete(container)      ----------->  what the driver holds (fds, namespaces) is given back

All calls are synchronous and made from one thread. The caller is the parent of every process a driver makes and must
reap it (waitid on the pidfd): a driver reaps only what it gives up itself, that is a process whose create, start or exec
raised. Errors are `base.errors`: NoCommand and NotExecutable for the program; Invalid for a spec that cannot be; else a
`StepFailed` with errno, step and path.
"""

from __future__ import annotations

import os

from wharfie.base import errors
from wharfie.base.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    from wharfie.kernel import cgroups, overlay
    from wharfie.oci import spec as oci_spec
else:
    Protocol = object


class StepFailed(errors.WharfieError):
    """A step of making a container failed in the kernel: which step (the plan's words), errno, on which path."""

    def __init__(self, step: str, errno: int, path: str = "") -> None:
        where = f" {path}" if path else ""
        super().__init__(f"{step}{where}: {os.strerror(errno)}", name=path)
        self.step = step
        self.errno = errno
        self.path = path


class Stdio(Value):
    """Fds that become 0, 1, 2 of the process; -1 is /dev/null. With a terminal all three are -1: the process gets the
    slave and the caller the master (`Process.console`). The caller keeps and closes its own copies."""

    stdin: int = -1
    stdout: int = -1
    stderr: int = -1


class Sandbox(Value):
    """The namespaces a container lives in, as fds made ahead. -1: made by clone when the spec lists the namespace,
    else the host's. The caller keeps ownership of the fds."""

    user: int = -1
    net: int = -1
    ipc: int = -1
    uts: int = -1
    pid: int = -1
    cgroup: int = -1


class Bundle(Value):
    """All that a driver needs to create a container.

    rootfs: fd of the detached mount that becomes `/` (the caller's; the driver moves a clone and keeps none).
    cgroup: made and limited already by the caller; the process is born in it. None: stays in the caller's.
    seccomp: a compiled BPF program, or None for no filter.
    idmap: the container's user namespace map when `sandbox.user` is given (ownership of what is made in the rootfs).
    terminal_size: (rows, columns) for a console, (0, 0) = leave.
    """

    id: str
    spec: oci_spec.Spec
    rootfs: int
    sandbox: Sandbox = Sandbox()
    cgroup: cgroups.Cgroup | None = None
    seccomp: bytes | None = None
    idmap: overlay.IdMap | None = None
    terminal_size: tuple[int, int] = (0, 0)


class Process(Value):
    """A process of a container. pid as the caller's pid namespace sees it; start_time is field 22 of /proc/pid/stat;
    console is the pty's master, or -1. Both fds are the caller's to close."""

    pid: int
    pidfd: int
    start_time: int
    console: int = -1


class Container(Value):
    """A created container as later calls need it: its first process and its namespaces as fds, opened while init was
    still ours to look at (it may later hide behind dumpable=0). The driver closes `namespaces` in delete()."""

    id: str
    process: Process
    namespaces: dict[str, int]
    cgroup: cgroups.Cgroup | None = None
    spec: oci_spec.Spec | None = None


class Created(Value):
    """The answer of create: the container, and the channel on which init waits."""

    container: Container
    channel: int

    @property
    def process(self) -> Process:
        return self.container.process


class Driver(Protocol):
    """The verbs. None is idempotent unless it says so."""

    def create(self, bundle: Bundle, stdio: Stdio) -> Created:
        """Make the container's first process up to the point before execve. All or nothing: when it raises, no
        process, mount or fd is left. Next: start, or kill and delete."""
        ...

    def start(self, created: Created) -> None:
        """Let it go, once. Returns when the program has been executed. When it raises (NoCommand, NotExecutable,
        StepFailed) init has been reaped; next: delete."""
        ...

    def exec(
        self,
        container: Container,
        process: oci_spec.Process,
        stdio: Stdio,
        terminal_size: tuple[int, int] = (0, 0),
        seccomp: bytes | None = None,
    ) -> Process:
        """Run one more process in a started container; returns after its execve. Raises as start does, leaving no
        process behind."""
        ...

    def kill(self, container: Container) -> None:
        """SIGKILL to every process of the container; returns at once. Idempotent."""
        ...

    def delete(self, container: Container) -> None:
        """Give back what the driver holds. The first process must have been reaped. Idempotent."""
        ...
