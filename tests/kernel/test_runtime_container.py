"""Real containers by the native runtime: what they see, what they may, what they cannot reach."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kernel.runtime_rig import Rig, process_of, spec_of
from wharfie.base import errors, points
from wharfie.drivers import contract
from wharfie.kernel import cgroups, seccomp
from wharfie.oci import defaults
from wharfie.runtime import sandbox

pytestmark = pytest.mark.needs("root", "busybox")
KINDS = ("pid", "mnt", "net", "ipc", "uts", "cgroup")


@pytest.fixture(scope="module")
def rig() -> Iterator[Rig]:
    made = Rig()
    yield made
    made.close()


def test_six_namespaces_differ_from_the_hosts(rig: Rig) -> None:
    done = rig.sh("for n in pid mnt net ipc uts cgroup; do readlink /proc/self/ns/$n; done")
    host = [os.readlink(f"/proc/self/ns/{kind}") for kind in KINDS]
    assert len(done.lines) == 6
    assert not set(done.lines) & set(host)


def test_status_of_the_process(rig: Rig) -> None:
    program = seccomp.compile({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": []})
    done = rig.run(spec_of("cat", "/proc/self/status", noNewPrivileges=True), seccomp=program)
    facts = dict(line.split(":\t", 1) for line in done.lines if ":\t" in line)
    assert facts["CapEff"] == facts["CapPrm"] == facts["CapBnd"] == "00000000a80425fb"
    assert facts["CapInh"] == facts["CapAmb"] == "0000000000000000"
    assert (facts["NoNewPrivs"], facts["Seccomp"]) == ("1", "2")
    assert (facts["SigIgn"], facts["SigBlk"]) == ("0000000000000000", "0000000000000000")


@pytest.mark.parametrize("no_new_privs", [False, True])
def test_seccomp_is_loaded_on_both_ways(rig: Rig, no_new_privs: bool) -> None:
    rule = {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 77}
    program = seccomp.compile({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]})
    script = "mkdir /tmp/x 2>/dev/null && echo made; cat /proc/self/status | grep Seccomp:"
    done = rig.sh(script, seccomp=program, noNewPrivileges=no_new_privs)
    assert done.lines == ["Seccomp:\t2"]
    container = rig.hold()
    assert rig.exec(container, "sh", "-c", script, seccomp=program, noNewPrivileges=no_new_privs).lines == done.lines
    rig.drop(container)


def test_only_three_descriptors_and_pid_1_is_the_command(rig: Rig) -> None:
    done = rig.sh("echo $$; cat /proc/1/comm; ls /proc/1/fd; pwd; hostname; umask")
    assert done.lines == ["1", "sh", "0", "1", "2", "/", "box", "0022"]


def test_user_groups_and_umask(rig: Rig) -> None:
    user = {"uid": 1000, "gid": 1001, "additionalGids": [7, 8], "umask": 0o77}
    assert rig.sh("id; umask", user=user).lines == ["uid=1000 gid=1001 groups=7,8", "0077"]
    container = rig.hold()
    assert rig.exec(container, "sh", "-c", "id; umask", user=user).lines == ["uid=1000 gid=1001 groups=7,8", "0077"]
    rig.drop(container)


def test_a_user_other_than_root_has_no_capability(rig: Rig) -> None:
    done = rig.sh("grep -E 'Cap(Prm|Eff)' /proc/self/status",
                  user={"uid": 1000, "gid": 1000}, capabilities={"bounding": list(defaults.CAPABILITIES)})
    assert done.lines == ["CapPrm:\t0000000000000000", "CapEff:\t0000000000000000"]


def test_ambient_capabilities(rig: Rig) -> None:
    one = ["CAP_NET_BIND_SERVICE"]
    sets = dict.fromkeys(("bounding", "effective", "permitted", "inheritable", "ambient"), one)
    done = rig.sh("grep CapAmb /proc/self/status; grep CapEff /proc/self/status",
                  user={"uid": 1000, "gid": 1000}, capabilities=sets)
    assert done.lines == ["CapAmb:\t0000000000000400", "CapEff:\t0000000000000400"]


def test_masks_and_readonly_paths(rig: Rig) -> None:
    done = rig.sh("cat /proc/keys /proc/timer_list; ls /sys/firmware; "
                  "echo x > /proc/sys/kernel/core_pattern; echo x > /proc/sysrq-trigger; mkdir /sys/fs/cgroup/x")
    errors_said = [line for line in done.lines if "Read-only" in line or "can't create" in line]
    assert len(errors_said) == len(done.lines) == 3


def test_mountinfo_names_nothing_of_the_host(rig: Rig) -> None:
    done = rig.sh("cat /proc/self/mountinfo; cat /proc/self/cgroup", mounts=[
        {"destination": "/sbin/docker-init", "type": "wharfie-init", "source": "wharfie-init"}])
    assert rig.root not in done.output.replace(f" {rig.root} / ", " root / ")
    assert not any("unreachable" in line or " /.." in line for line in done.lines)
    for line in done.lines:
        if line.count(":") >= 2 and line[0].isdigit() and " " not in line:
            assert line.endswith(":/")


def test_devices(rig: Rig) -> None:
    done = rig.sh("echo x > /dev/null; head -c 4 /dev/zero | wc -c; test -c /dev/tty && test -c /dev/pts/ptmx && "
                  "for n in ptmx fd stdout; do readlink /dev/$n; done; stat -c %t:%T /dev/fuse0",
                  linux={"devices": [{"path": "/dev/fuse0", "type": "c", "major": 10, "minor": 229}]})
    assert done.lines == ["4", "pts/ptmx", "/proc/self/fd", "/proc/self/fd/1", "a:e5"]


def test_sysctls_hostname_and_rlimits(rig: Rig) -> None:
    done = rig.sh("cat /proc/sys/net/ipv4/ip_unprivileged_port_start; ulimit -n; ulimit -Hn",
                  linux={"sysctl": {"net.ipv4.ip_unprivileged_port_start": "0"}},
                  rlimits=[{"type": "RLIMIT_NOFILE", "soft": 5, "hard": 77}])
    assert done.lines == ["0", "5", "77"]


def test_a_limit_above_the_hosts_names_the_capability(rig: Rig) -> None:
    with open("/proc/self/status") as file:
        effective = next(int(line.split()[1], 16) for line in file if line.startswith("CapEff"))
    limit = [{"type": "RLIMIT_NOFILE", "soft": 1 << 40, "hard": 1 << 40}]
    if effective >> 24 & 1:
        pytest.skip("this engine has CAP_SYS_RESOURCE")
    with pytest.raises(errors.Denied, match="CAP_SYS_RESOURCE"):
        rig.sh("true", rlimits=limit)


def test_readonly_root_keeps_volumes_writable(rig: Rig, tmp_path: Path) -> None:
    bind = {"destination": "/home", "type": "bind", "source": str(tmp_path), "options": ["rbind", "rprivate"]}
    done = rig.sh("touch /x; touch /home/y && echo ok", readonly=True, mounts=[bind])
    assert done.lines == ["touch: /x: Read-only file system", "ok"]
    assert (tmp_path / "y").exists()


def test_binds(rig: Rig, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("content")
    binds = [
        {"destination": "/tmp/a/b", "type": "bind", "source": str(tmp_path), "options": ["rbind", "ro", "nosuid"]},
        {"destination": "/etc/one", "type": "bind", "source": str(tmp_path / "file"), "options": ["rbind"]},
    ]
    done = rig.sh("cat /tmp/a/b/file /etc/one; echo; touch /tmp/a/b/x; echo more >> /etc/one", mounts=binds)
    assert done.lines == ["contentcontent", "touch: /tmp/a/b/x: Read-only file system"]
    assert (tmp_path / "file").read_text() == "contentmore\n"
    with pytest.raises(errors.Invalid, match="unknown option 'zap'"):
        rig.sh("true", mounts=[{**binds[0], "options": ["rbind", "zap"]}])


def test_recursive_readonly(rig: Rig, tmp_path: Path) -> None:
    """A mount below the bind is read-only too with rro, and not with ro (runtime-spec, mount options)."""
    for name in ("top", "below"):
        (tmp_path / name).mkdir()
    (tmp_path / "top" / "sub").mkdir()
    os.system(f"mount --bind {tmp_path}/below {tmp_path}/top/sub")
    try:
        for word, expected in (("ro", "ok"), ("rro", "touch: /home/sub/x: Read-only file system")):
            bind = {"destination": "/home", "type": "bind", "source": f"{tmp_path}/top", "options": ["rbind", word]}
            assert rig.sh("touch /home/sub/x && echo ok", mounts=[bind]).lines == [expected]
    finally:
        os.system(f"umount {tmp_path}/top/sub")


def test_field_row_10_11_mount_targets_stay_inside(rig: Rig, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    canary.mkdir()
    os.symlink(str(canary), f"{rig.root}/etc/out")
    os.symlink("../../../../../../../.." + str(canary), f"{rig.root}/etc/up")
    (tmp_path / "src").mkdir()
    binds = [{"destination": f"/etc/{name}/made", "type": "bind", "source": str(tmp_path / "src"), "options": ["bind"]}
             for name in ("out", "up")]
    done = rig.sh("echo in", mounts=binds)
    assert done.lines == ["in"]
    assert list(canary.iterdir()) == []


@pytest.mark.parametrize("name", ["dev", "proc", "sys"])
def test_field_row_7_8_kernel_trees_as_symlinks_are_refused(rig: Rig, name: str) -> None:
    os.rmdir(f"{rig.root}/{name}")
    os.symlink("/tmp", f"{rig.root}/{name}")
    try:
        with pytest.raises(errors.WharfieError, match="symbolic links"):
            rig.sh("true")
    finally:
        os.unlink(f"{rig.root}/{name}")
        os.mkdir(f"{rig.root}/{name}")


def test_field_row_9_nothing_is_mounted_below_proc(rig: Rig, tmp_path: Path) -> None:
    for where in ("/proc/self", "/proc/1/../sys", "/proc"):
        bind = {"destination": where, "type": "bind", "source": str(tmp_path), "options": ["bind"]}
        with pytest.raises(errors.Invalid, match="/proc"):
            rig.sh("true", mounts=[bind])


@pytest.mark.parametrize("number", [3, 4, 5, 7, 9, 15])
def test_field_row_2_working_directory_cannot_be_a_descriptor(rig: Rig, number: int) -> None:
    cwd = f"/proc/self/fd/{number}"
    with pytest.raises(errors.WharfieError):
        rig.sh("pwd", cwd=cwd)
    container = rig.hold()
    with pytest.raises(errors.WharfieError):
        rig.exec(container, "pwd", cwd=cwd)
    rig.drop(container)


def test_working_directory_is_made(rig: Rig) -> None:
    assert rig.sh("pwd", cwd="/srv/deep/er").lines == ["/srv/deep/er"]


@pytest.mark.parametrize(
    "name", ["kernel.core_pattern", "vm.swappiness", "net/../kernel/core_pattern", "net..x", "fs.file-max"]
)
def test_field_row_18_sysctls(rig: Rig, name: str) -> None:
    with pytest.raises(errors.Invalid):
        rig.sh("true", linux={"sysctl": {name: "1"}})


def test_tiny_init(rig: Rig) -> None:
    mounts = [{"destination": "/sbin/docker-init", "type": "wharfie-init", "source": "wharfie-init"}]
    start = ("/sbin/docker-init", "--")
    done = rig.run(spec_of(*start, "sh", "-c", "cat /proc/1/comm; (sleep 0 &); exit 4", mounts=mounts))
    assert (done.ended, done.lines) == (("exited", 4), ["docker-init"])
    assert rig.run(spec_of(*start, "sh", "-c", "kill -15 $$", mounts=mounts)).ended == ("exited", 143)
    assert rig.run(spec_of(*start, "nope", mounts=mounts)).ended == ("exited", 127)
    container = rig.hold(wanted=spec_of(*start, "sh", "-c", "trap 'exit 9' TERM; while :; do sleep 0.05; done",
                                        mounts=mounts))
    assert "zombie" not in rig.exec(container, "sh", "-c", "grep State /proc/*/status").output
    assert rig.exec(container, "sh", "-c", "sleep 0.2; kill -TERM 1").ended == ("exited", 0)
    from tests.kernel.runtime_rig import reap

    assert reap(container.process.pidfd) == ("exited", 9)
    rig.driver.delete(container)


def test_cgroup(rig: Rig) -> None:
    group = cgroups.Cgroup(f"/wharfie-rt-{os.getpid()}/one")
    if group.layout.mode == "none":
        pytest.skip("no cgroups")
    group.create()
    try:
        done = rig.sh("cat /proc/self/cgroup", cgroup=group)
        inside = [line for line in done.lines if line.split(":")[1] in ("", "memory", "pids", "devices")]
        assert inside
        assert all(line.endswith(":/") for line in inside)
        container = rig.hold(cgroup=group)
        assert container.process.pid in group.pids()
        assert rig.exec(container, "true").ended == ("exited", 0)
        rig.drop(container)
    finally:
        group.delete()
        cgroups.Cgroup(f"/wharfie-rt-{os.getpid()}").delete()


def test_sandbox_made_ahead(rig: Rig) -> None:
    before = [os.readlink(f"/proc/self/ns/{kind}") for kind in KINDS]
    made = sandbox.make({"net": "new", "ipc": "new", "uts": "new", "pid": "new", "cgroup": "new"})
    try:
        assert [os.readlink(f"/proc/self/ns/{kind}") for kind in KINDS] == before
        done = rig.sh("readlink /proc/self/ns/net; hostname", sandbox=made.sandbox)
        assert done.lines == [f"net:[{os.fstat(made.sandbox.net).st_ino}]", "box"]
        assert made.netlink >= 0
    finally:
        sandbox.close(made.sandbox)
        os.close(made.netlink)


def test_shared_pid_namespace(rig: Rig) -> None:
    first = rig.hold()
    made = sandbox.make({"pid": f"/proc/{first.process.pid}/ns/pid"})
    done = rig.sh("cat /proc/1/comm; grep -E 'Cap(Eff)' /proc/$$/status", sandbox=made.sandbox)
    assert done.lines == ["sleep", "CapEff:\t00000000a80425fb"]
    sandbox.close(made.sandbox)
    rig.drop(first)


def test_sandbox_refuses_what_is_no_namespace(tmp_path: Path) -> None:
    (tmp_path / "f").touch()
    with pytest.raises(errors.Invalid, match="no namespace"):
        sandbox.make({"net": str(tmp_path / "f")})
    with pytest.raises(errors.Invalid, match="no network namespace"):
        sandbox.make({"net": "/proc/self/ns/ipc"})


def test_parent_gone_before_start_ends_init(rig: Rig) -> None:
    made = rig.create(spec_of("true"), contract.Stdio())
    os.close(made.channel)
    from tests.kernel.runtime_rig import reap

    assert reap(made.process.pidfd) == ("exited", 1)
    rig.driver.delete(made.container)


def test_process_object_alone() -> None:
    assert process_of("true")["args"] == ["true"]


@pytest.mark.parametrize("point", ["init.born", "init.mounted", "init.pivoted", "init.dropped"])
def test_init_killed_at_a_point_leaves_nothing(rig: Rig, point: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = (sorted(os.listdir("/proc/self/fd")), Path("/proc/self/mountinfo").read_text())
    monkeypatch.setattr(points, "_armed", point)
    with pytest.raises(errors.WharfieError, match="without a word"):
        rig.sh("true")
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)
    assert (sorted(os.listdir("/proc/self/fd")), Path("/proc/self/mountinfo").read_text()) == before


@pytest.mark.parametrize(("word", "seen"), [("rslave", True), ("rprivate", False)])
def test_propagation_of_a_bind(rig: Rig, tmp_path: Path, word: str, seen: bool) -> None:
    """A mount made on the host later is seen through a slave, not through a private bind."""
    top = tmp_path / "top"
    (top / "sub").mkdir(parents=True)
    os.system(f"mount -t tmpfs none {top} && mount --make-shared {top} && mkdir {top}/sub")
    try:
        bind = {"destination": "/home", "type": "bind", "source": str(top), "options": ["rbind", word]}
        container = rig.hold(wanted=spec_of("sleep", "1000", mounts=[bind]))
        os.system(f"mount -t tmpfs late {top}/sub")
        done = rig.exec(container, "sh", "-c", "grep -c 'late' /proc/self/mountinfo")
        assert done.lines == [str(int(seen))]
        rig.drop(container)
    finally:
        os.system(f"umount -R {top}")


def test_a_shared_bind_carries_mounts_back_to_the_host(rig: Rig, tmp_path: Path) -> None:
    os.system(f"mount -t tmpfs none {tmp_path} && mount --make-shared {tmp_path} && mkdir {tmp_path}/sub")
    try:
        bind = {"destination": "/home", "type": "bind", "source": str(tmp_path), "options": ["rbind", "rshared"]}
        caps = {kind: ["CAP_SYS_ADMIN"] for kind in ("bounding", "effective", "permitted")}
        done = rig.sh("mount -t tmpfs inner /home/sub && echo ok", mounts=[bind], capabilities=caps)
        assert done.lines == ["ok"]
        assert f"{tmp_path}/sub" in Path("/proc/self/mountinfo").read_text()
    finally:
        os.system(f"umount -R {tmp_path}")


def test_field_row_3_joiners_never_show_more_than_the_container_holds(rig: Rig) -> None:
    """pid 1 reads the capabilities of everything it sees while processes join."""
    script = """while :; do for p in /proc/[0-9]*; do while read a b; do case $a in CapPrm:|CapEff:) echo $b;; esac
             done < $p/status; done 2>/dev/null; done"""
    read, write = os.pipe2(os.O_CLOEXEC)
    made = rig.create(spec_of("sh", "-c", script), contract.Stdio(-1, write, -1))
    os.close(write)
    rig.driver.start(made)
    os.set_blocking(read, False)
    seen = b""
    for _ in range(60):
        assert rig.exec(made.container, "true").ended == ("exited", 0)
        try:
            seen += os.read(read, 1 << 20)
        except BlockingIOError:
            pass
    rig.drop(made.container)
    os.close(read)
    lines = set(seen.split(b"\n")[1:-1])
    assert lines == {b"00000000a80425fb"}
