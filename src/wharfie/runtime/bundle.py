"""The values that go into the runtime and come out of it. `drivers.contract` passes them on as every driver's words."""

from __future__ import annotations

from wharfie.base.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wharfie.kernel import cgroups, overlay
    from wharfie.oci import spec as oci_spec


class Stdio(Value):
    """Fds that become 0, 1, 2 of the process; -1 is /dev/null. With a terminal all three are -1: the process gets the
    slave and the caller the master (`Process.console`). The caller keeps and closes its own copies."""

    stdin: int = -1
    stdout: int = -1
    stderr: int = -1


class Sandbox(Value):
    """The namespaces a container lives in, as fds made ahead. -1: made new when the spec lists the namespace, else
    the host's. Whoever made the sandbox closes its fds (`sandbox.close`)."""

    user: int = -1
    net: int = -1
    ipc: int = -1
    uts: int = -1
    pid: int = -1
    cgroup: int = -1


class Bundle(Value):
    """All that is needed to create a container.

    rootfs: fd of the detached mount that becomes `/`. It stays the caller's; init attaches that very mount, so after
        create the fd is the container's root as the container sees it.
    cgroup: made and limited already by the caller; on v2 the process is born in it. None: it stays in the caller's.
    seccomp: a compiled BPF program, or None for no filter.
    idmap: the map of the user namespace when `sandbox.user` is given.
    terminal_size: (height, width) for a console, (0, 0) = what the spec says.
    here: the kinds of namespaces that the process which becomes the container's first one has made, and is in, already.
    tied: the container is killed when the calling thread ends (the first net under a dying shim).
    """

    id: str
    spec: oci_spec.Spec
    rootfs: int
    sandbox: Sandbox = Sandbox()
    cgroup: cgroups.Cgroup | None = None
    seccomp: bytes | None = None
    idmap: overlay.IdMap | None = None
    terminal_size: tuple[int, int] = (0, 0)
    here: tuple[str, ...] = ()
    tied: bool = True


class Process(Value):
    """A process of a container. pid as the caller's pid namespace sees it; start_time is field 22 of /proc/pid/stat;
    console is the pty's master, or -1. Both fds are the caller's to close."""

    pid: int
    pidfd: int
    start_time: int
    console: int = -1


class Container(Value):
    """A created container as later calls need it: its first process, and its namespaces as fds by the specification's
    names ("pid", "mount", …; the host's are left out), sent by init itself since nobody may look them up later."""

    id: str
    process: Process
    namespaces: tuple[tuple[str, int], ...]
    cgroup: cgroups.Cgroup | None = None
    spec: oci_spec.Spec | None = None


class Created(Value):
    """The answer of create: the container, and the channel on which its init waits for start."""

    container: Container
    channel: int

    @property
    def process(self) -> Process:
        """The first process."""
        return self.container.process
