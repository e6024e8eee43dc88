"""parent: the shim's side. It opens what lies on the host, makes the process, listens to its reports and lets it go.

All or nothing: a process that failed is killed and reaped here, and what was opened is closed on every way out.

With `sibling` the new process is not a child of the caller but of the caller's own parent (CLONE_PARENT), a subreaper,
which reaps it: for a caller that is itself a throw-away child. It then only waits for ends, and reaps nothing.
"""

from __future__ import annotations

import errno
import os
import select
import time

from wharfie.base import errors, points
from wharfie.base.undo import Undo
from wharfie.kernel import cgroups, mounts, namespaces, process

from . import devices, entering, faults, init, join, options, plan, validate
from .bundle import Bundle, Container, Created, Process, Sandbox, Stdio
from .channel import Channel, adopt, pair
from .command import variables
from .finishing import Order

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from wharfie.oci import spec as oci_spec

_SIGCHLD = 17
# How long a process may take to become the program once others of its pid namespace see it: they can stop it.
PATIENCE_SECONDS = 20.0
_DEATH_SECONDS = 5.0
_SANDBOX_KINDS = (
    ("user", "user"), ("ipc", "ipc"), ("uts", "uts"), ("net", "network"), ("pid", "pid"), ("cgroup", "cgroup"),
)
# The order in which a process joins: the mount namespace last, since it takes /proc and the host's files away.
_JOIN_ORDER = ("user", "ipc", "uts", "network", "cgroup", "pid", "mount")


class _Birth:
    """A process on its way: what its reports have brought so far.

    Descriptors and pid are taken once, and none after `visible`: the container may hold the process in its hands then
    (ptrace), and what it reports is the container's word."""

    def __init__(self, pid: int, pidfd: int, channel: Channel, *, sibling: bool) -> None:
        self.pid, self.pidfd, self.channel, self.sibling = pid, pidfd, channel, sibling
        self.fds: list[tuple[str, int]] = []
        self.console = -1
        self.executing = False
        self._expected = {"opened", "pid"}
        self._deadline: float | None = None

    def hurry(self) -> None:
        """Let no report be later than PATIENCE_SECONDS from now."""
        self._deadline = time.monotonic() + PATIENCE_SECONDS

    def visible(self) -> None:
        """No more descriptors are expected."""
        self._expected.clear()

    def until(self, wanted: str) -> None:
        """Read reports until `wanted` comes ("end": the channel's end). Raises what the process reports, or that it has
        ended without a word."""
        while True:
            self._await()
            got = self.channel.receive()
            if got is None:
                if wanted == "end" and self.executing:
                    return
                raise faults.StepFailed("start the process", 0, detail="it ended without a word (killed?)")
            message, fds = got
            self._take(message, fds)
            if wanted in message:
                return

    def _await(self) -> None:
        if self._deadline is None:
            return
        poll = select.poll()
        poll.register(self.channel.fileno(), select.POLLIN)
        if not poll.poll(max(0.0, self._deadline - time.monotonic()) * 1000):
            raise errors.Unavailable(f"the process did not begin within {PATIENCE_SECONDS:.0f} s: is it stopped?")

    def _take(self, message: dict[str, Any], fds: list[int]) -> None:
        kind = next((k for k in ("failed", "opened", "pid", "ready", "exec") if k in message), "")
        if fds or kind in ("opened", "pid"):
            if kind not in self._expected:
                for fd in fds:
                    os.close(fd)
                raise faults.StepFailed("start the process", 0, detail="it spoke out of turn")
            self._expected.discard(kind)
        if kind == "failed":
            raise faults.revive(message["failed"])
        if kind == "opened":
            if message["console"]:
                self.console = fds.pop()
            self.fds += zip(message["opened"], fds, strict=True)
        elif kind == "pid":
            self._replace(int(message["pid"]), fds)
        elif kind == "exec":
            self.executing = True

    def _replace(self, pid: int, fds: list[int]) -> None:
        """The middle process has forked the real one and leaves; it is ours to reap, and its child is ours now."""
        if "opened" not in self._expected:
            self.hurry()  # it has forked at the very end, into a pid namespace that others live in
        middle = self.pidfd
        self.pid, self.pidfd = pid, fds[0]
        _wait(middle, sibling=self.sibling)
        os.close(middle)

    def give_up(self) -> None:
        """Kill, reap, close all."""
        self.channel.close()
        kill_and_reap(self.pidfd, sibling=self.sibling)
        for fd in (self.pidfd, self.console, *(fd for _, fd in self.fds)):
            if fd >= 0:
                os.close(fd)

    def process(self) -> Process:
        """The process, while it waits: afterwards it may be reaped, and its start time lost."""
        try:
            started = process.start_time(self.pid)
        except OSError:
            started = 0  # ended already; its report is still to be read
        return Process(self.pid, self.pidfd, started, self.console)


