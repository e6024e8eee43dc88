"""Control groups: what this host has (v2, v1, hybrid, none), and one container's group in every hierarchy.

    detect() → Layout → Cgroup(path, layout): create → apply → (open_joins, open_dir: the process enters)
             → stats, freeze, thaw, kill → delete

Entering is dear when done from outside: a write to `cgroup.procs` makes the kernel wait for an RCU period (6 ms). A
single thread writing "0" to v1's `tasks` for itself does not (0.05 ms), nor does CLONE_INTO_CGROUP on v2. Hence
`open_joins` (the parent opens, the new process writes) beside `join`.

On hybrid hosts the v2 hierarchy has no controllers, and is used all the same for what needs none: cgroup.kill and
freezing.
"""

from __future__ import annotations

import errno
import os
import select
import time

from . import bpf, cgroup_files, cgroup_limits, cgroup_stats
from .cgroup_layout import V2_CONTROLLERS, Hierarchy, Layout, detect, known, read, words
from .process import kill_pidfd, pidfd_open
from .syscalls import error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Any

__all__ = ["Cgroup", "Hierarchy", "Layout", "detect", "join_by", "known"]

_PATIENCE = 5.0


def join_by(fds: Iterable[int]) -> None:
    """Enter the groups whose files `open_joins` opened. For a single-threaded process, as the first thing it does."""
    for fd in fds:
        os.write(fd, b"0")


