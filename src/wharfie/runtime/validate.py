"""Whether a bundle can be run at all: contradictions, what this runtime does not do yet, what would be a hole. Pure;
every refusal names the key."""

from __future__ import annotations

import functools
import os

from wharfie.base import errors

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wharfie.oci import spec as oci_spec

    from .bundle import Bundle

# Single files of procfs that lxcfs and its like may cover; everything else below /proc is refused (CVE-2019-16884).
PROC_PLACES = frozenset((
    "/proc/cpuinfo", "/proc/diskstats", "/proc/meminfo", "/proc/stat", "/proc/swaps", "/proc/uptime", "/proc/loadavg",
    "/proc/slabinfo", "/proc/sys/kernel/ns_last_pid", "/proc/sys/crypto/fips_enabled",
))

_IPC_SYSCTLS = frozenset(("msgmax", "msgmnb", "msgmni", "sem", "shmall", "shmmax", "shmmni", "shm_rmid_forced"))
_PROPAGATIONS = ("", "private", "rprivate", "slave", "rslave", "shared", "rshared", "unbindable", "runbindable")


def check(bundle: Bundle) -> None:
    """Raises Invalid, or Unsupported for what a later version may do."""
    spec = bundle.spec
    if spec.process is None:
        raise errors.Invalid("runtime spec: $.process: is required to create a container", name="$.process")
    _namespaces(bundle)
    check_process(spec.process)
    for mount in spec.mounts:
        _mount(mount)
    for name, value in spec.linux.sysctl:
        sysctl(name, value, spec)
    if spec.linux.rootfs_propagation not in _PROPAGATIONS:
        raise errors.Invalid(f"runtime spec: $.linux.rootfsPropagation: unknown {spec.linux.rootfs_propagation!r}")
    if spec.linux.mount_label:
        raise _later("$.linux.mountLabel", "SELinux labels")
    hooks = spec.hooks
    if any(getattr(hooks, field) for field in hooks.asdict()):
        raise _later("$.hooks", "hooks")
    if (spec.hostname or spec.domainname) and spec.linux.namespace("uts") is None:
        raise errors.Invalid("runtime spec: $.hostname: needs a uts namespace of its own", name="$.hostname")


def check_process(process: oci_spec.Process) -> None:
    """The part that exec shares. Raises Invalid or Unsupported."""
    if process.apparmor_profile not in ("", "unconfined"):
        raise _later("$.process.apparmorProfile", "AppArmor profiles")
    if process.selinux_label:
        raise _later("$.process.selinuxLabel", "SELinux labels")


def _later(path: str, what: str) -> errors.Unsupported:
    return errors.Unsupported(f"runtime spec: {path}: {what} are not supported yet", name=path)


def _namespaces(bundle: Bundle) -> None:
    linux, sandbox = bundle.spec.linux, bundle.sandbox
    if linux.namespace("mount") is None or linux.namespace("mount").path:  # type: ignore[union-attr]
        raise errors.Invalid("runtime spec: $.linux.namespaces: a new mount namespace is required")
    if linux.namespace("time") is not None:
        raise _later("$.linux.namespaces", "time namespaces")
    user = linux.namespace("user")
    if user is not None and not user.path and sandbox.user < 0:
        raise errors.Invalid("a new user namespace has to be made ahead, by sandbox.make")
    if sandbox.user >= 0 and bundle.idmap is None:
        raise errors.Invalid("a bundle with a user namespace needs its id map")


def _mount(mount: oci_spec.Mount) -> None:
    where = normal(mount.destination)
    if where == "/":
        raise errors.Invalid("a mount at / would hide the container's root", name=where)
    if where == "/proc" and mount.type != "proc" and normal(mount.source or "/") != "/proc":
        raise errors.Invalid("only a procfs may be mounted at /proc", name=where)
    if where.startswith("/proc/") and where not in PROC_PLACES:
        raise errors.Invalid(f"{where} is inside /proc, where nothing may be mounted", name=where)
    if mount.uid_mappings or mount.gid_mappings:
        raise errors.Unsupported(f"mount at {where}: id-mapped mounts are not supported yet", name=where)


@functools.lru_cache(256)
def normal(path: str) -> str:
    """An absolute path without ".", "..", double and trailing slashes; ".." at the root stays there."""
    return os.path.normpath("/" + path.lstrip("/"))


def sysctl(name: str, value: str, spec: oci_spec.Spec) -> tuple[str, ...]:
    """The components below /proc/sys of a kernel parameter that belongs to a namespace of the container's own; as in
    sysctl(8) the first separator, dot or slash, decides which one it is. Raises Invalid."""
    dot, slash = name.find("."), name.find("/")
    separator = "/" if slash >= 0 and (dot < 0 or slash < dot) else "."
    parts = tuple(name.split(separator))
    if separator == ".":
        parts = tuple(part.replace("/", ".") for part in parts)
    if any(part in ("", ".", "..") for part in parts) or "\n" in value or "\n" in name:
        raise errors.Invalid(f"sysctl {name!r}: no such name, or a line break in its value", name=name)
    kind = _owner(parts)
    row = spec.linux.namespace(kind) if kind else None
    if not kind:
        raise errors.Invalid(f'sysctl "{name}" is not in a separate kernel namespace', name=name)
    if row is None:
        raise errors.Invalid(f'sysctl "{name}" needs a {kind} namespace of its own', name=name)
    return parts


def _owner(parts: tuple[str, ...]) -> str:
    """The kind of namespace a kernel parameter belongs to, "" for none."""
    if parts[0] == "net":
        return "network"
    if parts[:2] == ("fs", "mqueue") or (parts[0] == "kernel" and len(parts) == 2 and parts[1] in _IPC_SYSCTLS):
        return "ipc"
    return "uts" if parts == ("kernel", "domainname") else ""
