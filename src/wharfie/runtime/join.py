"""join: one more process in a container that runs. The order is what keeps it safe (CVE-2016-9962): everything that
needs more rights than the container has happens outside its pid namespace; the fork into it comes last."""

from __future__ import annotations

import os

from wharfie.base.value import Value
from wharfie.kernel import process

from . import devices, finishing
from .channel import Channel
from .init import Progress, fork_apart, hand_over, report
from .operation import World

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

    from .finishing import Order
    from .operation import Operation


class Task(Value):
    """What is to be done, and the descriptors for it. enter: cgroup to mount namespace; become: working directory to
    capabilities."""

    enter: tuple[Operation, ...]
    console: Operation | None
    become: tuple[Operation, ...]
    order: Order
    namespaces: tuple[tuple[str, int], ...]
    joins: tuple[int, ...]


def turn(decide: Callable[[], Task], channel: Channel) -> NoReturn:
    """The whole of a joiner: the middle process, and, after its fork, the process that becomes the program."""
    progress = Progress()
    try:
        process.set_dumpable(False)
        progress.step = "prepare the process"
        _run(decide(), channel, progress)
    except BaseException as error:
        report(channel, error, progress)
    finally:
        os._exit(1)


def _run(task: Task, channel: Channel, progress: Progress) -> None:
    world = World(-1, namespaces=task.namespaces, joins=task.joins)
    spare = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    progress.perform(task.enter, world)
    progress.step = "open the container's root"
    world.root = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    if task.console is not None:
        progress.perform((task.console,), world)
    null = devices.open_null(world, spare)
    if world.terminal:
        hand_over(channel, world, [])
    progress.step = "prepare stdio"
    finishing.wire_stdio(task.order, world.terminal[1] if world.terminal else -1, null)
    progress.perform(task.become, world)
    progress.step = "close descriptors"
    channel.move(finishing.keep_only(channel.fileno()))
    progress.step = "fork into the pid namespace"
    fork_apart(channel)
    progress.step = "start the program"
    finishing.finish(task.order, channel, ready=False)