class Cgroup:
    """The group `path` ("/wharfie-<instance>/containers/<id>") below the root of every hierarchy. Making the object
    touches nothing."""

    def __init__(self, path: str, layout: Layout | None = None) -> None:
        if not path.startswith("/") or ".." in path.split("/"):
            raise error(errno.EINVAL, path)
        self.path = path.rstrip("/")
        self.layout = layout if layout is not None else known()
        self.v2 = self.layout.v2 + self.path if self.layout.v2 else ""
        self.v1 = {c: h.mount + self.path for h in self.layout.v1 for c in h.controllers}

    def __repr__(self) -> str:
        return f"Cgroup({self.path!r}, {self.layout.mode})"

    @property
    def directories(self) -> list[str]:
        """Every directory of the group, each once; v2 first."""
        return [d for d in dict.fromkeys([self.v2, *self.v1.values()]) if d]

    def create(self) -> None:
        """Make the directories, with the controllers enabled on the way down. Parents stay as they are; an empty group
        of this name, left by a former life, is made anew: it has limits of then, and a v2 group that was ever killed
        kills what is cloned into it (Linux 5.14 to at least 6.18 compares it with the kills of the parent's group). In
        a hybrid world a v2 hierarchy that cannot be written is done without. Raises OSError."""
        self.cradle()
        self.furnish()

    def cradle(self) -> None:
        """The first half of create: what a process can be born in, the v2 directory."""
        if not self.v2:
            return
        try:
            cgroup_files.mkdir(self.v2, anew=True)  # the usual case: an earlier group has made the parents
        except OSError:
            self._create_v2(self._levels())

    def furnish(self) -> None:
        """The second half: v2's controllers, and what a process enters by itself, the directories of v1."""
        levels = self._levels()
        if self.v2:
            self._create_v2(levels)
        for hierarchy in self.layout.v1:
            todo = levels[1:]
            if os.path.isdir(hierarchy.mount + levels[-2]):
                todo = todo[-1:]  # the usual case: parents exist
            for level in todo:
                made = cgroup_files.mkdir(hierarchy.mount + level, anew=level == self.path)
                if made and "cpuset" in hierarchy.controllers:
                    cgroup_files.copy_cpuset(hierarchy.mount + level)

    def _levels(self) -> list[str]:
        """Every group on the way, from "" on."""
        levels = [""]
        for part in self.path.strip("/").split("/"):
            levels.append(f"{levels[-1]}/{part}")
        return levels

    def _create_v2(self, levels: Sequence[str]) -> None:
        wanted = [c for c in V2_CONTROLLERS if c in self.layout.v2_controllers]
        root = self.layout.v2
        passed_down = words(f"{root}{levels[-2]}/cgroup.subtree_control")
        try:
            if passed_down and all(c in passed_down for c in wanted):
                cgroup_files.mkdir(root + self.path, anew=True)  # the usual case, as in cradle
                return
            for at, level in enumerate(levels[1:]):
                if wanted:
                    cgroup_files.enable(root + levels[at], wanted)
                cgroup_files.mkdir(root + level, anew=level == self.path)
        except OSError:
            if self.layout.mode != "hybrid":
                raise
            self.v2 = ""

    def procs_files(self) -> list[str]:
        """The files a process writes "0" to, for itself, to enter: `tasks` on v1, `cgroup.procs` on v2."""
        files = [f"{d}/tasks" for d in dict.fromkeys(self.v1.values())]
        return [f"{self.v2}/cgroup.procs", *files] if self.v2 else files

    def open_joins(self, *, v2: bool = False) -> list[int]:
        """Those files opened for `join_by` in a child, v2's left out unless asked (clone3 with `open_dir` is the way
        there). A hierarchy without the group is skipped. The caller closes them."""
        fds: list[int] = []
        try:
            for path in self.procs_files():
                if path.endswith("tasks") or v2:
                    fds.append(os.open(path, os.O_WRONLY | os.O_CLOEXEC))
        except OSError:
            for fd in fds:
                os.close(fd)
            raise
        return fds

    def open_dir(self) -> int:
        """The v2 directory as an fd for CLONE_INTO_CGROUP, -1 where there is none."""
        return os.open(self.v2, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC) if self.v2 else -1

    def join(self, pid: int = 0) -> None:
        """Move a process (0: this one, which must be single-threaded on v1) into the group. Raises OSError."""
        for path in self.procs_files():
            cgroup_files.write(path.replace("/tasks", "/cgroup.procs") if pid else path, str(pid))

    def apply(self, resources: Mapping[str, Any]) -> None:
        """Set the limits of an OCI `linux.resources`, devices included. Raises OSError: EOPNOTSUPP naming the limit
        that this host cannot keep, else what the kernel says to a value."""
        for write in cgroup_limits.plan(resources, self.layout.has, unified=self._unified):
            self._perform(write)
        devices = resources.get("devices")
        if devices:
            self.devices(devices)

    def _unified(self, controller: str) -> bool:
        return ("io" if controller == "blkio" else controller) in self.layout.v2_controllers

    def _perform(self, write: cgroup_limits.Write) -> None:
        base = self.v2 if write.unified else self.v1.get(write.controller, "")
        if not base:
            raise error(errno.EOPNOTSUPP, detail=f"{write.what} cannot be kept: no {write.controller} controller")
        path = f"{base}/{write.file}"
        try:
            cgroup_files.write(path, write.value)
        except FileNotFoundError:
            if write.optional:
                return
            raise error(errno.EOPNOTSUPP, path, f"{write.what} cannot be kept: the kernel lacks it") from None

    def devices(self, rules: Sequence[Mapping[str, Any]]) -> None:
        """Allow and deny devices by the OCI's rules, the last match winning: devices.allow/deny on v1, a BPF program
        on v2. Raises OSError."""
        if "devices" in self.v1:
            cgroup_files.write_lines(self.v1["devices"], cgroup_limits.device_lines(rules))
        elif self.v2:
            fd = self.open_dir()
            try:
                bpf.replace_device_program(fd, bpf.device_program(rules))
            finally:
                os.close(fd)
        elif not all(r.get("allow") for r in rules):
            raise error(errno.EOPNOTSUPP, detail="device rules cannot be kept: no devices controller")

    def given(self) -> tuple[str, ...]:
        """What a group made below this one can be limited by, in v2's words: the controllers that v2's parents have
        passed down to here, those of v1, and "devices" (a BPF program on v2). The group must exist."""
        v2 = words(f"{self.v2}/cgroup.controllers") if self.v2 else []
        found = [*v2, *("io" if c == "blkio" else c for c in self.v1), *(["devices"] if self.v2 else [])]
        return tuple(dict.fromkeys(found))

    def limits_swap(self) -> bool:
        """Whether swap can be limited (kernels can be built or booted without it). The group must exist."""
        if "memory" in self.v1:
            return os.path.exists(f"{self.v1['memory']}/memory.memsw.limit_in_bytes")
        return bool(self.v2) and os.path.exists(f"{self.v2}/memory.swap.max")

    def pids(self) -> list[int]:
        """Every process in the group and below it, as this process's pid namespace numbers them."""
        found: dict[int, None] = {}
        # A process is in all hierarchies or, when its start broke off half way, in some: v2 and one of v1 are asked.
        for directory in dict.fromkeys([self.v2, *list(self.v1.values())[:1]]):
            for below in cgroup_files.tree(directory):
                for word in words(f"{below}/cgroup.procs"):
                    found[int(word)] = None
        return [pid for pid in found if pid > 0]

    def populated(self) -> bool:
        """Whether any process is in the group or below it."""
        return bool(self.pids())

    def kill(self) -> None:
        """SIGKILL to every process of the group; returns at once (they end soon). Atomic where cgroup.kill is
        (Linux 5.14), elsewhere frozen first, then one by one by pidfd. Raises OSError."""
        if self.v2 and os.path.exists(f"{self.v2}/cgroup.kill"):
            cgroup_files.write(f"{self.v2}/cgroup.kill", "1")
            if self.v1:
                self._kill_each()  # who is in v1's group only
            return
        try:
            self.freeze(patience=0.2)
        except OSError:
            pass  # only a help against forks in between; the loop repeats
        try:
            for _ in range(64):
                if not self._kill_each():
                    break
        finally:
            self.thaw()

    def _kill_each(self) -> bool:
        """Kill by pidfd what is there; whether there was anything not yet hit. The group is read again after a pidfd is
        opened: a pid that is still in it then is the process meant."""
        fds: dict[int, int] = {}
        for pid in self.pids():
            try:
                fds[pid] = pidfd_open(pid)
            except OSError:
                pass
        again = set(self.pids())
        hit = [kill_pidfd(fd) for pid, fd in fds.items() if pid in again]
        for fd in fds.values():
            os.close(fd)
        return bool(again - fds.keys()) or (any(hit) and not os.path.exists(f"{self.v1.get('freezer', '')}/tasks"))

    def freeze(self, patience: float = _PATIENCE) -> None:
        """Stop every process of the group and wait until they have stopped. Raises OSError: ETIMEDOUT (then thawed
        again), EOPNOTSUPP without a freezer."""
        limit = time.monotonic() + patience
        while not self.begin_freeze():
            if time.monotonic() > limit:
                self.thaw()
                raise error(errno.ETIMEDOUT, detail=f"{self.path} did not freeze within {patience:g} s")
            select.select([], [], [], 0.002)

    def begin_freeze(self) -> bool:
        """Tell every process of the group to stop; whether they all have. Does not wait: to be called again until it
        is so (v1 needs telling again, too). Raises OSError: EOPNOTSUPP without a freezer."""
        if self._freezer_v2():
            if read(f"{self.v2}/cgroup.freeze").strip() != "1":
                cgroup_files.write(f"{self.v2}/cgroup.freeze", "1")
        elif "freezer" in self.v1:
            cgroup_files.write(f"{self.v1['freezer']}/freezer.state", "FROZEN")
        else:
            raise error(errno.EOPNOTSUPP, detail="pausing needs a cgroup freezer")
        return self.is_frozen()

    def thaw(self) -> None:
        """Let them run again; nothing happens when they do. Raises OSError."""
        if self._freezer_v2():
            cgroup_files.write(f"{self.v2}/cgroup.freeze", "0")
        elif "freezer" in self.v1:
            cgroup_files.write(f"{self.v1['freezer']}/freezer.state", "THAWED")

    def is_frozen(self) -> bool:
        """Whether every process has stopped."""
        if self._freezer_v2():
            return "frozen 1" in read(f"{self.v2}/cgroup.events")
        return "freezer" in self.v1 and read(f"{self.v1['freezer']}/freezer.state").strip() == "FROZEN"

    def _freezer_v2(self) -> bool:
        return bool(self.v2) and os.path.exists(f"{self.v2}/cgroup.freeze")

    def stats(self) -> dict[str, Any]:
        """Usage numbers now (cgroup_stats says which)."""
        return cgroup_stats.collect(self.v2, self.v1, self.layout.v2_controllers)

    def oom_count(self) -> int:
        """How many processes of the group the kernel has killed for want of memory; 0 where it does not count."""
        return cgroup_stats.oom_kills(self.v2, self.v1)

    def exists(self) -> bool:
        """Whether any directory of the group is there."""
        return any(os.path.isdir(d) for d in self.directories)

    def delete(self, patience: float = 2.0) -> None:
        """Remove the group and groups made below it; gone is fine. A group stays busy until its dead processes are
        reaped, so EBUSY is tried again for `patience` seconds. Raises OSError."""
        limit = time.monotonic() + patience
        for directory in self.directories:
            for one in reversed(cgroup_files.tree(directory)):
                cgroup_files.rmdir(one, limit)

    def prune(self, patience: float = 0.0) -> bool:
        """Remove what nobody is in of the group and of groups made below it; whether nothing is left of it now. What is
        in use is tried again for `patience` seconds, all together."""
        limit, all_gone = time.monotonic() + patience, True
        for directory in self.directories:
            for one in reversed(cgroup_files.tree(directory)):
                try:
                    cgroup_files.rmdir(one, limit)
                except OSError:
                    all_gone = False
        return all_gone
