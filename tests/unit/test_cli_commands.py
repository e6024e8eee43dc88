"""The command line as a program against a small engine on a real socket; where the docker CLI is installed, the same
lines go through it and have to print the same."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.cli_engine import CONTAINER, Engine, environment
from wharfie.base import errors
from wharfie.cli import logs

DOCKER = "/usr/local/bin/docker"
WHARFIE = [sys.executable, "-c", "from wharfie.cli.main import main; main()"]


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    with Engine(str(tmp_path_factory.mktemp("e") / "s")) as made:
        yield made


def run(engine: Engine, *words: str, stdin: bytes = b"", client: list[str] = WHARFIE) -> tuple[int, str, str]:
    done = subprocess.run([*client, *words], input=stdin, capture_output=True, env=environment(engine), timeout=20)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


SAME = [
    ["ps"], ["ps", "-a", "--no-trunc"], ["ps", "-q"], ["ps", "--format", "{{.ID}} {{.Names}} {{.Label \"com.x.y\"}}"],
    ["ps", "--format", "table {{.Names}}\t{{.Ports}}"], ["ps", "--format", "{{.Nope}}"], ["ps", "--format", "{{.ID"],
    ["images"], ["images", "-q"], ["images", "--digests"], ["images", "--no-trunc"],
    ["images", "--format", "{{.Repository}}:{{.Tag}}"], ["inspect", "web"], ["inspect", "-f", "{{.Name}}", "web"],
    ["inspect", "-f", "{{json .Config.Labels}}", "web"], ["inspect", "nope"],
    ["inspect", "-f", "{{.Nope}}", "web"], ["inspect", "-f", "{{.Name", "web"],
    ["inspect", "-f", "{{.Config.Labels}} {{.State.Running}}", "web"], ["inspect", "web", "nope"],
    ["inspect", "--type", "container", "nope"], ["container", "inspect", "nope"], ["image", "inspect", "nope"],
    ["volume", "inspect", "nope"], ["network", "inspect", "nope"], ["port", "web"], ["port", "web", "80"],
    ["port", "web", "81"], ["logs", "web"], ["run", "x", "both"], ["run", "x", "fail"], ["run", "-d", "x"],
    ["run", "x", "nosuch"], ["run", "x", "noperm"], ["run", "--rm", "-i", "x", "cat"], ["exec", "web", "echo", "hi"],
    ["exec", "-i", "web", "cat"], ["create", "x"], ["run", "warn"], ["run", "--pull", "never", "missing"],
    ["rm", "a", "gone", "b"], ["stop", "a", "b"], ["kill", "-s", "HUP", "a"], ["wait", "done"], ["rename", "a", "b"],
    ["rename", "a"], ["ps", "x"], ["ps", "--nope"], ["run", "-itz", "x"], ["run"], ["exec", "a"],
    ["run", "-m", "x", "y"],
    ["run", "--rm=maybe", "x"], ["run", "-e", "=x", "y"], ["run", "-p", "1:2:3:4", "y"],
    ["run", "--rm", "--restart", "always", "x"],
    ["run", "--env-file", "/nope", "x"], ["run", "--ulimit", "x", "y"], ["run", "--mount", "foo", "x"],
    ["run", "--network=", "x"], ["run", "-d", "-a", "stdin", "x"], ["run", "-it", "x"], ["run", "--name"],
    ["run", "--health-interval", "5", "x"], ["logs", "a", "b"], ["tag", "x"], ["load"],
]


def _neutral(text: str) -> str:
    """What legitimately differs: the program's name."""
    return text.replace("docker", "wharfie").replace("vnd.wharfie", "vnd.docker").replace("DOCKER", "WHARFIE")


@pytest.mark.skipif(not os.path.exists(DOCKER), reason="needs the docker CLI")
@pytest.mark.parametrize("words", SAME, ids=" ".join)
def test_prints_what_docker_prints(engine: Engine, words: list[str]) -> None:
    ours = run(engine, *words, stdin=b"some input\n")
    theirs = run(engine, *words, stdin=b"some input\n", client=[DOCKER])
    assert (ours[0], _neutral(ours[1]), _neutral(ours[2])) == (theirs[0], _neutral(theirs[1]), _neutral(theirs[2]))


