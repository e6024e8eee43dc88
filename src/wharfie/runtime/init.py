"""init: the process that becomes the container's first program. Everything it does was decided by the plan; everything
it needs was imported before it was born and is opened before it enters the container. It never returns: execve, or a
report and _exit."""

from __future__ import annotations

import errno
import os

from wharfie.base import errors, points
from wharfie.base.value import Value
from wharfie.kernel import namespaces, process

from . import devices, faults, finishing
from .channel import Channel
from .operation import World

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import NoReturn

    from .finishing import Order
    from .operation import Operation
    from .plan import Plan


class Task(Value):
    """What is to be done, and the descriptors for it. ahead: the namespaces that exist already; fresh: the kinds of
    those that this process makes or has made. The parent gets fds of both."""

    plan: Plan
    order: Order
    root: int
    trees: tuple[int, ...]
    ahead: tuple[tuple[str, int], ...]
    joins: tuple[int, ...]
    fresh: tuple[str, ...]


class Progress:
    """Where the process is, for the report."""

    def __init__(self) -> None:
        self.step = "begin"

    def perform(self, steps: Sequence[Operation], world: World) -> None:
        """The dull loop."""
        for operation in steps:
            self.current = operation
            self.step = ""
            operation.perform(world)
        self.step = "go on"

    def words(self) -> str:
        return self.step or self.current.describe()


def turn(decide: Callable[[], Task], channel: Channel) -> NoReturn:
    """The whole of init: what is to be done comes from `decide`, which may still look at the host."""
    progress = Progress()
    try:
        points.reach("init.born")
        process.set_dumpable(False)
        progress.step = "prepare the container"
        task = decide()
        os.umask(0)
        _run(task, channel, progress)
    except BaseException as error:
        report(channel, error, progress)
    finally:
        os._exit(1)


def report(channel: Channel, error: BaseException, progress: Progress) -> None:
    """Tell the parent what failed; there is nobody else to tell."""
    try:
        channel.send({"failed": faults.describe(error, progress.words())})
    except OSError:
        pass


def _run(task: Task, channel: Channel, progress: Progress) -> None:
    plan = task.plan
    world = World(task.root, trees=task.trees, namespaces=task.ahead, joins=task.joins)
    progress.perform(plan.enter, world)
    if plan.fork == "early":
        progress.step = "fork into the pid namespace"
        fork_apart(channel)
    progress.perform(plan.build, world)
    points.reach("init.mounted")
    progress.step = "hand over the namespaces"
    hand_over(channel, world, [*task.ahead, *((kind, namespaces.open_ns("self", kind)) for kind in task.fresh)])
    null = devices.open_null(world)
    slave = world.terminal[1] if world.terminal else -1
    progress.perform(plan.pivot, world)
    points.reach("init.pivoted")
    progress.step = "prepare stdio"
    finishing.wire_stdio(task.order, slave, null)
    progress.perform(plan.become, world)
    if plan.fork == "late":
        progress.step = "fork into the pid namespace"
        fork_apart(channel)
    progress.step = "close descriptors"
    channel.move(finishing.keep_only(channel.fileno()))
    progress.step = "start the program"
    finishing.finish(task.order, channel, ready=True)


def hand_over(channel: Channel, world: World, kinds: list[tuple[str, int]]) -> None:
    """Send what the parent keeps: namespaces, and the master of the terminal."""
    fds = [fd for _, fd in kinds]
    if world.terminal:
        fds.append(world.terminal[0])
    channel.send({"opened": [kind for kind, _ in kinds], "console": world.terminal is not None}, fds)
    for fd in fds:
        os.close(fd)


def fork_apart(channel: Channel) -> None:
    """Fork; the child returns as the container's process, the middle one names it to the parent and leaves. The child
    waits for that, since a report that comes before its name would be laid at the middle one's door. It is the parent's
    own child (CLONE_PARENT), so that its parent-death signal does not mean the middle one; made by the older clone,
    since the container's filter may be at work already."""
    read, write = os.pipe2(os.O_CLOEXEC)
    try:
        pid, pidfd = namespaces.clone(namespaces.CLONE_PARENT)
    except OSError as error:
        if error.errno != errno.ENOMEM:
            raise
        # pid_namespaces(7): the word for a namespace whose first process has ended
        raise errors.Conflict("the pid namespace to be joined takes nobody any more: its container has ended "
                              "(or this host has no memory)") from error
    if pid:
        channel.send({"pid": pid}, (pidfd,))
        os.write(write, b"1")
        os._exit(0)
    os.close(write)
    if not os.read(read, 1):
        os._exit(1)
    os.close(read)
