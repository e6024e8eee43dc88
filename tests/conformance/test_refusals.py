"""What the engine will not do, in the words and with the exit codes that both docker clients show of it."""

from __future__ import annotations

import json
import os
import subprocess

import pytest
from conftest import Cli

from tests.hosts import ROOT


@pytest.mark.parametrize("option", ["mode=non-blocking", "labels=a", "env=A", "tag=x", "compress=true"])
def test_a_log_option_that_is_not_honoured_is_refused(cli: Cli, image: str, option: str) -> None:
    said = cli.fails(125, "run", "--rm", "--log-opt", option, image, "true")
    assert f"log option '{option if option.startswith('mode') else option.partition('=')[0]}'" in said


@pytest.mark.parametrize("ours", [True, False])
def test_an_image_for_another_platform_is_said_to_be_one(cli: Cli, image: str, ours: bool) -> None:
    ref = "wharfie/hello" if ours else image
    if ours:
        cli.ok("run", "--rm", ref)
    said = cli.fails(125, "run", "--rm", "--platform", "linux/arm64", ref, "true")
    assert "does not match the specified platform: wanted linux/arm64, actual: linux/amd64" in said
    assert "pull access denied" not in said
    cli.ok("run", "--rm", "--platform", "linux/amd64", ref, *(() if ours else ("true",)))


@pytest.mark.parametrize(("name", "value", "code", "why"), [
    ("net.x", "1", 127, "no such file or directory"),
    ("fs.mqueue.x", "1", 127, "no such file or directory"),
    ("net.ipv4.ip_forward", "junk", 125, "invalid argument"),
])
def test_the_sysctl_that_failed_is_named(cli: Cli, image: str, name: str, value: str, code: int, why: str) -> None:
    said = cli.fails(code, "run", "--rm", "--sysctl", f"{name}={value}", "--sysctl", "net.ipv4.ip_default_ttl=7",
                     image, "true")
    assert f"set sysctl {name} to '{value}': {why}" in said
    assert "ip_unprivileged_port_start" not in said
    assert "ip_default_ttl" not in said


def test_paths_of_the_kernel_are_shown_and_can_be_opened(cli: Cli, image: str) -> None:
    form = "{{json .HostConfig.MaskedPaths}} {{json .HostConfig.ReadonlyPaths}}"
    shown: dict[str, str] = {}
    for option in ("--init", "--privileged", "--security-opt=systempaths=unconfined"):
        name = cli.name()
        cli.ok("create", "--name", name, option, image, "grep", " /proc/", "/proc/self/mountinfo")
        shown[option] = cli.inspect(name, form)
    masked, readonly = (json.loads(one) for one in shown["--init"].split(" "))
    assert {"/proc/kcore", "/proc/keys", "/sys/firmware"} <= set(masked)
    assert {"/proc/sys", "/proc/sysrq-trigger"} <= set(readonly)
    assert shown["--privileged"] == "null null"
    assert shown["--security-opt=systempaths=unconfined"] == "[] []"
    assert cli.run("start", "-a", name).returncode == 1  # grep has found nothing


@pytest.mark.parametrize("option", ["size=-1", "size=99999999999999999999", "mode=z", "uid=-5", "mpol=wat", "remount"])
def test_a_bad_tmpfs_option_is_named_and_nothing_is_made(cli: Cli, image: str, option: str) -> None:
    name = cli.name()
    said = cli.fails(1, "create", "--name", name, "--tmpfs", f"/x:{option}", image, "true")
    assert f'Invalid tmpfs option "{option}"' in said
    assert not cli.ok("ps", "-aq", "--filter", f"name={name}")


def test_exit_codes_of_execs_that_cannot_start(cli: Cli, image: str) -> None:
    """127 for a program that is not there since dockerd 28 (API 1.48), 126 before."""
    name = cli.background(image, "sleep", "100")
    old = cli.kind == "docker20"
    assert cli.run("exec", name, "nope").returncode == (126 if old else 127)
    assert cli.run("exec", name, "/etc").returncode == 126
    done = subprocess.run([cli.program, "-H", cli.host, "exec", name, "nope"], capture_output=True,
                          env={**cli.environment, "DOCKER_API_VERSION": "1.41"})
    assert done.returncode == 126
    assert cli.run("exec", name, "sh", "-c", "exit 127").returncode == 127


def test_prune_keeps_the_images_of_the_install(cli: Cli, image: str) -> None:
    cli.ok("run", "--rm", "wharfie/hello")
    name = cli.background(image, "sleep", "100")  # the image of the tests is in use
    cli.ok("image", "prune", "-af")
    assert "wharfie/hello" in cli.ok("image", "ls", "--format", "{{.Repository}}").split()
    assert cli.inspect(name, "{{.State.Running}}") == "true"
    cli.ok("rmi", "wharfie/hello")
    assert "wharfie/hello" not in cli.ok("image", "ls", "--format", "{{.Repository}}").split()


@pytest.mark.parametrize("form", ["{{json .}}", "json", "{{json .Command}} {{json .Labels}}"])
def test_rows_as_json_are_the_same_bytes_as_docker_s(cli: Cli, image: str, form: str) -> None:
    if cli.kind == "docker20":
        pytest.skip("expected: docker 20.10 has other columns")
    name = cli.background("-l", "z=<a&b>", "-l", "a=\u2028", image, "sh", "-c", "sleep 99 > /dev/null && true")
    asked = ("ps", "--no-trunc", "--filter", f"name={name}", "--format", form)
    theirs = cli.ok(*asked)
    ours = subprocess.run([str(ROOT / ".venv/bin/wharfie"), "-H", cli.host, *asked], capture_output=True, text=True,
                          check=True, env={**os.environ}).stdout.removesuffix("\n")
    volatile = ("RunningFor", "Status", "Platform")
    if form.endswith("Labels}}"):
        assert ours == theirs
        return
    for text in (ours, theirs):
        assert r"\u003e /dev/null \u0026\u0026" in text
        assert r"a=\u2028" in text
        assert ">" not in text
    assert list(json.loads(ours)) == list(json.loads(theirs))
    assert ({k: v for k, v in json.loads(ours).items() if k not in volatile}
            == {k: v for k, v in json.loads(theirs).items() if k not in volatile})