def kill_and_reap(pidfd: int, *, sibling: bool = False) -> None:
    """End a child (or sibling, which its parent reaps) for good."""
    process.kill_pidfd(pidfd)
    _wait(pidfd, sibling=sibling)


def _wait(pidfd: int, *, sibling: bool) -> None:
    if sibling:
        poll = select.poll()
        poll.register(pidfd, select.POLLIN)
        poll.poll(_DEATH_SECONDS * 1000)  # longer only when it is stuck in the kernel, or frozen
        return
    try:
        process.waitid_pidfd(pidfd, block=True)
    except ChildProcessError:
        pass


def create(bundle: Bundle, stdio: Stdio, *, sibling: bool = False) -> Created:
    """The container's first process, ready and waiting. Raises Invalid, Unsupported, NoCommand, NotExecutable, or
    StepFailed; nothing is left then."""
    validate.check(bundle)
    wanted = bundle.spec.process
    assert wanted is not None
    with Undo() as held:
        ahead = ahead_of(bundle, held)
        made = plan.make(bundle, ahead, layout_for(bundle))
        task = init.Task(
            plan=made,
            order=Order(wanted, variables(wanted.env), stdio, bundle.seccomp, bundle.tied),
            root=bundle.rootfs,
            trees=tuple(open_tree(tree, held) for tree in made.trees),
            ahead=tuple(ahead.items()),
            joins=_open_joins(bundle.cgroup, held),
            fresh=tuple(row.type for row in bundle.spec.linux.namespaces if row.type not in ahead),
        )
        birth = _clone(made.flags, bundle.cgroup, lambda channel: init.run(task, channel), sibling=sibling)
        points.reach("shim.init.cloned")
        try:
            birth.until("ready")
            first = birth.process()
            kept = tuple((kind, os.dup(fd)) for kind, fd in ahead.items()) + tuple(birth.fds)
        except BaseException:
            birth.give_up()
            raise
    points.reach("shim.init.ready")
    return Created(Container(bundle.id, first, kept, bundle.cgroup, bundle.spec), birth.channel.detach())


def start(created: Created, *, sibling: bool = False) -> None:
    """Let a created container go; returns when its program runs. Once. When it raises, the process has been reaped."""
    first = created.process
    birth = _Birth(first.pid, first.pidfd, adopt(created.channel), sibling=sibling)
    birth.visible()
    birth.hurry()
    try:
        _go(birth)
    except BaseException:
        kill_and_reap(first.pidfd, sibling=sibling)
        raise
    finally:
        birth.channel.close()


