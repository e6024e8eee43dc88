"""Regression tests from outside for the escapes of the field; each carries its row's number and CVE."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hosts import IMAGE, Daemon, busybox_files, clients, tar_of

pytestmark = pytest.mark.needs("root", "busybox")


@pytest.fixture(scope="module")
def daemon() -> Iterator[Daemon]:
    with Daemon() as d:
        yield d


def tree_hash() -> str:
    """One hash over the interpreter and every module of the package: what a container must not be able to change."""
    import wharfie

    whole = hashlib.sha256(Path(sys.executable).resolve().read_bytes())
    for path in sorted(Path(wharfie.__file__).parent.rglob("*.py")):
        whole.update(path.read_bytes())
    return whole.hexdigest()


@pytest.mark.parametrize("ptrace", [False, True])
def test_field_row_1_cve_2019_5736_runtime_binary_stays(daemon: Daemon, ptrace: bool) -> None:
    """The image's program is `#!/proc/self/exe`, while a sibling opens every /proc/*/exe it can see for writing. Only a
    container with CAP_SYS_PTRACE can see the link of a joining process at all, and then it leads to a sealed copy in
    memory, never to a file of the host."""
    before = tree_hash()
    files = {**busybox_files(), "bin/evil": "#!/proc/self/exe\n"}
    daemon.docker("import", "-", "row1:latest", stdin=tar_of(files))
    assert daemon.client("run", "--rm", "row1", "/bin/evil").returncode != 0
    grab = """while :; do
        for e in /proc/[0-9]*/exe; do
            l=$(readlink $e 2>/dev/null)
            case $l in ''|/bin/busybox) ;; *) echo "foreign $l"; ( echo x >> $e ) 2>/dev/null && echo "wrote $l";; esac
        done; done"""
    more = ["--cap-add", "SYS_PTRACE"] if ptrace else []
    daemon.docker("run", "-d", "--name", "row1c", *more, "row1", "sh", "-c", grab)
    try:
        for _ in range(25):
            daemon.client("exec", "row1c", "/bin/evil")
            daemon.client("exec", "row1c", "true")
        said = daemon.docker("logs", "row1c")
    finally:
        daemon.docker("rm", "-f", "row1c")
    links = {line for line in said.splitlines() if line.startswith(("foreign", "wrote"))}
    assert links <= ({"foreign /memfd:wharfie (deleted)"} if ptrace else set()), links
    assert tree_hash() == before


@pytest.mark.parametrize("number", [3, 4, 5, 6, 7, 8, 9, 10, 12, 16, 20, 33, 64])
def test_field_row_2_cve_2024_21626_workdir_in_a_leaked_descriptor(daemon: Daemon, number: int) -> None:
    done = daemon.client("run", "--rm", "-w", f"/proc/self/fd/{number}", IMAGE, "sh", "-c", "pwd; ls -a . ../../..")
    text = done.stdout.decode()
    assert "root" not in text.split() or done.returncode != 0
    for private in ("layers", "state.db", "containers", "lost+found"):
        assert private not in text


def test_field_row_2_cve_2024_21626_exec_sees_three_descriptors(daemon: Daemon) -> None:
    daemon.docker("run", "-d", "--name", "row2", IMAGE, "sleep", "100")
    try:
        # the fourth is the directory that ls itself reads
        assert daemon.docker("exec", "row2", "ls", "/proc/self/fd").split() == ["0", "1", "2", "3"]
        for number in range(3, 20):
            done = daemon.client("exec", "-w", f"/proc/self/fd/{number}", "row2", "ls", "-a", ".")
            assert done.returncode != 0 or b"state.db" not in done.stdout
    finally:
        daemon.docker("rm", "-f", "row2")


# Written in C by hand would need a compiler in the image: busybox has no ptrace applet, so pid 1 is this host's static
# probe when a C compiler is there at test time.
ATTACKER = r"""
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
int main(void) {
    char path[300], to[300];
    for (;;) {
        DIR *d = opendir("/proc"); struct dirent *e;
        while (d && (e = readdir(d))) {
            int pid = atoi(e->d_name); if (pid <= 1) continue;
            snprintf(path, sizeof path, "/proc/%d/exe", pid);
            ssize_t n = readlink(path, to, sizeof to - 1); if (n > 0) { to[n] = 0;
                if (!strstr(to, "/bin/busybox")) { printf("foreign %s\n", to); fflush(stdout); } }
            snprintf(path, sizeof path, "/proc/%d/fd", pid);
            DIR *f = opendir(path); struct dirent *g;
            while (f && (g = readdir(f))) { int num = atoi(g->d_name); if (num > 2) {
                snprintf(path, sizeof path, "/proc/%d/fd/%d", pid, num);
                n = readlink(path, to, sizeof to - 1); if (n > 0) { to[n] = 0;
                    if (strstr(to, "/tmp/wt-") || strstr(to, "python")) { printf("fd %s\n", to); fflush(stdout); } } } }
            if (f) closedir(f);
            if (ptrace(PTRACE_ATTACH, pid, 0, 0) == 0) { int st; waitpid(pid, &st, __WALL);
                snprintf(path, sizeof path, "/proc/%d/status", pid);
                FILE *s = fopen(path, "r"); char line[200];
                while (s && fgets(line, sizeof line, s))
                    if (!strncmp(line, "CapPrm:", 7)) { printf("caught %s", line); fflush(stdout); }
                if (s) fclose(s);
                ptrace(PTRACE_DETACH, pid, 0, 0); kill(pid, SIGCONT); }
        }
        if (d) closedir(d);
    }
}
"""


def test_field_row_3_cve_2016_9962_ptrace_of_a_joining_process(daemon: Daemon, tmp_path: Path) -> None:
    """pid 1 with CAP_SYS_PTRACE attaches to whatever appears during an exec storm: it may only ever hold processes
    with its own capabilities, and none with a descriptor of the host."""
    source = tmp_path / "attacker.c"
    source.write_text(ATTACKER)
    built = subprocess.run(["cc", "-static", "-O1", "-o", str(tmp_path / "attacker"), str(source)], capture_output=True)
    assert built.returncode == 0, built.stderr.decode()
    files = {**busybox_files(), "attacker": (tmp_path / "attacker").read_bytes()}
    daemon.docker("import", "-", "row3:latest", stdin=tar_of(files))
    daemon.docker("run", "-d", "--name", "row3", "--cap-add", "SYS_PTRACE", "row3", "/attacker")
    try:
        for _ in range(40):
            daemon.client("exec", "row3", "true")
        time.sleep(0.2)
        said = daemon.docker("logs", "row3")
    finally:
        daemon.docker("rm", "-f", "row3")
    allowed = 0xA80425FB | 1 << 19
    for line in said.splitlines():
        assert not line.startswith("fd "), line
        assert not line.startswith("foreign ") or line == "foreign /memfd:wharfie (deleted)", line
        if line.startswith("caught CapPrm:"):
            assert int(line.split()[-1], 16) & ~allowed == 0, line


@pytest.mark.parametrize(
    "user",
    [
        "4294967296",
        "4294967295",
        "2147483648",
        "٣",
        "1_000",
        "0x0",
        "-1",
        "+1",
        " 1",
        "1 ",
        "1:٣",
        "1000:4294967296",
        "1:-1",
    ],
)
def test_field_row_15_cve_2024_40635_hostile_users_are_refused(daemon: Daemon, user: str) -> None:
    files = busybox_files()
    passwd = files["etc/passwd"]
    assert isinstance(passwd, str)
    # the number also stands there as a name: it must not fall through to it
    files["etc/passwd"] = passwd + "4294967296:x:0:0::/:/bin/sh\n-1:x:0:0::/:/bin/sh\n٣:x:0:0::/:/bin/sh\n"
    daemon.docker("import", "-", "row15:latest", stdin=tar_of(files))
    done = daemon.client("run", "--rm", f"--user={user}", "row15", "id", "-u")
    assert done.returncode != 0, f"user {user!r} became uid {done.stdout.decode().strip()}"
    assert done.stdout.strip() != b"0"


def test_field_row_14_cve_2022_36109_supplementary_groups(daemon: Daemon) -> None:
    assert daemon.docker("run", "--rm", "-u", "ann", IMAGE, "id", "-G").split() == ["1000", "50"]
    assert daemon.docker("run", "--rm", "-u", "bob", IMAGE, "id", "-G").split() == ["1000"]
    assert daemon.docker("run", "--rm", "-u", "1234", IMAGE, "id", "-G").split() == ["0"]
    assert daemon.docker("run", "--rm", "-u", "ann:staff", IMAGE, "id", "-G").split() == ["50"]
    assert daemon.docker("run", "--rm", "--group-add", "77", IMAGE, "id", "-G").split() == ["0", "77"]


def test_field_row_20_cve_2019_14271_nothing_is_loaded_from_the_image(daemon: Daemon) -> None:
    """An image full of traps: python modules, codecs, NSS and gconv libraries that would leave a mark if loaded."""
    trap = "open('/tmp/loaded','w').write(__name__)\nopen('/etc/loaded','w').write('x')\n"
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    files = busybox_files()
    roots = [
        f"usr/lib/{version}",
        f"usr/local/lib/{version}",
        str(Path(sys.prefix).relative_to("/")) + f"/lib/{version}",
    ]
    for root in roots:
        for name in (
            "encodings/__init__.py",
            "encodings/idna.py",
            "encodings/ascii.py",
            "os.py",
            "json/__init__.py",
            "socket.py",
            "errno.py",
            "site.py",
            "traceback.py",
            "pwd.py",
            "grp.py",
            "linecache.py",
        ):
            files[f"{root}/{name}"] = trap
    for lib in ("libnss_files.so.2", "libnss_dns.so.2", "libnss_compat.so.2", "libc.so.6"):
        files[f"lib/x86_64-linux-gnu/{lib}"] = b"\x7fELF hostile"
    files["etc/nsswitch.conf"] = "passwd: files hostile\n"
    daemon.docker("import", "-", "row20:latest", stdin=tar_of(files))
    out = daemon.docker("run", "--rm", "-u", "ann", "row20", "sh", "-c", "ls /tmp /etc; id -un")
    assert "loaded" not in out
    assert "ann" in out
    daemon.docker("run", "-d", "--name", "row20c", "row20", "sleep", "100")
    try:
        daemon.docker("exec", "-u", "ann", "row20c", "true")
        daemon.client("exec", "row20c", "no-such-program")
        daemon.client("run", "--rm", "row20", "no-such-program")
        assert "loaded" not in daemon.docker("exec", "row20c", "ls", "/tmp", "/etc")
    finally:
        daemon.docker("rm", "-f", "row20c")


@pytest.fixture
def swapping(daemon: Daemon, tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A container whose /swap is, by turns and as fast as it can, a directory and a link to a canary on the host that
    the container cannot know of; and a volume that holds such links too."""
    canary = tmp_path / "canary"
    canary.mkdir()
    (canary / "secret").write_text("host")
    script = (
        f"mkdir -p /real{canary} /a; ln -s {canary} /b; ln -s {canary} /vol/out; echo inside > /a/secret;"
        " while true; do mv /a /swap; mv /swap /a; mv /b /swap; mv /swap /b; done"
    )
    daemon.docker("run", "-d", "--name", "row19", "-v", "/vol", "-v", "/vol/out/nested", IMAGE, "sh", "-c", script)
    try:
        yield "row19", canary
        assert [p.name for p in canary.iterdir()] == ["secret"]
        assert (canary / "secret").read_text() == "host"
        assert (canary / "secret").stat().st_mode & 0o7777 == 0o644
    finally:
        daemon.docker("rm", "-fv", "row19")


