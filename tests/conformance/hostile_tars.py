"""Hostile archives as data, written byte by byte because no tar writer would write them.

REFUSED are root file systems that must not be unpacked, CONFINED those that may be as long as they stay inside,
HOSTILE_ARCHIVES image archives around which `docker load` must not be led.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import lzma
import os
from collections.abc import Callable
from pathlib import Path

from tests.hosts import busybox_files, tar_of

UP = b"../" * 40
END = bytes(1024)
FORBIDDEN = ("trusted.overlay.redirect", "trusted.overlay.metacopy", "security.selinux", "security.ima")


def head(name: bytes, kind: bytes = b"0", size: int = 0, mode: int = 0o777, link: bytes = b"",
         device: tuple[int, int] = (0, 0), fields: dict[int, bytes] | None = None) -> bytes:
    """A ustar header; `fields` are bytes put at offsets, before the checksum is taken unless they are the checksum."""
    block = bytearray(512)
    block[:100] = name[:100].ljust(100, b"\0")
    block[100:156] = b"%07o\0%07o\0%07o\0%011o\0%011o\0        " % (mode, 1, 1, size, 0)
    block[156:157] = kind
    block[157:257] = link[:100].ljust(100, b"\0")
    block[257:265] = b"ustar\x0000"
    block[329:345] = b"%07o\0%07o\0" % device
    for at, data in (fields or {}).items():
        block[at : at + len(data)] = data
    if 148 not in (fields or {}):
        block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 512)


def file(name: bytes, data: bytes = b"evil", mode: int = 0o777) -> bytes:
    return head(name, size=len(data), mode=mode) + padded(data)


def directory(name: bytes, mode: int = 0o777) -> bytes:
    return head(name, b"5", mode=mode)


def symlink(name: bytes, target: bytes) -> bytes:
    return long(b"K", target) + head(name, b"2", link=target)


def hard(name: bytes, target: bytes) -> bytes:
    return long(b"K", target) + head(name, b"1", link=target)


def long(kind: bytes, text: bytes) -> bytes:
    """GNU's long name (L) or link (K) for what comes next; nothing when it fits."""
    return head(b"././@LongLink", kind, size=len(text) + 1) + padded(text + b"\0") if len(text) > 99 else b""


def records(*pairs: tuple[bytes, bytes]) -> bytes:
    """A pax header for what comes next."""
    body = b""
    for key, value in pairs:
        length = len(key) + len(value) + 3
        while len(b"%d" % length) + len(key) + len(value) + 3 != length:
            length = len(b"%d" % length) + len(key) + len(value) + 3
        body += b"%d %s=%s\n" % (length, key, value)
    return head(b"pax", b"x", size=len(body)) + padded(body)


def named(name: bytes, data: bytes = b"evil") -> bytes:
    """A file with a name of any length."""
    return long(b"L", name) + file(name, data)


def sparse(claimed: int, layout: bytes = b"0,512", name: bytes = b"big") -> bytes:
    """A file of `claimed` bytes with one block of data (GNU sparse 0.1)."""
    told = ((b"GNU.sparse.map", layout), (b"GNU.sparse.size", b"%d" % claimed), (b"GNU.sparse.name", name))
    return records(*told) + file(name, b"x" * 512)


