"""Images, volumes, networks and the engine itself over the API."""

from __future__ import annotations

import json
from collections.abc import Iterator
from urllib.parse import quote

import pytest

from tests.unit.api_stand_ins import IMAGE_ID, Engine
from wharfie.base import errors
from wharfie.engine import model


@pytest.fixture
def engine() -> Iterator[Engine]:
    with Engine() as e:
        yield e


def test_images_list_and_inspect(engine: Engine) -> None:
    got = engine.json("GET", "/v1.50/images/json?all=1")[0]
    assert (got["Id"], got["RepoTags"], got["Size"], got["Containers"]) == (IMAGE_ID, ["img:latest"], 7, -1)
    assert "VirtualSize" not in got
    assert engine.images.got[-1] == ({}, True)
    assert "VirtualSize" in engine.json("GET", "/v1.41/images/json")[0]
    wanted = quote(json.dumps({"dangling": ["true"]}))
    engine.json("GET", f"/images/json?filters={wanted}")
    assert engine.images.got[-1][0] == {"dangling": ["true"]}
    got = engine.json("GET", "/v1.50/images/img/json")
    assert (got["Architecture"], got["Os"], got["Config"]["Env"], got["RootFS"]["Type"]) == (
        "amd64",
        "linux",
        ["A=1"],
        "layers",
    )
    assert "ContainerConfig" in engine.json("GET", "/v1.40/images/img/json")
    assert engine.json("GET", "/images/nope/json", status=404)["message"] == "No such image: nope"
    assert [s["Id"] for s in engine.json("GET", "/images/img/history")] == [IMAGE_ID, "<missing>"]


def test_images_tag_and_remove(engine: Engine) -> None:
    engine.json("POST", "/images/img/tag?repo=img&tag=latest", status=201)
    assert engine.images.got[-1] == ("tag", "img", "img:latest")
    assert engine.json("POST", "/images/img/tag", status=400)
    ref = engine.made()
    engine.containers.get(ref).state = model.State(status="running", started_at=1)
    gone = engine.json("DELETE", "/images/img?force=1")
    assert gone == [{"Untagged": "img:latest"}, {"Deleted": IMAGE_ID}]
    assert engine.images.got[-1] == ("remove", "img", True, False, [(ref, True)])
    assert [e[1] for e in engine.events.published] == ["tag", "untag", "delete"]


def test_images_load_import_save(engine: Engine) -> None:
    data = b"x" * (3 << 20)
    got = engine.ask("POST", "/images/load", data, {"Content-Type": "application/x-tar"})
    assert json.loads(got.read()) == {"stream": "Loaded image: img:latest\n"}
    assert engine.images.got[-1] == ("load", len(data))
    got = engine.ask("POST", "/images/create?fromSrc=-&repo=a&tag=b&changes=CMD+x&message=m", iter([data, data]))
    assert json.loads(got.read()) == {"status": IMAGE_ID}
    assert engine.images.got[-1] == ("import", 2 * len(data), "a:b", ["CMD x"], "m")
    got = engine.ask("GET", "/images/get?names=img&names=a/b/img:1")
    assert (got.headers["Content-Type"], got.read()) == ("application/x-tar", b"img" * 1000 + b"a/b/img:1" * 1000)
    assert engine.ask("GET", "/images/img/get").read() == b"img" * 1000
    assert engine.json("GET", "/images/get?names=nope", status=404)


def test_load_tells_its_error_in_the_stream(engine: Engine) -> None:
    engine.images.raises = errors.Damaged("archive: this is no tar archive")
    said = engine.json("POST", "/images/load", b"rubbish", status=200)
    assert said["errorDetail"] == {"message": said["error"]} == {"message": "archive: this is no tar archive"}


def test_pulling_comes_later(engine: Engine) -> None:
    said = engine.json("POST", "/images/create?fromImage=busybox&tag=1", status=404)["message"]
    assert said.startswith("pull access denied for busybox:1")
    assert "docker load" in said
    said = engine.json("POST", "/images/create?fromImage=docker.io/library/busybox&tag=latest", status=404)["message"]
    assert said.startswith("pull access denied for busybox:latest")
    assert engine.json("POST", "/images/create?fromImage=UPPER", status=400)


