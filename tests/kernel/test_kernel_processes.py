"""clone3, pidfds, signals, capabilities, seccomp, terminals: on the real kernel, in throw-away children."""

from __future__ import annotations

import errno
import faulthandler
import os
import select
import signal
import time
from typing import Any

import pytest

from tests.kernel.kernel_cell import errno_of, in_child
from wharfie.kernel import (
    caps,
    fds,
    hostname,
    mounts,
    namespaces,
    process,
    pty,
    rlimits,
    seccomp,
    syscalls,
)
from wharfie.oci import seccomp_default

pytestmark = pytest.mark.needs("root")
ALL = (
    namespaces.CLONE_NEWNS | namespaces.CLONE_NEWPID | namespaces.CLONE_NEWNET | namespaces.CLONE_NEWUTS
    | namespaces.CLONE_NEWIPC | namespaces.CLONE_NEWCGROUP
)


def _ns() -> dict[str, str]:
    return {k: os.readlink(f"/proc/thread-self/ns/{n}") for k, n in namespaces.PROC_NAMES.items() if k in KINDS}


KINDS = ("mount", "network", "uts", "ipc", "cgroup")


def test_clone3_makes_namespaces_and_a_pidfd() -> None:
    def work() -> Any:
        hostname.sethostname("inside")
        hostname.setdomainname("domain")
        return [os.getpid(), _ns(), os.uname().nodename]

    pid, inside, name = in_child(work, ALL)
    assert (pid, name) == (1, "inside")
    assert all(inside[k] != v for k, v in _ns().items())
    assert os.uname().nodename != "inside"


@pytest.mark.parametrize("clone", [namespaces.clone3, namespaces.clone])
def test_children_end_as_they_say(clone: Any) -> None:
    for end, expected in ((lambda: os._exit(7), ("exited", 7)), (os.abort, ("killed", signal.SIGABRT))):
        pid, pidfd = clone(0)
        if pid == 0:
            faulthandler.disable()
            rlimits.set("core", 0, 0)
            end()
        assert not os.get_inheritable(pidfd)
        assert select.select([pidfd], [], [], 10)[0]
        assert process.waitid_pidfd(pidfd) == expected
        assert not process.kill_pidfd(pidfd)
        os.close(pidfd)


def test_clone3_reports_errors_and_leaves_python_whole() -> None:
    with pytest.raises(OSError, match="Invalid argument"):
        namespaces.clone3(namespaces.CLONE_NEWNS | 0x200)  # CLONE_FS contradicts
    assert in_child(lambda: 1) == 1


def test_setns_by_descriptor_and_start_time() -> None:
    read, write = os.pipe()
    pid, pidfd = namespaces.clone3(namespaces.CLONE_NEWUTS)
    if pid == 0:
        hostname.sethostname("other")
        os.write(write, b"x")
        time.sleep(60)
        os._exit(0)
    try:
        os.read(read, 1)
        fd = namespaces.open_ns(pid, "uts")

        def work() -> str:
            namespaces.setns(fd, namespaces.CLONE_NEWUTS)
            return os.uname().nodename

        assert in_child(work) == "other"
        assert process.start_time(pid) >= process.start_time(os.getpid())
        assert process.waitid_pidfd(pidfd) is None
        copy = process.pidfd_getfd(pidfd, write)
        assert fds.same(copy, write)
        for one in (fd, copy):
            os.close(one)
    finally:
        assert process.kill_pidfd(pidfd)
        assert process.waitid_pidfd(pidfd, block=True) == ("killed", 9)
        for one in (read, write, pidfd):
            os.close(one)


def test_execve_gets_clean_signals_and_descriptors() -> None:
    read, write = os.pipe()
    pid, pidfd = namespaces.clone3(0)
    if pid == 0:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGRTMIN + 3, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
        os.dup2(write, 1)
        os.dup2(write, 700)
        process.reset_signals()
        process.close_range(3)
        script = "while read -r l; do echo $l; done < /proc/self/status; ls /proc/$$/fd; echo $X"
        process.execveat(-100, "/bin/sh", ["sh", "-c", script], {"X": "y"})
    os.close(write)
    with os.fdopen(read) as out:
        text = out.read()
    assert process.waitid_pidfd(pidfd, block=True) == ("exited", 0)
    os.close(pidfd)
    ignored = text.split("SigIgn:")[1].split()[0]
    blocked = text.split("SigBlk:")[1].split()[0]
    assert (int(ignored, 16), int(blocked, 16)) == (0, 0)
    assert "700" not in text
    assert text.split()[-1] == "y"


def test_fexecve_of_a_descriptor() -> None:
    fd = os.open("/bin/true", os.O_RDONLY | os.O_CLOEXEC)
    pid, pidfd = namespaces.clone3(0)
    if pid == 0:
        process.execveat(fd, "", ["true"], {})
    assert process.waitid_pidfd(pidfd, block=True) == ("exited", 0)
    os.close(fd)
    os.close(pidfd)
    assert errno_of(lambda: process.execveat(-100, "/nowhere", ["x"], {})) == errno.ENOENT
    assert errno_of(lambda: process.execveat(-100, "/etc/passwd", ["x"], {})) == errno.EACCES


def test_titles_dumpable_and_parent_death() -> None:
    def work() -> Any:
        process.set_title("wharfie-shim abc")
        process.set_dumpable(False)
        process.subreaper()
        with open("/proc/self/comm") as comm, open("/proc/self/cmdline") as line:
            return [comm.read().strip(), line.read().rstrip("\0"), process.is_dumpable()]

    comm, line, dumpable = in_child(work)
    assert (comm, dumpable) == ("wharfie-shim ab", False)
    assert line.startswith("wharfie-shim abc"[: len(line)])

    read, write = os.pipe()
    pid, pidfd = namespaces.clone3(0)
    if pid == 0:
        parent = os.getpid()
        if os.fork() == 0:
            process.pdeathsig(signal.SIGTERM)
            os.write(write, str(os.getppid() == parent).encode())
            time.sleep(60)
        os.read(read, 4)
        os._exit(0)
    process.waitid_pidfd(pidfd, block=True)
    os.close(write)
    assert os.read(read, 10) == b""  # the grandchild died too: the last writing end is gone
    os.close(read)
    os.close(pidfd)