Make = Callable[[bytes], bytes]
SIZE, SUM = 124, 148
# case: (archive for a canary directory, what the message must say, refused by cp too)
REFUSED: dict[str, tuple[Make, str, bool]] = {
    "parent": (lambda c: file(b"../evil"), "leads out", True),
    "parents to the canary": (lambda c: named(UP + c[1:] + b"/secret"), "leads out", True),
    "parent inside": (lambda c: directory(b"a") + named(b"a/../" + UP + c[1:] + b"/secret"), "leads out", True),
    "absolute parent": (lambda c: named(b"/" + UP + c[1:] + b"/secret"), "leads out", True),
    "parent in a pax path": (lambda c: records((b"path", UP + c[1:] + b"/secret")) + file(b"x"), "leads out", True),
    "parent in a prefix": (lambda c: head(b"evil", fields={345: b"../.."}), "leads out", True),
    "parent in a sparse name": (lambda c: sparse(512, name=b"../evil"), "leads out", True),
    "hard link out": (lambda c: hard(b"h", UP + c[1:] + b"/secret") + file(b"h"), "leads out", True),
    "hard link absolute": (lambda c: hard(b"h", c + b"/secret") + file(b"h"), "hard link", True),
    "hard link through a symlink": (lambda c: symlink(b"d", c) + hard(b"h", b"d/secret") + file(b"h"), "", True),
    "hard link in a pax path": (
        lambda c: records((b"linkpath", UP + c[1:] + b"/secret")) + hard(b"h", b"x"), "leads out", True),
    "hard link to a directory": (lambda c: directory(b"d") + hard(b"h", b"d"), "hard link", True),
    "hard link to the root": (lambda c: hard(b"h", b"."), "hard link", True),
    "hard link to nothing": (lambda c: hard(b"h", b"nothing"), "hard link", True),
    "whiteout of nothing": (lambda c: file(b".wh.", b""), "whiteout", False),
    "whiteout of here": (lambda c: file(b"a/.wh..", b""), "whiteout", False),
    "whiteout of the parent": (lambda c: file(b".wh...", b""), "whiteout", False),
    "whiteout of the parent, deep": (lambda c: file(b"a/b/.wh...", b""), "whiteout", False),
    "parent is a file": (lambda c: file(b"f") + file(b"f/x"), "", True),
    "parent is a fifo": (lambda c: head(b"p", b"6") + file(b"p/x"), "", True),
    "parent is a device": (lambda c: head(b"n", b"3", device=(1, 5)) + file(b"n/x"), "", True),
    "parent is a loop": (lambda c: symlink(b"l", b"l") + file(b"l/x"), "", True),
    "a part of 256 bytes": (lambda c: named(b"n" * 256), "longer than 255", True),
    "a name of 4097 bytes": (lambda c: named(b"/".join([b"n" * 200] * 21)[:4097]), "too long", True),
    "a name of 4 GiB": (lambda c: head(b"L", b"L", fields={SIZE: b"\x80" + (1 << 32).to_bytes(11, "big")}), "", True),
    "too deep": (lambda c: named(b"d/" * 1500 + b"x"), "too deep", True),
    "no name": (lambda c: head(b""), "no name", True),
    "NUL in a pax path": (lambda c: records((b"path", b"a\0../../x")) + file(b"x"), "NUL", True),
    "NUL in a pax link": (lambda c: records((b"linkpath", b"a\0b")) + hard(b"h", b"x"), "NUL", True),
    "pax record without length": (lambda c: head(b"x", b"x", size=9) + padded(b"path=evil") + file(b"x"), "pax", True),
    "pax record too long": (lambda c: head(b"x", b"x", size=9) + padded(b"99 a=bcd\n") + file(b"x"), "pax", True),
    "pax header of 8 GiB": (lambda c: head(b"x", b"x", fields={SIZE: b"77777777777\0"}), "extended header", True),
    "pax size that lies": (lambda c: records((b"size", b"99999999999")) + file(b"x"), "ends too early", True),
    "pax size below zero": (lambda c: records((b"size", b"-5")) + file(b"x"), "", True),
    "checksum": (lambda c: file(b"ok") + head(b"x", fields={SUM: b"000001\0 "}), "checksum", True),
    "size below zero": (lambda c: head(b"x", fields={SIZE: b"\xff" * 11 + b"\x00"}), "out of range", True),
    "size of 8 EiB": (lambda c: head(b"x", fields={SIZE: b"\x80\0\0\0\x7f" + b"\xff" * 7}), "", True),
    "size beyond 64 bits": (lambda c: head(b"x", fields={SIZE: b"\x80" + b"\x7f" * 11}), "out of range", True),
    "size that is no number": (lambda c: head(b"x", fields={SIZE: b"0x7fffffff\0\0"}), "octal", True),
    "owner out of range": (lambda c: records((b"uid", b"4294967295")) + file(b"x"), "out of range", True),
    "ends in a header": (lambda c: file(b"ok") + head(b"x")[:300], "ends inside a header", True),
    "ends in the data": (lambda c: head(b"x", size=5000) + b"short", "ends too early", True),
    "sparse out of order": (lambda c: sparse(4096, b"512,256,0,256"), "out of order", True),
    "sparse beyond its size": (lambda c: sparse(256), "does not fit", True),
    "sparse of 8 EiB": (lambda c: sparse((1 << 63) - 1), "larger than allowed", True),
    "sparse without a number": (lambda c: sparse(4096, b"0,-1"), "no number", True),
    "garbage": (lambda c: b"garbage" * 1000, "no tar archive", True),
}
WITHOUT_END = ("ends in a header", "ends in the data", "garbage", "a name of 4 GiB", "pax header of 8 GiB")
# What may be unpacked, as long as it stays inside.
CONFINED: dict[str, Make] = {
    "absolute": lambda c: named(c + b"/secret"),
    "relative symlink": lambda c: symlink(b"d", UP + c[1:]) + file(b"d/secret"),
    "absolute symlink": lambda c: symlink(b"d", c) + file(b"d/secret") + directory(b"d/dir", 0o700),
    "chain of symlinks": lambda c: symlink(b"a", b"b") + symlink(b"b", c) + file(b"a/secret") + file(b"a/new"),
    "through the symlink itself": lambda c: symlink(b"s", c + b"/secret") + file(b"s"),
    "directory over a symlink": lambda c: symlink(b"s", c + b"/dir") + directory(b"s", 0o711) + file(b"s/x"),
    "hard link to a symlink": lambda c: symlink(b"s", c + b"/secret") + hard(b"h", b"s") + file(b"h"),
    "mode by a hard link to a symlink": lambda c: symlink(b"s", c + b"/secret") + hard(b"h", b"s") + hard(b"h", b"s"),
    "times of a replaced directory": lambda c: directory(b"d") + symlink(b"d", c + b"/dir"),
    "whiteout through a symlink": lambda c: symlink(b"d", c) + file(b"d/.wh.secret", b""),
    "opaque through a symlink": lambda c: symlink(b"d", c) + file(b"d/.wh..wh..opq", b"") + symlink(b"d/x", b"y"),
    "fifo over a symlink": lambda c: symlink(b"s", c + b"/secret") + head(b"s", b"6"),
    "device over a symlink": lambda c: symlink(b"s", c + b"/secret") + head(b"s", b"3", device=(1, 3)),
    "magic links": lambda c: symlink(b"p", b"/proc/self/root") + named(b"p" + c + b"/secret") + symlink(
        b"q", b"/proc/1/cwd") + named(b"q" + c + b"/secret") + symlink(b"r", b"/proc/self/fd/3") + file(b"r/x"),
    "the root replaced": lambda c: symlink(b".", c) + file(b"secret") + symlink(b"./", c) + file(b"./secret"),
    "file, directory, file": lambda c: file(b"a") + directory(b"a") + file(b"a/b") + file(b"a") + directory(b"a/"),
    "directory, link, directory": lambda c: directory(b"d") + file(b"d/x") + symlink(b"d", c) + directory(b"d") + file(
        b"d/secret"),
    "duplicates": lambda c: b"".join(file(b"x", b"%d" % n) for n in range(50)),
    "no text": lambda c: file(b"\xff\xfe\x80 \xc3(") + symlink(b"\xed\xa0\x80", b"\xff") + file(b"new\nline\x1b[2J"),
    "setuid": lambda c: file(b"su", mode=0o6755) + directory(b"t", 0o1777),
    "longest name": lambda c: named(b"n" * 255) + named(b"/".join([b"m" * 200] * 20)),
    "attributes": lambda c: records(*((b"SCHILY.xattr." + name.encode(), b"/etc") for name in FORBIDDEN)) + file(
        b"x") + records((b"SCHILY.xattr.trusted.overlay.opaque", b"y")) + directory(b"o"),
    "device of the disk": lambda c: head(b"sda", b"4", device=(8, 0)) + head(b"kmsg", b"3", device=(1, 11)),
    "unknown kind": lambda c: head(b"door", b"Z") + head(b"volume", b"V") + file(b"x"),
}


