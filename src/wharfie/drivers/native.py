"""The native driver: the contract kept by our own runtime."""

from __future__ import annotations

import os

from wharfie.kernel import process as processes
from wharfie.runtime import parent

from . import contract

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from wharfie.oci import spec as oci_spec
    from wharfie.runtime.channel import Channel


class Native:
    """Stateless: everything about a container is in the values that create returns."""

    def create(self, bundle: contract.Bundle, stdio: contract.Stdio) -> contract.Created:
        """See the contract."""
        return parent.create(bundle, stdio)

    def start(self, created: contract.Created) -> None:
        """See the contract."""
        parent.start(created)

    def exec(
        self,
        container: contract.Container,
        process: oci_spec.Process,
        stdio: contract.Stdio,
        terminal_size: tuple[int, int] = (0, 0),
        seccomp: bytes | None = None,
    ) -> contract.Process:
        """See the contract."""
        return parent.execute(container, process, stdio, terminal_size, seccomp)

    def become(self, bundle: contract.Bundle, stdio: contract.Stdio, channel: Channel) -> NoReturn:
        """See the contract."""
        parent.become(bundle, stdio, channel)

    def join(
        self,
        container: contract.Container,
        process: oci_spec.Process,
        stdio: contract.Stdio,
        terminal_size: tuple[int, int],
        seccomp: bytes | None,
        channel: Channel,
    ) -> NoReturn:
        """See the contract."""
        parent.join_in(container, process, stdio, terminal_size, seccomp, channel)

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