def test_capability_sets() -> None:
    def work() -> Any:
        keep = caps.mask(["CAP_CHOWN", "CAP_KILL", "CAP_SETPCAP"])
        caps.bounding_keep(keep)
        caps.set_keepcaps(True)
        os.setresgid(1000, 1000, 1000)
        os.setresuid(1000, 1000, 1000)
        caps.capset(caps.Caps(keep, keep, keep))
        caps.ambient_raise(1 << caps.parse("kill"))
        before = caps.ambient()
        caps.ambient_clear()
        caps.capset(caps.Caps(1, 1, 0))
        more = errno_of(lambda: caps.capset(caps.Caps(3, 3, 0)))
        caps.set_no_new_privs()
        now = list(caps.capget().asdict().values())
        return [caps.names(caps.bounding()), before, caps.ambient(), more, caps.no_new_privs(), now]

    bounding, before, after, more, nnp, now = in_child(work)
    assert bounding == ["CAP_CHOWN", "CAP_KILL", "CAP_SETPCAP"]
    assert (before, after, more, nnp, now) == (1 << 5, 0, errno.EPERM, True, [1, 1, 0])
    assert caps.last_cap() == int(open("/proc/sys/kernel/cap_last_cap").read())
    assert caps.all_caps().bit_length() == caps.last_cap() + 1


def test_rlimits() -> None:
    def work() -> Any:
        rlimits.set("RLIMIT_NOFILE", 100, 200)
        return [rlimits.get("nofile"), errno_of(lambda: rlimits.set("nofile", 300, 200))]

    assert in_child(work) == [[100, 200], errno.EINVAL]


@pytest.mark.skipif(syscalls.MACHINE != "x86_64", reason="the numbers are x86_64's")
def test_dockers_seccomp_profile_on_the_kernel() -> None:
    names = ["CHOWN", "DAC_OVERRIDE", "NET_RAW", "SETGID", "SETUID", "SYS_CHROOT", "KILL"]
    profile = seccomp_default.resolve([f"CAP_{n}" for n in names], syscalls.MACHINE, (6, 1))
    program = seccomp.compile(profile)

    def ask(*args: int) -> int:
        return errno_of(lambda: syscalls.call(*args))

    def work() -> Any:
        caps.set_no_new_privs()
        seccomp.load(program, seccomp.flags_of(profile))
        pid, pidfd = namespaces.clone(0)
        if pid == 0:
            os._exit(5)
        return [
            [ask(250, 0, 0), ask(165, 0, 0), ask(272, namespaces.CLONE_NEWNS), ask(135, 7), ask(41, 38, 5, 0)],
            [ask(56, namespaces.CLONE_NEWUSER | 17), ask(435, 0, 0), ask(0x40000000 | 39), ask(4000)],
            # the compiler compares all 64 bits: 0xffffffff is let, -1 sign-extended is another number
            [ask(135, 0xFFFFFFFF), ask(135, 8), ask(135, 0), ask(135, -1), ask(39), ask(41, 2, 1, 0)],
            process.waitid_pidfd(pidfd, block=True),
            open("/proc/self/status").read().split("Seccomp:")[1].split()[0],
        ]

    denied, others, allowed, child, mode = in_child(work)
    assert denied == [errno.EPERM] * 5
    assert others == [errno.EPERM, errno.ENOSYS, errno.ENOSYS, errno.ENOSYS]
    assert allowed == [0, 0, 0, errno.EPERM, 0, 0]
    assert (child, mode) == (["exited", 5], "2")


def test_a_filter_without_no_new_privs_needs_sys_admin() -> None:
    program = seccomp.compile({"defaultAction": "SCMP_ACT_ALLOW"})

    def work() -> int:
        caps.capset(caps.Caps())
        return errno_of(lambda: seccomp.load(program))

    assert in_child(work) == errno.EACCES


def test_terminals_of_a_private_devpts() -> None:
    context = mounts.fsopen("devpts")
    for key, value in (("newinstance", ""), ("ptmxmode", "0666"), ("mode", "0620")):
        if value:
            mounts.fsconfig_string(context, key, value)
        else:
            mounts.fsconfig_flag(context, key)
    mounts.fsconfig_create(context)
    detached = mounts.fsmount(context)
    os.close(context)
    assert mounts.fs_type(detached) == mounts.DEVPTS_SUPER_MAGIC
    devpts = os.open(".", os.O_PATH | os.O_DIRECTORY, dir_fd=detached)
    master, slave = pty.openpty(devpts)
    assert pty.number(master) == 0
    assert mounts.fs_type(slave) == mounts.DEVPTS_SUPER_MAGIC
    pty.set_size(master, 33, 99)
    assert pty.get_size(slave) == (33, 99)
    former = pty.set_raw(slave)
    os.write(master, b"\x03\r")
    assert os.read(slave, 10) == b"\x03\r"
    pty.restore(slave, former)

    def work() -> str:
        os.setsid()
        pty.set_controlling(slave)
        fd = os.open("/dev/tty", os.O_RDWR)
        os.write(fd, b"through /dev/tty\n")
        return "ok"

    assert in_child(work) == "ok"
    assert os.read(master, 100) == b"through /dev/tty\r\n"
    for fd in (master, slave, devpts, detached):
        os.close(fd)