def layer(make: Make, canary: Path, case: str = "") -> bytes:
    """The archive of a case, with an end mark where it may have one."""
    return make(os.fsencode(canary)) + (b"" if case in WITHOUT_END else END)


def document(*layers: bytes, **more: object) -> bytes:
    """An image config for these layers."""
    ids = ["sha256:" + hashlib.sha256(data).hexdigest() for data in layers]
    return json.dumps({"architecture": "amd64", "os": "linux", "config": {}, "rootfs": {"type": "layers",
                      "diff_ids": ids}, **more}).encode()


def archive(*layers: bytes, config: bytes = b"", tags: tuple[str, ...] = ("row25:load",)) -> bytes:
    """What `docker save` writes, around these layers."""
    paths = [f"{n}/layer.tar" for n in range(len(layers))]
    manifest = json.dumps([{"Config": "config.json", "RepoTags": list(tags), "Layers": paths}]).encode()
    out = file(b"manifest.json", manifest) + file(b"config.json", config or document(*layers))
    return out + b"".join(file(p.encode(), data) for p, data in zip(paths, layers, strict=True)) + END


HOSTILE_ARCHIVES: dict[str, tuple[Make, str]] = {
    "empty": (lambda c: b"", "no tar archive"),
    "only an end": (lambda c: END, "manifest.json"),
    "a root file system": (lambda c: file(b"bin/sh") + END, "manifest.json"),
    "a fifo for manifest.json": (lambda c: head(b"manifest.json", b"6") + END, "manifest.json"),
    "a device for manifest.json": (lambda c: head(b"manifest.json", b"3", device=(1, 5)) + END, "manifest.json"),
    "a directory for manifest.json": (lambda c: directory(b"manifest.json") + END, "manifest.json"),
    "manifest.json is a link out": (lambda c: symlink(b"manifest.json", c + b"/config.json") + END, "manifest.json"),
    "manifest.json is a loop": (lambda c: symlink(b"manifest.json", b"manifest.json") + END, "links"),
    "manifest.json is a hard link out": (lambda c: hard(b"manifest.json", UP + b"x") + END, "leads out"),
    "a name leads out": (lambda c: file(UP + b"manifest.json", b"[]")[:1024] + END, "leads out"),
    "no JSON": (lambda c: file(b"manifest.json", b"{") + END, "JSON"),
    "deep JSON": (lambda c: file(b"manifest.json", b"[" * 500_000) + END, "JSON"),
    "no list": (lambda c: file(b"manifest.json", b"7") + END, "manifest.json"),
    "an empty list": (lambda c: file(b"manifest.json", b"[]") + END, "no image"),
    "a config outside": (lambda c: manifest(UP + c[1:] + b"/config.json", b"layer.tar") + END, "missing"),
    "a config by absolute path": (lambda c: manifest(c + b"/config.json", b"layer.tar") + END, "missing"),
    "a layer outside": (lambda c: _with_config(manifest(b"config.json", UP + c[1:] + b"/layer.tar")), "missing"),
    "a layer by absolute path": (lambda c: _with_config(manifest(b"config.json", c + b"/layer.tar")), "missing"),
    "layer.tar is a link out": (
        lambda c: symlink(b"layer.tar", c + b"/layer.tar") + _with_config(manifest(b"config.json", b"layer.tar")),
        "missing"),
    "layer.tar is a hard link out": (
        lambda c: hard(b"layer.tar", c + b"/layer.tar") + _with_config(manifest(b"config.json", b"layer.tar")),
        "missing"),
    "a fifo for layer.tar": (
        lambda c: head(b"layer.tar", b"6") + _with_config(manifest(b"config.json", b"layer.tar")), "missing"),
    "too few layers": (lambda c: archive(config=document(b"")), "length mismatch"),
    "too many layers": (lambda c: archive(file(b"x") + END, config=document()), "length mismatch"),
    "a diff id that lies": (lambda c: archive(file(b"x") + END, config=document(b"other")), "diff id"),
    "a diff id that is none": (lambda c: archive(file(b"x") + END, config=_ids("../../x")), "diff"),
    "a diff id in capitals": (lambda c: archive(file(b"x") + END, config=_ids("sha256:" + "A" * 64)), "diff"),
    "a blob that is not its digest": (lambda c: _blob(b"blobs/sha256/" + b"a" * 64), "digest"),
    "a config that is not its digest": (
        lambda c: file(b"blobs/sha256/" + b"b" * 64, document()) + manifest(b"blobs/sha256/" + b"b" * 64) + END,
        "digest"),
    "a hostile tag": (lambda c: archive(file(b"x") + END, tags=("../../x:1",)), "no image name"),
    "a tag like an id": (lambda c: archive(file(b"x") + END, tags=("sha256:" + "a" * 12,)), "ambiguous"),
    "an index without end": (lambda c: _index_of_itself(), "missing"),
    "a digest that leads out": (lambda c: _index("sha256:../../../x"), "digest"),
    "an unknown algorithm": (lambda c: _index("md5:" + "a" * 32), ""),
    "a manifest outside": (lambda c: _index("sha256:" + "c" * 64), "missing"),
    "cut in the middle": (lambda c: archive(file(b"x", bytes(9000)) + END)[:9000], "ends too early"),
    "cut gzip": (lambda c: gzip.compress(archive(file(b"x", os.urandom(9000)) + END))[:4000], ""),
    "broken gzip": (lambda c: b"\x1f\x8b\x08\0" + b"\xff" * 500, "gzip"),
    "broken zstd": (lambda c: b"\x28\xb5\x2f\xfd" + b"\xff" * 500, "zstd"),
    "cut xz": (lambda c: lzma.compress(archive(file(b"x", os.urandom(9000)) + END))[:4000], "xz"),
    "holes of 1 TiB for a layer": (lambda c: sparse(1 << 40, name=b"layer.tar") + END, "holes"),
    "holes of 1 TiB for manifest.json": (lambda c: sparse(1 << 40, name=b"manifest.json") + END, "holes"),
    "more data than there is": (
        lambda c: head(b"layer.tar", fields={SIZE: b"\x80" + (1 << 41).to_bytes(11, "big")}) + bytes(999), "too early"),
}


