"""What this host is and can: facts for the engine and for `docker info`, and the cgroups of this engine."""

from __future__ import annotations

import os
import resource
import select
import time
from collections.abc import Callable
from typing import Any

from wharfie.engine import model, resources
from wharfie.kernel import caps, cgroups, walk

from .config import Config

GROUPS = ("engine", "shims", "containers")
LEAVE_SECONDS = 1.0
_PAUSE_SECONDS = 0.005
_MARK = "trusted.wharfie"  # on a directory above the base: an engine has made it, and the last one takes it along


class Groups:
    """The three cgroups of an engine: itself, its shims, its containers. `base` is their common parent; `usable` is
    false where this host has none that could be written, and `why` says so. `inhabited` is for the engine to set when
    containers live on without it."""

    def __init__(self, base: str, layout: cgroups.Layout) -> None:
        self.base = base
        self.layout = layout
        self.usable = layout.mode != "none"
        self.why = "" if self.usable else "this host has no control groups: no limit can be kept"
        self.inhabited = False

    def make(self) -> None:
        """Create them and move this process into its own, unless it is a service of systemd on v2: that finds what a
        service writes to the journal by its cgroup. What a killed engine or zygote left in them is removed. Call it
        while there is one thread only."""
        if not self.usable:
            return
        try:
            for name in ("engine", "shims"):
                self._group(name).prune()
            try:
                self._create()
            except FileNotFoundError:  # another engine has just taken the common parent along
                self._create()
            if not self._is_service():
                self._group("engine").join(os.getpid())
            if self.layout.mode == "v2":  # a root group that only this process lived in passes controllers down now
                self._group("containers").create()
        except OSError as error:
            self.leave()
            self.usable = False
            self.why = f"control groups cannot be used ({error}): no limit can be kept"

    def _create(self) -> None:
        lacking = [d for group in self._above() for d in group.directories if not os.path.isdir(d)]
        try:
            for name in GROUPS:
                self._group(name).create()
        finally:
            for directory in lacking:
                _mark(directory)

    def _group(self, name: str) -> cgroups.Cgroup:
        return cgroups.Cgroup(f"{self.base}/{name}", self.layout)

    def _above(self) -> list[cgroups.Cgroup]:
        """The groups above the base, the deepest first; not the root."""
        above, path = [], os.path.dirname(self.base)
        while path != "/":
            above.append(cgroups.Cgroup(path, self.layout))
            path = os.path.dirname(path)
        return above

    def _is_service(self) -> bool:
        """systemd.exec(5), SYSTEMD_EXEC_PID: this process is the one that systemd has executed."""
        executed = os.environ.get("SYSTEMD_EXEC_PID") == str(os.getpid())
        return executed and self.layout.mode == "v2" and self.layout.v2_own.endswith(".service")

    def leave(self) -> None:
        """At the end: go back to where this process came from, and remove the groups if nobody is in them, and the
        groups above them that an engine has made. Zygote and shims that are just ending are waited for, LEAVE_SECONDS
        at most, unless containers live on."""
        if not self.usable:
            return
        for mount, own in [(h.mount, h.own) for h in self.layout.v1] + [(self.layout.v2, self.layout.v2_own)]:
            if mount:
                _go_back(mount, own)
        inhabited = self.inhabited or self._group("containers").populated()
        limit = time.monotonic() + (0 if inhabited else LEAVE_SECONDS)
        self._wait(limit)
        for name in GROUPS[:2] if inhabited else GROUPS:  # a group of a container may be empty and about to be entered
            self._group(name).prune(max(0.0, limit - time.monotonic()))
        for directory in cgroups.Cgroup(self.base, self.layout).directories:
            _rmdir(directory)
        for group in self._above():
            for directory in group.directories:
                if _is_marked(directory):
                    _rmdir(directory)

    def _wait(self, limit: float) -> None:
        """Until no other process is in the groups, or `limit` (monotonic) is over."""
        base = cgroups.Cgroup(self.base, self.layout)
        while (pids := [pid for pid in base.pids() if pid != os.getpid()]) and time.monotonic() < limit:
            poll, fds = select.poll(), []
            try:
                for pid in pids:
                    try:
                        fds.append(os.pidfd_open(pid))
                    except OSError:
                        continue  # it has gone meanwhile
                    poll.register(fds[-1], select.POLLIN)
                if fds:
                    poll.poll(max(0.0, limit - time.monotonic()) * 1000)
            finally:
                for fd in fds:
                    os.close(fd)
            time.sleep(_PAUSE_SECONDS)  # the dead leave their group a moment after they are said to be dead

    @property
    def containers(self) -> str:
        """The parent of every container's group; "" without cgroups."""
        return f"{self.base}/containers" if self.usable else ""

    def shim_files(self) -> list[str]:
        """Where the zygote's pid is written."""
        if not self.usable:
            return []
        files = cgroups.Cgroup(f"{self.base}/shims", self.layout).procs_files()
        return [f.replace("/tasks", "/cgroup.procs") for f in files]

    def sweep(self, alive: Callable[[str], bool], log: Callable[[str], None]) -> None:
        """Remove groups of containers that are gone, whatever is in them."""
        if not self.usable:
            return
        names: set[str] = set()
        parent = cgroups.Cgroup(self.containers, self.layout)
        for directory in parent.directories:
            try:
                names |= {e.name for e in os.scandir(directory) if e.is_dir(follow_symlinks=False)}
            except OSError:
                continue
        for name in sorted(names):
            if alive(name):
                continue
            group = cgroups.Cgroup(f"{self.containers}/{name}", self.layout)
            try:
                if group.populated():
                    group.kill()
                group.delete()
            except OSError as error:
                log(f"the cgroup of the gone container {name[:12]} could not be removed: {error}")


