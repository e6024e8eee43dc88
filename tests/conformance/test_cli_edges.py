"""The edges of flags and verbs that a user meets, with the real clients; each would fail with the flag passed over."""

from __future__ import annotations

import datetime
import json
import subprocess
import tarfile
import time
from pathlib import Path

import pytest

from tests.conformance.conftest import Cli
from tests.conformance.hostile_tars import END, document, file
from tests.hosts import busybox_files, tar_of

pytestmark = pytest.mark.needs("root", "busybox")

ECHO = """import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(("", 53)); print("up", flush=True)
while True:
    data, who = s.recvfrom(99); s.sendto(b"echo " + data, who)"""
ASK = """import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(2)
s.sendto(b"ping", ("127.0.0.1", int(sys.argv[1]))); print(s.recv(99).decode())"""
V1_OR_V2 = "cd /sys/fs/cgroup; cat cpu/cpu.cfs_quota_us cpu/cpu.cfs_period_us 2>/dev/null || cat cpu.max"
LOOP = "while :; do sleep 0.1; done"


# ---- run ----


def test_detached_says_the_id(cli: Cli, image: str) -> None:
    name = cli.name()
    said = cli.ok("run", "-d", "--name", name, image, "sleep", "100")
    assert (len(said), said) == (64, cli.inspect(name, "{{.Id}}"))


def test_ranges_of_ports_one_address_and_udp(cli: Cli, image: str) -> None:
    base = 21000 if cli.kind == "docker28" else 22000
    name = cli.background(
        "-p", f"{base}-{base + 2}:8000-8002", "-p", f"127.0.0.1:{base + 53}:53/udp", "-p", "127.0.0.1::90",
        image, "sleep", "100",
    )  # fmt: skip
    shown = set(cli.ok("port", name).splitlines())
    assert {f"800{n}/tcp -> 0.0.0.0:{base + n}" for n in range(3)} <= shown
    assert [line for line in shown if line.startswith("53/udp")] == [f"53/udp -> 127.0.0.1:{base + 53}"]
    ephemeral = next(line for line in shown if line.startswith("90/tcp"))
    assert ephemeral.startswith("90/tcp -> 127.0.0.1:")
    assert int(ephemeral.rpartition(":")[2]) > 1024
    assert cli.ok("port", name, "8001/tcp").splitlines()[0] == f"0.0.0.0:{base + 1}"
    assert "No public port" in cli.fails(1, "port", name, "99")
    said = cli.fails(125, "run", "-d", "--name", cli.name(), "-p", f"{base + 2}:80", image, "true")
    assert "port is already allocated" in said
    if cli.daemon is None:
        return
    # Nothing in busybox answers datagrams: the server is ours, in the container's network.
    inside = f"--net=/proc/{cli.inspect(name, '{{.State.Pid}}')}/ns/net"
    server = subprocess.Popen(["nsenter", inside, "python3", "-c", ECHO], stdout=subprocess.PIPE)
    try:
        assert server.stdout is not None
        assert server.stdout.readline() == b"up\n"
        done = subprocess.run(
            cli.daemon.inside("python3", "-c", ASK, str(base + 53)), capture_output=True, text=True, timeout=30
        )
        assert done.stdout == "echo ping\n", done
    finally:
        server.kill()
        server.communicate()


def test_cpus_are_in_the_group(cli: Cli, image: str) -> None:
    assert cli.ok("run", "--rm", "--cpus", "1.5", image, "sh", "-c", V1_OR_V2).split() == ["150000", "100000"]
    assert "range of CPUs is from 0.01" in cli.fails(125, "run", "--rm", "--cpus", "4096", image, "true").replace(
        "Range", "range")


