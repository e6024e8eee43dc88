"""The interpreter that zygote, shims and inits run from: a copy nobody can write to (the CVE-2019-5736 class: a
container that opens /proc/<pid>/exe of a process that joins it for writing, and so changes the program on the host).

Two ways, the second where memfds may not be executed (vm.memfd_noexec=2) or where an interpreter does not come up the
same from a memfd: a read-only detached clone of the file's mount. A re-executed interpreter must be the same as its
parent's in version, prefix and libpython; `facts` is what both sides compare.
"""

from __future__ import annotations

import os
import sys

from wharfie.kernel import memfd, mounts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def by_memfd() -> int:
    """A sealed memfd with a copy of the running interpreter. Raises OSError."""
    return memfd.copy("/proc/self/exe", "wharfie")


def by_tree() -> int:
    """The running interpreter's file on a read-only detached mount of its own. Raises OSError."""
    fd = mounts.open_tree(-100, os.readlink("/proc/self/exe"))
    try:
        mounts.mount_setattr(fd, "", set=mounts.MOUNT_ATTR_RDONLY)
    except BaseException:
        os.close(fd)
        raise
    return fd


def facts() -> dict[str, Any]:
    """What must be equal in parent and child. Pure of the interpreter's start flags."""
    library = _libpython()
    return {
        "version": sys.version,
        "base_prefix": sys.base_prefix,
        "stdlib": os.__file__,
        "code": os.path.dirname(os.path.dirname(os.path.abspath(__file__))),
        "libpython": list(library[1:]) if library else None,
    }


def differences(mine: dict[str, Any], theirs: dict[str, Any]) -> str:
    """"" when the interpreters are the same, else what differs, in words."""
    return "; ".join(f"{k} is {theirs.get(k)!r}, not {v!r}" for k, v in mine.items() if theirs.get(k) != v)


def environment() -> dict[str, str]:
    """The environment of the zygote. A build that finds its libpython relative to $ORIGIN would look beside the memfd,
    in /proc/self/fd: hence the directory of the one that is mapped here."""
    env = {"LANG": "C.UTF-8", "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
    library = _libpython()
    if library:
        env["LD_LIBRARY_PATH"] = os.path.dirname(library[0])
    for name in ("WHARFIE_KILL_POINT",):
        if name in os.environ:
            env[name] = os.environ[name]
    return env


def _libpython() -> tuple[str, int, int] | None:
    """(path, device, inode) of the libpython mapped into this process; None when it is linked in."""
    with open("/proc/self/maps", "rb") as f:
        for line in f:
            if b"/libpython" in line:
                path = os.fsdecode(line.split(None, 5)[5].rstrip(b"\n"))
                if not os.path.basename(path).startswith("libpython3.so"):
                    seen = os.stat(path)
                    return path, seen.st_dev, seen.st_ino
    return None
