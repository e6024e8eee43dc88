"""Which mounts a container gets, out of Binds, Mounts, Tmpfs, the image's VOLUMEs and VolumesFrom: pure.

A destination has one mount. The user's own words come first (Binds, then Mounts, then Tmpfs), then VolumesFrom, then
the VOLUMEs of config and image, each only where nothing is yet.
"""

from __future__ import annotations

import json
import os
import posixpath

from wharfie.base import errors, ids
from wharfie.base.value import Value

from . import tmpfs
from .model import Config, Container, HostConfig, Mount

BIND, VOLUME, TMPFS = "bind", "volume", "tmpfs"
_NAME_MAX, _PATH_MAX = 255, 4096
_PROPAGATION = frozenset({"private", "rprivate", "shared", "rshared", "slave", "rslave"})
_MODES = frozenset({"ro", "rw", "z", "Z", "nocopy", "copy", "consistent", "cached", "delegated"})


class Planned(Value):
    """One mount to be. `source` is a host path (bind) or a volume's name ("" = anonymous); `create` makes a missing
    host path; `options` are extra tmpfs options."""

    kind: str
    destination: str
    source: str = ""
    readonly: bool = False
    mode: str = ""
    propagation: str = ""
    create: bool = False
    copy: bool = True
    recursive: bool = True
    deep_readonly: bool = True  # read-only down into the mounts below the source, as Docker does from 25 on
    driver: str = "local"
    driver_options: tuple[tuple[str, str], ...] = ()
    labels: tuple[tuple[str, str], ...] = ()
    options: tuple[str, ...] = ()
    anonymous: bool = False  # another container's, made for it alone: the last who has it takes it along


def plan(config: Config, host: HostConfig, others: list[tuple[Container, bool]]) -> list[Planned]:
    """The mounts, sorted so that parents come before children. `others` are the containers of VolumesFrom, each with
    "read-only". Raises Invalid with Docker's words."""
    chosen: dict[str, Planned] = {}
    asked = [_bind(text, host.volume_driver) for text in host.binds or []]
    asked += [_mount(m) for m in host.mounts or []]
    asked += [_tmpfs(target, options) for target, options in (host.tmpfs or {}).items()]
    for one in asked:
        if one.destination in chosen:
            raise errors.Invalid(f"Duplicate mount point: {one.destination}", name=one.destination)
        chosen[one.destination] = one
    for container, readonly in others:
        for one in _of_container(container, readonly):
            chosen.setdefault(one.destination, one)
    for target in config.volumes or {}:
        one = _declared(target, host.volume_driver)
        chosen.setdefault(one.destination, one)
    return sorted(chosen.values(), key=lambda m: (m.destination.count("/"), m.destination))


def clean_destination(text: str) -> str:
    """An absolute, cleaned path inside the container other than "/". Raises Invalid."""
    if not text.startswith("/"):
        raise errors.Invalid(f"invalid mount path: '{text}' mount path must be absolute", name=text)
    if "\0" in text:
        raise errors.Invalid("invalid mount path: it has a null byte")
    cleaned = "/" + posixpath.normpath(text).lstrip("/")
    check_length(cleaned, "mount path")
    if cleaned == "/":
        raise errors.Invalid(f"invalid volume specification: '{text}': invalid specification: destination can't be '/'")
    return cleaned


def check_length(path: str, what: str) -> None:
    """Raises Invalid for a path that no kernel could take: 4095 bytes in all, 255 a name."""
    raw = os.fsencode(path)
    if len(raw) >= _PATH_MAX or any(len(part) > _NAME_MAX for part in raw.split(b"/")):
        raise errors.Invalid(f"invalid {what}: file name too long: {path[:80]}…")


def _bind(text: str, driver: str) -> Planned:
    parts = text.split(":")
    if not all(parts) or len(parts) > 3 or "\0" in text:
        raise errors.Invalid(f"invalid volume specification: '{text}'", name=text)
    if len(parts) == 1:
        return _declared(text, driver)
    words = parts[2].split(",") if len(parts) == 3 else []
    propagation = _check_mode(words, text)
    source, destination = parts[0], clean_destination(parts[1])
    readonly, mode = "ro" in words, parts[2] if len(parts) == 3 else ""
    if source.startswith("/"):
        return Planned(BIND, destination, posixpath.normpath(source), readonly, mode, propagation or "rprivate",
                       create=True)
    if propagation:
        raise errors.Invalid(f"invalid volume specification: '{text}': propagation belongs to bind mounts")
    _check_volume_name(source, text)
    return Planned(VOLUME, destination, source, readonly, mode or "z", copy="nocopy" not in words,
                   driver=driver or "local")


def _check_mode(words: list[str], text: str) -> str:
    """The propagation among the words of a bind's third part. Raises Invalid for unknown or contradicting words."""
    found = [w for w in words if w in _PROPAGATION]
    unknown = [w for w in words if w not in _MODES and w not in _PROPAGATION]
    if unknown or len(found) > 1 or {"ro", "rw"} <= set(words) or len(set(words)) != len(words):
        raise errors.Invalid(f"invalid mode: {','.join(words)}", name=text)
    return found[0] if found else ""


def _check_volume_name(name: str, text: str) -> None:
    try:
        ids.check_name(name, "volume")
    except errors.Invalid:
        raise errors.Invalid(
            f'"{name}" includes invalid characters for a local volume name, only "[a-zA-Z0-9][a-zA-Z0-9_.-]" are '
            "allowed. If you intended to pass a host directory, use absolute path", name=text,
        )


