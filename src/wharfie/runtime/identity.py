"""Operations that make the process what the container may be: working directory, user, groups, capabilities, filter.

The order is the kernel's. Bounding set first (needs CAP_SETPCAP); the filter before capabilities go when no_new_privs
is off (loading it needs CAP_SYS_ADMIN then); groups before the uid; capabilities last.
"""

from __future__ import annotations

import errno
import os

from wharfie.base import points
from wharfie.kernel import caps, process, seccomp, syscalls, walk

from .faults import NotInside
from .operation import Operation, World

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wharfie.oci import spec as oci_spec

_PR_CAPBSET_DROP = 24
_LAST = caps.last_cap()  # forty calls, once, before any fork


class EnterDirectory(Operation):
    """The working directory, by a walk inside the root that follows no magic link, then checked to be below the root
    (CVE-2024-21626). As root first, so that a user may start in a directory he may not enter; where even root may not
    (NFS, a user namespace) the user tries himself."""

    path: str
    again: bool = False

    def describe(self) -> str:
        return f"enter the working directory {self.path}"

    def perform(self, world: World) -> None:
        try:
            fd = walk.open_in_root(world.root, self.path, os.O_PATH | os.O_DIRECTORY)
            try:
                os.fchdir(fd)
            finally:
                os.close(fd)
        except PermissionError:
            if not self.again:
                return  # the user's turn comes
            raise
        check_inside()


def check_inside() -> None:
    """Raise NotInside unless the working directory can be named from the root (getcwd(2) says "(unreachable)" or
    fails with ENOENT otherwise)."""
    try:
        where = os.getcwdb()
    except FileNotFoundError:
        where = b""
    if not where.startswith(b"/"):
        raise NotInside(errno.EPERM, "the working directory is outside the container's root")


class KeepBounding(Operation):
    """Drop every other capability from the bounding set."""

    mask: int

    def describe(self) -> str:
        return "drop capabilities from the bounding set"

    def perform(self, world: World) -> None:
        for number in range(_LAST + 1):
            if not self.mask >> number & 1:
                syscalls.prctl(_PR_CAPBSET_DROP, number)


class LoadFilter(Operation):
    """The seccomp filter."""

    program: bytes

    def describe(self) -> str:
        return "load the seccomp filter"

    def perform(self, world: World) -> None:
        seccomp.load(self.program, 0)

    def __repr__(self) -> str:
        return f"LoadFilter({len(self.program)} bytes)"


class Become(Operation):
    """Supplementary groups, gid, uid (CVE-2022-36109: the groups are always set). Permitted capabilities survive until
    SetCapabilities decides."""

    user: oci_spec.User

    def describe(self) -> str:
        return f"become uid {self.user.uid} gid {self.user.gid}"

    def perform(self, world: World) -> None:
        caps.set_keepcaps(True)
        os.setgroups(list(self.user.additional_gids))
        os.setresgid(self.user.gid, self.user.gid, self.user.gid)
        os.setresuid(self.user.uid, self.user.uid, self.user.uid)
        caps.set_keepcaps(False)
        process.set_dumpable(False)  # a change of uid has set it anew


class SetCapabilities(Operation):
    """Effective, permitted, inheritable, ambient, as far as this engine has them itself."""

    effective: int
    permitted: int
    inheritable: int
    ambient: int

    def describe(self) -> str:
        return "set capabilities"

    def perform(self, world: World) -> None:
        have = caps.capget().permitted
        permitted = self.permitted & have
        inheritable = self.inheritable & have
        caps.ambient_clear()
        caps.capset(caps.Caps(self.effective & permitted, permitted, inheritable))
        caps.ambient_raise(self.ambient & permitted & inheritable)
        points.reach("init.dropped")
