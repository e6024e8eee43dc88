"""Operations that move a process into the container's cgroup and namespaces, before its root is built."""

from __future__ import annotations

import os
import resource

from wharfie.base import errors
from wharfie.kernel import caps, cgroups, namespaces, syscalls

from .operation import Operation, World

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wharfie.oci import spec as oci_spec

_NR_KEYCTL = 250 if syscalls.MACHINE == "x86_64" else 219
_KEYCTL_JOIN_SESSION_KEYRING = 1


class JoinCgroup(Operation):
    """Into the cgroup of every hierarchy. Before the user namespace, which has no right over the host's cgroup files,
    and before the cgroup namespace, whose root is where its maker is."""

    path: str

    def describe(self) -> str:
        return f"join the cgroup {self.path}"

    def perform(self, world: World) -> None:
        cgroups.join_by(world.joins)


class ScoreForOom(Operation):
    """oom_score_adj, while /proc is still the host's. Lowering it needs CAP_SYS_RESOURCE."""

    score: int

    def describe(self) -> str:
        return f"set oom_score_adj to {self.score}"

    def perform(self, world: World) -> None:
        fd = os.open("/proc/self/oom_score_adj", os.O_RDWR | os.O_CLOEXEC)
        try:
            if int(os.read(fd, 16)) != self.score:
                os.pwrite(fd, str(self.score).encode(), 0)
        except PermissionError as error:
            raise errors.Denied(
                f"oom_score_adj {self.score} is lower than this engine's own",
                action="run the engine with CAP_SYS_RESOURCE, or ask for a higher value",
            ) from error
        finally:
            os.close(fd)


class RaiseLimits(Operation):
    """Hard limits that grow are raised while the privilege for it is there; what shrinks waits until the very end, so
    that it does not choke init itself (`limit_now`)."""

    rlimits: tuple[oci_spec.Rlimit, ...]

    def describe(self) -> str:
        return "raise resource limits"

    def perform(self, world: World) -> None:
        for row in self.rlimits:
            number = limit_number(row.type)
            soft, hard = resource.getrlimit(number)
            wanted = _signed(row.hard)
            if hard == -1 or (wanted != -1 and wanted <= hard):
                continue
            try:
                resource.setrlimit(number, (soft, wanted))
            except (PermissionError, ValueError) as error:
                raise _too_high(row, hard) from error


def _too_high(row: oci_spec.Rlimit, hard: int) -> errors.WharfieError:
    """Who may not raise it, or the kernel's own ceiling (proc_sys_fs(5): it holds for everybody)."""
    if row.type == "RLIMIT_NOFILE" and caps.capget().effective >> caps.NUMBERS["CAP_SYS_RESOURCE"] & 1:
        return errors.Invalid(f"{row.type}: the hard limit {row.hard} is above the kernel's ceiling",
                              action="raise the sysctl fs.nr_open, or ask for less")
    return errors.Denied(f"{row.type}: the hard limit {row.hard} is above this engine's own, {hard}",
                         action="run the engine with CAP_SYS_RESOURCE, or ask for less")


def limit_now(rlimits: tuple[oci_spec.Rlimit, ...]) -> None:
    """Set the limits exactly. Needs no privilege after RaiseLimits. Raises OSError."""
    for row in rlimits:
        resource.setrlimit(limit_number(row.type), (_signed(row.soft), _signed(row.hard)))


def limit_number(name: str) -> int:
    """The kernel's number of "RLIMIT_NOFILE". Raises Invalid."""
    number: int | None = getattr(resource, name, None)
    if number is None:
        raise errors.Invalid(f"unknown resource limit {name}", name=name)
    return number


def _signed(value: int) -> int:
    return -1 if value >= (1 << 63) else value


class NewKeyring(Operation):
    """A session keyring of its own: the container does not possess the keys of whoever started the engine."""

    def describe(self) -> str:
        return "make a session keyring"

    def perform(self, world: World) -> None:
        try:
            syscalls.call(_NR_KEYCTL, _KEYCTL_JOIN_SESSION_KEYRING, None)
        except OSError:
            pass  # kernels without keys, or a quota used up: the profile forbids the keyring calls anyway


class EnterUser(Operation):
    """Into the user namespace, and there to be its root: files made from now on belong to the mapped root."""

    def describe(self) -> str:
        return "enter the user namespace"

    def perform(self, world: World) -> None:
        namespaces.setns(dict(world.namespaces)["user"], namespaces.CLONE_NEWUSER)
        os.setgroups([])
        os.setresgid(0, 0, 0)
        os.setresuid(0, 0, 0)


class EnterNamespace(Operation):
    """Into a namespace made ahead. One of kind pid takes effect on the children."""

    kind: str

    def describe(self) -> str:
        return f"enter the {self.kind} namespace"

    def perform(self, world: World) -> None:
        namespaces.setns(dict(world.namespaces)[self.kind], namespaces.FLAGS[self.kind])


class NewNamespaces(Operation):
    """New namespaces that clone did not make: the cgroup namespace always (clone would root it at the parent's cgroup),
    all of them when they must belong to a user namespace just entered."""

    kinds: tuple[str, ...]

    def describe(self) -> str:
        return f"make new namespaces: {', '.join(self.kinds)}"

    def perform(self, world: World) -> None:
        flags = 0
        for kind in self.kinds:
            flags |= namespaces.FLAGS[kind]
        namespaces.unshare(flags)
