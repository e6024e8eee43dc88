"""What parent and init run, run once more without a process: for whoever forks many of them.

An interpreter is slow, and writes to shared pages, where its code runs for the first times; what a zygote has rehearsed
its children find warm. The root is a detached tmpfs, so nothing is mounted anywhere; what changes a process for good
(cgroups, names, capabilities, filter, root) is left out. Mounting in a detached tree needs Linux 6.15; before that less
is rehearsed.
"""

from __future__ import annotations

import os

from wharfie.base import errors

from . import channel, command, devices, entering, mounting, parent, plan, sandbox, shielding, validate
from .bundle import Bundle, Sandbox
from .operation import World
from .options import Options

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wharfie.kernel import cgroups
    from wharfie.oci import spec as oci_spec

    from .operation import Operation

_HARMLESS = (
    entering.EnterNamespace, mounting.MountNew, mounting.MountProc, mounting.MountBind, mounting.MountCgroup,
    mounting.MakeDirectory, devices.MakeNodes, devices.MakeLinks, shielding.MakeReadonly, shielding.Mask,
)


def play(spec: oci_spec.Spec, group: cgroups.Cgroup | None, seccomp: bytes | None) -> None:
    """One start of `spec`, in the caller's own namespaces; it must have one thread. Binds of the spec are opened. Every
    descriptor is closed again. What this host does not allow is left out and no error."""
    before = _open_fds()
    try:
        _play(spec, group, seccomp)
    except (OSError, errors.WharfieError):
        pass
    finally:
        for fd in _open_fds() - before:
            os.close(fd)


def _open_fds() -> set[int]:
    found = set()
    for name in os.listdir("/proc/self/fd"):
        try:
            os.fstat(int(name))
        except OSError:
            continue  # the listing's own
        found.add(int(name))
    return found


def _play(spec: oci_spec.Spec, group: cgroups.Cgroup | None, seccomp: bytes | None) -> None:
    bundle = Bundle("rehearsal", spec, mounting.make("tmpfs", "tmpfs", Options()), Sandbox(), group, seccomp,
                    here=("pid", *(kind for _, kind in sandbox.MADE)))
    validate.check(bundle)
    ahead = parent.ahead_of(bundle)
    made = plan.make(bundle, ahead, parent.layout_for(bundle))
    world = World(bundle.rootfs, trees=tuple(parent.open_tree(tree) for tree in made.trees))
    assert spec.process is not None
    command.find(spec.process.args[0], command.variables(spec.process.env))
    _talk()
    _perform((*made.enter, *made.build), world)


def _perform(steps: tuple[Operation, ...], world: World) -> None:
    for operation in steps:
        if isinstance(operation, _HARMLESS):
            try:
                operation.perform(world)
            except OSError:
                pass  # a mount inside a detached tree takes no new attributes, and so on


def _talk() -> None:
    mine, theirs = channel.pair()
    for message in ({"opened": ["mount", "pid", "cgroup"], "console": False}, {"ready": 1}, {"go": 1}, {"exec": 1}):
        theirs.send(message, (mine.fileno(),))
        got = mine.receive()
        assert got is not None
        os.close(got[1][0])
    mine.close()
    theirs.close()
