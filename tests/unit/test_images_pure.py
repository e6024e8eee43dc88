"""The parts of images that only think: changes, the hello program, ELF headers."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from wharfie.base import errors
from wharfie.images import changes, elf, hello, libraries, shell


@pytest.mark.parametrize(("lines", "made"), [
    (["CMD a b"], {"Cmd": ["/bin/sh", "-c", "a b"]}),
    (['CMD ["a", "b c"]', "cmd []"], {"Cmd": []}),
    (["CMD x", 'ENTRYPOINT ["e"]'], {"Entrypoint": ["e"]}),
    (["ENV A=1 B='x y' C=\"q\\\"r\"", "ENV A two words"], {"Env": ["A=two words", "B=x y", 'C=q"r']}),
    (["EXPOSE 53/udp 8000-8001/TCP"], {"ExposedPorts": {"53/udp": {}, "8000/tcp": {}, "8001/tcp": {}}}),
    (["LABEL a=b c.d=", "LABEL a=e"], {"Labels": {"a": "e", "c.d": ""}}),
    (["USER 1:2"], {"User": "1:2"}),
    (["VOLUME /a /b", 'VOLUME ["/c d"]'], {"Volumes": {"/a": {}, "/b": {}, "/c d": {}}}),
    (["WORKDIR /a", "WORKDIR b/../c"], {"WorkingDir": "/a/c"}),
    (["ONBUILD RUN x", "ONBUILD CMD y"], {"OnBuild": ["RUN x", "CMD y"]}),
    (["STOPSIGNAL SIGINT"], {"StopSignal": "SIGINT"}),
])
def test_changes(lines: list[str], made: dict[str, Any]) -> None:
    assert changes.apply({}, lines) == made


@pytest.mark.parametrize("line", ["", "RUN x", "FROM x", "CMD", "ENV A", "ENV A='x", "EXPOSE x", "EXPOSE 0",
                                  "EXPOSE 70000", "EXPOSE 80/xyz", "EXPOSE 9-8", "USER a b", "ONBUILD ONBUILD RUN x",
                                  "ONBUILD FROM x", 'VOLUME [""]', "LABEL =x"])
def test_changes_that_are_refused(line: str) -> None:
    with pytest.raises(errors.Invalid):
        changes.apply({}, [line])


def test_changes_leave_what_they_were_given_alone() -> None:
    given: dict[str, Any] = {"Env": ["A=1"], "Labels": None}
    changes.apply(given, ["ENV B=2", "LABEL a=b"])
    assert given == {"Env": ["A=1"], "Labels": None}


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_hello_is_a_small_static_program(machine: str, tmp_path: Path) -> None:
    program = hello.program(machine)
    assert len(program) < 1024
    assert program == hello.program(machine)
    (tmp_path / "hello").write_bytes(program)
    needs = elf.read(str(tmp_path / "hello"))
    assert needs is not None
    assert (needs.interpreter, needs.needed) == ("", ())
    assert struct.unpack_from("<H", program, 18)[0] == {"x86_64": 62, "aarch64": 183}[machine]


def test_hello_says_what_it_sees(tmp_path: Path) -> None:
    path = tmp_path / "hello"
    path.write_bytes(hello.program(os.uname().machine))
    path.chmod(0o755)
    with subprocess.Popen([path], stdout=subprocess.PIPE) as process:
        out = process.communicate()[0].decode()
    assert process.returncode == 0
    words = out.split()
    assert words[words.index("pid") + 1] == str(process.pid)
    assert words[words.index("hostname") + 1] == os.uname().nodename
    assert words[words.index("uid") + 1] == str(os.getuid())


def test_libraries_are_those_the_loader_takes() -> None:
    program = os.path.realpath(sys.executable)
    listed = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
    expected = {os.path.realpath(w) for line in listed.split("\n") for w in line.split() if w.startswith("/")}
    found = {os.path.realpath(p) for p in libraries.closure([program]).values()}
    assert found == expected


@pytest.mark.parametrize("data", [b"", b"#!/bin/sh\n", b"\x7fELF", b"\x7fELF\x02\x01" + b"\xff" * 100, b"\x7fELF" * 50])
def test_what_is_no_elf(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(data)
    needs = elf.read(str(tmp_path / "f"))
    assert needs is None or needs.needed == ()


@pytest.mark.skipif(shutil.which("sh") is None, reason="needs sh")
def test_a_host_without_busybox_lends_its_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shell, "_busybox", lambda: "")
    borrowed = shell.borrow()
    inside = {os.path.basename(p) for p in borrowed.files}
    assert {"sh", "ls", "cat", "id"} <= inside
    assert any(name.startswith("libc.so") or name.startswith("ld-") for name in inside)
    assert not any(p.startswith(("etc/", "home/", "root/")) for p in borrowed.files)
    first = b"".join(borrowed.tar())
    assert first == b"".join(shell.borrow().tar())