def test_field_row_19_cve_2018_15664_copies_race_a_link(
    daemon: Daemon, swapping: tuple[str, Path], tmp_path: Path
) -> None:
    """Both ways, many times: what is read is the container's own, what is written stays in it."""
    name, canary = swapping
    (tmp_path / "in").mkdir()
    (tmp_path / "in/secret").write_text("evil")
    (tmp_path / "in/secret").chmod(0o4777)
    read = 0
    for at in range(12):
        out = tmp_path / f"out{at}"
        daemon.client("cp", f"{name}:/swap/secret", str(out))
        if out.exists():
            assert out.read_text() in ("inside\n", "evil")
            read += 1
        daemon.client("cp", f"{tmp_path}/in/.", f"{name}:/swap/")
        daemon.client("cp", f"{tmp_path}/in/.", f"{name}:/vol/out/")
        assert (canary / "secret").read_text() == "host"
    assert read  # the race was run at all


@pytest.mark.parametrize("suffix", ["gzip", "xz", "bzip2", "zstd"])
def test_field_row_22_cve_2026_41567_compressed_copies_run_no_program(
    daemon: Daemon, tmp_path: Path, suffix: str
) -> None:
    """A container full of decompressors that leave a mark; the stream is unpacked by the engine itself."""
    mark = "#!/bin/sh\necho ran > /marked\nexec cat\n"
    programs = ("gzip", "gunzip", "unpigz", "xz", "unxz", "bzip2", "zstd", "tar")
    files = {**busybox_files(), **{f"usr/local/sbin/{p}": mark for p in programs}}
    daemon.docker("import", "-", "row22:latest", stdin=tar_of(files))
    program = subprocess.run(["sh", "-c", f"command -v {suffix}"], capture_output=True, text=True).stdout.strip()
    if not program:
        pytest.skip(f"{suffix} is not on this host")
    packed = subprocess.run([program, "-c"], input=tar_of({"copied": "text"}), capture_output=True, check=True).stdout
    daemon.docker("run", "-d", "--name", "row22", "row22", "sleep", "100")
    try:
        daemon.docker("cp", "-", "row22:/tmp", stdin=packed)
        assert daemon.docker("exec", "row22", "sh", "-c", "cat /tmp/copied; ls /marked 2>/dev/null; true") == "text"
    finally:
        daemon.docker("rm", "-f", "row22")


