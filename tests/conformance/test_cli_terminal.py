"""The real clients on a terminal: sizes, signals, end of input, leaving and coming back."""

from __future__ import annotations

import time

import pytest

from tests.conformance.conftest import Cli, Terminal

pytestmark = pytest.mark.needs("root", "busybox")
PROMPT = b"ready> "


def shell(cli: Cli, image: str, name: str, *flags: str, rows: int = 24, columns: int = 80) -> Terminal:
    return Terminal(
        cli,
        "run",
        "-it",
        "--name",
        name,
        "-e",
        "PS1=" + PROMPT.decode(),
        *flags,
        image,
        "sh",
        rows=rows,
        columns=columns,
    )


def test_t_without_i(cli: Cli, image: str) -> None:
    with Terminal(cli, "run", "--rm", "-t", image, "tty") as terminal:
        terminal.expect(b"/dev/pts/0\r")
        assert terminal.end() == 0


def test_output_of_a_terminal_is_one_raw_stream(cli: Cli, image: str) -> None:
    done = cli.run("run", "--rm", "-t", image, "sh", "-c", "echo out; echo err >&2")
    assert (done.stdout, done.stderr) == (b"out\r\nerr\r\n", b"")


def test_size_and_resize(cli: Cli, image: str) -> None:
    name = cli.name()
    with shell(cli, image, name, "--rm", rows=33, columns=101) as terminal:
        terminal.expect(PROMPT)
        terminal.type(b"sleep 0.3; stty size\n")
        terminal.expect(b"33 101\r\n")
        terminal.size(44, 122)
        terminal.type(b"sleep 0.3; stty size\n")
        terminal.expect(b"44 122\r\n")
        terminal.type(b"exit 6\n")
        assert terminal.end() == 6


def test_control_c_and_control_d(cli: Cli, image: str) -> None:
    name = cli.name()
    with shell(cli, image, name, "--rm") as terminal:
        terminal.expect(PROMPT)
        terminal.type(b"sleep 100\n")
        # A shell that gets the signal before its child is the foreground job waits the child out, on any engine.
        deadline = time.monotonic() + 10
        while "sleep 100" not in cli.ok("top", name):
            assert time.monotonic() < deadline
        time.sleep(0.2)
        terminal.type(b"\x03")
        terminal.expect(PROMPT)
        terminal.type(b"echo back $?\n")
        terminal.expect(b"\r\nback 130\r\n")
        terminal.expect(PROMPT)
        terminal.type(b"\x04")
        assert terminal.end() == 0


def test_detach_keys_and_attach_again(cli: Cli, image: str) -> None:
    name = cli.name()
    with shell(cli, image, name) as terminal:
        terminal.expect(PROMPT)
        terminal.type(b"X=kept\n")
        terminal.expect(PROMPT)
        terminal.type(b"\x10\x11")
        assert terminal.end() == 0
    assert cli.inspect(name, "{{.State.Status}}") == "running"
    with Terminal(cli, "attach", name) as terminal:
        terminal.type(b"\necho $X\n")
        terminal.expect(b"kept\r\n")
        terminal.type(b"\x10")  # one key of the two is only held back
        terminal.type(b"echo held\n")
        terminal.expect(b"held\r\n")
        terminal.type(b"exit 3\n")
        assert terminal.end() == 3


def test_other_detach_keys(cli: Cli, image: str) -> None:
    name = cli.name()
    with shell(cli, image, name, "--detach-keys", "ctrl-x,q") as terminal:
        terminal.expect(PROMPT)
        terminal.type(b"\x18q")
        assert terminal.end() == 0
    assert cli.inspect(name, "{{.State.Running}}") == "true"


def test_exec_on_a_terminal(cli: Cli, image: str) -> None:
    name = cli.background(image, "sleep", "100")
    with Terminal(cli, "exec", "-it", "-e", "PS1=" + PROMPT.decode(), name, "sh", rows=31, columns=77) as terminal:
        terminal.expect(PROMPT)
        terminal.type(b"sleep 0.3; stty size\n")
        terminal.expect(b"31 77\r\n")
        terminal.size(40, 90)
        terminal.type(b"sleep 0.3; stty size; tty\n")
        terminal.expect(b"40 90\r\n")
        terminal.expect(b"/dev/pts/")
        terminal.type(b"exit 8\n")
        assert terminal.end() == 8
    with Terminal(cli, "exec", "-it", "-e", "PS1=" + PROMPT.decode(), name, "sh") as terminal:
        terminal.expect(PROMPT)
        terminal.type(b"\x10\x11")
        terminal.end()
    assert cli.inspect(name, "{{.State.Running}}") == "true"


def test_a_terminal_needs_one(cli: Cli, image: str) -> None:
    done = cli.run("run", "--rm", "-it", image, "true")
    assert done.returncode == 1
    assert b"the input device is not a TTY" in done.stderr


def test_signals_are_forwarded(cli: Cli, image: str) -> None:
    process = cli.spawn(
        "run",
        "--rm",
        "--name",
        cli.name(),
        image,
        "sh",
        "-c",
        "trap 'echo caught; exit 4' INT; echo up; while :; do sleep 0.1; done",
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"up\n"
    process.send_signal(2)
    assert process.wait(15) == 4
    assert process.stdout.read() == b"caught\n"
