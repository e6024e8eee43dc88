"""What is done with containers that exist: exec, attach, logs, stop, kill, wait, rename, inspect, ps, rm, events."""

from __future__ import annotations

import json
import os
import time

import pytest

from tests.conformance.conftest import Cli

pytestmark = pytest.mark.needs("root", "busybox")


def test_exec(cli: Cli, image: str) -> None:
    name = cli.background("-e", "A=1", image, "sleep", "100")
    assert cli.ok("exec", name, "sh", "-c", "echo $A") == "1"
    assert (
        cli.ok("exec", "-e", "B=2", "-u", "ann", "-w", "/var", name, "sh", "-c", "echo $B $(id -u) $(pwd)")
        == "2 1000 /var"
    )
    assert cli.run("exec", name, "sh", "-c", "exit 11").returncode == 11
    assert cli.ok("exec", "-i", name, "wc", "-c", stdin=b"x" * 100_000) == "100000"
    data = os.urandom(1 << 20)
    assert cli.run("exec", "-i", name, "cat", stdin=data).stdout == data
    done = cli.run("exec", name, "sh", "-c", "echo o; echo e >&2")
    assert (done.stdout, done.stderr) == (b"o\n", b"e\n")
    cli.ok("exec", "-d", name, "sh", "-c", "echo done > /tmp/mark")
    cli.until("done", "exec", name, "sh", "-c", "cat /tmp/mark 2>/dev/null || echo not yet")


def test_exec_that_cannot(cli: Cli, image: str) -> None:
    name = cli.background(image, "sleep", "100")
    done = cli.run("exec", name, "no-such-program")
    # 126 until dockerd 28 (API 1.48, moby#48552), and to clients of that time from ours too
    assert done.returncode == (127 if cli.daemon and cli.kind == "docker28" else 126)
    assert b"executable file not found" in done.stdout + done.stderr
    cli.ok("exec", name, "sh", "-c", "echo > /tmp/plain")
    assert cli.run("exec", name, "/tmp/plain").returncode == 126
    assert "No such container" in cli.fails(1, "exec", "no-such-container", "true")
    cli.ok("stop", "-t", "0", name)
    assert "is not running" in cli.fails(1, "exec", name, "true")


def test_attach(cli: Cli, image: str) -> None:
    name = cli.background("-i", image, "sh", "-c", "read line; echo got $line; exit 7")
    process = cli.spawn("attach", name)
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(b"words\n")
    process.stdin.flush()
    assert process.stdout.read() == b"got words\n"
    assert process.wait(10) == 7
    assert "You cannot attach to a stopped container" in cli.fails(1, "attach", name)


def test_attach_without_input(cli: Cli, image: str) -> None:
    name = cli.background(image, "sh", "-c", "sleep 1; echo late")
    assert cli.ok("attach", "--no-stdin", name) == "late"


def test_logs(cli: Cli, image: str) -> None:
    name = cli.background(image, "sh", "-c", "for n in 1 2 3 4 5; do echo $n; done; sleep 0.3; echo e >&2")
    cli.ok("wait", name)
    assert cli.ok("logs", name) == "1\n2\n3\n4\n5"
    assert cli.run("logs", name).stderr == b"e\n"
    both = cli.run("logs", "--tail", "2", name)
    assert both.stdout + both.stderr == b"5\ne\n"
    assert cli.ok("logs", "--tail", "0", name) == ""
    stamped = cli.ok("logs", "-t", name).splitlines()[0].split(" ")
    assert len(stamped[0]) == len("2026-01-01T00:00:00.000000000Z")
    assert stamped[1] == "1"
    assert cli.ok("logs", "--since", "2099-01-01T00:00:00", name) == ""
    assert cli.ok("logs", "--until", "2001-01-01T00:00:00", name) == ""
    assert cli.ok("logs", "--since", "10m", name).startswith("1\n")
    details = cli.ok("logs", "--details", name)
    assert details.splitlines()[0].strip() == "1"


def test_logs_follow(cli: Cli, image: str) -> None:
    name = cli.background(image, "sh", "-c", "echo first; sleep 0.5; echo second; sleep 0.5; echo third")
    start = time.monotonic()
    assert cli.ok("logs", "-f", name) == "first\nsecond\nthird"
    assert time.monotonic() - start < 10
    assert cli.ok("logs", "-f", name) == "first\nsecond\nthird"


def test_many_lines(cli: Cli, image: str) -> None:
    name = cli.background(image, "seq", "200000")
    cli.ok("wait", name)
    lines = cli.ok("logs", name).split("\n")
    assert len(lines) == 200_000
    assert (lines[0], lines[-1]) == ("1", "200000")
    assert cli.ok("logs", "--tail", "3", name) == "199998\n199999\n200000"
    assert cli.run("run", "--rm", image, "seq", "200000").stdout.count(b"\n") == 200_000


def test_a_line_without_end(cli: Cli, image: str) -> None:
    name = cli.background(image, "sh", "-c", "head -c 100000 /dev/zero | tr '\\0' x")
    cli.ok("wait", name)
    assert cli.run("logs", name).stdout == b"x" * 100_000


