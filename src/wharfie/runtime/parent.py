"""parent: how a process becomes the container's first one, or one more in it; and, for who wants to wait for that, the
same in a child of the caller.

`become` and `join_in` turn the calling process itself: it opens what lies on the host, then enters what it was given
and executes the program; what it reports on the way is read by a Birth at the other end of its channel. `create`,
`start` and `execute` make a child that does so, and read it: all or nothing, a process that failed is killed and reaped
here, and what was opened is closed on every way out.
"""

from __future__ import annotations

import errno
import os
import select

from wharfie.base import errors
from wharfie.kernel import cgroups, mounts, namespaces, process

from . import devices, entering, faults, init, join, options, plan, validate
from .birth import END, Birth, kill_and_reap
from .bundle import Bundle, Container, Created, Process, Sandbox, Stdio
from .channel import Channel, adopt, pair
from .command import variables
from .finishing import Order

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

    from wharfie.oci import spec as oci_spec

_SANDBOX_KINDS = (
    ("user", "user"), ("ipc", "ipc"), ("uts", "uts"), ("net", "network"), ("pid", "pid"), ("cgroup", "cgroup"),
)
# The order in which a process joins: the mount namespace last, since it takes /proc and the host's files away.
_JOIN_ORDER = ("user", "ipc", "uts", "network", "cgroup", "pid", "mount")


# ---- in the process itself ----


def become(bundle: Bundle, stdio: Stdio, channel: Channel) -> NoReturn:
    """Be the container's first process. The caller has one thread and was cloned with `birth_flags`, on v2 into the
    container's cgroup; all its descriptors but 0 to 2 go. Failures are reported on the channel."""
    init.turn(lambda: _task(bundle, stdio), channel)


def _task(bundle: Bundle, stdio: Stdio) -> init.Task:
    """Decide and open everything. Nothing is closed when this fails: the process ends."""
    validate.check(bundle)
    wanted = bundle.spec.process
    assert wanted is not None
    ahead = ahead_of(bundle)
    made = plan.make(bundle, ahead, layout_for(bundle))
    return init.Task(
        plan=made,
        order=Order(wanted, variables(wanted.env), stdio, bundle.seccomp, bundle.tied),
        root=bundle.rootfs,
        trees=tuple(open_tree(tree) for tree in made.trees),
        ahead=tuple(ahead.items()),
        joins=_open_joins(bundle.cgroup),
        fresh=tuple(row.type for row in bundle.spec.linux.namespaces if row.type not in ahead and row.type != "user"),
    )


def join_in(
    container: Container, wanted: oci_spec.Process, stdio: Stdio, size: tuple[int, int], seccomp: bytes | None,
    channel: Channel, *, tied: bool = True,
) -> NoReturn:
    """Be one more process of a running container, as `become` is its first. On v2 the caller was born in its cgroup
    (`clone`)."""
    join.turn(lambda: _joining(container, wanted, stdio, size, seccomp, tied=tied), channel)


def _joining(
    container: Container, wanted: oci_spec.Process, stdio: Stdio, size: tuple[int, int], seccomp: bytes | None, *,
    tied: bool,
) -> join.Task:
    validate.check_process(wanted)
    if _ended(container.process.pidfd):
        raise errors.Conflict(f"container {container.id} is not running", name=container.id)
    spaces = dict(container.namespaces)
    enter = plan.prepare(wanted, container.cgroup)
    for kind in _JOIN_ORDER:
        if kind in spaces:
            enter.append(entering.EnterUser() if kind == "user" else entering.EnterNamespace(kind))
    size = size if size != (0, 0) else wanted.console_size
    return join.Task(
        enter=tuple(enter),
        console=devices.MakeConsole(wanted.user.uid, size, place=False) if wanted.terminal else None,
        become=plan.become(wanted, seccomp),
        order=Order(wanted, variables(wanted.env), stdio, seccomp, tied),
        namespaces=container.namespaces,
        joins=_open_joins(container.cgroup),
    )


def _ended(pidfd: int) -> bool:
    """Whether the process has ended: its namespaces take nobody any more, and the kernel's word for that is ENOMEM."""
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(0))


# ---- in a child of the caller ----


def create(bundle: Bundle, stdio: Stdio) -> Created:
    """The container's first process, ready and waiting. Raises Invalid, Unsupported, NoCommand, NotExecutable, or
    StepFailed; nothing is left then."""
    flags = birth_flags(bundle)
    here = ("pid",) if flags else ()
    birth = _bear(flags, bundle.cgroup, lambda channel: become(bundle.replace(here=here), stdio, channel))
    try:
        birth.until("ready")
        first = birth.process()
    except BaseException:
        birth.give_up()
        raise
    return Created(Container(bundle.id, first, tuple(birth.namespaces), bundle.cgroup, bundle.spec),
                   birth.channel.detach())


def start(created: Created) -> None:
    """Let a created container go; returns when its program runs. Once. When it raises, the process has been reaped."""
    first = created.process
    birth = Birth(first.pid, first.pidfd, adopt(created.channel))
    birth.visible()
    birth.hurry()
    try:
        birth.go()
        birth.until(END)
    except BaseException:
        kill_and_reap(first.pidfd)
        raise
    finally:
        birth.channel.close()


