"""Images in and out: both dialects, what others write, hostile archives, names and users, the images of the install."""

from __future__ import annotations

import gzip
import io
import json
import lzma
import os
import subprocess
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from wharfie.archive import entry, pack
from wharfie.base import errors, paths
from wharfie.images.images import Images
from wharfie.kernel import overlay
from wharfie.oci import digest, media
from wharfie.storage import Database, Store

pytestmark = pytest.mark.needs("root")
Files = dict[str, bytes]


class Home:
    def __init__(self, root: str) -> None:
        self.root = paths.DataRoot(root)
        self.store = Store(self.root)
        self.database = Database(self.root.database)
        self.images = Images(self.store, self.database)

    def inventory(self) -> tuple[list[str], list[str], list[str]]:
        return tuple(sorted(os.listdir(p)) for p in (self.root.blobs, self.root.layers, self.root.ingest))  # type: ignore[return-value]

    def load(self, data: bytes) -> list[str]:
        return [r.message for r in self.images.load(io.BytesIO(data))]


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    made = Home(str(tmp_path / "data"))
    yield made
    made.database.close()


def layer(*names: str) -> bytes:
    return b"".join(pack.file(n, n.encode()) for n in names) + pack.END


def archive(files: Files, links: dict[str, str] | None = None) -> bytes:
    out = [pack.file(n, d) for n, d in files.items()]
    out += [pack.encode(entry.Entry(n.encode(), entry.SYMLINK, link=t.encode())) for n, t in (links or {}).items()]
    return b"".join(out) + pack.END


def config_of(*layers: bytes, **more: Any) -> bytes:
    return json.dumps({"architecture": "amd64", "os": "linux", "config": {"Cmd": ["/x"]}, "rootfs": {
        "type": "layers", "diff_ids": [digest.of(layer) for layer in layers]}, **more}).encode()


def docker(config: bytes, layers: dict[str, bytes], tags: list[str] | None) -> Files:
    name = f"{digest.of(config).hex}.json"
    listed = [{"Config": name, "RepoTags": tags, "Layers": list(layers)}]
    return {name: config, **layers, "manifest.json": json.dumps(listed).encode()}


def oci(config: bytes, layers: list[tuple[str, bytes]], annotations: dict[str, str]) -> Files:
    blobs: Files = {}

    def put(kind: str, data: bytes) -> dict[str, Any]:
        found = digest.of(data)
        blobs[f"blobs/sha256/{found.hex}"] = data
        return {"mediaType": kind, "digest": found, "size": len(data)}

    manifest = put(media.OCI_MANIFEST, json.dumps({
        "schemaVersion": 2, "mediaType": media.OCI_MANIFEST, "config": put(media.OCI_CONFIG, config),
        "layers": [put(kind, data) for kind, data in layers]}).encode())
    index = {"schemaVersion": 2, "manifests": [{**manifest, "annotations": annotations}]}
    return {"oci-layout": b'{"imageLayoutVersion":"1.0.0"}', "index.json": json.dumps(index).encode(), **blobs}


ONE, TWO = layer("one"), layer("two")


@pytest.mark.parametrize("packed", [bytes, gzip.compress, lzma.compress])
def test_docker_archives_old_and_new(home: Home, packed: Any) -> None:
    config = config_of(ONE, TWO)
    files = docker(config, {"aa/layer.tar": ONE, "bb/layer.tar": gzip.compress(TWO)}, ["busybox:1", "reg.io/x/y:2"])
    assert home.load(packed(archive(files))) == ["Loaded image: busybox:1", "Loaded image: reg.io/x/y:2"]
    image = home.images.get("busybox:1")
    assert (image.id, image.tags) == (digest.of(config), ("busybox:1", "reg.io/x/y:2"))
    assert image.size == 6
    assert {home.images.get(n).id for n in (image.id, image.id.hex, image.id.short, "docker.io/library/busybox:1")} == {
        image.id}
    fd = overlay.mount(home.store.snapshots.prepare("c", image.config.diff_ids))
    root = os.open(".", os.O_RDONLY, dir_fd=fd)
    assert sorted(os.listdir(root)) == ["one", "two"]
    os.close(root)
    os.close(fd)


def test_layers_may_be_links_and_xz(home: Home) -> None:
    files = docker(config_of(ONE, ONE, TWO), {"aa/layer.tar": ONE, "bb/layer.tar": b"", "c": lzma.compress(TWO)}, None)
    del files["bb/layer.tar"]
    message, = home.load(archive(files, {"bb/layer.tar": "../aa/layer.tar"}))
    image = home.images.get(message.rpartition(" ")[2])
    assert image.tags == ()
    manifest = json.loads(home.store.content.read(image.manifest))
    kinds = [item["mediaType"] for item in manifest["layers"]]
    assert kinds == [media.OCI_LAYER, media.OCI_LAYER, media.OCI_LAYER_GZIP]