def test_stop_and_kill(cli: Cli, image: str) -> None:
    polite = cli.background(image, "sh", "-c", "trap 'exit 3' TERM; while :; do sleep 0.1; done")
    cli.ok("stop", "-t", "10", polite)
    assert cli.inspect(polite, "{{.State.ExitCode}} {{.State.Status}}") == "3 exited"
    deaf = cli.background(image, "sh", "-c", "trap '' TERM; while :; do sleep 0.1; done")
    start = time.monotonic()
    cli.ok("stop", "-t", "1", deaf)
    assert 0.9 < time.monotonic() - start < 8
    assert cli.inspect(deaf, "{{.State.ExitCode}}") == "137"
    cli.ok("stop", deaf)  # stopped already: nothing to do
    other = cli.background("--stop-signal", "INT", image, "sh", "-c", "trap 'exit 4' INT; while :; do sleep 0.1; done")
    cli.ok("stop", other)
    assert cli.inspect(other, "{{.State.ExitCode}}") == "4"
    signalled = cli.background(image, "sh", "-c", "trap 'echo hup' HUP; while :; do sleep 0.1; done")
    time.sleep(0.3)
    cli.ok("kill", "-s", "HUP", signalled)
    cli.until("hup", "logs", signalled)
    cli.ok("kill", signalled)
    cli.until("137", "inspect", "-f", "{{.State.ExitCode}}", signalled)
    assert "is not running" in cli.fails(1, "kill", signalled)
    assert "No such container" in cli.fails(1, "stop", "no-such")


def test_wait(cli: Cli, image: str) -> None:
    name = cli.background(image, "sh", "-c", "sleep 0.5; exit 9")
    assert cli.ok("wait", name) == "9"
    assert cli.ok("wait", name) == "9"
    assert "No such container" in cli.fails(1, "wait", "no-such")


def test_restart_pause_unpause(cli: Cli, image: str) -> None:
    name = cli.background(image, "sh", "-c", "while :; do sleep 0.1; done")
    before = cli.inspect(name, "{{.State.StartedAt}}")
    cli.ok("restart", "-t", "0", name)
    assert cli.inspect(name, "{{.State.Running}}") == "true"
    assert cli.inspect(name, "{{.State.StartedAt}}") != before
    cli.ok("pause", name)
    assert cli.inspect(name, "{{.State.Status}} {{.State.Paused}}") == "paused true"
    assert "(Paused)" in cli.ok("ps", "--filter", f"name={name}", "--format", "{{.Status}}")
    cli.ok("unpause", name)
    assert cli.inspect(name, "{{.State.Status}}") == "running"


def test_rename(cli: Cli, image: str) -> None:
    name, other = cli.background(image, "sleep", "100"), cli.name()
    cli.ok("rename", name, other)
    assert cli.inspect(other, "{{.Name}}") == f"/{other}"
    assert "No such container" in cli.fails(1, "rename", name, "x" + other)
    third = cli.background(image, "sleep", "100")
    assert "already in use" in cli.fails(1, "rename", third, other)


def test_ps(cli: Cli, image: str) -> None:
    label = cli.name()
    up = cli.background("-l", f"k={label}", image, "sleep", "100")
    down = cli.background("-l", f"k={label}", image, "sh", "-c", "exit 3")
    cli.ok("wait", down)

    def names(*filters: str, everything: bool = True) -> list[str]:
        words = [w for f in (f"label=k={label}", *filters) for w in ("--filter", f)]
        return sorted(cli.ok("ps", *(["-a"] if everything else []), *words, "--format", "{{.Names}}").split())

    assert names() == sorted([up, down])
    assert names(everything=False) == [up]
    assert names("status=exited") == [down]
    assert names("exited=3") == [down]
    assert names("exited=0") == []
    assert names(f"name={up}") == [up]
    assert names(f"ancestor={image}") == sorted([up, down])
    assert names(f"since={up}") == [down]
    assert names("network=bridge", "status=running") == [up]
    row = cli.ok(
        "ps", "-a", "--filter", f"name={down}", "--format", '{{.Image}}|{{.Command}}|{{.Status}}|{{.Label "k"}}'
    )
    shown, command, status, said = row.split("|")
    assert (shown, command, said) == (image, "\"sh -c 'exit 3'\"", label)
    assert status.startswith("Exited (3) ")
    assert status.endswith(" ago")
    identifier = cli.inspect(up, "{{.Id}}")
    assert cli.ok("ps", "-q", "--filter", f"name={up}") == identifier[:12]
    assert cli.ok("ps", "-q", "--no-trunc", "--filter", f"name={up}") == identifier
    assert json.loads(cli.ok("ps", "--filter", f"name={up}", "--format", "{{json .}}"))["State"] == "running"
    assert "invalid filter" in cli.fails(1, "ps", "--filter", "nope=1").lower()
    assert "virtual" in cli.ok("ps", "-s", "--filter", f"name={up}")