def test_volumes(engine: Engine) -> None:
    made = engine.json("POST", "/volumes/create", {"name": "v", "Labels": {"a": "b"}}, 201)
    assert (made["Name"], made["Driver"], made["Labels"], made["Scope"]) == ("v", "local", {"a": "b"}, "local")
    assert engine.json("GET", "/volumes/v")["Mountpoint"] == "/v/v/_data"
    assert [v["Name"] for v in engine.json("GET", "/volumes")["Volumes"]] == ["v"]
    for wanted, count in (
        ({"name": ["x"]}, 0),
        ({"label": ["a=b"]}, 1),
        ({"dangling": ["true"]}, 1),
        ({"dangling": ["false"]}, 0),
        ({"driver": ["local"]}, 1),
    ):
        assert len(engine.json("GET", f"/volumes?filters={quote(json.dumps(wanted))}")["Volumes"]) == count
    assert "plugin" in engine.json("POST", "/volumes/create", {"Driver": "nfs"}, 404)["message"]
    record = engine.containers.get(engine.made())
    record.mounts = [model.MountPoint(type="volume", name="v", destination="/v")]
    assert record.id in engine.json("DELETE", "/volumes/v", status=409)["message"]
    record.mounts = []
    engine.json("DELETE", "/volumes/v", status=204)
    assert engine.json("DELETE", "/volumes/v", status=404)["message"] == "get v: no such volume"
    engine.json("DELETE", "/volumes/v?force=1", status=204)
    assert [e[1] for e in engine.events.published] == ["create", "destroy"]


def test_networks(engine: Engine) -> None:
    got = engine.json("GET", "/networks")
    assert [n["Name"] for n in got] == ["bridge", "host", "none"]
    assert got[0]["IPAM"]["Config"] == [{"Subnet": "172.17.0.0/16", "Gateway": "172.17.0.1"}]
    record = engine.containers.get(engine.made())
    record.state = model.State(status="running", started_at=1)
    record.endpoints = {"bridge": model.EndpointSettings(ip_address="172.17.0.2", ip_prefix_len=16)}
    shown = engine.json("GET", "/networks/bridge")["Containers"][record.id]
    assert (shown["Name"], shown["IPv4Address"]) == (record.name, "172.17.0.2/16")
    for wanted, names in (
        ({"driver": ["null"]}, ["none"]),
        ({"name": ["o"]}, ["host", "none"]),
        ({"id": ["1"]}, ["bridge"]),
        ({"type": ["custom"]}, []),
        ({"scope": ["local"]}, ["bridge", "host", "none"]),
    ):
        got = engine.json("GET", f"/networks?filters={quote(json.dumps(wanted))}")
        assert [n["Name"] for n in got] == names
    assert engine.json("GET", "/networks/nope", status=404)["message"] == "network nope not found"
    assert "later" in engine.json("POST", "/networks/create", {"Name": "mine"}, 501)["message"]
    assert engine.json("POST", "/networks/create", {"Name": "bridge"}, 409)
    assert "pre-defined" in engine.json("DELETE", "/networks/bridge", status=403)["message"]


def test_version_info_and_usage(engine: Engine) -> None:
    got = engine.json("GET", "/version")
    assert (got["ApiVersion"], got["MinAPIVersion"], got["Os"]) == ("1.50", "1.24", "linux")
    engine.made()
    got = engine.json("GET", "/info")
    assert (got["ID"], got["Containers"], got["Images"], got["OSType"]) == ("the-id", 1, 1, "linux")
    assert got["Swarm"]["LocalNodeState"] == "inactive"
    got = engine.json("GET", "/system/df")
    assert set(got) == {"Images", "LayersSize", "Containers", "Volumes", "BuildCache"}
    assert got["Containers"][0]["SizeRw"] == 11
    assert set(engine.json("GET", "/system/df?type=volume")) == {"Volumes"}
    assert "unknown object type" in engine.json("GET", "/system/df?type=x", status=400)["message"]


def test_events_are_lines(engine: Engine) -> None:
    wanted = quote(json.dumps({"type": ["container"]}))
    got = engine.ask("GET", f"/events?since=1.5&filters={wanted}").read().splitlines()
    first = json.loads(got[0])
    assert (first["Type"], first["Action"], first["status"], first["id"], first["from"]) == (
        "container",
        "create",
        "create",
        "c1",
        "img",
    )
    assert (first["time"], first["timeNano"], len(got)) == (5, 5 * 10**9 + 7, 2)
    assert engine.events.asked["since"] == 15 * 10**8
    assert engine.events.asked["filters"] == {"type": ["container"]}


def test_prune(engine: Engine) -> None:
    ref = engine.made(Labels={"k": ""})
    other = engine.made()
    got = engine.json("POST", f"/containers/prune?filters={quote(json.dumps({'label': ['k']}))}")
    assert got == {"ContainersDeleted": [ref], "SpaceReclaimed": 11}
    assert engine.json("POST", "/images/prune")["ImagesDeleted"] is None
    assert engine.containers.get(other)
    engine.json("POST", "/volumes/create", {"Name": "vol"}, 201)
    assert engine.json("POST", "/v1.50/volumes/prune")["VolumesDeleted"] is None
    everything = quote(json.dumps({"all": ["true"]}))
    assert engine.json("POST", f"/v1.50/volumes/prune?filters={everything}")["VolumesDeleted"] == ["vol"]
    assert engine.json("POST", "/networks/prune") == {"NetworksDeleted": None}
    assert engine.json("POST", "/build/prune")["SpaceReclaimed"] == 0
