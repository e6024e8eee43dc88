"""`docker run` with the real clients: every flag that a user reaches for first."""

from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path

import pytest

from tests.conformance.conftest import Cli

pytestmark = pytest.mark.needs("root", "busybox")


def test_run_rm(cli: Cli, image: str) -> None:
    assert cli.ok("run", "--rm", image, "echo", "hello") == "hello"
    name = cli.name()
    cli.ok("run", "--rm", "--name", name, image, "true")
    assert "No such container" in cli.fails(1, "inspect", "--type", "container", name)


def test_stdout_and_stderr_apart(cli: Cli, image: str) -> None:
    done = cli.run("run", "--rm", image, "sh", "-c", "echo out; echo err >&2")
    assert (done.stdout, done.stderr) == (b"out\n", b"err\n")


@pytest.mark.parametrize("code", [0, 1, 3, 42, 255])
def test_exit_codes(cli: Cli, image: str, code: int) -> None:
    assert cli.run("run", "--rm", image, "sh", "-c", f"exit {code}").returncode == code


def test_a_killed_program_is_128_and_the_signal(cli: Cli, image: str) -> None:
    assert cli.run("run", "--rm", image, "sh", "-c", "sh -c 'kill -9 $$'; exit $?").returncode == 137


def test_not_found_is_127_and_not_executable_126(cli: Cli, image: str, tmp_path: Path) -> None:
    said = cli.fails(127, "run", "--rm", image, "no-such-program")
    assert "executable file not found" in said
    assert "no-such-program" in said
    (tmp_path / "plain").write_text("no program")
    assert "permission denied" in cli.fails(126, "run", "--rm", "-v", f"{tmp_path}/plain:/plain", image, "/plain")
    assert cli.run("run", "--rm", image, "/bin").returncode == 126
    said = cli.fails(125, "run", "--rm", "--no-such-flag", image)
    assert "unknown flag" in said


def test_unknown_image(cli: Cli) -> None:
    said = cli.fails(125, "run", "--rm", "no-such-image:1", "true")
    assert "no-such-image" in said


def test_detached_prints_the_id(cli: Cli, image: str) -> None:
    name = cli.name()
    identifier = cli.ok("run", "-d", "--name", name, image, "sleep", "100")
    assert len(identifier) == 64
    assert cli.inspect(name, "{{.Id}} {{.State.Running}} {{.State.Status}}") == f"{identifier} true running"


def test_eight_mebibytes_in_and_out(cli: Cli, image: str) -> None:
    data = os.urandom(8 << 20)
    done = cli.run("run", "--rm", "-i", image, "cat", stdin=data)
    assert done.returncode == 0, done.stderr
    assert hashlib.sha256(done.stdout).digest() == hashlib.sha256(data).digest()
    assert len(done.stdout) == len(data)


def test_end_of_input_reaches_the_program(cli: Cli, image: str) -> None:
    assert cli.ok("run", "--rm", "-i", image, "wc", "-c", stdin=b"12345") == "5"
    assert cli.ok("run", "--rm", image, "cat", stdin=b"not read") == ""


def test_environment_directory_user_host_name(cli: Cli, image: str) -> None:
    assert cli.ok("run", "--rm", "-e", "A=b c", image, "sh", "-c", "echo $A") == "b c"
    assert cli.ok("run", "--rm", "-w", "/var", image, "pwd") == "/var"
    assert cli.ok("run", "--rm", "-w", "/made/on/use", image, "pwd") == "/made/on/use"
    assert cli.ok("run", "--rm", "-u", "ann", image, "id", "-u") == "1000"
    assert cli.ok("run", "--rm", "-u", "7:8", image, "sh", "-c", "echo $(id -u):$(id -g)") == "7:8"
    assert cli.ok("run", "--rm", "-h", "box.example", image, "hostname") == "box.example"
    assert "box.example" in cli.ok("run", "--rm", "-h", "box.example", image, "cat", "/etc/hosts")
    path = cli.ok("run", "--rm", image, "sh", "-c", "echo $PATH")
    assert path == "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    assert (
        "unable to find user nobody-here" in cli.run("run", "--rm", "-u", "nobody-here", image, "true").stderr.decode()
    )


def test_host_name_is_the_short_id(cli: Cli, image: str) -> None:
    name = cli.background(image, "sleep", "100")
    assert cli.ok("exec", name, "hostname") == cli.inspect(name, "{{.Id}}")[:12]


def test_entrypoint(cli: Cli, image: str) -> None:
    assert cli.ok("run", "--rm", "--entrypoint", "echo", image, "x", "y") == "x y"
    assert cli.ok("run", "--rm", "--entrypoint", "", image, "echo", "plain") == "plain"


