"""Validation, options and planning are pure: what a bundle becomes, without touching the kernel."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from wharfie.base import errors
from wharfie.kernel import mounts
from wharfie.oci import defaults, spec
from wharfie.runtime import (
    bundle,
    command,
    faults,
    options,
    plan,
    tinyinit,
    tinyinit_aarch64,
    tinyinit_x86_64,
    validate,
)


def document(**changes: Any) -> dict[str, Any]:
    made: dict[str, Any] = {
        "ociVersion": "1.2.0",
        "process": {"args": ["true"], "cwd": "/"},
        "mounts": defaults.mounts(),
        "linux": {"namespaces": [{"type": t} for t in ("pid", "mount", "network", "ipc", "uts", "cgroup")]},
    }
    made.update(changes)
    return made


def bundled(**changes: Any) -> bundle.Bundle:
    return bundle.Bundle("x", spec.parse(document(**changes)), -1)


def test_plan_reads_as_a_story() -> None:
    lines = plan.make(bundled(hostname="box").replace(here=("pid",)), {}, None).describe()
    assert lines[0] == "clone a process with new namespaces: pid"
    for line in ("make new namespaces: mount, network, ipc, uts, cgroup", "mount proc at /proc",
                 "set the host name box", "pivot into the root"):
        assert line in lines
    assert lines[-3:] == ["find the program", "wait for start", "execute it"]


def test_plan_forks_early_into_a_user_namespace_and_late_into_a_shared_pid_namespace() -> None:
    early = plan.make(bundled(), {"user": 5, "network": 6}, None)
    late = plan.make(bundled(), {"pid": 5}, None)
    assert early.fork == "early"
    assert late.fork == "late"
    assert late.describe().index("fork into the pid namespace") > late.describe().index("become uid 0 gid 0")
    assert len(early.trees) == 6, "device nodes are bound in a user namespace"


def test_nodes_of_the_image_are_disarmed_where_no_group_keeps_the_device_rules() -> None:
    def lines(*rules: dict[str, Any]) -> list[str]:
        linux = {**document()["linux"], "resources": {"devices": list(rules)}}
        return plan.make(bundled(linux=linux), {}, None).describe()

    disarm = "disarm the device nodes of the root"
    story = lines({"allow": False, "access": "rwm"})
    assert story.index(disarm) < story.index("pivot into the root")
    assert disarm not in lines({"allow": True, "access": "rwm"}), "privileged"
    assert disarm not in lines()


def test_filter_is_loaded_before_the_capabilities_go_unless_no_new_privs() -> None:
    for flag, expected in ((False, True), (True, False)):
        made = bundled(process={"args": ["true"], "cwd": "/", "noNewPrivileges": flag}).replace(seccomp=b"x" * 8)
        lines = plan.make(made, {}, None).describe()
        assert ("load the seccomp filter" in lines) is expected


def test_options() -> None:
    got = options.parse(("rbind", "ro", "nosuid", "rslave", "noatime", "rnodev"), "/x")
    assert got.bind
    assert got.recursive
    assert got.set == mounts.MOUNT_ATTR_RDONLY | mounts.MOUNT_ATTR_NOSUID | mounts.MOUNT_ATTR_NOATIME
    assert got.below_set == mounts.MOUNT_ATTR_NODEV
    assert (got.propagation, got.propagation_below) == (mounts.MS_SLAVE, True)
    assert options.parse(("ro", "rw"), "/x").set == 0
    assert options.parse(("size=1k", "mode=755"), "/x").data == ("size=1k", "mode=755")
    with pytest.raises(errors.Unsupported, match="remount"):
        options.parse(("remount",), "/x")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"process": None}, r"\$\.process"),
        ({"linux": {"namespaces": []}}, "mount namespace"),
        ({"linux": {"namespaces": [{"type": "mount"}]}, "hostname": "x"}, "uts namespace"),
        ({"linux": {"namespaces": [{"type": "mount"}], "sysctl": {"net.core.x": "1"}}}, "network namespace"),
        ({"linux": {"namespaces": [{"type": "mount"}, {"type": "user"}]}}, "made ahead"),
        ({"linux": {"namespaces": [{"type": "mount"}, {"type": "time"}]}}, "time namespaces"),
        ({"mounts": [{"destination": "/", "type": "tmpfs"}]}, "hide"),
        ({"mounts": [{"destination": "/proc/self/x", "type": "tmpfs"}]}, "/proc"),
        ({"hooks": {"prestart": [{"path": "/x"}]}}, "hooks"),
        ({"process": {"args": ["x"], "cwd": "/", "apparmorProfile": "docker"}}, "AppArmor"),
    ],
)
def test_validate(change: dict[str, Any], words: str) -> None:
    with pytest.raises(errors.WharfieError, match=words):
        validate.check(bundled(**change))


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("net.ipv4.ip_forward", ("net", "ipv4", "ip_forward")),
        ("net.ipv4.conf.eth0/100.forwarding", ("net", "ipv4", "conf", "eth0.100", "forwarding")),
        ("net/ipv4/conf/eth0.100/forwarding", ("net", "ipv4", "conf", "eth0.100", "forwarding")),
        ("kernel.shmmax", ("kernel", "shmmax")),
        ("fs.mqueue.msg_max", ("fs", "mqueue", "msg_max")),
    ],
)
def test_sysctl_names(name: str, parts: tuple[str, ...]) -> None:
    assert validate.sysctl(name, "1", spec.parse(document())) == parts


def test_environment_last_wins() -> None:
    assert command.variables(["A=1", "B=x=y", "A=2"]) == {b"A": b"2", b"B": b"x=y"}


def test_failures_cross_the_channel() -> None:
    kept = faults.revive(faults.describe(errors.NoCommand("gone", name="x"), "step"))
    assert (type(kept), str(kept), kept.name) == (errors.NoCommand, "gone", "x")
    failed = faults.revive(faults.describe(FileNotFoundError(2, "No such file", "/x"), "mount x"))
    assert isinstance(failed, faults.StepFailed)
    assert (failed.errno, failed.path, str(failed)) == (2, "/x", "mount x /x: No such file")


@pytest.mark.parametrize(
    ("rows", "program", "head"),
    [(tinyinit_x86_64.CODE, "as", ".intel_syntax noprefix\n"), (tinyinit_aarch64.CODE, "aarch64-linux-gnu-as", "")],
)
def test_tiny_init_is_what_its_assembler_lines_say(
    rows: tuple[tuple[str, str], ...], program: str, head: str, tmp_path: Path
) -> None:
    objcopy = program[:-2] + "objcopy"
    if not shutil.which(program) or (program == "as" and tinyinit.os.uname().machine != "x86_64"):
        pytest.skip(f"{program} is not here")
    (tmp_path / "s").write_text(head + "\n".join(line for _, line in rows) + "\n")
    subprocess.run([program, "s", "-o", "o"], cwd=tmp_path, check=True)
    subprocess.run([objcopy, "-O", "binary", "-j", ".text", "o", "bin"], cwd=tmp_path, check=True)
    assert (tmp_path / "bin").read_bytes() == bytes.fromhex("".join(code for code, _ in rows))


def test_tiny_init_is_small_and_static() -> None:
    for machine in ("x86_64", "aarch64"):
        image = tinyinit.image(machine)
        assert image[:4] == b"\x7fELF"
        assert len(image) < 1024