BODIES = [
    "-e A=1 -e B -l x=y --name n -w /w -u 1:2 -h host --entrypoint sh x -c true",
    "-v /a:/b -v named:/c:ro -v /anon --tmpfs /t:size=1m --mount type=bind,src=/a,dst=/m,ro "
    "--mount type=tmpfs,dst=/q,tmpfs-size=1m x",
    "-p 80 -p 8080:80/udp -p 127.0.0.1:1-3:1-3 -p [::1]:5:5 --expose 9-10 -P x",
    "-m 64m --memory-swap -1 --cpus 1.5 --pids-limit 10 --ulimit nofile=1:2 --shm-size 1g --cpu-shares 5 x",
    "--cap-add SYS_ADMIN --cap-drop ALL --security-opt no-new-privileges --privileged --read-only --init x",
    "--network none x", "--network host x", "--network foo --ip 1.2.3.4 --network-alias z x",
    "--restart on-failure:3 --stop-signal INT --stop-timeout 3 x", "-it x", "-d --rm x", "-a stdout x",
    "--health-cmd true --health-interval 1s --health-retries 2 x", "--no-healthcheck x", "--log-driver none x",
    "--log-opt max-size=1m x", "--dns 1.1.1.1 --dns-search a --dns-option b --add-host a:1.2.3.4 x", "--sysctl a.b=1 x",
    "--device /dev/null:/dev/x:r --device-cgroup-rule x --group-add 5 --oom-score-adj 5 --userns host --uts host x",
    "--pid host --ipc private --cgroupns host --cgroup-parent /x --runtime r --platform linux/amd64 x",
    "--blkio-weight 100 --device-read-bps /dev/null:1m --device-write-iops /dev/null:5 x",
    "--volumes-from a --link b:c x",
    "--memory-swappiness 5 --oom-kill-disable --cpu-period 1000 --cpu-quota 1000 --cpuset-cpus 0 x",
    "--annotation a=b --storage-opt size=1 --volume-driver d x", "--mac-address 92:d0:c6:0a:29:33 --domainname d x",
]


def _without_defaults(body: object) -> object:
    """docker sends every field, we only those that are set."""
    if isinstance(body, dict):
        cleaned = {k: _without_defaults(v) for k, v in body.items()}
        kept = {k: v for k, v in cleaned.items() if v not in (None, "", 0, False, [], {}, -1) or k == "MemorySwap"}
        return {k: v for k, v in kept.items() if not (k == "MemorySwap" and v == 0)}
    if isinstance(body, list):
        return [] if body == [0, 0] else [_without_defaults(v) for v in body]
    return body


@pytest.mark.skipif(not os.path.exists(DOCKER), reason="needs the docker CLI")
@pytest.mark.parametrize("line", BODIES)
def test_asks_for_what_docker_asks_for(engine: Engine, line: str) -> None:
    seen = []
    for client in (WHARFIE, [DOCKER]):
        run(engine, "create", *line.split(), client=client)
        seen.append(engine.bodies[-1])
    ours, theirs = (_without_defaults(b) for b in seen)
    assert isinstance(theirs, dict)
    assert isinstance(ours, dict)
    for body in (ours, theirs):
        host = body.setdefault("HostConfig", {})
        for name in ("NetworkMode", "RestartPolicy"):  # docker spells its defaults out
            if host.get(name) in ("default", {"Name": "no"}, "bridge"):
                host.pop(name)
        endpoints = body.get("NetworkingConfig", {}).get("EndpointsConfig", {})
        body.pop("NetworkingConfig", None)
        body["endpoints"] = endpoints
        # docker's order is a Go map's
        body["Env"] = sorted(body.get("Env", ()))
        host["Binds"] = sorted(host.get("Binds", ()))
    assert ours == theirs