def test_oci_layouts(home: Home) -> None:
    config = config_of(ONE, TWO)
    layers = [(media.OCI_LAYER, ONE), (media.OCI_LAYER_GZIP, gzip.compress(TWO))]
    assert home.load(archive(oci(config, layers, {"io.containerd.image.name": "docker.io/library/a:1"}))) == [
        "Loaded image: a:1"]
    assert home.load(archive(oci(config, layers, {"org.opencontainers.image.ref.name": "latest"}))) == [
        f"Loaded image ID: {digest.of(config)}"]
    assert home.load(archive(oci(config, layers, {"org.opencontainers.image.ref.name": "b/c:2"}))) == [
        "Loaded image: b/c:2"]
    assert len(home.images.list()) == 1


def test_saved_is_loaded_bit_for_bit(home: Home, tmp_path: Path) -> None:
    config = config_of(ONE, TWO, history=[{"created_by": "a"}, {"created_by": "b"}])
    home.load(archive(oci(config, [(media.OCI_LAYER, ONE), (media.OCI_LAYER_GZIP, gzip.compress(TWO))], {
        "io.containerd.image.name": "a:1"})))
    home.images.tag("a:1", "a:2")
    data = b"".join(home.images.save(["a"]))
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        listed = json.load(tar.extractfile("manifest.json"))  # type: ignore[arg-type]
        index = json.load(tar.extractfile("index.json"))  # type: ignore[arg-type]
        names = tar.getnames()
    assert listed[0]["RepoTags"] == ["a:1", "a:2"]
    assert [m["annotations"]["io.containerd.image.name"] for m in index["manifests"]] == [
        "docker.io/library/a:1", "docker.io/library/a:2"]
    assert {"oci-layout", *listed[0]["Layers"], listed[0]["Config"]} <= set(names)
    other = Home(str(tmp_path / "other"))
    other.load(data)
    assert other.inventory() == home.inventory()
    assert other.images.get("a:2").manifest == home.images.get("a:2").manifest
    assert b"".join(other.images.save(["a"])) == data
    other.database.close()


def test_a_name_moves_and_says_so(home: Home) -> None:
    home.load(archive(docker(config_of(ONE), {"l": ONE}, ["a:1"])))
    old = home.images.get("a:1").id
    loaded, = home.images.load(io.BytesIO(archive(docker(config_of(TWO), {"l": TWO}, ["a:1"]))))
    assert loaded.replaced == old
    assert home.images.get(old).dangling
    assert [i.id for i in home.images.list({"dangling": ["true"]})] == [old]


GOOD = docker(config_of(ONE), {"l": ONE}, ["a:1"])
OCI = oci(config_of(ONE), [(media.OCI_LAYER, ONE)], {})
HOSTILE: dict[str, Files] = {
    "no manifest": {"x": b"y"},
    "not json": {**GOOD, "manifest.json": b"["},
    "not a list": {**GOOD, "manifest.json": b"{}"},
    "no images": {**GOOD, "manifest.json": b"[]"},
    "layer missing": {k: v for k, v in GOOD.items() if k != "l"},
    "config outside": {**GOOD, "manifest.json": b'[{"Config":"../../etc/passwd","Layers":[],"RepoTags":null}]'},
    "other layer": {**GOOD, "l": TWO},
    "too few layers": {**GOOD, "manifest.json": GOOD["manifest.json"].replace(b'["l"]', b"[]")},
    "bad tag": {**GOOD, "manifest.json": GOOD["manifest.json"].replace(b"a:1", b"A b")},
    "broken layer": docker(config_of(b"junk" * 500), {"l": b"junk" * 500}, ["a:1"]),
    "hostile layer": docker(config_of(layer("../x")), {"l": layer("../x")}, ["a:1"]),
    "deep json": {**GOOD, "manifest.json": b"[" * 100_000},
    "blob under another's name": {k: (TWO if v == ONE else v) for k, v in OCI.items()},
    "config under another's name": {
        **{f"blobs/sha256/{'a' * 64}": config_of(ONE), "l": ONE},
        "manifest.json": json.dumps([{"Config": f"blobs/sha256/{'a' * 64}", "Layers": ["l"]}]).encode()},
    "no schema version": {**OCI, "index.json": b'{"manifests":[]}'},
}