def test_inspect(cli: Cli, image: str) -> None:
    name = cli.background("-p", "80", image, "sleep", "100")
    whole = json.loads(cli.ok("inspect", name))[0]
    assert whole["Name"] == f"/{name}"
    assert whole["Config"]["Image"] == image
    assert whole["HostConfig"]["RestartPolicy"]["Name"] in ("no", "")
    assert cli.inspect(name, "{{json .Config.Cmd}}") == '["sleep","100"]'
    assert cli.inspect(name, "{{.State.Pid}}").isdecimal()
    assert "No such object" in cli.fails(1, "inspect", "no-such") or cli.kind != "docker20"


def test_rm(cli: Cli, image: str) -> None:
    name = cli.background("-v", "/anon", image, "sleep", "100")
    volume = cli.inspect(name, "{{(index .Mounts 0).Name}}")
    said = cli.fails(1, "rm", name)
    assert f'cannot remove container "/{name}": container is running' in said
    cli.ok("rm", "-fv", name)
    assert name not in cli.ok("ps", "-a", "--format", "{{.Names}}").split()
    assert volume not in cli.ok("volume", "ls", "-q").split()
    assert "No such container" in cli.run("rm", name).stderr.decode()
    two = [cli.background(image, "true") for _ in range(2)]
    for one in two:
        cli.ok("wait", one)
    assert cli.ok("rm", *two).split() == two


def test_top_and_stats(cli: Cli, image: str) -> None:
    name = cli.background(image, "sh", "-c", "sleep 100; true")
    shown_top = cli.ok("top", name)
    assert "sleep 100" in shown_top
    assert shown_top.splitlines()[1].startswith("root ")
    shown = json.loads(cli.ok("stats", "--no-stream", "--format", "{{json .}}", name))
    assert shown["Name"] == name
    assert shown["PIDs"] == "2"


def test_events(cli: Cli, image: str) -> None:
    since = str(time.time() - 0.001)
    name = cli.name()
    cli.run("run", "--rm", "--name", name, "-l", "mark=1", image, "sh", "-c", "exit 2")
    until = str(time.time() + 0.5)
    lines = cli.ok(
        "events",
        "--since",
        since,
        "--until",
        until,
        "--filter",
        f"container={name}",
        "--format",
        "{{.Action}} {{.Actor.Attributes.name}}",
    ).splitlines()
    actions = [line.split()[0] for line in lines if line.endswith(name)]
    for earlier, later in (("create", "start"), ("start", "die"), ("die", "destroy")):
        assert actions.index(earlier) < actions.index(later)
    dies = cli.ok(
        "events",
        "--since",
        since,
        "--until",
        until,
        "--filter",
        "event=die",
        "--filter",
        f"container={name}",
        "--format",
        "{{.Actor.Attributes.exitCode}} {{.Actor.Attributes.mark}}",
    )
    assert dies == "2 1"


def test_events_of_volumes(cli: Cli, image: str) -> None:
    since = str(time.time() - 0.001)
    name = cli.name()
    cli.run("run", "--rm", "-v", f"{name}:/d:ro", "-v", "/anonymous", image, "true")
    until = str(time.time() + 0.5)
    lines = cli.ok(
        "events", "--since", since, "--until", until, "--filter", "type=volume", "--format",
        '{{.Action}} {{.Actor.ID}} {{.Actor.Attributes.destination}} {{index .Actor.Attributes "read/write"}}',
    ).splitlines()
    mine = [line.replace(f" {name}", "") for line in lines if name in line]
    assert mine[0].split()[0] == "create"
    assert mine[1].split() == ["mount", "/d", "false"]
    assert mine[2].split()[0] == "unmount"
    others = [line.split()[0] for line in lines if name not in line]
    assert sorted(others) == ["create", "destroy", "mount", "unmount"]
    cli.ok("volume", "rm", name)


def test_events_live(cli: Cli, image: str) -> None:
    process = cli.spawn(
        "events", "--filter", "type=container", "--filter", "event=start", "--format", "{{.Actor.Attributes.name}}"
    )
    time.sleep(0.5)
    name = cli.background(image, "sleep", "100")
    assert process.stdout is not None
    assert process.stdout.readline().decode().strip() == name


def test_prune(cli: Cli, image: str) -> None:
    label = cli.name()
    down = cli.background("-l", f"k={label}", image, "true")
    cli.ok("wait", down)
    assert cli.inspect(down, "{{.Id}}") in cli.ok("container", "prune", "-f", "--filter", f"label=k={label}")


def test_version_and_info(cli: Cli) -> None:
    assert cli.ok("version", "-f", "{{.Server.Os}} {{.Server.APIVersion}}").startswith("linux 1.")
    assert cli.ok("info", "-f", "{{.OSType}} {{.Swarm.LocalNodeState}}") == "linux inactive"
    assert cli.ok("info")
    assert "not a swarm manager" in cli.fails(1, "node", "ls")
    names = cli.ok("network", "ls", "--format", "{{.Name}}").split()
    assert {"bridge", "host", "none"} <= set(names)
    assert json.loads(cli.ok("network", "inspect", "bridge"))[0]["Driver"] == "bridge"
    cli.ok("system", "df")