def manifest(config: bytes, *layers: bytes) -> bytes:
    """A manifest.json that names these members."""
    made = [{"Config": config.decode(), "RepoTags": ["row25:load"], "Layers": [name.decode() for name in layers]}]
    return file(b"manifest.json", json.dumps(made).encode())


def _with_config(manifest: bytes) -> bytes:
    """With a config whose layer is the one beside the canary: it must not be found there."""
    return manifest + file(b"config.json", document(tar_of(busybox_files()))) + END


def _ids(diff_id: str) -> bytes:
    return json.dumps({"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": [diff_id]}}
                      ).encode()


def _blob(name: bytes) -> bytes:
    data = file(b"x") + END
    return file(name, data) + file(b"config.json", document(data)) + manifest(b"config.json", name) + END


def _index(digest: str, kind: str = "application/vnd.oci.image.manifest.v1+json") -> bytes:
    index = {"schemaVersion": 2, "manifests": [{"mediaType": kind, "digest": digest, "size": 3}]}
    layout = file(b"oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
    return layout + file(b"index.json", json.dumps(index).encode()) + END


def _index_of_itself() -> bytes:
    """An index names its own digest, which cannot be: the nearest is a chain that ends in a blob that is not there."""
    kind = "application/vnd.oci.image.index.v1+json"
    blobs, digest = b"", "d" * 64
    for _ in range(3):
        data = json.dumps({"schemaVersion": 2, "manifests": [{"mediaType": kind, "digest": f"sha256:{digest}",
                                                              "size": 3}] * 50}).encode()
        digest = hashlib.sha256(data).hexdigest()
        blobs += file(f"blobs/sha256/{digest}".encode(), data)
    return blobs + _index(f"sha256:{digest}", kind)
