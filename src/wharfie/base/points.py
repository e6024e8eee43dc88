"""Kill points: named places in create and start where a test may end the process, to prove that whatever remains is
found again and cleaned. In ordinary runs `reach` is one comparison.

The table is the list the fault test walks; a name that is not in it cannot be reached, so a new step without its row
fails at once.
"""

from __future__ import annotations

import os
import signal
import time

POINTS: tuple[str, ...] = (
    # engine: create
    "engine.create.checked", "engine.create.snapshot", "engine.create.volumes", "engine.create.recorded",
    # engine: start
    "engine.start.directory", "engine.start.forked", "engine.start.prepared", "engine.start.spec",
    "engine.start.networked", "engine.start.started", "engine.start.recorded",
    # zygote
    "zygote.fork.asked", "zygote.fork.forked", "zygote.fork.answered",
    # shim
    "shim.born", "shim.locked", "shim.init.cloned", "shim.sandbox.made", "shim.rootfs.made", "shim.create.asked",
    "shim.cgroup.made", "shim.init.ready", "shim.start.asked", "shim.start.answered", "shim.exit.reaped",
    "shim.exit.recorded",
    # init
    "init.born", "init.mounted", "init.pivoted", "init.dropped",
)

_armed = os.environ.get("WHARFIE_KILL_POINT", "")
_held = os.environ.get("WHARFIE_HOLD_POINT", "")
HOLD_SECONDS = 1.5


def reach(name: str) -> None:
    """Say that this process has come to the place `name`. A test that has armed it ends the process there; one that
    holds it makes the process wait there, so that another one can be ended meanwhile."""
    if not _armed and not _held:
        return
    if name not in POINTS:
        raise AssertionError(f"kill point {name!r} is not in base.points.POINTS")
    if name == _held:
        time.sleep(HOLD_SECONDS)
    if name == _armed:
        # pid 1 of a pid namespace cannot kill itself (the kernel drops the signal): leave with the same status.
        if os.getpid() == 1:
            os._exit(128 + signal.SIGKILL)
        os.kill(os.getpid(), signal.SIGKILL)
