"""The values of an OCI runtime spec (config.json, runtime-spec 1.2): frozen, complete, with the defaults filled in.

Names are the specification's, in Python's spelling. What only the kernel room reads (resources, the seccomp profile)
stays the document's own dict.
"""

from __future__ import annotations

from wharfie.base.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Root(Value):
    """`root`: the file system that becomes `/`."""

    path: str = ""
    readonly: bool = False


class User(Value):
    """`process.user`, numbers only (the engine looks names up in the image's own files)."""

    uid: int = 0
    gid: int = 0
    umask: int | None = None
    additional_gids: tuple[int, ...] = ()


class Capabilities(Value):
    """`process.capabilities`: five sets of names as the kernel writes them, "CAP_NET_RAW"."""

    bounding: tuple[str, ...] = ()
    effective: tuple[str, ...] = ()
    inheritable: tuple[str, ...] = ()
    permitted: tuple[str, ...] = ()
    ambient: tuple[str, ...] = ()


class Rlimit(Value):
    """One row of `process.rlimits`; type is "RLIMIT_NOFILE" and so on, values as the kernel takes them."""

    type: str
    soft: int
    hard: int


class Process(Value):
    """`process`. console_size is (height, width), (0, 0) when not given; capabilities None means: leave as they are."""

    args: tuple[str, ...]
    cwd: str = "/"
    env: tuple[str, ...] = ()
    terminal: bool = False
    console_size: tuple[int, int] = (0, 0)
    user: User = User()
    capabilities: Capabilities | None = None
    rlimits: tuple[Rlimit, ...] = ()
    no_new_privileges: bool = False
    oom_score_adj: int | None = None
    apparmor_profile: str = ""
    selinux_label: str = ""


class Mount(Value):
    """One row of `mounts`."""

    destination: str
    type: str = ""
    source: str = ""
    options: tuple[str, ...] = ()
    uid_mappings: tuple[tuple[int, int, int], ...] = ()
    gid_mappings: tuple[tuple[int, int, int], ...] = ()


class Namespace(Value):
    """One row of `linux.namespaces`; path "" means a new one."""

    type: str
    path: str = ""


class Device(Value):
    """One row of `linux.devices`; mode is permission bits, None = 0666."""

    path: str
    type: str
    major: int = 0
    minor: int = 0
    mode: int | None = None
    uid: int = 0
    gid: int = 0


class Linux(Value):
    """`linux`. Mappings are (inside, outside, count)."""

    namespaces: tuple[Namespace, ...] = ()
    uid_mappings: tuple[tuple[int, int, int], ...] = ()
    gid_mappings: tuple[tuple[int, int, int], ...] = ()
    devices: tuple[Device, ...] = ()
    cgroups_path: str = ""
    resources: dict[str, Any] | None = None
    sysctl: tuple[tuple[str, str], ...] = ()
    seccomp: dict[str, Any] | None = None
    rootfs_propagation: str = ""
    masked_paths: tuple[str, ...] = ()
    readonly_paths: tuple[str, ...] = ()
    mount_label: str = ""

    def namespace(self, kind: str) -> Namespace | None:
        """The row for "pid", "network", "ipc", "uts", "mount", "cgroup", "user", "time"; None: shared with the host."""
        for row in self.namespaces:
            if row.type == kind:
                return row
        return None


class Hook(Value):
    """One program of `hooks`; timeout in seconds, 0 = none."""

    path: str
    args: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    timeout: int = 0


class Hooks(Value):
    """`hooks`, by the moment they run at."""

    prestart: tuple[Hook, ...] = ()
    create_runtime: tuple[Hook, ...] = ()
    create_container: tuple[Hook, ...] = ()
    start_container: tuple[Hook, ...] = ()
    poststart: tuple[Hook, ...] = ()
    poststop: tuple[Hook, ...] = ()


class Spec(Value):
    """The whole document."""

    oci_version: str
    root: Root = Root()
    process: Process | None = None
    hostname: str = ""
    domainname: str = ""
    mounts: tuple[Mount, ...] = ()
    linux: Linux = Linux()
    hooks: Hooks = Hooks()
    annotations: tuple[tuple[str, str], ...] = ()