def _declared(target: str, driver: str) -> Planned:
    """An anonymous volume; ".." in an image's VOLUME is cleaned away (CVE-2022-23648)."""
    return Planned(VOLUME, clean_destination(target), driver=driver or "local")


def _mount(m: Mount) -> Planned:
    where = f'invalid mount config for type "{m.type}"'
    if m.consistency not in ("", "default", "consistent", "cached", "delegated"):
        raise errors.Invalid(f"{where}: unknown consistency '{m.consistency}'")
    if m.cluster_options and m.type != "cluster":
        raise errors.Invalid(f"{where}: field ClusterOptions must not be specified")
    if not m.target:
        raise errors.Invalid(f"{where}: field Target must not be empty")
    destination = clean_destination(m.target)
    if m.type == BIND:
        return _bind_mount(m, destination, where)
    if m.type == VOLUME:
        return _volume_mount(m, destination, where)
    if m.type == TMPFS:
        return _tmpfs_mount(m, destination, where)
    if m.type in ("image", "cluster", "npipe"):
        raise errors.Unsupported(f"HostConfig.Mounts: type {m.type} is not supported by this engine yet", name=m.type)
    raise errors.Invalid(f'invalid mount config for type "{m.type}": mount type unknown', name=m.type)


def _bind_mount(m: Mount, destination: str, where: str) -> Planned:
    if not m.source.startswith("/") or "\0" in m.source:
        raise errors.Invalid(f"{where}: invalid mount path: '{m.source}' mount path must be absolute")
    if m.volume_options or m.tmpfs_options or m.image_options:
        raise errors.Invalid(f"{where}: field VolumeOptions, TmpfsOptions or ImageOptions must not be specified")
    o = m.bind_options
    propagation = (o.propagation if o else "") or "rprivate"
    if propagation not in _PROPAGATION:
        raise errors.Invalid(f"{where}: invalid propagation mode: {propagation}")
    if o and o.read_only_non_recursive and o.read_only_force_recursive:
        raise errors.Invalid(f"{where}: ReadOnlyForceRecursive conflicts with ReadOnlyNonRecursive")
    return Planned(BIND, destination, posixpath.normpath(m.source), m.read_only, "", propagation,
                   create=bool(o and o.create_mountpoint), recursive=not (o and o.non_recursive),
                   deep_readonly=not (o and o.read_only_non_recursive))


def _volume_mount(m: Mount, destination: str, where: str) -> Planned:
    if m.bind_options or m.tmpfs_options or m.image_options:
        raise errors.Invalid(f"{where}: field BindOptions, TmpfsOptions or ImageOptions must not be specified")
    if m.source:
        _check_volume_name(m.source, m.source)
    o = m.volume_options
    if o and o.subpath:
        raise errors.Unsupported("HostConfig.Mounts: VolumeOptions.Subpath is not supported by this engine yet")
    driver = o.driver_config if o else None
    return Planned(
        VOLUME, destination, m.source, m.read_only, "z", copy=not (o and o.no_copy),
        driver=(driver.name if driver else "") or "local",
        driver_options=tuple(((driver.options if driver else None) or {}).items()),
        labels=tuple(((o.labels if o else None) or {}).items()),
    )


def _tmpfs_mount(m: Mount, destination: str, where: str) -> Planned:
    if m.source:
        raise errors.Invalid(f"{where}: field Source must not be specified")
    o = m.tmpfs_options
    options = ["noexec", "nosuid", "nodev"]
    if o and (o.size_bytes < 0 or not 0 <= o.mode <= 0o7777):
        raise errors.Invalid(f"{where}: SizeBytes and Mode of TmpfsOptions cannot be negative or beyond 07777")
    if o and o.size_bytes:
        options.append(f"size={o.size_bytes}")
    if o and o.mode:
        options.append(f"mode={o.mode:o}")
    for pair in (o.options if o else None) or []:
        if len(pair) not in (1, 2):
            raise errors.Invalid(f"{where}: invalid option {json.dumps(pair)}")
        tmpfs.check("=".join(pair), destination)
        options = [w for w in options if w != {"exec": "noexec", "suid": "nosuid", "dev": "nodev"}.get(pair[0])]
        options.append("=".join(pair))
    if m.read_only:
        options.append("ro")
    return Planned(TMPFS, destination, readonly=m.read_only, options=tuple(options))


def _tmpfs(target: str, text: str) -> Planned:
    """HostConfig.Tmpfs. Docker's defaults are noexec, nosuid, nodev; the user's opposite takes one away."""
    words = [w for w in text.split(",") if w and w != "defaults"]
    for word in words:
        tmpfs.check(word, target)
    kept = [d for d in ("noexec", "nosuid", "nodev") if d.removeprefix("no") not in words and d not in words]
    return Planned(TMPFS, clean_destination(target), readonly="ro" in words, mode=text, options=(*kept, *words))


def _of_container(container: Container, readonly: bool) -> list[Planned]:
    out = []
    for m in container.mounts:
        if m.type == TMPFS:
            continue
        source = m.name if m.type == VOLUME else m.source
        out.append(Planned(m.type, m.destination, source, readonly or not m.rw, m.mode, m.propagation, copy=False,
                           driver=m.driver or "local", anonymous=bool(m.name) and m.name in container.anonymous))
    return out


def parse_volumes_from(entries: list[str]) -> list[tuple[str, bool]]:
    """"container[:ro|rw]" → (container, read-only). Raises Invalid."""
    out = []
    for entry in entries:
        ref, sign, mode = entry.partition(":")
        if not ref or (sign and mode not in ("ro", "rw", "z", "Z")):
            raise errors.Invalid(f"invalid VolumesFrom: '{entry}'")
        out.append((ref, mode == "ro"))
    return out