def _go_back(mount: str, own: str) -> None:
    """This process into the group `own` of a hierarchy, or into the nearest above it when that is gone."""
    at = own.rstrip("/")
    while True:
        try:
            with open(f"{mount}{at}/cgroup.procs", "w", encoding="ascii") as file:
                file.write(str(os.getpid()))
            return
        except FileNotFoundError:
            if not at:
                return
        except OSError:
            return  # we stay, and so does our directory
        at = at.rpartition("/")[0]


def _mark(directory: str) -> None:
    try:
        os.setxattr(directory, _MARK, b"made")
    except OSError:
        pass  # not made after all, or no such attributes here: it will stay


def _is_marked(directory: str) -> bool:
    try:
        return os.getxattr(directory, _MARK) == b"made"
    except OSError:
        return False


def _rmdir(directory: str) -> None:
    try:
        os.rmdir(directory)
    except OSError:
        pass  # somebody lives there, or it is gone


def groups(config: Config, instance: str) -> Groups:
    """The groups of the engine `instance`."""
    parent = f"/{config.cgroup_parent}" if config.cgroup_parent else ""
    return Groups(f"{parent}/wharfie-{instance}", cgroups.detect())


def facts(found: Groups) -> resources.Host:
    """What limits can be kept here, and what this engine lacks."""
    name = os.uname()
    major, _, rest = name.release.partition(".")
    minor = rest.partition(".")[0].partition("-")[0]
    group = cgroups.Cgroup(found.containers, found.layout) if found.usable else None
    given = group.given() if group is not None else ()
    held = caps.bounding() & caps.capget().permitted
    return resources.Host(
        cpus=len(os.sched_getaffinity(0)), processors=_text("/sys/devices/system/cpu/online"),
        nodes=_text("/sys/devices/system/node/online"), machine=name.machine, kernel=(int(major), int(minor)),
        memory="memory" in given, swap=group is not None and group.limits_swap(), cpu="cpu" in given,
        cpuset="cpuset" in given, pids="pids" in given, devices="devices" in given, cgroup_mode=found.layout.mode,
        cgroup_base=found.containers, apparmor=_apparmor(),
        withheld=tuple(c for n, c in enumerate(caps.NAMES) if n <= caps.last_cap() and not held >> n & 1),
    )


def _apparmor() -> bool:
    return _text("/sys/module/apparmor/parameters/enabled") == "Y"


def _text(path: str) -> str:
    """The line of a file of sysfs; "" when there is none."""
    try:
        with open(path, encoding="ascii") as file:
            return file.readline().strip()
    except OSError:
        return ""


def shortcomings(here: resources.Host) -> list[str]:
    """What of Docker's protection or promises cannot be kept on this host: for the log and for `docker info`."""
    out = []
    if here.withheld:
        out.append(f"this engine runs without {', '.join(here.withheld)}: no container can have "
                   f"{'it' if len(here.withheld) == 1 else 'them'}")
    if "CAP_SYS_RESOURCE" in here.withheld:
        out.append("without CAP_SYS_RESOURCE a ulimit above the engine's hard limit and an oom score below the "
                   "engine's are refused")
    if not here.devices:
        out.append("no cgroup keeps device rules here: containers that are not privileged run without CAP_MKNOD")
    if here.apparmor:
        out.append("AppArmor is enabled on this host and is not used: containers run with the engine's own profile, no "
                   "docker-default is applied")
    return out


def raise_open_files() -> tuple[model.Ulimit, ...]:
    """Let this process hold a link to every shim: its soft limit of open files becomes the hard one. Containers are to
    have what there was before, so that is given back as their default ulimit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == hard:
        return ()
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return (model.Ulimit(name="nofile", soft=soft, hard=hard),)


def read_file(rootfs: int, path: str, limit: int) -> bytes:
    """A regular file of a container by a walk that stays inside its root; b"" when there is none or it is something
    else (a fifo would hold us up, a device could be anything)."""
    try:
        fd = walk.open_in_root(rootfs, path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError:
        return b""
    try:
        if not os.path.isfile(f"/proc/self/fd/{fd}"):
            return b""
        with open(fd, "rb", closefd=False) as file:
            return file.read(limit)
    except OSError:
        return b""
    finally:
        os.close(fd)


def info(config: Config, here: resources.Host, instance: str, warnings: list[str]) -> dict[str, Any]:
    """What the engine adds to GET /info."""
    limits = {
        "MemoryLimit": here.memory, "SwapLimit": here.swap, "CpuCfsPeriod": here.cpu, "CpuCfsQuota": here.cpu,
        "CPUShares": here.cpu, "CPUSet": here.cpuset, "PidsLimit": here.pids,
    }
    missing = [f"WARNING: No {name} support" for name, able in (
        ("memory limit", here.memory), ("swap limit", here.swap), ("cpu cfs quota", here.cpu), ("cpuset", here.cpuset),
        ("pids limit", here.pids), ("device cgroup", here.devices)) if not able]
    pools = [{"Base": base, "Size": size} for base, size in config.network.default_address_pools]
    return {
        "ID": instance, "DockerRootDir": config.data_root, "CgroupDriver": "cgroupfs" if here.cgroup_base else "none",
        "CgroupVersion": "2" if here.cgroup_mode == "v2" else "1", "LoggingDriver": config.log_driver,
        "Debug": config.debug, "Warnings": missing + [f"WARNING: {w}" for w in warnings],
        "DefaultAddressPools": pools, "NCPU": here.cpus,
        "SecurityOptions": ["name=seccomp,profile=builtin", "name=cgroupns"], **limits,
    }
