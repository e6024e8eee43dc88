"""What every driver promises the shim: create, start, exec, kill, delete. The suite in
tests/contracts/test_driver_contract.py takes a factory of drivers and holds each to this page.

    shim                                  driver
    ----                                  ------
    create(bundle, stdio)  ------------>  init exists, in its namespaces and cgroup, with every mount in place, its root
                                          entered, its privileges dropped. It waits before execve: nothing of the image
                                          has run. The program has been looked up: NoCommand comes here.
    (the shim records pid and start time, opens the ports, tells the attached)
    start(created)         ------------>  init is let go; returns when execve has succeeded
    exec(container, process, stdio, …)    another process in the same container
    kill(container)        ------------>  SIGKILL for all of it
    delete(container)      ------------>  what the driver holds (fds, namespaces) is given back

    or, in a child of the shim's that was cloned into a new pid namespace, unless the container is to have that of
    others, or a user namespace that must own it:
    become(bundle, stdio, channel)        create and start in one: the calling process is the container's first one now,
                                          or makes it and leaves. It says so on the channel (runtime.channel), where a
                                          Birth listens, and waits there for the go.
    join(container, process, …, channel)  likewise exec; no go

All calls are synchronous and made from one thread. The caller is the parent of every process a driver makes and must
reap it (waitid on the pidfd); a driver reaps only what it gives up itself, that is a process whose create, start or
exec raised. Errors are `base.errors`: NoCommand and NotExecutable for the program, Invalid for a spec that cannot be,
else StepFailed with errno, step and path.
"""

from __future__ import annotations

from wharfie.runtime import bundle, faults

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn, Protocol

    from wharfie.oci import spec as oci_spec
    from wharfie.runtime.channel import Channel
else:
    Protocol = object

StepFailed = faults.StepFailed
Stdio = bundle.Stdio
Sandbox = bundle.Sandbox
Bundle = bundle.Bundle
Process = bundle.Process
Container = bundle.Container
Created = bundle.Created


class Driver(Protocol):
    """The verbs. None is idempotent unless it says so."""

    def create(self, bundle: Bundle, stdio: Stdio) -> Created:
        """Make the container's first process up to the point before execve. All or nothing: when it raises, no
        process, mount or fd is left. Next: start, or kill and delete."""
        ...

    def start(self, created: Created) -> None:
        """Let it go, once. Returns when the program has been executed. When it raises (NoCommand, NotExecutable,
        StepFailed) init has been reaped; next: close the fds of `created.process`, delete. A created container that is
        never started: close `created.channel` (init leaves), kill, reap, delete."""
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
        process behind, and Conflict when the container has ended."""
        ...

    def become(self, bundle: Bundle, stdio: Stdio, channel: Channel) -> NoReturn:
        """Be the container's first process. What fails is reported on the channel; the caller ends in any case."""
        ...

    def join(
        self,
        container: Container,
        process: oci_spec.Process,
        stdio: Stdio,
        terminal_size: tuple[int, int],
        seccomp: bytes | None,
        channel: Channel,
    ) -> NoReturn:
        """Be one more process of a started container."""
        ...

    def kill(self, container: Container) -> None:
        """SIGKILL to every process of the container; returns at once. Idempotent."""
        ...

    def delete(self, container: Container) -> None:
        """Give back what the driver holds of a created container; the caller's own fds (pidfd, console, sandbox,
        rootfs) stay its own. The first process must have been reaped."""
        ...
