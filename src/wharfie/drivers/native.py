"""The native driver: the contract kept by our own runtime."""

from __future__ import annotations

import os
import select

from wharfie.base import errors
from wharfie.kernel import process as processes
from wharfie.runtime import parent

from . import contract

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wharfie.oci import spec as oci_spec


class Native:
    """Stateless: everything about a container is in the values that create returns. `sibling`: the processes become
    children of the caller's parent (see runtime.parent)."""

    def __init__(self, *, sibling: bool = False) -> None:
        self.sibling = sibling

    def create(self, bundle: contract.Bundle, stdio: contract.Stdio) -> contract.Created:
        """See the contract."""
        return parent.create(bundle, stdio, sibling=self.sibling)

    def start(self, created: contract.Created) -> None:
        """See the contract."""
        parent.start(created, sibling=self.sibling)

    def exec(
        self,
        container: contract.Container,
        process: oci_spec.Process,
        stdio: contract.Stdio,
        terminal_size: tuple[int, int] = (0, 0),
        seccomp: bytes | None = None,
    ) -> contract.Process:
        """See the contract."""
        if _ended(container.process.pidfd):
            raise errors.Conflict(f"container {container.id} is not running", name=container.id)
        return parent.execute(container, process, stdio, terminal_size, seccomp, sibling=self.sibling)

    def kill(self, container: contract.Container) -> None:
        """See the contract. The group first; the pidfd too, for a container without a group."""
        if container.cgroup is not None:
            try:
                container.cgroup.kill()
            except OSError:
                pass  # removed already, or not ours to write: the first process takes its pid namespace with it
        try:
            processes.kill_pidfd(container.process.pidfd)
        except OSError:
            pass

    def delete(self, container: contract.Container) -> None:
        """See the contract."""
        for _, fd in container.namespaces:
            os.close(fd)


def _ended(pidfd: int) -> bool:
    """Whether the process has ended: its namespaces take nobody any more, and the kernel's word for that is ENOMEM."""
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(0))
