"""config.json at the door: what is accepted, and that every error names its key."""

from __future__ import annotations

from typing import Any

import pytest

from wharfie.base import errors
from wharfie.oci import spec

PROCESS = {"args": ["sh", "-c", "true"], "cwd": "/", "env": ["A=b", "E="]}


def parsed(**changes: Any) -> spec.Spec:
    return spec.parse({"ociVersion": "1.2.0", "process": PROCESS, **changes})


def test_defaults() -> None:
    got = parsed()
    assert got.process == spec.Process(args=("sh", "-c", "true"), cwd="/", env=("A=b", "E="))
    assert got.linux == spec.Linux()
    assert got.root == spec.Root()


def test_everything() -> None:
    got = parsed(
        root={"path": "r", "readonly": True}, hostname="h", domainname="d", annotations={"a": "b"},
        mounts=[{"destination": "/x", "type": "tmpfs", "source": "t", "options": ["ro"]}],
        linux={
            "namespaces": [{"type": "pid"}, {"type": "network", "path": "/n"}],
            "uidMappings": [{"containerID": 0, "hostID": 7, "size": 3}],
            "devices": [{"path": "/dev/x", "type": "c", "major": 1, "minor": 2, "fileMode": 384, "uid": 3}],
            "sysctl": {"net.x": "1"}, "maskedPaths": ["/m"], "readonlyPaths": ["/r"],
            "resources": {"pids": {"limit": 1}},
            "rootfsPropagation": "slave", "seccomp": {"defaultAction": "SCMP_ACT_ALLOW"},
        },
    )
    assert got.linux.namespace("network") == spec.Namespace("network", "/n")
    assert got.linux.namespace("uts") is None
    assert got.linux.uid_mappings == ((0, 7, 3),)
    assert got.linux.devices == (spec.Device("/dev/x", "c", 1, 2, 0o600, 3, 0),)
    assert got.mounts == (spec.Mount("/x", "tmpfs", "t", ("ro",)),)
    assert got.linux.resources == {"pids": {"limit": 1}}
    assert got.annotations == (("a", "b"),)


def test_unknown_keys_are_ignored() -> None:
    assert parsed(zos={"x": 1}, linux={"personality": {}}).linux == spec.Linux()


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"ociVersion": None}, "$.ociVersion"),
        ({"ociVersion": "2.0"}, "$.ociVersion"),
        ({"process": {**PROCESS, "args": []}}, "$.process.args"),
        ({"process": {**PROCESS, "args": ["a\0b"]}}, "$.process.args[0]"),
        ({"process": {**PROCESS, "cwd": "x"}}, "$.process.cwd"),
        ({"process": {**PROCESS, "env": ["A"]}}, "$.process.env[0]"),
        ({"process": {**PROCESS, "env": ["=A"]}}, "$.process.env[0]"),
        ({"process": {**PROCESS, "user": {"uid": True}}}, "$.process.user.uid"),
        ({"process": {**PROCESS, "user": {"uid": 1 << 32}}}, "$.process.user.uid"),
        ({"process": {**PROCESS, "user": {"uid": "0"}}}, "$.process.user.uid"),
        ({"process": {**PROCESS, "user": {"additionalGids": [-1]}}}, "$.process.user.additionalGids[0]"),
        ({"process": {**PROCESS, "capabilities": {"bounding": ["chown"]}}}, "$.process.capabilities.bounding[0]"),
        ({"process": {**PROCESS, "rlimits": [{"type": "RLIMIT_NPROC", "soft": 2, "hard": 1}]}}, "$.process.rlimits[0]"),
        ({"process": {**PROCESS, "oomScoreAdj": 1001}}, "$.process.oomScoreAdj"),
        ({"mounts": [{"destination": "x"}]}, "$.mounts[0].destination"),
        ({"mounts": {}}, "$.mounts"),
        ({"linux": {"namespaces": [{"type": "x"}]}}, "$.linux.namespaces[0].type"),
        ({"linux": {"namespaces": [{"type": "pid"}, {"type": "pid"}]}}, "$.linux.namespaces"),
        ({"linux": {"devices": [{"path": "/dev/x", "type": "q"}]}}, "$.linux.devices[0].type"),
        ({"linux": {"uidMappings": [{"containerID": 0, "hostID": 0, "size": 0}]}}, "$.linux.uidMappings[0].size"),
        ({"linux": {"sysctl": {"a": 1}}}, "$.linux.sysctl.a"),
        ({"linux": {"maskedPaths": ["proc"]}}, "$.linux.maskedPaths[0]"),
        ({"linux": 3}, "$.linux"),
    ],
)
def test_errors_name_the_key(change: dict[str, Any], path: str) -> None:
    with pytest.raises(errors.Invalid) as caught:
        parsed(**change)
    assert caught.value.name == path
    assert path in str(caught.value)
