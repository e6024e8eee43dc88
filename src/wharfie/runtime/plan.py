"""From a bundle to a list of operations. Pure: decides everything, touches nothing; --explain prints `describe`.

Three ways to begin. Directly: the process was cloned into its new pid namespace and makes the others by itself. With a
user namespace: a middle process enters it, makes the others inside and forks early; its child, alone in its new pid
namespace, does the rest. With a pid namespace shared with others: the middle process does all of the work
outside and forks at the very end, so that whoever is visible there never holds more than the container.
"""

from __future__ import annotations

import stat

from wharfie.base import errors
from wharfie.base.value import Value
from wharfie.kernel import caps

from . import devices, entering, identity, mounting, options, shielding, validate

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wharfie.kernel import cgroups, overlay
    from wharfie.oci import spec as oci_spec

    from .bundle import Bundle
    from .operation import Operation

_DEFAULT_NODES = (("null", 3), ("zero", 5), ("full", 7), ("random", 8), ("urandom", 9))
_KINDS = {"c": stat.S_IFCHR, "u": stat.S_IFCHR, "b": stat.S_IFBLK, "p": stat.S_IFIFO}


class Tree(Value):
    """Something of the host that the parent opens as a detached mount: a bind, or a device node that must be
    `device` (kind, major, minor)."""

    source: str
    options: options.Options
    device: tuple[int, int, int] | None = None


class Plan(Value):
    """What init does, in order: it opens `trees`, performs `enter`, `build`, `pivot`, `become`; then the process itself
    is finished (`finishing`). `here`: the kinds of namespaces it is in from the start."""

    here: tuple[str, ...]
    fork: str  # "", "early" (after enter), "late" (after become)
    trees: tuple[Tree, ...]
    enter: tuple[Operation, ...]
    build: tuple[Operation, ...]
    pivot: tuple[Operation, ...]
    become: tuple[Operation, ...]

    def describe(self) -> list[str]:
        """One line a step."""
        lines = [f"clone a process{' with new namespaces: ' + ', '.join(self.here) if self.here else ''}"]
        lines += [f"open {tree.source} of the host" for tree in self.trees]
        lines += [op.describe() for op in self.enter]
        if self.fork == "early":
            lines.append("fork into the pid namespace")
        lines += [op.describe() for op in (*self.build, *self.pivot, *self.become)]
        if self.fork == "late":
            lines.append("fork into the pid namespace")
        return [*lines, "find the program", "wait for start", "execute it"]


def make(bundle: Bundle, ahead: dict[str, int], layout: cgroups.Layout | None) -> Plan:
    """The plan. `ahead` has the kinds of namespaces that exist already (their fds count only as present), `layout` the
    host's cgroups. The bundle has been validated. Raises Invalid for mount options that mean nothing."""
    spec = bundle.spec
    assert spec.process is not None
    fresh = [row.type for row in spec.linux.namespaces
             if row.type not in ahead and row.type not in bundle.here and row.type != "user"]
    fork = "late" if "pid" in ahead else "early" if "user" in ahead and "pid" in fresh else ""
    trees: list[Tree] = []
    build = _Builder(bundle, trees, layout, mapped="user" in ahead, shared_pid=fork == "late")
    return Plan(
        here=bundle.here,
        fork=fork,
        enter=_enter(bundle, ahead, tuple(fresh)),
        build=build.operations(),
        pivot=_pivot(spec, devices=bundle.cgroup is not None or _all_devices(spec)),
        become=become(spec.process, bundle.seccomp),
        trees=tuple(trees),
    )


def _enter(bundle: Bundle, ahead: dict[str, int], fresh: tuple[str, ...]) -> tuple[Operation, ...]:
    process = bundle.spec.process
    assert process is not None
    steps = prepare(process, bundle.cgroup)
    if "user" in ahead:
        steps.append(entering.EnterUser())
    steps += [entering.EnterNamespace(kind) for kind in ahead if kind != "user"]
    if fresh:
        steps.append(entering.NewNamespaces(fresh))
    return tuple(steps)