def test_stdin_and_stdout_are_byte_exact(engine: Engine) -> None:
    payload = os.urandom(3 << 20)
    for words in (["run", "-i", "x", "cat"], ["exec", "-i", "web", "cat"]):
        done = subprocess.run(
            [*WHARFIE, *words], input=payload, capture_output=True, env=environment(engine), timeout=30)
        assert done.stdout == payload


def test_run_takes_few_requests(engine: Engine) -> None:
    engine.seen.clear()
    assert run(engine, "run", "--rm", "x", "true")[0] == 0
    assert [s.split("?")[0].rpartition("/")[2] for s in engine.seen] == ["create", "attach", "wait", "start"]


def test_an_older_engine_is_spoken_to_in_its_version(engine: Engine) -> None:
    engine.max_version = "1.41"
    try:
        engine.seen.clear()
        assert run(engine, "run", "x", "echo", "hi")[:2] == (0, "hi\n")
        assert engine.seen[1].startswith("POST /v1.41/containers/create")
        assert run(engine, "load", stdin=b"x" * 1000)[:2] == (0, "Loaded 1000\n")
    finally:
        engine.max_version = "1.50"


def test_cidfile(engine: Engine, tmp_path: Path) -> None:
    target = tmp_path / "cid"
    assert run(engine, "run", "--cidfile", str(target), "x")[0] == 0
    assert target.read_text() == CONTAINER
    code, _, err = run(engine, "run", "--cidfile", str(target), "x")
    assert (code, "container ID file found" in err) == (125, True)


def test_env_file_and_label_file(engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "env").write_text("# comment\nA=1\n\n  B=two words\nNOT_SET_ANYWHERE\nHOME\n")
    run(engine, "create", "--env-file", str(tmp_path / "env"), "-e", "A=2", "x")
    home = environment(engine)["HOME"]
    assert engine.bodies[-1]["Env"] == ["A=1", "B=two words", f"HOME={home}", "A=2"]
    (tmp_path / "bad").write_text("a b=1\n")
    code, _, err = run(engine, "create", "--env-file", str(tmp_path / "bad"), "x")
    assert (code, "contains whitespaces" in err) == (125, True)


def test_signals_are_passed_on(engine: Engine) -> None:
    process = subprocess.Popen([*WHARFIE, "run", "x", "linger"], stdout=subprocess.PIPE, env=environment(engine))
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    engine.seen.clear()
    process.send_signal(signal.SIGTERM)
    assert process.wait(5) == 143
    assert engine.seen == [f"POST /v1.50/containers/{CONTAINER}/kill?signal=TERM"]


def _in_terminal(
    engine: Engine, words: list[str], typed: list[tuple[bytes, bytes]], size: tuple[int, int] = (33, 99),
) -> tuple[int, bytes]:
    """Run on a terminal of its own: for each (seen, type) pair wait for the one, type the other."""
    pid, master = pty.fork()
    if pid == 0:
        os.execve(WHARFIE[0], [*WHARFIE, *words], {**environment(engine), "TERM": "xterm"})
    import fcntl
    import struct
    import termios

    fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("4H", *size, 0, 0))
    seen = b""
    for wanted, keys in typed:
        end = time.monotonic() + 8
        while wanted not in seen and time.monotonic() < end:
            if select.select([master], [], [], 0.1)[0]:
                seen += os.read(master, 4096)
        assert wanted in seen, seen
        os.write(master, keys)
    try:
        while data := os.read(master, 4096):
            seen += data
    except OSError:
        pass
    os.close(master)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), seen


def test_a_terminal_is_raw_and_detaches(engine: Engine) -> None:
    for words in (["run", "-it", "x", "cat"], ["exec", "-it", "web", "cat"]):
        engine.seen.clear()
        # ^C goes to the container as a byte, and comes back from cat
        status, seen = _in_terminal(engine, words, [(b"$ ", b"hello\x03"), (b"hello\x03", b"\x10\x11")])
        assert status == 0
        assert b"read escape sequence" in seen


