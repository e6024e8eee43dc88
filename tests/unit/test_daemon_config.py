"""The daemon's flags and daemon.json, its locks and listeners."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path

import pytest

from wharfie.base import errors, flags
from wharfie.daemon import config, host, listeners, roots
from wharfie.daemon import main as program


def load(tmp_path: Path, content: object, *argv: str) -> tuple[config.Config, list[str]]:
    file = tmp_path / "daemon.json"
    file.write_text(json.dumps(content))
    return config.load(["--config-file", str(file), *argv])


def test_flags() -> None:
    made, _ = config.load(
        [
            "--data-root",
            "/d",
            "--exec-root=/r",
            "-H",
            "unix:///s",
            "-H",
            "fd://",
            "-p",
            "/p",
            "-D",
            "-l",
            "warn",
            "-G",
            "wheel",
            "--bip",
            "172.20.0.1/16",
            "--mtu",
            "1400",
            "--dns",
            "1.1.1.1",
            "--default-address-pool",
            "base=10.1.0.0/16,size=24",
            "--cgroup-parent",
            "/x",
            "--default-ulimit",
            "nofile=10:20",
            "--log-opt",
            "max-size=1m",
            "-s",
            "overlay2",
            "--insecure-registry",
            "a:5000",
            "--registry-mirror",
            "https://m",
            "--live-restore",
        ]
    )
    assert (made.data_root, made.exec_root, made.hosts) == ("/d", "/r", ("unix:///s", "fd://"))
    assert made.debug
    assert made.log_level == "debug"
    assert made.network.default_address_pools == (("10.1.0.0/16", 24),)
    assert made.network.mtu == 1400
    assert made.ulimits[0].hard == 20
    assert made.log_options == (("max-size", "1m"),)
    assert made.cgroup_parent == "x"
    plain, _ = config.load([])
    assert plain.hosts == ("unix:///run/wharfie/docker.sock",)
    assert plain.pidfile == "/run/wharfie/wharfie.pid"


def test_the_file(tmp_path: Path) -> None:
    made, warnings = load(
        tmp_path,
        {
            "data-root": "/d",
            "debug": True,
            "dns": ["8.8.8.8"],
            "log-opts": {"max-file": "2", "max-size": "1m"},
            "colour": "blue",
            "default-ulimits": {"nofile": {"Name": "nofile", "Soft": 1, "Hard": 2}},
            "default-address-pools": [{"base": "10.2.0.0/16", "size": 24}],
            "mtu": 1300,
        },
    )
    assert made.data_root == "/d"
    assert made.network.dns == ("8.8.8.8",)
    assert made.ulimits[0].soft == 1
    assert made.network.mtu == 1300
    assert len(warnings) == 1
    assert "colour" in warnings[0]


def test_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(errors.Invalid, match=r"debug: \(from flag: True, from file: false\)"):
        load(tmp_path, {"debug": False}, "-D")


@pytest.mark.parametrize("content", [[], {"debug": 1}, {"dns": "x"}, {"log-opts": []}, {"dns": [1]}, {"mtu": True}])
def test_bad_files(tmp_path: Path, content: object) -> None:
    with pytest.raises(errors.Invalid):
        load(tmp_path, content)
    with pytest.raises(errors.Invalid, match="no such file"):
        config.load(["--config-file", str(tmp_path / "absent")])


@pytest.mark.parametrize(
    "argv",
    [
        ["-l", "loud"],
        ["--dns", "x"],
        ["--bip", "1.2.3.4/8", "-b", "br"],
        ["--default-ulimit", "nofile"],
        ["--default-ulimit", "nofile=2:1"],
        ["--default-address-pool", "base=x"],
        ["--cgroup-parent", "../x"],
        ["--mtu", "5"],
        ["--log-opt", "max-size"],
        ["--ip", "x"],
        ["--nonsense"],
        ["word"],
    ],
)
def test_bad_flags(argv: list[str]) -> None:
    with pytest.raises(errors.Invalid):
        config.load(argv)


def test_what_is_not_there_yet() -> None:
    for argv in (["--log-driver", "syslog"], ["-s", "btrfs"], ["--log-opt", "tag=x"]):
        with pytest.raises(errors.Unsupported):
            config.load(argv)


def test_exit_statuses(capsys: pytest.CaptureFixture[str]) -> None:
    assert program.main(["--nonsense"]) == 125
    assert program.main(["--mtu", "5"]) == 1
    assert program.main(["--help"]) == 0
    assert "--data-root" in capsys.readouterr().out
    with pytest.raises(flags.HelpAsked):
        config.load(["--help"])


def test_a_second_claim_names_the_holder(tmp_path: Path) -> None:
    path = str(tmp_path / "lock")
    first = roots.claim(path, "data root /x", private=False)
    with pytest.raises(errors.Conflict, match=rf"data root /x is in use by a wharfie daemon \(pid {os.getpid()}\)"):
        roots.claim(path, "data root /x", private=False)
    first.release()
    roots.claim(path, "data root /x", private=True).release()


def test_unix_listener(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    first = listeners.unix(path, "")
    assert os.stat(path).st_mode & 0o777 == 0o660
    with pytest.raises(errors.Conflict):
        listeners.unix(path, "")
    first.close()
    listeners.unix(path, "").close()  # a stale socket is replaced
    with pytest.raises(errors.Invalid, match="group"):
        listeners.unix(str(tmp_path / "t"), "no-such-group")
    with pytest.raises(errors.Invalid):
        listeners.unix("/" + "x" * 120, "")


def test_tcp_only_when_spelled_out() -> None:
    with pytest.raises(errors.Unsupported, match="TLS"):
        listeners.open_all(("tcp://127.0.0.1:0",), group="", allow_tcp=False)
    (made,) = listeners.open_all(("tcp://127.0.0.1:0",), group="", allow_tcp=True)
    assert listeners.describe(made).startswith("tcp://127.0.0.1:")
    made.close()
    for bad in ("tcp://127.0.0.1", "npipe://x", "tcp://h:99999"):
        with pytest.raises(errors.Invalid):
            listeners.open_all((bad,), group="", allow_tcp=True)


def test_passed_sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(errors.Invalid, match="fd://"):
        listeners.open_all(("fd://",), group="", allow_tcp=False)
    made = socket.socket(socket.AF_UNIX)
    monkeypatch.setattr(listeners, "_FIRST_FD", made.detach())
    monkeypatch.setenv("LISTEN_PID", str(os.getpid()))
    monkeypatch.setenv("LISTEN_FDS", "1")
    monkeypatch.setenv("LISTEN_FDNAMES", "api")
    (got,) = listeners.passed("api")
    got.close()
    with pytest.raises(errors.Invalid):
        listeners.passed("other")


def test_notify(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = str(tmp_path / "n")
    heard = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    heard.bind(path)
    read, write = os.pipe()
    monkeypatch.setenv("NOTIFY_SOCKET", path)
    monkeypatch.setenv("WHARFIE_READY_FD", str(write))
    listeners.tell_ready()
    assert heard.recv(100) == b"READY=1"
    assert os.read(read, 100) == b"READY\n"
    assert os.read(read, 100) == b""
    heard.close()
    os.close(read)


def test_files_of_a_container_are_read_inside_only(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/passwd").symlink_to("/etc/../real")
    (tmp_path / "real").write_text("inside")
    os.mkfifo(tmp_path / "etc/group")
    root = os.open(tmp_path, os.O_PATH)
    assert host.read_file(root, "/etc/passwd", 3) == b"ins"
    assert host.read_file(root, "/etc/group", 10) == b""
    assert host.read_file(root, "/absent", 10) == b""
    os.close(root)