def prepare(process: oci_spec.Process, cgroup: cgroups.Cgroup | None) -> list[Operation]:
    """What is done with the engine's own rights, before any namespace; shared with exec."""
    steps: list[Operation] = []
    if cgroup is not None:
        steps.append(entering.JoinCgroup(cgroup.path))
    if process.oom_score_adj is not None:
        steps.append(entering.ScoreForOom(process.oom_score_adj))
    if process.rlimits:
        for row in process.rlimits:
            entering.limit_number(row.type)
        steps.append(entering.RaiseLimits(process.rlimits))
    steps.append(entering.NewKeyring())
    return steps


def become(process: oci_spec.Process, program: bytes | None) -> tuple[Operation, ...]:
    """From privileged to what the container is; shared with exec."""
    steps: list[Operation] = [identity.EnterDirectory(process.cwd)]
    sets = process.capabilities
    if sets is not None:
        steps.append(identity.KeepBounding(_known(sets.bounding)))
    if program is not None and not process.no_new_privileges:
        steps.append(identity.LoadFilter(program))
    steps.append(identity.Become(process.user))
    if sets is not None:
        steps.append(identity.SetCapabilities(
            _known(sets.effective), _known(sets.permitted), _known(sets.inheritable), _known(sets.ambient)))
    steps.append(identity.EnterDirectory(process.cwd, again=True))
    return tuple(steps)


def _known(names: tuple[str, ...]) -> int:
    try:
        return caps.mask(names)
    except OSError as error:
        raise errors.Invalid(str(error.strerror), action="names are those of capabilities(7)") from error


def _all_devices(spec: oci_spec.Spec) -> bool:
    """Whether the container may use every device: rules that deny nothing."""
    return all(rule.get("allow") for rule in (spec.linux.resources or {}).get("devices") or ())


def _pivot(spec: oci_spec.Spec, *, devices: bool) -> tuple[Operation, ...]:
    word = options.parse((spec.linux.rootfs_propagation or "private",), "/")
    steps: list[Operation] = [] if devices else [mounting.DisarmNodes()]
    if spec.root.readonly:
        steps.append(mounting.SealRoot())
    steps.append(mounting.Pivot(word.propagation, word.propagation_below))
    return tuple(steps)