@pytest.mark.parametrize(
    ("user", "shown"),
    [("ann:staff", "1000 50 50"), ("ann:7", "1000 7 7"), (":staff", "0 50 50"), ("1000", "1000 1000 1000 50")],
)
def test_user_and_group(cli: Cli, image: str, user: str, shown: str) -> None:
    assert cli.ok("run", "--rm", "-u", user, image, "sh", "-c", "echo $(id -u) $(id -g) $(id -G)") == shown


def test_home_follows_the_user(cli: Cli, image: str) -> None:
    homes = {"ann": "/home", "4242": "/", "0": "/root"}
    for user, home in homes.items():
        assert cli.ok("run", "--rm", "-u", user, image, "sh", "-c", "echo $HOME") == home
    assert "unable to find group nothere" in cli.fails(125, "run", "--rm", "-u", "ann:nothere", image, "true")


def test_options_of_tmpfs(cli: Cli, image: str) -> None:
    def mounted(options: str) -> set[str]:
        script = "grep ' /t ' /proc/mounts; stat -c '%a.%u.%g' /t"
        line, owner = cli.ok("run", "--rm", "--tmpfs", f"/t{options}", image, "sh", "-c", script).splitlines()
        return {*line.split()[3].split(","), owner}

    assert {"rw", "nosuid", "nodev", "noexec", "1777.0.0"} <= mounted("")
    assert {"size=65536k", "1750.5.6", "noexec"} <= mounted(":size=64m,mode=1750,uid=5,gid=6")
    assert not {"noexec", "nosuid", "nodev"} & mounted(":exec,suid,dev")
    assert "ro" in mounted(":ro")
    assert "tmpfs option" in cli.fails(125, "run", "--rm", "--tmpfs", "/t:bogus=1", image, "true").lower()
    assert cli.ok("run", "--rm", "--tmpfs", "/etc", image, "sh", "-c", "ls /etc; wc -l < /etc/hosts").split() == [
        "hostname", "hosts", "resolv.conf", "7"]  # fmt: skip


def test_mounts_below_mounts(cli: Cli, image: str, tmp_path: Path) -> None:
    (tmp_path / "bound").write_text("bound\n")
    volume = "v" + cli.name()
    cli.ok("run", "--rm", "-v", f"{volume}:/m", image, "sh", "-c", "mkdir /m/sub /m/anonymous; echo named > /m/f")
    flags = ("-v", f"{tmp_path}:/m/sub", "-v", "/m/anonymous", "--tmpfs", "/m/anonymous/t", "-v", f"{volume}:/m:ro")
    script = "cat /m/f /m/sub/bound; touch /m/anonymous/x /m/anonymous/t/y && ls /m/anonymous; touch /m/z || echo ro"
    assert cli.ok("run", "--rm", *flags, image, "sh", "-c", script).split() == ["named", "bound", "t", "x", "ro"]
    one = f"{tmp_path}/bound:/etc/passwd:ro"
    assert cli.ok("run", "--rm", "-v", one, image, "sh", "-c", "cat /etc/passwd; echo x > /etc/passwd || echo ro") == (
        "bound\nro")
    # our own files stay in sight below a volume on /etc, and are read-only where everything is
    script = "grep -c localhost /etc/hosts; cat /etc/hostname; touch /etc/hosts || echo ro"
    for flags, shown in ((("-v", f"{volume}e:/etc"), ["2", "box"]), (("--read-only",), ["2", "box", "ro"])):
        assert cli.ok("run", "--rm", "-h", "box", *flags, image, "sh", "-c", script).split() == shown
    cli.ok("volume", "rm", volume, f"{volume}e")
    for bad, words in (("vol:rel", "must be absolute"), ("a b:/m", "invalid characters"),
                       ("vol:/m:bogus", "invalid mode"), ("vol:/", "destination can't be '/'")):
        assert words in cli.fails(125, "run", "--rm", "-v", bad, image, "true")
    assert "Duplicate mount point" in cli.fails(125, "run", "--rm", "-v", "vol:/m", "-v", "vol2:/m", image, "true")


# ---- exec, logs ----


