"""Manifests, indexes, configs, platforms: bounded, and errors name the path of the bad key."""

from __future__ import annotations

import json
from typing import Any

import pytest

from wharfie.base import errors
from wharfie.oci import media
from wharfie.oci.config import ImageConfig
from wharfie.oci.manifest import Index, Manifest
from wharfie.oci.platform import Platform, host

SHA = "sha256:" + "a" * 64
ITEM = {"mediaType": media.OCI_LAYER, "digest": SHA, "size": 5}
GOOD: dict[str, Any] = {"schemaVersion": 2, "mediaType": media.OCI_MANIFEST, "config": {**ITEM, "size": 2},
                        "layers": [ITEM]}


def dump(obj: object) -> bytes:
    return json.dumps(obj, separators=(",", ":")).encode()


def test_a_manifest_comes_back_as_it_was() -> None:
    assert Manifest.parse(dump(GOOD)).encode() == dump(GOOD)


def test_an_index_comes_back_as_it_was() -> None:
    item = {**ITEM, "annotations": {"a": "b"}, "platform": {"os": "linux", "architecture": "arm64"}}
    index = dump({"schemaVersion": 2, "mediaType": media.OCI_INDEX, "manifests": [item]})
    assert Index.parse(index).encode() == index


@pytest.mark.parametrize(("change", "path"), [
    ({"schemaVersion": 1}, "schemaVersion"), ({"layers": None}, r"\$\.layers"), ({"layers": [5]}, r"\$\.layers\[0\]"),
    ({"layers": [{**ITEM, "size": -1}]}, r"layers\[0\]\.size"), ({"layers": [{**ITEM, "size": True}]}, "size"),
    ({"layers": [{**ITEM, "size": "5"}]}, "size"), ({"layers": [{**ITEM, "digest": "sha256:x"}]}, r"\[0\]\.digest"),
    ({"config": None}, r"\$\.config"), ({"manifests": []}, "both"), ({"mediaType": 5}, "mediaType"),
    ({"layers": [ITEM] * 1001}, "1000 layers"), ({"annotations": {"a": 1}}, r"annotations\.a"),
])
def test_bad_manifests_name_the_key(change: dict[str, Any], path: str) -> None:
    with pytest.raises(errors.Damaged, match=path):
        Manifest.parse(dump({**GOOD, **change}))


@pytest.mark.parametrize("data", [
    b"", b"[]", b"5", b"{", b'{"a":1,"a":2}', b"[" * 100_000, b'{"a":' * 70 + b"1" + b"}" * 70, b"\xff",
    b" " * (5 << 20), b'{"schemaVersion": 2, "layers": [], "config": ' + b"9" * 5000 + b"}",
])
def test_field_row_48_hostile_json_is_refused_quickly(data: bytes) -> None:
    for parse in (Manifest.parse, Index.parse, ImageConfig.parse):
        with pytest.raises(errors.Damaged):
            parse(data)


def test_a_config_is_parsed_and_its_bytes_kept() -> None:
    raw = {
        "architecture": "arm64", "os": "linux", "created": "2026-01-02T03:04:05.5Z", "author": "me",
        "config": {"User": "1:2", "Env": ["A=1"], "Entrypoint": None, "Cmd": [], "ExposedPorts": {"80/tcp": {}},
                   "Volumes": {"/v": {}}, "WorkingDir": "/w", "Labels": {"l": "v"}, "StopSignal": "SIGINT",
                   "Shell": ["/bin/bash", "-c"], "OnBuild": ["RUN x"], "Healthcheck": {"Test": ["NONE"]}},
        "rootfs": {"type": "layers", "diff_ids": [SHA]},
        "history": [{"created_by": "x", "empty_layer": True}, {}],
    }
    parsed = ImageConfig.parse(dump(raw))
    assert parsed.data == dump(raw)
    assert parsed.created_ns == 1_767_323_045_500_000_000
    assert parsed.platform == Platform("linux", "arm64")
    s = parsed.settings
    assert (s.user, s.env, s.entrypoint, s.cmd, s.exposed_ports) == ("1:2", ("A=1",), None, (), ("80/tcp",))
    assert (s.volumes, s.labels, s.onbuild, s.stop_signal) == (("/v",), (("l", "v"),), ("RUN x",), "SIGINT")
    assert [h.empty_layer for h in parsed.history] == [True, False]


def test_field_row_50_an_image_s_environment_is_key_and_value_only() -> None:
    parsed = ImageConfig.parse(dump({"config": {"Env": ["HOME", "*", "=x", "A=", "B=1=2", "C=\0"]}}))
    assert parsed.settings.env == ("A=", "B=1=2")


@pytest.mark.parametrize(("raw", "path"), [
    ({"config": {"Env": "x"}}, r"config\.Env"), ({"config": {"Labels": {"a": 1}}}, r"Labels\.a"),
    ({"rootfs": {"diff_ids": ["x"]}}, r"diff_ids\[0\]"), ({"history": [5]}, r"history\[0\]"),
    ({"config": []}, r"\$\.config"), ({"config": {"Cmd": [1]}}, r"Cmd\[0\]"),
])
def test_bad_configs_name_the_key(raw: dict[str, Any], path: str) -> None:
    with pytest.raises(errors.Damaged, match=path):
        ImageConfig.parse(dump(raw))


def test_an_image_without_a_known_time_has_none() -> None:
    assert ImageConfig.parse(b"{}").created_ns == 0
    assert ImageConfig.parse(b'{"created": "yesterday"}').created_ns == 0
    assert ImageConfig.parse(b'{"created": "0001-01-01T00:00:00Z"}').created_ns == 0


@pytest.mark.parametrize(("text", "shown"), [
    ("linux/amd64", "linux/amd64"), ("linux/x86_64", "linux/amd64"), ("arm64", "linux/arm64"),
    ("linux/arm/7", "linux/arm/v7"), ("linux", str(host())),
    ("linux/arm64/v8", "linux/arm64"), ("armhf", "linux/arm/v7"), ("LINUX/AMD64", "linux/amd64"),
])
def test_platforms(text: str, shown: str) -> None:
    assert str(Platform.parse(text)) == shown


@pytest.mark.parametrize("text", ["", "/", "linux/", "linux/amd64/v1/x", "linux/a b", "l\0"])
def test_what_is_no_platform(text: str) -> None:
    with pytest.raises(errors.Invalid):
        Platform.parse(text)