def execute(
    container: Container, wanted: oci_spec.Process, stdio: Stdio, size: tuple[int, int] = (0, 0),
    seccomp: bytes | None = None, *, tied: bool = True, sibling: bool = False,
) -> Process:
    """One more process in a running container; returns when its program runs. Raises as create and start do."""
    validate.check_process(wanted)
    spaces = dict(container.namespaces)
    enter = plan.prepare(wanted, container.cgroup)
    for kind in _JOIN_ORDER:
        if kind in spaces:
            enter.append(entering.EnterUser() if kind == "user" else entering.EnterNamespace(kind))
    size = size if size != (0, 0) else wanted.console_size
    with Undo() as held:
        task = join.Task(
            enter=tuple(enter),
            console=devices.MakeConsole(wanted.user.uid, size, place=False) if wanted.terminal else None,
            become=plan.become(wanted, seccomp),
            order=Order(wanted, variables(wanted.env), stdio, seccomp, tied),
            namespaces=container.namespaces,
            joins=_open_joins(container.cgroup, held),
        )
        birth = _join(container, lambda channel: join.run(task, channel), sibling=sibling)
        birth.hurry()
        try:
            birth.until("pid")
            birth.visible()
            made = birth.process()
            _go(birth)
            birth.channel.close()
            return made
        except BaseException:
            birth.give_up()
            raise


def _join(container: Container, child: Any, *, sibling: bool) -> _Birth:
    """Into the container's group or, where it has groups of its own (an init system that has passed controllers on:
    then v2 lets no process live in the upper one), the one where its first process lives."""
    try:
        return _clone(0, container.cgroup, child, sibling=sibling)
    except faults.StepFailed as failed:
        pid = process.pid_of(container.process.pidfd)
        if failed.errno != errno.EBUSY or container.cgroup is None or pid <= 0:
            raise
    now = cgroups.detect(own=f"/proc/{pid}/cgroup")
    return _clone(0, cgroups.Cgroup(now.v2_own, now), child, sibling=sibling)


def _go(birth: _Birth) -> None:
    try:
        birth.channel.send({"go": 1})
    except BrokenPipeError:
        pass  # it has failed meanwhile, and said so
    birth.until("end")


def _clone(flags: int, cgroup: cgroups.Cgroup | None, child: Any, *, sibling: bool) -> _Birth:
    """Make the process; `child(channel)` is its whole life. On v2 it is born in its cgroup."""
    if sibling:
        flags |= namespaces.CLONE_PARENT
    else:
        process.subreaper()  # so that a middle process's child becomes ours
    mine, theirs = pair()
    directory = cgroup.open_dir() if cgroup is not None else -1
    try:
        pid, pidfd = namespaces.clone3(flags, cgroup=directory, exit_signal=0 if sibling else _SIGCHLD)
    except OSError as error:
        mine.close()
        theirs.close()
        raise faults.StepFailed("clone a process", error.errno or 0) from error
    finally:
        if directory >= 0:
            os.close(directory)
    if pid == 0:
        mine.close()
        child(theirs)
    theirs.close()
    return _Birth(pid, pidfd, mine, sibling=sibling)


def layout_for(bundle: Bundle) -> cgroups.Layout | None:
    if not any(m.type in ("cgroup", "cgroup2") for m in bundle.spec.mounts):
        return None
    return bundle.cgroup.layout if bundle.cgroup is not None else cgroups.known()


def _open_joins(cgroup: cgroups.Cgroup | None, held: Undo) -> tuple[int, ...]:
    fds = cgroup.open_joins() if cgroup is not None else []
    for fd in fds:
        held.push(os.close, fd)
    return tuple(fds)


def ahead_of(bundle: Bundle, held: Undo) -> dict[str, int]:
    """The namespaces that exist already, in the order of entering: the sandbox's, and those that the spec names by
    path."""
    sandbox: Sandbox = bundle.sandbox
    found: dict[str, int] = {}
    for field, kind in _SANDBOX_KINDS:
        row = bundle.spec.linux.namespace(kind)
        if getattr(sandbox, field) >= 0:
            found[kind] = getattr(sandbox, field)
        elif row is not None and row.path:
            try:
                found[kind] = os.open(row.path, os.O_RDONLY | os.O_CLOEXEC)
            except OSError as error:
                raise faults.StepFailed(f"open the {kind} namespace", error.errno or 0, row.path) from error
            held.push(os.close, found[kind])
    return found


def open_tree(tree: plan.Tree, held: Undo) -> int:
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
        held.push(os.close, fd)
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