def test_exec_where_it_cannot(cli: Cli, image: str) -> None:
    name = cli.background(image, "sleep", "100")
    cli.ok("pause", name)
    assert "is paused, unpause the container before exec" in cli.fails(1, "exec", name, "true")
    cli.ok("stop", "-t", "0", name)
    assert cli.inspect(name, "{{.State.Status}} {{.State.ExitCode}} {{.State.Paused}}") == "exited 137 false"
    assert "is not running" in cli.fails(1, "exec", name, "true")
    cli.ok("start", name)
    assert cli.run("exec", "-w", "/nowhere", name, "true").returncode in (126, 127)
    assert "unable to find user nobody-here" in str(cli.run("exec", "-u", "nobody-here", name, "true"))
    assert cli.ok("exec", "-u", ":staff", name, "id", "-g") == "50"
    assert cli.inspect(name, "{{len .ExecIDs}}") == "0"


def test_parts_of_a_log(cli: Cli, image: str) -> None:
    name = cli.background(image, "sh", "-c", "echo one; sleep 1.1; echo two; sleep 1.1; echo three")
    assert cli.ok("logs", "-f", "--tail", "0", name).endswith("two\nthree")
    stamps = {line.split()[1]: line.split()[0] for line in cli.ok("logs", "-t", name).splitlines()}
    assert list(stamps) == ["one", "two", "three"]
    assert cli.ok("logs", "--since", stamps["two"], name) == "two\nthree"
    assert cli.ok("logs", "--until", stamps["two"], name) == "one\ntwo"
    assert cli.ok("logs", "--since", stamps["two"], "--until", stamps["two"], name) == "two"
    assert cli.ok("logs", "--since", stamps["one"], "--tail", "1", name) == "three"
    moment = datetime.datetime.fromisoformat(stamps["two"][:26] + "+00:00").timestamp()
    assert cli.ok("logs", "--since", f"{moment - 0.3:.6f}", name) == "two\nthree"
    assert cli.ok("logs", "--until", "10m", name) == ""
    assert cli.ok("logs", "--tail", "all", name) == cli.ok("logs", "-n", "-1", name) == "one\ntwo\nthree"
    assert "zzz" in cli.fails(1, "logs", "--since", "zzz", name)


# ---- stop, kill, wait ----


def test_stop_at_once_and_never(cli: Cli, image: str) -> None:
    deaf = cli.background(image, "sh", "-c", f"trap '' TERM; echo up; {LOOP}")
    cli.until("up", "logs", deaf)
    start = time.monotonic()
    cli.ok("stop", "-t", "0", deaf)
    assert time.monotonic() - start < 5
    assert cli.inspect(deaf, "{{.State.ExitCode}}") == "137"
    slow = cli.background(image, "sh", "-c", f"trap 'sleep 1.5; exit 6' TERM; echo up; {LOOP}")
    cli.until("up", "logs", slow)
    cli.ok("stop", "-t", "-1", slow)  # waits for as long as it takes
    assert cli.inspect(slow, "{{.State.ExitCode}}") == "6"
    own = cli.background("--stop-timeout", "1", image, "sh", "-c", f"trap '' TERM; echo up; {LOOP}")
    cli.until("up", "logs", own)
    start = time.monotonic()
    cli.ok("stop", own)
    assert 0.9 < time.monotonic() - start < 6


def test_names_of_signals(cli: Cli, image: str) -> None:
    traps = "; ".join(f"trap 'echo {s}' {s}" for s in ("HUP", "USR1", "USR2"))
    name = cli.background(image, "sh", "-c", f"{traps}; echo up; {LOOP}")
    seen = "up"
    cli.until(seen, "logs", name)
    for signal, heard in (("USR1", "USR1"), ("SIGUSR2", "USR2"), ("1", "HUP"), ("usr1", "USR1"), ("12", "USR2")):
        cli.ok("kill", "-s", signal, name)
        seen += f"\n{heard}"
        cli.until(seen, "logs", name)
    for wrong in ("NOPE", "0", "9x"):
        assert f"invalid signal: {wrong}".lower() in cli.fails(1, "kill", "-s", wrong, name).lower()
    assert cli.inspect(name, "{{.State.Running}}") == "true"
    cli.ok("pause", name)
    cli.ok("kill", name)  # the killed one need not be thawed first
    assert cli.ok("wait", name) == "137"


