"""Regression tests from outside for the escapes of the field; each carries its row's number and CVE."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import sysconfig
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


MARK = "row one was here"


def host_files() -> dict[str, object]:
    """The interpreter, the libraries it has loaded, the standard library and the environment's packages: what a
    container must not be able to change. Contents of the first two, the inode and its times of the rest."""
    loaded = {line.split()[-1] for line in Path("/proc/self/maps").read_text().splitlines() if ".so" in line}
    found: dict[str, object] = {}
    for path in (str(Path(sys.executable).resolve()), *sorted(loaded)):
        if os.path.exists(path):
            found[path] = hashlib.sha256(Path(path).read_bytes()).hexdigest()
    for directory in {sysconfig.get_path("stdlib"), sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}:
        for path in Path(directory).rglob("*.py"):
            at = path.stat()
            found[str(path)] = (at.st_ino, at.st_size, at.st_mtime_ns, at.st_mode)
    return found


def marked() -> list[str]:
    """Our own modules that carry the mark (their times may change: people work on them)."""
    import wharfie

    return [str(path) for path in Path(wharfie.__file__).parent.rglob("*.py") if MARK in path.read_text()]


@pytest.mark.parametrize("ptrace", [False, True])
def test_field_row_1_cve_2019_5736_runtime_binary_stays(daemon: Daemon, ptrace: bool) -> None:
    """The image's program is `#!/proc/self/exe`, while a sibling opens every /proc/*/exe it can see for writing. Only a
    container with CAP_SYS_PTRACE can see the link of a joining process at all, and then it leads to a sealed copy in
    memory, never to a file of the host."""
    before = host_files()
    files = {**busybox_files(), "bin/evil": "#!/proc/self/exe\n"}
    daemon.docker("import", "-", "row1:latest", stdin=tar_of(files))
    assert daemon.client("run", "--rm", "row1", "/bin/evil").returncode in (126, 127, 125)
    grab = f"""while :; do
        for e in /proc/[0-9]*/exe; do
            l=$(readlink $e 2>/dev/null)
            case $l in ''|/bin/busybox) continue;; esac
            echo "foreign $l"; ( echo {MARK} >> $e ) 2>/dev/null && echo "wrote $l"
        done; echo round; done"""
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
    assert said.count("round") > 10  # the sibling did look
    assert host_files() == before
    assert not marked()


PLACES = [
    *(f"/proc/self/fd/{number}" for number in (3, 4, 5, 6, 7, 8, 9, 10, 12, 16, 20, 33, 64)),
    "/proc/self/fd/7/..", "/proc/self/cwd", "/proc/self/root", "/proc/1/fd/5", "/proc/thread-self/fd/8", "/link",
]  # fmt: skip


@pytest.mark.parametrize("place", PLACES)
def test_field_row_2_cve_2024_21626_workdir_in_a_leaked_descriptor(daemon: Daemon, place: str) -> None:
    """By flag and by the image's own WORKDIR: nothing starts, and nothing of the host is shown."""
    files = {**busybox_files(), "link": "->/proc/self/fd/7"}
    daemon.docker("import", "-c", f"WORKDIR {place}", "-", "row2:latest", stdin=tar_of(files))
    for words in (("-w", place, "row2"), ("row2",)):
        done = daemon.client("run", "--rm", *words, "ls", "-a", ".", "..", "../..", "../../..")
        assert done.returncode in (125, 126, 127), (words, done)
        assert done.stdout == b"", (words, done)
        assert b"directory" in done.stderr, (words, done)  # what is wrong is named, and it is not the program
        assert str(daemon.data) not in done.stderr.decode()


def test_field_row_2_cve_2024_21626_only_three_descriptors(daemon: Daemon) -> None:
    # the fourth is the directory that ls itself reads
    assert daemon.docker("run", "--rm", IMAGE, "ls", "/proc/self/fd").split() == ["0", "1", "2", "3"]
    assert daemon.docker("run", "--rm", "-t", IMAGE, "ls", "/proc/self/fd").split() == ["0", "1", "2", "3"]
    daemon.docker("run", "-d", "--name", "row2", IMAGE, "sleep", "100")
    try:
        for more in ((), ("-i",), ("-u", "ann")):
            assert daemon.docker("exec", *more, "row2", "ls", "/proc/self/fd").split() == ["0", "1", "2", "3"]
        assert daemon.docker("exec", "row2", "ls", "/proc/1/fd").split() == ["0", "1", "2"]
        for place in PLACES[:-1]:
            done = daemon.client("exec", "-w", place, "row2", "ls", "-a", ".", "..", "../..")
            assert (done.returncode, done.stdout) in ((126, b""), (127, b"")), (place, done)
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
    assert said.count("caught CapPrm:") >= 5, said[-500:]  # it did get hold of some
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
    daemon.docker("import", "-c", f"USER {user}", "-", "row15:user", stdin=tar_of(files))
    said = daemon.docker("image", "inspect", "-f", "{{.Config.User}}", "row15:user").rstrip("\n")
    ways = [("run", "--rm", f"--user={user}", "row15")]
    if said == user:  # the change's own parser drops blanks at the ends
        ways.append(("run", "--rm", "row15:user"))
    daemon.docker("run", "-d", "--name", "row15", "row15", "sleep", "100")
    try:
        for way in (*ways, ("exec", f"--user={user}", "row15")):
            done = daemon.client(*way, "id", "-u")
            assert done.returncode in (125, 126, 1), f"{way}: user {user!r} became {done.stdout.decode().strip()}"
            assert done.stdout.strip() in (b"",) or b"user" in done.stdout + done.stderr, done
            assert not done.stdout.strip().isdigit(), done
            assert any(word in done.stdout + done.stderr for word in (b"user", b"group", b"ids")), done
    finally:
        daemon.docker("rm", "-f", "row15")


