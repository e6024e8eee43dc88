"""-v, --mount and --tmpfs."""

from __future__ import annotations

import os

from wharfie.base import errors, flags, units

from .create_flags import CREATE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_TYPES = frozenset(("bind", "volume", "tmpfs", "npipe", "cluster", "image"))
_ALIASES = {"src": "source", "target": "target", "dst": "target", "destination": "target", "ro": "readonly"}
_BOOLS = frozenset(("readonly", "volume-nocopy", "bind-nonrecursive"))
_KNOWN = frozenset((
    "type", "source", "target", "readonly", "consistency", "bind-propagation", "bind-nonrecursive", "bind-recursive",
    "volume-nocopy", "volume-label", "volume-driver", "volume-opt", "volume-subpath", "image-subpath", "tmpfs-size",
    "tmpfs-mode",
))


def volumes(specs: list[str]) -> tuple[list[str], list[str]]:
    """(binds, anonymous volumes' paths) of -v. Raises errors.Invalid."""
    binds: list[str] = []
    anonymous: list[str] = []
    for spec in specs:
        source, mark, rest = spec.partition(":")
        if not mark:
            if not spec.startswith("/") or spec == "/":
                raise errors.Invalid(f"invalid volume specification: '{spec}'")
            anonymous.append(spec)
        elif not source and rest.startswith("/"):
            raise errors.Invalid(f"invalid volume specification: '{spec}'")
        elif source.startswith("."):
            binds.append(f"{os.path.abspath(source)}:{rest}")
        else:
            binds.append(spec)
    return binds, anonymous


def tmpfs(specs: list[str]) -> dict[str, str]:
    """{"/run": "size=1m"} of "/run:size=1m"."""
    out: dict[str, str] = {}
    for spec in specs:
        path, _, options = spec.partition(":")
        out[path] = options
    return out


def mounts(specs: list[str]) -> list[dict[str, Any]]:
    """The API's Mount objects of --mount. Raises flags.Bad."""
    flag = CREATE.find("mount")
    assert flag is not None
    out = []
    for spec in specs:
        try:
            out.append(_mount(spec))
        except errors.Invalid as error:
            raise flags.bad_value(flag, spec, error.message) from error
    return out


def _mount(spec: str) -> dict[str, Any]:
    fields = _fields(spec)
    kind = fields.get("type", ["volume"])[-1].lower()
    if kind not in _TYPES:
        raise errors.Invalid(f"invalid mount type '{kind}'")
    if "target" not in fields:
        raise errors.Invalid("target is required")
    mount: dict[str, Any] = {"Type": kind, "Target": fields["target"][-1]}
    if "source" in fields:
        source = fields["source"][-1]
        mount["Source"] = os.path.abspath(source) if kind == "bind" and source.startswith(".") else source
    if _on(fields, "readonly"):
        mount["ReadOnly"] = True
    if "consistency" in fields:
        mount["Consistency"] = fields["consistency"][-1]
    for other, make in (("bind", _bind), ("volume", _volume), ("tmpfs", _tmpfs), ("image", _image)):
        options = make(fields)
        if options:
            if kind != other:
                raise errors.Invalid(f"cannot mix '{other}-*' options with mount type '{kind}'")
            mount[f"{other.capitalize()}Options"] = options
    return mount


def _fields(spec: str) -> dict[str, list[str]]:
    out: dict[str, list[str]] = {}
    for part in _csv(spec):
        key, mark, value = part.partition("=")
        key = _ALIASES.get(key.lower(), key.lower())
        if not mark:
            if key not in _BOOLS:
                raise errors.Invalid(f"invalid field '{part}' must be a key=value pair")
            value = "true"
        if key not in _KNOWN:
            raise errors.Invalid(f"unexpected key '{key}' in '{part}'")
        if key in _BOOLS and value.lower() not in ("true", "false", "1", "0"):
            raise errors.Invalid(f"invalid value for {key}: {value}")
        out.setdefault(key, []).append(value)
    return out


def _csv(text: str) -> list[str]:
    """One line of CSV: quotes protect commas."""
    if '"' not in text:
        return text.split(",")
    out = [""]
    quoted = False
    for c in text:
        if c == '"':
            quoted = not quoted
        elif c == "," and not quoted:
            out.append("")
        else:
            out[-1] += c
    return out


def _on(fields: dict[str, list[str]], name: str) -> bool:
    return name in fields and fields[name][-1].lower() in ("true", "1")


def _bind(fields: dict[str, list[str]]) -> dict[str, Any]:
    out: dict[str, Any] = {}
    if "bind-propagation" in fields:
        out["Propagation"] = fields["bind-propagation"][-1]
    if _on(fields, "bind-nonrecursive"):
        out["NonRecursive"] = True
    match fields.get("bind-recursive", ["enabled"])[-1]:
        case "enabled":
            pass
        case "disabled":
            out["NonRecursive"] = True
        case "writable":
            out["ReadOnlyNonRecursive"] = True
        case "readonly":
            out["ReadOnlyForceRecursive"] = True
        case other:
            raise errors.Invalid(f'invalid value for bind-recursive: {other} (must be "enabled", "disabled", '
                                 '"writable", or "readonly")')
    return out


def _volume(fields: dict[str, list[str]]) -> dict[str, Any]:
    out: dict[str, Any] = {}
    if _on(fields, "volume-nocopy"):
        out["NoCopy"] = True
    if "volume-label" in fields:
        out["Labels"] = dict(_pair(v) for v in fields["volume-label"])
    if "volume-subpath" in fields:
        out["Subpath"] = fields["volume-subpath"][-1]
    driver: dict[str, Any] = {}
    if "volume-driver" in fields:
        driver["Name"] = fields["volume-driver"][-1]
    if "volume-opt" in fields:
        driver["Options"] = dict(_pair(v) for v in fields["volume-opt"])
    if driver:
        out["DriverConfig"] = driver
    return out


def _tmpfs(fields: dict[str, list[str]]) -> dict[str, Any]:
    out: dict[str, Any] = {}
    if "tmpfs-size" in fields:
        out["SizeBytes"] = units.parse_size(fields["tmpfs-size"][-1])
    if "tmpfs-mode" in fields:
        try:
            out["Mode"] = int(fields["tmpfs-mode"][-1], 8)
        except ValueError as error:
            raise errors.Invalid(f"invalid value for tmpfs-mode: {fields['tmpfs-mode'][-1]}") from error
    return out


def _image(fields: dict[str, list[str]]) -> dict[str, Any]:
    return {"Subpath": fields["image-subpath"][-1]} if "image-subpath" in fields else {}


def _pair(text: str) -> tuple[str, str]:
    key, _, value = text.partition("=")
    return key, value