def test_names_are_unique(cli: Cli, image: str) -> None:
    name = cli.background(image, "sleep", "100")
    said = cli.fails(125, "run", "--name", name, image, "true")
    assert f'The container name "/{name}" is already in use by container' in said
    assert "Invalid container name" in cli.fails(125, "run", "--name", "_", image, "true")


def test_init_reaps_and_forwards(cli: Cli, image: str) -> None:
    name = cli.background("--init", image, "sh", "-c", "trap 'exit 9' TERM; while :; do sleep 0.1; done")
    assert "sh" not in cli.ok("exec", name, "cat", "/proc/1/comm")
    cli.ok("stop", "-t", "5", name)
    assert cli.inspect(name, "{{.State.ExitCode}}") == "9"


def test_read_only_and_tmpfs(cli: Cli, image: str) -> None:
    assert cli.run("run", "--rm", "--read-only", image, "touch", "/x").returncode == 1
    assert (
        cli.ok(
            "run",
            "--rm",
            "--read-only",
            "--tmpfs",
            "/t:size=1m,mode=0700",
            image,
            "sh",
            "-c",
            "touch /t/x && stat -c %a /t && df -k /t | tail -1 | awk '{print $2}'",
        )
        == "700\n1024"
    )


def test_bind_mounts(cli: Cli, image: str, tmp_path: Path) -> None:
    (tmp_path / "in").write_text("from the host")
    assert (
        cli.ok("run", "--rm", "-v", f"{tmp_path}:/m", image, "sh", "-c", "echo made > /m/out; cat /m/in")
        == "from the host"
    )
    assert (tmp_path / "out").read_text() == "made\n"
    assert cli.run("run", "--rm", "-v", f"{tmp_path}:/m:ro", image, "touch", "/m/x").returncode == 1
    assert cli.ok("run", "--rm", "--mount", f"type=bind,source={tmp_path},target=/m,readonly", image, "cat", "/m/in")
    said = cli.fails(125, "run", "--rm", "--mount", f"type=bind,source={tmp_path}/nope,target=/m", image, "true")
    assert "bind source path does not exist" in said
    cli.ok("run", "--rm", "-v", f"{tmp_path}/new:/m", image, "true")
    assert (tmp_path / "new").is_dir()


def test_volumes(cli: Cli, image: str) -> None:
    volume = "v" + cli.name()
    cli.ok("run", "--rm", "-v", f"{volume}:/data", image, "sh", "-c", "echo kept > /data/f")
    assert cli.ok("run", "--rm", "-v", f"{volume}:/data", image, "cat", "/data/f") == "kept"
    assert volume in cli.ok("volume", "ls", "-q").split()
    assert cli.ok("volume", "inspect", "-f", "{{.Driver}}", volume) == "local"
    # a named volume takes what the image has at the place
    assert "passwd" in cli.ok("run", "--rm", "-v", f"{volume}c:/etc", image, "ls", "/etc")
    cli.ok("volume", "rm", volume, f"{volume}c")
    name = cli.name()
    cli.ok("create", "--name", name, "-v", "/anon", image, "true")
    anonymous = cli.inspect(name, "{{(index .Mounts 0).Name}}")
    assert anonymous in cli.ok("volume", "ls", "-q").split()
    assert "in use" in cli.fails(1, "volume", "rm", anonymous)
    cli.ok("rm", "-v", name)
    assert anonymous not in cli.ok("volume", "ls", "-q").split()


CAPS = "grep CapEff /proc/self/status | awk '{print $2}'"


def test_capabilities(cli: Cli, image: str) -> None:
    def effective(*flags: str) -> int:
        return int(cli.ok("run", "--rm", *flags, image, "sh", "-c", CAPS), 16)

    assert effective() == 0xA80425FB
    assert effective("--cap-drop", "ALL") == 0
    assert effective("--cap-drop", "chown") == 0xA80425FB & ~1
    assert effective("--cap-drop", "ALL", "--cap-add", "NET_ADMIN") == 1 << 12
    if cli.daemon:  # the peer fails where the host itself lacks a capability
        assert effective("--privileged") > 0xA80425FB


def test_limits(cli: Cli, image: str) -> None:
    name = cli.background(
        "--memory", "64m", "--cpus", "0.5", "--pids-limit", "50", "--ulimit", "nofile=123:456", image, "sleep", "100"
    )
    shown = cli.inspect(name, "{{.HostConfig.Memory}} {{.HostConfig.NanoCpus}} {{.HostConfig.PidsLimit}}")
    assert shown == f"{64 << 20} 500000000 50"
    assert cli.ok("exec", name, "sh", "-c", "ulimit -n; ulimit -Hn") == "123\n456"
    script = (
        "cat /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null || cat /sys/fs/cgroup/memory.max; "
        "cat /sys/fs/cgroup/pids/pids.max 2>/dev/null || cat /sys/fs/cgroup/pids.max"
    )
    assert cli.ok("exec", name, "sh", "-c", script) == f"{64 << 20}\n50"
    assert "Minimum memory limit" in cli.fails(125, "run", "--memory", "1m", image, "true")