def test_wait_for_several(cli: Cli, image: str) -> None:
    two = [cli.background(image, "sh", "-c", f"sleep 0.{n}; exit {n}") for n in (4, 2)]
    done = cli.run("wait", *two, "no-such", two[0])
    assert (done.returncode, done.stdout) == (1, b"4\n2\n4\n")
    assert b"No such container: no-such" in done.stderr
    gone = cli.background("--rm", image, "sh", "-c", "sleep 0.7; exit 9")
    assert cli.ok("wait", gone) == "9"


# ---- ps, rm ----


def test_more_filters_of_ps(cli: Cli, image: str) -> None:
    mark, volume = cli.name(), "v" + cli.name()
    port = 23000 if cli.kind == "docker28" else 24000
    made = [
        cli.background("-l", f"k={mark}", "-l", f"n={n}", "-v", f"{volume}:/data{n}", "-p", f"{port + n}:80",
                       "--expose", f"{500 + n}/udp", image, "sleep", "100")
        for n in range(3)
    ]  # fmt: skip
    one, two, three = made

    def names(*filters: str) -> list[str]:
        words = [w for f in (f"label=k={mark}", *filters) for w in ("--filter", f)]
        return cli.ok("ps", "-a", *words, "--format", "{{.Names}}").split()

    cli.ok("pause", two)
    assert names() == [three, two, one]  # newest first
    assert names(f"before={three}") == [two, one]
    assert names(f"since={one}") == [three, two]
    assert names(f"since={one}", f"before={three}") == [two]
    assert names("status=paused") == [two]
    assert names("status=running", "status=paused") == [three, two, one]
    assert names(f"volume={volume}") == [three, two, one]
    assert names("volume=/data1") == [two]
    assert names(f"publish={port + 1}") == [two]
    assert names(f"publish={port}-{port + 1}") == [two, one]
    assert names(f"publish={port}/udp") == []
    assert names("expose=502/udp") == [three]
    assert names("label=n=2") == [three]
    assert names("label=n", "label=n=0") == [one]
    assert names(f"name=^{one}$") == names(f"name=^/{one}$") == [one]
    assert names(f"id={cli.inspect(two, '{{.Id}}')[:9]}") == [two]
    assert names(f"ancestor={cli.inspect(image, '{{.Id}}')}") == [three, two, one]
    assert names("ancestor=no-such") == names("network=none") == []
    assert "no such container" in cli.fails(1, "ps", "--filter", "before=no-such").lower()
    assert cli.ok("ps", "-n", "2", "--format", "{{.Names}}").split() == [three, two]
    assert cli.ok("ps", "-l", "--format", "{{.Names}}") == three
    form = "table {{.Names}}\t{{.Ports}}\t{{.Mounts}}"
    shown = cli.ok("ps", "--filter", f"name={one}", "--format", form).splitlines()
    assert shown[0].split() == ["NAMES", "PORTS", "MOUNTS"]
    assert f"0.0.0.0:{port}->80/tcp" in shown[1]
    assert shown[1].endswith(volume)
    cli.ok("rm", "-f", *made)
    cli.ok("volume", "rm", volume)