def execute(
    container: Container, wanted: oci_spec.Process, stdio: Stdio, size: tuple[int, int] = (0, 0),
    seccomp: bytes | None = None, *, tied: bool = True,
) -> Process:
    """One more process in a running container; returns when its program runs. Raises as create and start do."""
    birth = _bear(0, container.cgroup,
                  lambda channel: join_in(container, wanted, stdio, size, seccomp, channel, tied=tied),
                  container.process.pidfd)
    birth.hurry()
    try:
        birth.until("pid")
        birth.visible()
        made = birth.process()
        birth.until(END)
        birth.channel.close()
        return made
    except BaseException:
        birth.give_up()
        raise


def _bear(
    flags: int, cgroup: cgroups.Cgroup | None, child: Callable[[Channel], NoReturn], beside: int = -1
) -> Birth:
    """Make the process; `child(channel)` is its whole life."""
    mine, theirs = pair()
    try:
        pid, pidfd = clone(flags, cgroup, beside)
    except BaseException:
        mine.close()
        theirs.close()
        raise
    if pid == 0:
        mine.close()
        child(theirs)
    theirs.close()
    return Birth(pid, pidfd, mine)


def birth_flags(bundle: Bundle) -> int:
    """The namespaces that a first process is cloned with: the one of pids, whose first process is whoever is cloned.
    Not with a user namespace, which has to own it, and not when it is joined."""
    pid, user = bundle.spec.linux.namespace("pid"), bundle.spec.linux.namespace("user")
    fresh = pid is not None and not pid.path and bundle.sandbox.pid < 0
    apart = bundle.sandbox.user >= 0 or (user is not None and bool(user.path))
    return namespaces.CLONE_NEWPID if fresh and not apart else 0


def clone(flags: int, cgroup: cgroups.Cgroup | None, beside: int = -1) -> tuple[int, int]:
    """clone3 with `flags`, on v2 into the cgroup: (pid, pidfd), (0, -1) in the child. Where the cgroup has groups of
    its own (an init system that has passed controllers on: v2 lets no process live in the upper one then), into the one
    where the process behind the pidfd `beside` lives. Raises StepFailed."""
    try:
        return _clone(flags, cgroup)
    except faults.StepFailed as failed:
        pid = process.pid_of(beside) if beside >= 0 else -1
        if failed.errno != errno.EBUSY or cgroup is None or pid <= 0:
            raise
    now = cgroups.detect(own=f"/proc/{pid}/cgroup")
    return _clone(flags, cgroups.Cgroup(now.v2_own, now))


def _clone(flags: int, cgroup: cgroups.Cgroup | None) -> tuple[int, int]:
    directory = cgroup.open_dir() if cgroup is not None else -1
    try:
        return namespaces.clone3(flags, cgroup=directory)
    except OSError as error:
        raise faults.StepFailed("clone a process", error.errno or 0) from error
    finally:
        if directory >= 0:
            os.close(directory)


# ---- what lies on the host ----


def layout_for(bundle: Bundle) -> cgroups.Layout | None:
    if not any(m.type in ("cgroup", "cgroup2") for m in bundle.spec.mounts):
        return None
    return bundle.cgroup.layout if bundle.cgroup is not None else cgroups.known()


def _open_joins(cgroup: cgroups.Cgroup | None) -> tuple[int, ...]:
    return tuple(cgroup.open_joins()) if cgroup is not None else ()


def ahead_of(bundle: Bundle) -> dict[str, int]:
    """The namespaces that exist already, in the order of entering: the sandbox's, and those that the spec names by
    path."""
    sandbox: Sandbox = bundle.sandbox
    found: dict[str, int] = {}
    for field, kind in _SANDBOX_KINDS:
        if kind in bundle.here:
            continue
        row = bundle.spec.linux.namespace(kind)
        if getattr(sandbox, field) >= 0:
            found[kind] = getattr(sandbox, field)
        elif row is not None and row.path:
            try:
                found[kind] = os.open(row.path, os.O_RDONLY | os.O_CLOEXEC)
            except OSError as error:
                raise faults.StepFailed(f"open the {kind} namespace", error.errno or 0, row.path) from error
    return found


def open_tree(tree: plan.Tree) -> int:
    """A detached copy of something of the host, decorated. Raises StepFailed naming the source, Invalid."""
    if not tree.source.startswith("/"):
        raise errors.Invalid(f"bind source {tree.source!r} must be an absolute path", name=tree.source)
    flags = mounts.OPEN_TREE_CLONE | mounts.OPEN_TREE_CLOEXEC | (mounts.AT_RECURSIVE if tree.options.recursive else 0)
    try:
        source = os.open(tree.source, os.O_PATH | os.O_CLOEXEC)
        try:
            _check_device(tree, source)
            fd = mounts.open_tree(source, "", flags)
        finally:
            os.close(source)
        options.decorate(fd, tree.options)
    except OSError as error:
        raise faults.StepFailed(f"bind {tree.source}", error.errno or 0, tree.source, error.strerror or "") from error
    return fd


def _check_device(tree: plan.Tree, fd: int) -> None:
    if tree.device is None:
        return
    seen = os.fstat(fd)
    kind, major, minor = tree.device
    if seen.st_mode & 0o170000 != kind or seen.st_rdev != os.makedev(major, minor):
        raise errors.Invalid(f"the host's {tree.source} is not the device {major}:{minor}", name=tree.source)