def test_field_row_23_cve_2026_42306_copies_into_volumes_below_links(daemon: Daemon, tmp_path: Path) -> None:
    """A stopped container with a volume below a directory that is a link to the host: no mount of the host's is made
    for a copy, and what is copied goes to the volume or nowhere."""
    canary = tmp_path / "canary"
    canary.mkdir()
    files = {**busybox_files(), "link": f"->{canary}", "up": f"->../../../../{canary}"}
    daemon.docker("import", "-", "row23:latest", stdin=tar_of(files))
    daemon.docker("create", "--name", "row23", "-v", "/link/vol", "-v", "/up/vol", "row23", "sleep", "1")
    try:
        for place in ("/link", "/link/vol", "/up/vol", "/up"):
            daemon.client("cp", "-", f"row23:{place}", stdin=tar_of({"x": "evil", "d/": "", "d/y": "evil"}))
            daemon.client("cp", f"row23:{place}", "-")
            assert not list(canary.iterdir())
        assert str(daemon.data) not in Path("/proc/self/mountinfo").read_text()
    finally:
        daemon.docker("rm", "-fv", "row23")


def test_field_row_3_who_stops_a_joining_process_holds_up_nobody(daemon: Daemon) -> None:
    """pid 1 sends SIGSTOP to whatever appears. Logs, top, stop and rm of that very container go on."""
    stop = "while :; do for p in /proc/[0-9]*; do p=${p#/proc/}; test $p = 1 || kill -STOP $p; done; done 2>/dev/null"
    daemon.docker("run", "-d", "--name", "row3s", IMAGE, "sh", "-c", f"trap '' TERM; echo up; {stop}")
    execs = [subprocess.Popen([next(iter(clients().values())), "-H", daemon.host, "exec", "row3s", "true"],
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) for _ in range(4)]
    try:
        time.sleep(1)
        began = time.monotonic()
        assert daemon.docker("logs", "row3s") == "up\n"
        assert "PID" in daemon.docker("top", "row3s")
        daemon.docker("stop", "-t", "1", "row3s")
    finally:
        daemon.docker("rm", "-f", "row3s")
        for one in execs:
            one.kill()
            one.wait()
    assert time.monotonic() - began < 10