def test_volumes_that_go_and_stay(cli: Cli, image: str) -> None:
    def volumes() -> set[str]:
        return set(cli.ok("volume", "ls", "-q").split())

    named, before = "v" + cli.name(), volumes()
    first = cli.background("-v", f"{named}:/named", "-v", "/anonymous", image, "sleep", "100")
    second = cli.background("--volumes-from", first, image, "sleep", "100")
    anonymous = volumes() - before - {named}
    assert len(anonymous) == 1
    cli.ok("rm", "-f", first)
    assert anonymous < volumes()  # without -v nothing goes
    cli.ok("rm", "-fv", second)  # the last that has it takes it along
    assert volumes() - before == {named}
    cli.ok("run", "--rm", "-v", f"{named}:/named", "-v", "/anonymous", image, "true")
    assert volumes() - before == {named}
    cli.ok("volume", "rm", named)


# ---- images ----


def test_removing_names_and_prefixes(cli: Cli) -> None:
    name = f"many/{cli.name()}"
    identifier = cli.ok("import", "-c", f"LABEL only={name}", "-", f"{name}:1", stdin=tar_of(busybox_files()))
    for tag in ("2", "3"):
        cli.ok("tag", identifier[7:19], f"{name}:{tag}")
    assert "must be forced" in cli.fails(1, "rmi", identifier[7:19])
    assert cli.ok("rmi", f"{name}:2") == f"Untagged: {name}:2"
    container = cli.background(f"{name}:1", "sleep", "100")
    assert cli.ok("rmi", f"{name}:3") == f"Untagged: {name}:3"
    assert "unable to remove repository reference" in cli.fails(1, "rmi", f"{name}:1")
    assert "cannot be forced" in cli.fails(1, "rmi", "-f", identifier[7:19])
    cli.ok("rm", "-f", container)
    cli.ok("tag", identifier, f"{name}:4")
    gone = cli.ok("rmi", "-f", identifier[7:19]).splitlines()
    assert gone[:3] == [f"Untagged: {name}:1", f"Untagged: {name}:4", f"Deleted: {identifier}"]
    done = cli.run("rmi", "no-such", "no-such-either")
    assert (done.returncode, done.stderr.count(b"No such image")) == (1, 2)
    assert "ambiguous" in cli.fails(1, "tag", "test/busybox", "sha256:aa")


def test_several_images_in_one_archive(cli: Cli, tmp_path: Path) -> None:
    one, two = f"one/{cli.name()}", f"two/{cli.name()}"
    for name, tag in ((one, "a"), (two, "a")):
        cli.ok("import", "-c", f"CMD echo {name}", "-", f"{name}:{tag}", stdin=tar_of(busybox_files()))
    cli.ok("tag", f"{one}:a", f"{one}:b")
    where = tmp_path / "all.tar"
    cli.ok("save", "-o", str(where), one, f"{two}:a")
    with tarfile.open(where) as tar:
        member = tar.extractfile("manifest.json")
        assert member is not None
        assert [m["RepoTags"] for m in json.load(member)] == [[f"{one}:a", f"{one}:b"], [f"{two}:a"]]
    names = [f"{one}:a", f"{one}:b", f"{two}:a"]
    for words, stdin in ((("load", "-i", str(where)), b""), (("load",), where.read_bytes())):
        cli.ok("rmi", *names)
        assert cli.ok(*words, stdin=stdin).splitlines() == [f"Loaded image: {name}" for name in names]
        assert cli.ok("run", "--rm", f"{one}:b") == one
        assert cli.ok("run", "--rm", f"{two}:a") == two
    # by id: no name goes along, and none is lost
    identifier = cli.inspect(f"{two}:a", "{{.Id}}")
    cli.ok("save", "-o", str(where), identifier[7:19])
    cli.ok("rmi", *names)
    assert cli.ok("load", "-i", str(where)) == f"Loaded image ID: {identifier}"
    cli.ok("rmi", identifier)
    assert cli.run("save", "-o", str(tmp_path / "none"), "no-such").returncode != 0
    assert not (tmp_path / "none").exists()


