"""The isolation probe: a script of our own runs inside and reports; the host compares."""

from __future__ import annotations

import os
import secrets
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hosts import IMAGE, Daemon

pytestmark = pytest.mark.needs("root", "busybox")
PROBE = (Path(__file__).resolve().parents[1] / "probe" / "probe.sh").read_text()

# Docker's fourteen (moby, oci/caps defaults): chown dac_override fsetid fowner mknod net_raw setgid setuid setfcap
# setpcap net_bind_service sys_chroot kill audit_write
DOCKER_DEFAULT_CAPABILITIES = 0x00000000A80425FB


@pytest.fixture(scope="module")
def daemon() -> Iterator[Daemon]:
    with Daemon() as d:
        yield d


def report(daemon: Daemon, *flags: str) -> dict[str, list[str]]:
    """The probe's answers: key → values (mountinfo has many)."""
    out = daemon.docker("run", "--rm", *flags, IMAGE, "sh", "-c", PROBE)
    found: dict[str, list[str]] = {}
    for line in out.splitlines():
        key, _, value = line.partition(" ")
        found.setdefault(key, []).append(value.strip())
    return found


@pytest.fixture(scope="module")
def default(daemon: Daemon) -> dict[str, list[str]]:
    return report(daemon)


@pytest.mark.parametrize("kind", ["cgroup", "ipc", "mnt", "net", "pid", "uts"])
def test_the_six_namespaces_differ(default: dict[str, list[str]], kind: str) -> None:
    assert default[f"ns.{kind}"][0].startswith(f"{kind}:[")
    assert default[f"ns.{kind}"][0] != os.readlink(f"/proc/self/ns/{kind}")


def test_the_capability_sets(default: dict[str, list[str]]) -> None:
    for name in ("CapPrm", "CapEff", "CapBnd"):
        assert int(default[f"status.{name}"][0], 16) == DOCKER_DEFAULT_CAPABILITIES, name
    for name in ("CapInh", "CapAmb"):
        assert int(default[f"status.{name}"][0], 16) == 0, name


def test_capabilities_of_a_plain_user(daemon: Daemon) -> None:
    seen = report(daemon, "-u", "1000")
    assert int(seen["status.CapEff"][0], 16) == 0
    assert int(seen["status.CapBnd"][0], 16) == DOCKER_DEFAULT_CAPABILITIES


def test_seccomp_is_a_filter(default: dict[str, list[str]], daemon: Daemon) -> None:
    assert default["status.Seccomp"] == ["2"]
    assert report(daemon, "--security-opt", "seccomp=unconfined")["status.Seccomp"] == ["0"]


def test_no_new_privileges_on_request(default: dict[str, list[str]], daemon: Daemon) -> None:
    assert default["status.NoNewPrivs"] == ["0"]
    assert report(daemon, "--security-opt", "no-new-privileges")["status.NoNewPrivs"] == ["1"]


def test_masks_and_read_only_paths(default: dict[str, list[str]]) -> None:
    masks = {k: v for k, v in default.items() if k.startswith("mask.")}
    there = {f"mask.{name}" for name in ("kcore", "keys", "timer_list", "acpi") if Path("/proc", name).exists()}
    assert there, "this kernel has nothing to mask"
    assert there <= set(masks)
    assert all(v == ["0"] for v in masks.values()), masks
    read_only = {k: v for k, v in default.items() if k.startswith("ro.")}
    there = {f"ro.{name}" for name in ("sys", "bus", "fs", "irq", "sysrq-trigger") if Path("/proc", name).exists()}
    assert there | {"ro.sysfs"} <= set(read_only)
    assert all(v == ["ro"] for v in read_only.values()), read_only
    assert default["write.sysrq"] == default["write.core_pattern"] == ["no"]


def test_only_three_descriptors_and_the_command_is_pid_one(default: dict[str, list[str]], daemon: Daemon) -> None:
    assert default["pid1"][0].startswith("sh -c")
    daemon.docker("run", "-d", "--name", "fds", IMAGE, "sleep", "1000")
    try:
        daemon.docker("exec", "-d", "fds", "sleep", "1001")
        for sleeper in daemon.docker("exec", "fds", "pidof", "sleep").split():
            assert daemon.docker("exec", "fds", "ls", f"/proc/{sleeper}/fd").split() == ["0", "1", "2"]
    finally:
        daemon.docker("rm", "-f", "fds")


def test_signals_are_as_a_program_expects(default: dict[str, list[str]]) -> None:
    assert int(default["status.SigIgn"][0], 16) == 0
    assert int(default["status.SigBlk"][0], 16) == 0


def test_no_mount_no_user_namespace_no_disk(default: dict[str, list[str]]) -> None:
    assert default["mount"] == ["no"]
    assert default["userns"] == ["no"]
    assert default["disk"][0] in ("refused", "nomknod")


def test_mountinfo_shows_no_host_path(default: dict[str, list[str]], daemon: Daemon) -> None:
    # Three files are bound from the container's own directory, as with every engine; they are no lower and no upper.
    named = (" /etc/resolv.conf ", " /etc/hostname ", " /etc/hosts ")
    text = "\n".join(line for line in default["mountinfo"] if not any(n in line for n in named))
    text = text.replace("=/proc/self/fd/", "=")
    for private in (str(daemon.root), "/layers/", "/upper", "=/", "/work"):
        assert private not in text, f"{private} is visible in mountinfo:\n{text}"


def test_host_canaries_are_unreachable(daemon: Daemon) -> None:
    """Files in root's home, the data root, the virtual environment and /run: not by path, not by an inherited
    descriptor, not through any /proc link of any visible process."""
    mark = "canary-" + secrets.token_hex(8)
    places = [
        Path("/root"),
        daemon.data,
        daemon.run,
        Path(sys.prefix),
        Path("/run"),
        Path(sysconfig.get_path("purelib")),
    ]
    files = [place / f".{mark}" for place in places]
    try:
        for f in files:
            f.write_text(mark)
        script = f"""
            for f in {" ".join(map(str, files))}; do [ -e $f ] && echo "path $f"; done
            for p in /proc/[0-9]*; do
                for l in $p/root $p/cwd $p/exe; do
                    for f in {" ".join(map(str, files))}; do [ -e $l/$f ] && echo "link $l/$f"; done
                    case $(readlink $l) in *python*|*wharfie*|*memfd*) echo "exe $l $(readlink $l)";; esac
                done
                for l in $p/fd/* $p/map_files/*; do
                    case $(readlink $l 2>/dev/null) in
                        *{mark}*|*python*|*wharfie*|{daemon.root}*) echo "fd $l $(readlink $l)";; esac
                    for f in {" ".join(map(str, files))}; do [ -e $l/$f ] && echo "fdpath $l/$f"; done
                done
            done
            find / -xdev -name '.{mark}' 2>/dev/null
            echo done"""
        out = daemon.docker("run", "--rm", IMAGE, "sh", "-c", script)
        assert out.split() == ["done"], out
        privileged = daemon.docker(
            "run", "--rm", "--cap-add", "SYS_PTRACE", "--cap-add", "SYS_ADMIN", IMAGE, "sh", "-c", script
        )
        assert privileged.split() == ["done"], privileged
    finally:
        for f in files:
            f.unlink(missing_ok=True)
