"""What the zygote's children do when they make a container, rehearsed by the zygote with an ordinary spec: the making
costs a third less in a process whose code is warm. See `rehearsal` for the shim's own part.

A cgroup is made and removed again beside the shims; nothing else is touched, and every descriptor is closed.
"""

from __future__ import annotations

import json
import os

from wharfie.base import errors
from wharfie.kernel import cgroups
from wharfie.oci import defaults, seccomp_default
from wharfie.oci import spec as oci_spec
from wharfie.runtime import rehearsal

from . import filters, wire

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

ROUNDS = 10  # the interpreter specialises after eight
_NAME = "rehearsal"


def play(directory: str) -> None:
    """Rehearse below `directory`, which may hold files afterwards. Hosts that allow less rehearse less."""
    files = [f"{directory}/{name}" for name in ("resolv.conf", "hostname", "hosts")]
    for path in files:
        with open(path, "wb"):
            pass
    text = json.dumps(_spec(files))
    path = stage()
    for _ in range(ROUNDS):
        spec = oci_spec.parse(json.loads(text))
        assert spec.linux.seccomp is not None
        program = filters.read(filters.ensure(directory, spec.linux.seccomp))
        launch = wire.Launch(id="0" * 64, name=_NAME, rootfs={"lowers": ["/a", "/b"], "upper": "/c", "work": "/d"})
        wire.decode(wire.encode({"launch": wire.Launch.from_dict(launch.asdict()).asdict()}))
        group = _group(path, spec)
        try:
            rehearsal.play(spec, group, program)
        finally:
            _away(group)


def stage() -> str:
    """The path of a cgroup beside the shims that can be made and removed again; "" where there can be none."""
    layout = cgroups.known()
    own = layout.v2_own if layout.mode == "v2" else next((h.own for h in layout.v1 if "pids" in h.controllers), "")
    if layout.mode == "none" or len(own) < 2:
        return ""
    group = cgroups.Cgroup(f"{own}/{_NAME}")
    try:
        group.create()
        group.delete(patience=0.1)
    except OSError:
        return ""
    return group.path


def _group(path: str, spec: oci_spec.Spec) -> cgroups.Cgroup | None:
    """The group with the spec's limits, None where there can be none."""
    if not path:
        return None
    group = cgroups.Cgroup(path)
    try:
        group.create()
        group.apply(spec.linux.resources or {})
        for fd in group.open_joins():
            os.close(fd)
    except OSError:
        _away(group)
        return None
    return group


def _away(group: cgroups.Cgroup | None) -> None:
    if group is None:
        return
    try:
        group.oom_count()
        group.populated()
        group.delete(patience=0.1)
    except OSError:
        pass


def _spec(files: list[str]) -> dict[str, Any]:
    """The config.json of a container that asks for nothing."""
    system = os.uname()
    major, minor = (int(word) for word in system.release.split("-")[0].split(".")[:2])
    caps = list(defaults.CAPABILITIES)
    binds = [{"destination": f"/etc/{os.path.basename(path)}", "type": "bind", "source": path,
              "options": ["rbind", "rprivate"]} for path in files]
    return {
        "ociVersion": "1.2.0",
        "process": {
            "user": {"uid": 0, "gid": 0, "additionalGids": [0], "umask": 18}, "args": ["true"], "cwd": "/",
            "env": [f"PATH={defaults.PATH}", "HOSTNAME=rehearsal", "HOME=/root"],
            "capabilities": {"bounding": caps, "effective": caps, "permitted": caps, "inheritable": [], "ambient": []},
            "rlimits": [], "noNewPrivileges": False, "oomScoreAdj": 0,
        },
        "root": {"path": "rootfs", "readonly": False},
        "hostname": _NAME,
        "mounts": defaults.mounts() + binds,
        "linux": {
            "namespaces": [{"type": kind} for kind in ("mount", "network", "ipc", "uts", "pid", "cgroup")],
            "cgroupsPath": f"/{_NAME}", "resources": {"devices": defaults.device_rules()}, "devices": [],
            "sysctl": {"net.ipv4.ip_unprivileged_port_start": "0", "net.ipv4.ping_group_range": "0 2147483647"},
            "maskedPaths": list(defaults.MASKED_PATHS), "readonlyPaths": list(defaults.READONLY_PATHS),
            "seccomp": seccomp_default.resolve(caps, system.machine, (major, minor)),
        },
    }


def try_play(directory: str) -> str:
    """`play`; "" or why it ended early. A rehearsal that fails spoils nothing but speed."""
    try:
        play(directory)
    except (OSError, ValueError, errors.WharfieError) as error:
        return str(error)
    return ""
