"""init: the process that becomes the container's first program. Everything it does was decided by the plan; everything
it needs was opened or imported before it was born. It never returns: execve, or a report and _exit."""

from __future__ import annotations

import os

from wharfie.base import points
from wharfie.base.value import Value
from wharfie.kernel import namespaces, process

from . import devices, faults, finishing
from .channel import Channel
from .operation import World

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import NoReturn

    from .finishing import Order
    from .operation import Operation
    from .plan import Plan


class Task(Value):
    """What goes through the fork, as one value. fresh: the kinds of namespaces made on the way, whose fds are wanted
    by the parent."""

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


def run(task: Task, channel: Channel) -> NoReturn:
    """The whole of init."""
    progress = Progress()
    try:
        points.reach("init.born")
        process.set_dumpable(False)
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
    progress.perform(plan.build, world)
    points.reach("init.mounted")
    progress.step = "hand over the namespaces"
    own = os.open("/proc/self/ns", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    kinds = [kind for kind in task.fresh if not (plan.late and kind == "pid")]
    hand_over(channel, world, [(kind, open_kind(own, kind)) for kind in kinds])
    null = devices.open_null(world)
    slave = world.terminal[1] if world.terminal else -1
    progress.perform(plan.pivot, world)
    points.reach("init.pivoted")
    progress.step = "prepare stdio"
    finishing.wire_stdio(task.order, slave, null)
    progress.perform(plan.become, world)
    if plan.late:
        progress.step = "fork into the pid namespace"
        fork_late(channel, own if "pid" in task.fresh else -1)
    progress.step = "close descriptors"
    channel.move(finishing.keep_only(channel.fileno()))
    progress.step = "start the program"
    finishing.finish(task.order, channel, ready=True)


def open_kind(own: int, kind: str) -> int:
    """An fd on one of this process's namespaces, through its held /proc/self/ns."""
    return os.open(namespaces.PROC_NAMES[kind], os.O_RDONLY | os.O_CLOEXEC, dir_fd=own)


def hand_over(channel: Channel, world: World, kinds: list[tuple[str, int]]) -> None:
    """Send what the parent keeps: namespaces, and the master of the terminal."""
    fds = [fd for _, fd in kinds]
    if world.terminal:
        fds.append(world.terminal[0])
    channel.send({"opened": [kind for kind, _ in kinds], "console": world.terminal is not None}, fds)
    for fd in fds:
        os.close(fd)


def fork_late(channel: Channel, own: int = -1) -> None:
    """Fork; the child returns from here as the container's process, the middle one names it to the parent and leaves.
    With `own`, the pid namespace is new and is handed over too: it can be opened only now, when it has a process."""
    pid = os.fork()
    if pid == 0:
        return
    fds = [process.pidfd_open(pid)]
    if own >= 0:
        fds.append(os.open("pid_for_children", os.O_RDONLY | os.O_CLOEXEC, dir_fd=own))
    channel.send({"pid": pid}, fds)
    os._exit(0)