def test_load_of_the_old_dialect(cli: Cli) -> None:
    """`<id>/layer.tar` and `<id>.json`, as engines before 25 wrote them; `save` writes an OCI layout beside it now."""
    name, layer = f"old/{cli.name()}:1", tar_of(busybox_files())
    config = document(layer, config={"Cmd": ["echo", "old"]})
    listed = [{"Config": "c0.json", "RepoTags": [name], "Layers": ["l0/layer.tar"]}]
    archive = file(b"manifest.json", json.dumps(listed).encode()) + file(b"c0.json", config) + file(
        b"l0/layer.tar", layer) + END
    assert cli.ok("load", stdin=archive) == f"Loaded image: {name}"
    assert cli.ok("run", "--rm", name) == "old"
    cli.ok("rmi", name)


def test_words_of_import(cli: Cli) -> None:
    name = f"words/{cli.name()}:1"
    changes = ("ENV A=1 B=2", 'ENTRYPOINT ["/bin/echo"]', "CMD hi", "EXPOSE 80 81/udp", "USER 5:6", "WORKDIR /w",
               "VOLUME /v", 'LABEL l=1 m="x y"', "ONBUILD RUN x")  # fmt: skip
    words = [word for change in changes for word in ("--change", change)]
    cli.ok("import", *words, "--message", "my note", "-", name, stdin=tar_of(busybox_files()))
    made = json.loads(cli.ok("image", "inspect", name))[0]
    config = made["Config"]
    assert made["Comment"] == "my note"
    assert config["Env"][-2:] == ["A=1", "B=2"]
    assert (config["Entrypoint"], config["Cmd"]) == (["/bin/echo"], ["/bin/sh", "-c", "hi"])
    assert (config["User"], config["WorkingDir"], config["OnBuild"]) == ("5:6", "/w", ["RUN x"])
    assert (set(config["ExposedPorts"]), set(config["Volumes"])) == ({"80/tcp", "81/udp"}, {"/v"})
    assert config["Labels"] == {"l": "1", "m": "x y"}
    assert "not a valid change command" in cli.fails(1, "import", "-c", "RUN x", "-", "bad:1")
    cli.ok("rmi", name)


def test_events_by_filter(cli: Cli, image: str) -> None:
    since = f"{time.time() - 0.001:.6f}"
    name, tag = cli.name(), f"seen/{cli.name()}:1"
    cli.run("run", "--name", name, "-l", f"mark={name}", image, "sh", "-c", "exit 3")
    cli.ok("rename", name, f"{name}x")
    cli.ok("rm", f"{name}x")
    cli.ok("tag", image, tag)
    cli.ok("rmi", tag)
    until = f"{time.time() + 0.2:.6f}"

    def seen(*filters: str, form: str = "{{.Type}}:{{.Action}}") -> list[str]:
        words = [w for f in filters for w in ("--filter", f)]
        return cli.ok("events", "--since", since, "--until", until, *words, "--format", form).split()

    life = ["create", "attach", "start", "die", "rename", "destroy"]
    assert seen(f"label=mark={name}", form="{{.Action}}") == life
    assert seen(f"label=mark={name}", "event=die", "event=start") == ["container:start", "container:die"]
    assert seen("type=image", "event=tag", form="{{.Actor.Attributes.name}}").count(tag) == 1
    assert seen(f"label=mark={name}", "type=volume") == []
    assert f"/{name}" in seen("event=rename", form="{{.Actor.Attributes.oldName}}")
    assert {"network:connect", "network:disconnect"} <= set(seen("network=bridge"))
    row = json.loads(cli.ok("events", "--since", since, "--until", until, "--filter", f"label=mark={name}", "--filter",
                            "event=die", "--format", "{{json .}}"))  # fmt: skip
    assert (row["from"], row["scope"], row["Actor"]["Attributes"]["exitCode"]) == (image, "local", "3")
    assert abs(row["timeNano"] / 1e9 - float(since)) < 60
    assert "cannot be after" in cli.fails(1, "events", "--since", until, "--until", since)
