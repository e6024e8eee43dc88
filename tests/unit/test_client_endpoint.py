"""Where the engine is: docker/cli's precedence, contexts, bad words."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from wharfie.base import errors
from wharfie.client import endpoint


def config(folder: Path, **fields: object) -> endpoint.Config:
    (folder / "config.json").write_text(json.dumps(fields))
    return endpoint.Config(str(folder))


def context(folder: Path, name: str, host: str) -> None:
    where = folder / "contexts" / "meta" / hashlib.sha256(name.encode()).hexdigest()
    where.mkdir(parents=True)
    meta = {"Name": name, "Metadata": {}, "Endpoints": {"docker": {"Host": host}}}
    (where / "meta.json").write_text(json.dumps(meta))


def test_precedence(tmp_path: Path) -> None:
    context(tmp_path, "lab", "tcp://lab:1234")
    context(tmp_path, "other", "unix:///other.sock")
    settings = config(tmp_path, currentContext="lab")
    env = {"DOCKER_HOST": "unix:///env.sock", "DOCKER_CONTEXT": "other"}
    assert endpoint.find(settings, env, context="lab").url == "tcp://lab:1234"
    assert endpoint.find(settings, env, host="/flag.sock").url == "unix:///flag.sock"
    assert endpoint.find(settings, env).url == "unix:///env.sock"
    assert endpoint.find(settings, {"DOCKER_CONTEXT": "other"}).url == "unix:///other.sock"
    found = endpoint.find(settings, {})
    assert (found.url, found.context, found.chosen) == ("tcp://lab:1234", "lab", True)
    found = endpoint.find(settings, {"DOCKER_CONTEXT": "default"})
    assert (found.url, found.chosen) == ("unix:///run/wharfie/docker.sock", False)
    with pytest.raises(errors.Invalid, match="either specify --host or --context"):
        endpoint.find(settings, {}, host="x", context="y")


def test_a_missing_context_is_named(tmp_path: Path) -> None:
    with pytest.raises(errors.NotFound, match='context "nope": context not found'):
        endpoint.find(config(tmp_path), {}, context="nope")


def test_no_config_at_all(tmp_path: Path) -> None:
    settings = endpoint.Config(str(tmp_path))
    assert not endpoint.find(settings, {}).chosen
    assert settings.get("detachKeys", "x") == "x"


def test_a_broken_config_is_an_error_only_when_needed(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"currentContext": ')
    with pytest.raises(errors.Damaged):
        endpoint.find(endpoint.Config(str(tmp_path)), {})


@pytest.mark.parametrize(("host", "url"), [
    ("unix:///a/b", "unix:///a/b"), ("/a/b", "unix:///a/b"), ("tcp://h:1", "tcp://h:1"), ("h:1", "tcp://h:1"),
    ("tcp://h", "tcp://h:2375"), ("tcp://[::1]:5", "tcp://::1:5"), ("http://h:80/x", "tcp://h:80"),
    ("unix://", "unix:///run/wharfie/docker.sock"),
])
def test_hosts(host: str, url: str) -> None:
    assert endpoint.parse(host).url == url


@pytest.mark.parametrize(("host", "kind"), [
    ("ssh://a", errors.Unsupported), ("fd://", errors.Unsupported), ("ftp://a", errors.Invalid),
    ("tcp://a:b", errors.Invalid),
])
def test_bad_hosts(host: str, kind: type[errors.WharfieError]) -> None:
    with pytest.raises(kind):
        endpoint.parse(host)


def test_tls_by_environment(tmp_path: Path) -> None:
    for name in ("ca", "cert", "key"):
        (tmp_path / f"{name}.pem").touch()
    env = {"DOCKER_HOST": "tcp://h", "DOCKER_TLS_VERIFY": "1", "DOCKER_CERT_PATH": str(tmp_path)}
    found = endpoint.find(config(tmp_path), env)
    assert found.tls == endpoint.Tls(*(f"{tmp_path}/{n}.pem" for n in ("ca", "cert", "key")), True)
    assert found.port == 2376