def test_chosen_detach_keys(engine: Engine) -> None:
    status, seen = _in_terminal(
        engine, ["run", "-it", "--detach-keys", "ctrl-a,b", "x", "cat"], [(b"$ ", b"x\x01c"), (b"x\x01c", b"\x01b")])
    assert (status, b"read escape sequence" in seen) == (0, True)


def test_the_reader_going_away_ends_the_command(engine: Engine) -> None:
    words = " ".join(f"'{w}'" for w in WHARFIE)
    done = subprocess.run(["sh", "-c", f"{words} run -i x cat </dev/zero | head -c 5 >/dev/null"],
                          env=environment(engine), timeout=10, capture_output=True)
    assert b"Traceback" not in done.stderr


def test_nobody_answers(tmp_path: Path) -> None:
    env = {"DOCKER_HOST": f"unix://{tmp_path}/none", "PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    for words, code, prefix in ((["ps"], 1, ""), (["run", "x"], 125, "wharfie: ")):
        done = subprocess.run([*WHARFIE, *words], env=env, capture_output=True, text=True, timeout=10)
        assert done.returncode == code
        assert done.stderr.startswith(
            f"{prefix}Cannot connect to the Docker daemon at unix://{tmp_path}/none. Is the docker daemon running?")


def test_commands_of_docker_that_come_later_say_so(engine: Engine) -> None:
    for words in (["build", "."], ["swarm", "init"], ["network", "create", "x"]):
        code, _, err = run(engine, *words)
        assert (code, "does not have yet" in err) == (1, True)


def test_help_names_every_command_and_flag(engine: Engine) -> None:
    code, out, _ = run(engine, "--help")
    assert code == 0
    for name in ("run", "exec", "ps", "daemon", "install", "volume"):
        assert re.search(rf"^  {name} ", out, re.M)
    code, out, _ = run(engine, "run", "--help")
    assert (code, "--rm " in out, "-p, --publish list" in out) == (0, True, True)


def test_the_service_unit(engine: Engine, tmp_path: Path) -> None:
    target = tmp_path / "wharfie.service"
    if os.geteuid() == 0:
        code, out, _ = run(engine, "install", "service", "--path", str(target), "--", "--data-root", "/a b")
        assert (code, "systemctl" in out) == (0, True)
        text = target.read_text()
    else:
        text = run(engine, "install", "service", "--print", "--", "--data-root", "/a b")[1]
    assert "Delegate=yes\nKillMode=process\n" in text
    assert f'ExecStart={sys.executable} -m wharfie.daemon --data-root "/a b"\n' in text


def test_output_files_replace_files_only(engine: Engine, tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    link = tmp_path / "link"
    link.symlink_to("/dev/null")
    for target, words in (
        (fifo, "no regular file"), (link, "no regular file"), (tmp_path, "is a directory"),
        (tmp_path / "no/x", "no such file or directory"),
    ):
        code, _, err = run(engine, "save", "-o", str(target), "x")
        assert (code, words in err) == (1, True), err
    assert fifo.is_fifo()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["fifo", "link"]


def test_instants(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "XYZ-2")
    time.tzset()
    try:
        assert logs.instant("1970-01-02T00:00:00Z") == "86400.000000000"
        for local in ("1970-01-02T02:00:00", "1970-01-02T02:00", "1970-01-02T02"):
            assert logs.instant(local) == "86400.000000000"
        assert logs.instant("1970-01-02") == "79200.000000000"
        for bad in ("zz", "1970-13-01", "1970-01T", "1970-01-02T25:x"):
            with pytest.raises(errors.Invalid, match="failed to parse"):
                logs.instant(bad)
    finally:
        monkeypatch.delenv("TZ")
        time.tzset()


def test_the_flag_for_tracebacks(engine: Engine) -> None:
    code, _, err = run(engine, "-D", "load", "-i", "/no/such/file")
    assert "Traceback" in err
    assert code == 1
    code, _, err = run(engine, "load", "-i", "/no/such/file")
    assert (code, err.strip()) == (1, "open /no/such/file: no such file or directory")
