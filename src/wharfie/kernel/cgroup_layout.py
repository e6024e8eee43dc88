"""Which cgroup hierarchies this host has, and where this process is in them (cgroups(7), proc_pid_mountinfo(5))."""

from __future__ import annotations

import os

from wharfie.base.value import Value

_CHUNK = 65536

# What a container gets a group in; others (net_cls, perf_event, rdma, hugetlb, named) only if a limit asks for them.
V1_CONTROLLERS = ("cpu", "cpuacct", "cpuset", "memory", "devices", "freezer", "blkio", "pids")
V1_ON_DEMAND = ("hugetlb",)
V2_CONTROLLERS = ("cpu", "cpuset", "io", "memory", "pids", "hugetlb")


class Hierarchy(Value):
    """One mounted v1 hierarchy: its controllers, its mount point, and the path of this process in it."""

    controllers: tuple[str, ...]
    mount: str
    own: str


class Layout(Value):
    """The cgroups of this host. `mode` is "v2", "v1", "hybrid" or "none"; `v2` is the mount point of the unified
    hierarchy or "", `v2_controllers` what it offers there."""

    mode: str
    v1: tuple[Hierarchy, ...] = ()
    v2: str = ""
    v2_own: str = ""
    v2_controllers: tuple[str, ...] = ()

    def hierarchy(self, controller: str) -> Hierarchy | None:
        """The v1 hierarchy that has a controller."""
        return next((h for h in self.v1 if controller in h.controllers), None)

    def has(self, controller: str) -> bool:
        """Whether a controller, in v1's or v2's word for it, is usable: "memory", "cpu", "pids", "cpuset", "io"."""
        if controller in ("blkio", "io"):
            return "io" in self.v2_controllers or self.hierarchy("blkio") is not None
        return controller in self.v2_controllers or self.hierarchy(controller) is not None


def detect(mountinfo: str = "/proc/self/mountinfo", own: str = "/proc/self/cgroup") -> Layout:
    """What is mounted and where this process is. Raises OSError when /proc cannot be read."""
    paths = _own_paths(own)
    v1: list[Hierarchy] = []
    v2 = ""
    with open(mountinfo, encoding="utf-8", errors="surrogateescape") as file:
        for line in file:
            left, _, right = line.partition(" - ")
            kind, _, options = [*right.split(" "), "", ""][:3]
            where = left.split(" ")[4].replace("\\040", " ")
            if kind == "cgroup2" and not v2:
                v2 = where
            elif kind == "cgroup":
                names = tuple(o for o in options.strip().split(",") if o in V1_CONTROLLERS + V1_ON_DEMAND)
                if names and not any(h.controllers == names for h in v1):
                    v1.append(Hierarchy(names, where, paths.get(names[0], "/")))
    offered = tuple(words(f"{v2}/cgroup.controllers")) if v2 else ()
    mode = ("hybrid" if v2 else "v1") if v1 else ("v2" if v2 else "none")
    return Layout(mode, tuple(v1), v2, paths.get("", "/") if v2 else "", offered)


def _own_paths(file: str) -> dict[str, str]:
    found: dict[str, str] = {}
    with open(file, encoding="utf-8", errors="surrogateescape") as lines:
        for line in lines:
            _, controllers, path = line.rstrip("\n").split(":", 2)
            for name in controllers.split(","):
                found[name] = path
    return found


_known: list[Layout] = []


def known() -> Layout:
    """`detect`, once for this process and those forked from it: what is mounted does not change under an engine. The
    paths of the process itself (`own`, `v2_own`) are those of the one that asked first."""
    if not _known:
        _known.append(detect())
    return _known[0]


def read(path: str) -> str:
    """A file of the kernel's whole, with half the calls of Python's own open. Only an empty read is its end."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        data = b""
        while part := os.read(fd, _CHUNK):
            data += part
    finally:
        os.close(fd)
    return data.decode("ascii", "replace")


def words(path: str) -> list[str]:
    try:
        return read(path).split()
    except FileNotFoundError:
        return []