def test_too_much_memory_is_killed(cli: Cli, image: str) -> None:
    name = cli.name()
    done = cli.run("run", "--name", name, "--memory", "16m", "--memory-swap", "16m", image, "tail", "/dev/zero")
    assert done.returncode == 137
    assert cli.inspect(name, "{{.State.OOMKilled}} {{.State.ExitCode}}") == "true 137"


def test_network_none_and_host(cli: Cli, image: str) -> None:
    assert cli.ok("run", "--rm", "--network", "none", image, "ls", "/sys/class/net") == "lo"
    here = cli.ok("run", "--rm", "--network", "host", image, "readlink", "/proc/self/ns/net")
    assert here != cli.ok("run", "--rm", image, "readlink", "/proc/self/ns/net")
    if cli.daemon:
        assert (
            here
            == subprocess.run(
                cli.daemon.inside("readlink", "/proc/self/ns/net"), capture_output=True, text=True
            ).stdout.strip()
        )


def test_network_bridge(cli: Cli, image: str) -> None:
    one = cli.background(image, "sleep", "100")
    address = cli.inspect(one, "{{.NetworkSettings.Networks.bridge.IPAddress}}")
    gateway = cli.inspect(one, "{{.NetworkSettings.Networks.bridge.Gateway}}")
    assert address in cli.ok("exec", one, "ip", "addr", "show", "eth0")
    assert f"default via {gateway}" in cli.ok("exec", one, "ip", "route")
    assert cli.run("run", "--rm", image, "ping", "-c", "1", "-W", "3", address).returncode == 0
    assert address in cli.ok("exec", one, "cat", "/etc/hosts")


def test_published_ports(cli: Cli, image: str) -> None:
    name = cli.background("-p", "18080:80", "-p", "53", image, "httpd", "-f", "-h", "/etc")
    assert cli.ok("port", name, "80").splitlines()[0] == "0.0.0.0:18080"
    assert "18080->80/tcp" in cli.ok("ps", "--filter", f"name={name}", "--format", "{{.Ports}}")
    said = cli.fails(125, "run", "-d", "--name", cli.name(), "-p", "18080:80", image, "true")
    assert "port is already allocated" in said
    if cli.daemon is None:
        return
    for address in ("127.0.0.1", "[::1]"):
        done = subprocess.run(
            cli.daemon.inside("curl", "-sS", "--retry-connrefused", "--retry", "5", f"http://{address}:18080/passwd"),
            capture_output=True,
            text=True,
            timeout=30,
        )
        assert "root:x:0:0" in done.stdout, done.stderr


def test_not_honoured_is_refused_by_name(cli: Cli, image: str) -> None:
    if cli.daemon is None:
        pytest.skip("expected: the peer warns and drops it")
    said = cli.fails(125, "run", "--rm", "--blkio-weight", "100", image, "true")
    assert "BlkioWeight" in said
    assert not cli.ok("ps", "-aq", "--filter", "status=created")


def test_create_and_start(cli: Cli, image: str) -> None:
    name = cli.name()
    identifier = cli.ok("create", "--name", name, image, "sh", "-c", "echo attached; exit 5")
    assert cli.inspect(name, "{{.State.Status}}") == "created"
    done = cli.run("start", "-a", identifier[:12])
    assert (done.returncode, done.stdout) == (5, b"attached\n")
    assert cli.ok("start", name) == name
    assert cli.ok("wait", name) == "5"


def test_cid_file_env_file_labels(cli: Cli, image: str, tmp_path: Path) -> None:
    (tmp_path / "env").write_text("FROM_FILE=yes\n# no\n")
    name = cli.name()
    out = cli.ok(
        "run",
        "--name",
        name,
        "--cidfile",
        str(tmp_path / "cid"),
        "--env-file",
        str(tmp_path / "env"),
        "-l",
        "a=b",
        image,
        "sh",
        "-c",
        "echo $FROM_FILE",
    )
    assert out == "yes"
    assert (tmp_path / "cid").read_text() == cli.inspect(name, "{{.Id}}")
    assert cli.inspect(name, '{{index .Config.Labels "a"}}') == "b"


def test_restart_policy(cli: Cli, image: str) -> None:
    name = cli.background("--restart", "on-failure:2", image, "sh", "-c", "exit 4")
    cli.until(
        "2 exited 4", "inspect", "-f", "{{.RestartCount}} {{.State.Status}} {{.State.ExitCode}}", name, timeout=20
    )