class _Builder:
    """Collects the operations that build the tree, and the host's trees they need."""

    def __init__(
        self, bundle: Bundle, trees: list[Tree], layout: cgroups.Layout | None, *, mapped: bool, shared_pid: bool,
    ) -> None:
        self.bundle, self.spec, self.trees, self.layout = bundle, bundle.spec, trees, layout
        self.mapped, self.shared_pid = mapped, shared_pid
        self.own_dev = True

    def operations(self) -> tuple[Operation, ...]:
        spec, linux = self.spec, self.spec.linux
        process = spec.process
        assert process is not None
        steps: list[Operation] = [mounting.AttachRoot()]
        early, late = self._mounts()
        steps += early
        if self.own_dev:
            steps += [devices.MakeNodes(self._nodes()), devices.MakeLinks()]
        steps += late
        if process.terminal:
            size = self.bundle.terminal_size if self.bundle.terminal_size != (0, 0) else process.console_size
            steps.append(devices.MakeConsole(process.user.uid, size, place=self.own_dev))
        if spec.hostname or spec.domainname:
            steps.append(shielding.SetHostname(spec.hostname, spec.domainname))
        if linux.sysctl:
            steps.append(shielding.SetSysctls(
                tuple((validate.sysctl(name, value, spec), value) for name, value in linux.sysctl)))
        if process.cwd != "/":
            steps.append(mounting.MakeDirectory(process.cwd))
        if linux.readonly_paths:
            steps.append(shielding.MakeReadonly(linux.readonly_paths))
        if linux.masked_paths:
            steps.append(shielding.Mask(linux.masked_paths))
        return tuple(steps)

    def _mounts(self) -> tuple[list[Operation], list[Operation]]:
        """The mounts up to and with /dev itself, and the others: nodes and links go between them, so that a bind at
        /dev/net/tun or /dev/shm finds /dev made, and covers what is there."""
        steps = [self._mount(mount) for mount in self.spec.mounts]
        places = [validate.normal(mount.destination) for mount in self.spec.mounts]
        cut = places.index("/dev") + 1 if "/dev" in places else 0
        return steps[:cut], steps[cut:]

    def _mount(self, mount: oci_spec.Mount) -> Operation:
        where = validate.normal(mount.destination)
        words = options.parse(mount.options, where)
        if words.bind or mount.type in ("bind", "rbind"):
            words = words.replace(bind=True, recursive=words.recursive or mount.type == "rbind")
            options.check_bind(words, where)
            if where == "/dev":
                self.own_dev = False
            return mounting.MountBind(self._tree(Tree(mount.source, words)), mount.source, where)
        if mount.type == "wharfie-init":
            return mounting.MountInit(where)
        if mount.type in ("cgroup", "cgroup2"):
            return self._cgroup(where, words)
        if mount.type == "proc":
            return mounting.MountProc("proc", mount.source or "proc", where, words, self.shared_pid)
        if not mount.type or mount.type == "none":
            raise errors.Invalid(f"mount at {where}: has no type", name=where)
        if mount.type == "devpts":
            words = self._devpts(words)
        return mounting.MountNew(mount.type, mount.source or mount.type, where, words)

    def _tree(self, tree: Tree) -> int:
        self.trees.append(tree)
        return len(self.trees) - 1

    def _devpts(self, words: options.Options) -> options.Options:
        """gid=5 (tty) cannot be said where group 5 is not mapped; newinstance is what every devpts is."""
        data = [w for w in words.data if w != "newinstance"]
        idmap = self.bundle.idmap
        if self.mapped and idmap is not None:
            data = [w for w in data if not (w.startswith("gid=") and not _maps(idmap, w[4:]))]
        return words.replace(data=tuple(data))

    def _cgroup(self, where: str, words: options.Options) -> Operation:
        layout = self.layout
        if layout is None or layout.mode == "none":
            return mounting.MountNew("tmpfs", "tmpfs", where, words.replace(data=("mode=755",)))
        if layout.mode == "v2":
            return mounting.MountCgroup(where, words, True)
        group = self.bundle.cgroup
        rows = []
        for h in layout.v1:
            directory = group.v1.get(h.controllers[0], "") if group is not None else ""
            rows.append((",".join(h.controllers), h.controllers, self._group(directory, words)))
        if layout.mode == "hybrid":
            rows.append(("unified", (), self._group(group.v2 if group is not None else "", words)))
        return mounting.MountCgroup(where, words, False, tuple(rows))

    def _group(self, directory: str, words: options.Options) -> int:
        return self._tree(Tree(directory, options.Options(set=words.set, clear=words.clear))) if directory else -1

    def _nodes(self) -> tuple[devices.Node, ...]:
        nodes = [devices.Node(f"/dev/{name}", stat.S_IFCHR, 1, minor) for name, minor in _DEFAULT_NODES]
        nodes.append(devices.Node("/dev/tty", stat.S_IFCHR, 5, 0))
        known = {node.path for node in nodes}
        for device in self.spec.linux.devices:
            path = validate.normal(device.path)
            if path not in known:
                mode = 0o666 if device.mode is None else device.mode
                kind = _KINDS[device.type]
                nodes.append(devices.Node(path, kind, device.major, device.minor, mode, device.uid, device.gid))
        return tuple(self._borrowed(node) for node in nodes) if self.mapped else tuple(nodes)

    def _borrowed(self, node: devices.Node) -> devices.Node:
        """No user namespace allows mknod of a device: the host's own node is bound instead."""
        if node.kind == stat.S_IFIFO:
            return node
        tree = Tree(node.path, options.Options(bind=True), (node.kind, node.major, node.minor))
        return node.replace(tree=self._tree(tree))


def _maps(idmap: overlay.IdMap, text: str) -> bool:
    return text.isascii() and text.isdecimal() and any(i <= int(text) < i + n for i, _, n in idmap.gids)