def test_field_row_15_what_is_a_user_stays_one(daemon: Daemon) -> None:
    """The edges of the range, and names with digits in them."""
    files = busybox_files()
    files["etc/passwd"] = f"{files['etc/passwd']}user1:x:77:0::/:/bin/sh\n_0:x:78:0::/:/bin/sh\n5:x:79:0::/:/bin/sh\n"
    daemon.docker("import", "-", "row15:latest", stdin=tar_of(files))
    for user, uid in (("2147483647", "2147483647"), ("0", "0"), ("user1", "77"), ("_0", "78"), ("5", "5")):
        assert daemon.docker("run", "--rm", "-u", user, "row15", "id", "-u").strip() == uid


def test_field_row_14_cve_2022_36109_supplementary_groups(daemon: Daemon) -> None:
    assert daemon.docker("run", "--rm", "-u", "ann", IMAGE, "id", "-G").split() == ["1000", "50"]
    assert daemon.docker("run", "--rm", "-u", "bob", IMAGE, "id", "-G").split() == ["1000"]
    assert daemon.docker("run", "--rm", "-u", "1234", IMAGE, "id", "-G").split() == ["0"]
    assert daemon.docker("run", "--rm", "-u", "ann:staff", IMAGE, "id", "-G").split() == ["50"]
    assert daemon.docker("run", "--rm", "--group-add", "77", IMAGE, "id", "-G").split() == ["0", "77"]


def test_field_row_20_cve_2019_14271_nothing_is_loaded_from_the_image(daemon: Daemon, tmp_path: Path) -> None:
    """An image full of traps: python modules, codecs, NSS and gconv libraries that would leave a mark if loaded; its
    variables point at them too."""
    trap = "open('/tmp/loaded','w').write(__name__)\nopen('/etc/loaded','w').write('x')\n"
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    files = busybox_files()
    roots = [
        f"usr/lib/{version}",
        f"usr/local/lib/{version}",
        str(Path(sys.prefix).relative_to("/")) + f"/lib/{version}",
        str(Path(sys.prefix).relative_to("/")) + f"/lib/{version}/site-packages",
        "trap", "",
    ]  # fmt: skip
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
            "sitecustomize.py",
            "ctypes/__init__.py",
            "wharfie/__init__.py",
            "zoneinfo/__init__.py",
        ):
            files[f"{root}/{name}".lstrip("/")] = trap
    source = tmp_path / "trap.c"
    source.write_text(
        '#include <fcntl.h>\n#include <unistd.h>\n__attribute__((constructor)) static void sprung(void)'
        ' { close(open("/tmp/loaded", O_CREAT | O_WRONLY, 0666)); close(open("/etc/loaded", O_CREAT | O_WRONLY, 0666));'
        " }"
    )
    subprocess.run(["cc", "-shared", "-fPIC", "-o", str(tmp_path / "trap.so"), str(source)], check=True)
    library = (tmp_path / "trap.so").read_bytes()
    for lib in ("libnss_files.so.2", "libnss_dns.so.2", "libnss_compat.so.2", "libnss_hostile.so.2", "libc.so.6",
                "libpthread.so.0", "libgcc_s.so.1", "gconv/UTF-16.so", "gconv/ISO8859-1.so"):  # fmt: skip
        files[f"lib/x86_64-linux-gnu/{lib}"] = files[f"usr/lib/x86_64-linux-gnu/{lib}"] = library
    files["lib/x86_64-linux-gnu/gconv/gconv-modules"] = "module INTERNAL HOSTILE// UTF-16 1\n"
    files["etc/nsswitch.conf"] = "passwd: files hostile\n"
    variables = {"PYTHONPATH": "/trap", "PYTHONHOME": "/usr", "LD_LIBRARY_PATH": "/lib/x86_64-linux-gnu", "GCONV_PATH":
                 "/lib/x86_64-linux-gnu/gconv", "LD_PRELOAD": "/lib/x86_64-linux-gnu/libc.so.6", "LANG": "xx.UTF-16"}
    changes = [word for key, value in variables.items() for word in ("-c", f"ENV {key}={value}")]
    daemon.docker("import", *changes, "-", "row20:latest", stdin=tar_of(files))
    out = daemon.docker("run", "--rm", "-u", "ann", "row20", "sh", "-c", "ls /tmp /etc; id -un")
    assert "loaded" not in out
    assert "ann" in out
    daemon.docker("run", "-d", "--name", "row20c", "row20", "sleep", "100")
    try:
        daemon.docker("exec", "-u", "ann", "row20c", "true")
        daemon.client("exec", "row20c", "no-such-program")
        daemon.docker("exec", "-t", "-w", "/etc", "row20c", "true")
        daemon.client("exec", "-u", "nobody-here", "row20c", "true")
        daemon.docker("cp", "-", "row20c:/root", stdin=tar_of({"ünïcode": "x"}))
        daemon.docker("cp", "row20c:/root", "-")
        daemon.docker("top", "row20c")
        daemon.docker("diff", "row20c")
        daemon.client("run", "--rm", "row20", "no-such-program")
        assert "loaded" not in daemon.docker("exec", "row20c", "ls", "/tmp", "/etc")
    finally:
        daemon.docker("rm", "-f", "row20c")


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