@pytest.mark.parametrize("case", HOSTILE)
def test_field_row_25_hostile_image_archives_leave_nothing(home: Home, case: str) -> None:
    before = home.inventory()
    with pytest.raises((errors.Damaged, errors.Invalid)):
        home.load(archive(HOSTILE[case]))
    assert home.inventory() == before
    assert home.images.list() == []


def test_field_row_40_index_cycles_and_depth_end(home: Home) -> None:
    inner, files = oci(config_of(ONE), [(media.OCI_LAYER, ONE)], {})["index.json"], dict(OCI)
    for _ in range(8):
        found = digest.of(inner)
        files[f"blobs/sha256/{found.hex}"] = inner
        item = {"mediaType": media.OCI_INDEX, "digest": found, "size": len(inner)}
        inner = json.dumps({"schemaVersion": 2, "manifests": [item]}).encode()
    files["index.json"] = inner
    with pytest.raises(errors.Damaged, match="deep"):
        home.load(archive(files))


def test_cut_archives_leave_nothing(home: Home) -> None:
    big = layer(*(f"f{i}" for i in range(3000)))
    data = archive(docker(config_of(big), {"l": big}, ["a:1"]))
    before = home.inventory()
    for cut in (0, 100, 512, 5000, len(big) // 2, len(data) - 2048):
        with pytest.raises(errors.Damaged):
            home.load(data[:cut])
        assert home.inventory() == before


def test_import_with_changes(home: Home) -> None:
    image = home.images.import_(io.BytesIO(gzip.compress(ONE)), "my/base", ["CMD /one", "ENV A=b"], "hi")
    assert image.tags == ("my/base:latest",)
    assert image.config.settings.cmd == ("/bin/sh", "-c", "/one")
    assert image.config.diff_ids == (digest.of(ONE),)
    step, = home.images.history("my/base")
    assert (step.id, step.comment, step.size) == (image.id, "hi", 3)
    assert home.images.import_(io.BytesIO(ONE)).dangling
    for ref, lines in (("UP", []), ("a@sha256:" + "a" * 64, []), ("a", ["RUN x"])):
        with pytest.raises(errors.Invalid):
            home.images.import_(io.BytesIO(ONE), ref, lines)
    before = home.inventory()
    with pytest.raises(errors.Damaged):
        home.images.import_(io.BytesIO(b"x" * 5000), "bad")
    assert home.inventory() == before


def loaded(home: Home, *names: str) -> Any:
    home.load(archive(docker(config_of(ONE), {"l": ONE}, list(names))))
    return home.images.get(names[0])


def removed(home: Home, text: str, **options: Any) -> list[dict[str, str]]:
    return [r.to_json() for r in home.images.remove(text, **options)]


def test_removing_names_then_the_image(home: Home) -> None:
    image = loaded(home, "a:1", "a:2", "b:1")
    empty = ([], [], [])
    assert removed(home, "a:1") == [{"Untagged": "a:1"}]
    with pytest.raises(errors.Conflict) as caught:
        removed(home, image.id.short)
    assert caught.value.message == (
        f"conflict: unable to delete {image.id.short} (must be forced) - image is referenced in multiple repositories")
    assert removed(home, image.id.short, force=True) == [
        {"Untagged": "a:2"}, {"Untagged": "b:1"}, {"Deleted": image.id}, {"Deleted": digest.of(ONE)}]
    assert home.inventory() == empty
    with pytest.raises(errors.NotFound, match="No such image: a:1"):
        removed(home, "a:1")


def test_removing_what_containers_use(home: Home) -> None:
    image = loaded(home, "a:1")
    stopped, running = (lambda _: [("c" * 64, False)]), (lambda _: [("c" * 64, True)])
    with pytest.raises(errors.Conflict) as caught:
        removed(home, "a:1", users=stopped)
    assert caught.value.message == ('conflict: unable to remove repository reference "a:1" (must force) - container'
                                    f" cccccccccccc is using its referenced image {image.id.short}")
    for users, force, how in ((stopped, False, "must be forced) - image is being used by stopped"),
                              (running, False, "cannot be forced) - image is being used by running"),
                              (running, True, "cannot be forced) - image is being used by running")):
        with pytest.raises(errors.Conflict, match=how.replace(")", r"\)")):
            removed(home, image.id, users=users, force=force)
    assert removed(home, "a:1", users=running, force=True) == [{"Untagged": "a:1"}]
    assert home.images.get(image.id).dangling


def test_layers_of_a_removed_image_live_as_long_as_its_containers(home: Home) -> None:
    image = loaded(home, "a:1")
    home.store.snapshots.prepare("c1", image.config.diff_ids)
    assert removed(home, "a:1", force=True, users=lambda _: [("c1", False)]) == [
        {"Untagged": "a:1"}, {"Deleted": image.id}]
    assert home.inventory() == ([], [digest.of(ONE).hex], [])
    assert home.store.snapshots.rootfs("c1").lowers
    home.store.snapshots.remove("c1")
    assert home.inventory() == ([], [], [])


def test_shared_layers_stay(home: Home) -> None:
    home.load(archive(docker(config_of(ONE), {"l": ONE}, ["a:1"])))
    home.load(archive(docker(config_of(ONE, TWO), {"l": ONE, "m": TWO}, ["b:1"])))
    assert home.images.shared_size(home.images.get("b:1")) == 3
    assert home.images.layers_size() == 6
    assert {"Deleted": digest.of(TWO)} in removed(home, "b:1")
    assert home.store.layers.has(digest.of(ONE))


def test_what_a_crash_left_is_collected_at_the_next_start(home: Home) -> None:
    loaded(home, "a:1")
    before = home.inventory()
    home.store.content.put(b"rubbish")
    home.store.layers.unpack(digest.of(TWO), io.BytesIO(TWO))
    Images(home.store, home.database)
    assert home.inventory() == before


def test_a_damaged_image_is_listed_and_can_be_removed(home: Home) -> None:
    image = loaded(home, "a:1")
    home.store.content.delete(image.id)
    again = Images(home.store, home.database)
    assert again.list()[0].damaged
    with pytest.raises(errors.Damaged, match="damaged"):
        again.get("a:1")
    again.remove("a:1")
    assert again.list() == []


def test_filters(home: Home) -> None:
    home.load(archive(docker(config_of(ONE, config={"Labels": {"k": "v"}}), {"l": ONE}, ["a/b:1", "c:2"])))
    for key, value, count in (("label", "k", 1), ("label", "k=v", 1), ("label", "k=w", 0), ("reference", "c", 1),
                              ("reference", "a/*", 1), ("reference", "*", 1), ("reference", "a/b:2", 0)):
        assert len(home.images.list({key: [value]})) == count, (key, value)
    with pytest.raises(errors.Invalid):
        home.images.list({"nonsense": ["x"]})


def test_the_images_of_the_install(home: Home) -> None:
    assert home.images.list() == []
    image = home.images.get("wharfie/hello")
    assert home.images.get("docker.io/wharfie/hello:latest") == image
    with pytest.raises(errors.NotFound):
        home.images.get("wharfie/shell", make=False)
    for name in ("wharfie/other", "wharfie/hello:2", "busybox"):
        with pytest.raises(errors.NotFound, match=r"No such image: .*later"):
            home.images.get(name)
    assert [i.tags for i in home.images.list()] == [("wharfie/hello:latest",)]
    first = image.id
    home.images.remove("wharfie/hello")
    assert home.images.get("wharfie/hello").id == first
    program = f"{home.store.layers.path(image.config.diff_ids[0])}/hello"
    assert b"Hello from wharfie" in subprocess.run([program], capture_output=True, check=True).stdout


@pytest.mark.parametrize("busybox", [True, False])
def test_the_borrowed_shell_runs(home: Home, busybox: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    from wharfie.images import shell
    if not busybox:
        monkeypatch.setattr(shell, "_busybox", lambda: "")
    image = home.images.get("wharfie/shell")
    root = home.store.layers.path(image.config.diff_ids[0])
    script = "ls / && cat /etc/passwd && id -u && echo $((6*7))"
    command = ["/usr/sbin/chroot", root, "/bin/sh", "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, check=True,
                          env={"PATH": "/bin:/usr/bin"})
    assert "root:x:0:0" in done.stdout
    assert done.stdout.endswith("0\n42\n")


def test_threads_ask_for_the_same_image_at_once(home: Home) -> None:
    found: list[str] = []
    threads = [threading.Thread(target=lambda: found.append(home.images.get("wharfie/hello").id)) for _ in range(8)]
    data = archive(GOOD)
    threads += [threading.Thread(target=lambda: found.extend(home.load(data))) for _ in range(4)]
    bad = archive(HOSTILE["bad tag"])

    def fail() -> None:
        with pytest.raises(errors.Damaged):
            home.load(bad)
        found.append("failed")

    threads += [threading.Thread(target=fail) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 16
    assert home.images.get("a:1").tags == ("a:1",)
    assert home.store.content.has(home.images.get("a:1").manifest)
    assert len(home.inventory()[1]) == 2
