"""config.json → values, once, at the door. Every error names the key it came from by its JSON path
("$.process.user.uid").

Strict where a looser reader would be a hole: booleans are no numbers, ids are 0..2^32-2, strings hold no NUL. Unknown
keys are ignored, as the specification asks (section "Extensibility").
"""

from __future__ import annotations

import functools

from wharfie.base import errors

from .spec_values import (
    Capabilities,
    Device,
    Hook,
    Hooks,
    Linux,
    Mount,
    Namespace,
    Process,
    Rlimit,
    Root,
    Spec,
    User,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeVar

    T = TypeVar("T")

MAX_ID = (1 << 32) - 2
MAX_ROWS = 65536
NAMESPACES = ("pid", "network", "mount", "ipc", "uts", "user", "cgroup", "time")
_NAME_CHARS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZ_0123456789")


def bad(path: str, why: str) -> errors.Invalid:
    """The error for the key at `path`."""
    return errors.Invalid(f"runtime spec: {path}: {why}", name=path)


class Reader:
    """One JSON object with its path; each method takes a key and gives a checked value, or raises Invalid."""

    def __init__(self, obj: Any, path: str) -> None:
        if not isinstance(obj, dict):
            raise bad(path, "must be an object")
        self.obj: dict[str, Any] = obj
        self.path = path

    def at(self, key: str) -> str:
        return f"{self.path}.{key}"

    def text(self, key: str, default: str | None = "") -> str:
        """A string; default None makes the key required."""
        value = self.obj.get(key)
        if value is None:
            if default is None:
                raise bad(self.at(key), "is required")
            return default
        return _text(value, self.at(key))

    def integer(self, key: str, low: int, high: int, default: int | None = 0) -> int:
        value = self.obj.get(key)
        if value is None:
            if default is None:
                raise bad(self.at(key), "is required")
            return default
        return _integer(value, low, high, self.at(key))

    def optional(self, key: str, low: int, high: int) -> int | None:
        return None if self.obj.get(key) is None else self.integer(key, low, high)

    def boolean(self, key: str) -> bool:
        value = self.obj.get(key, False)
        if value is None:
            return False
        if not isinstance(value, bool):
            raise bad(self.at(key), "must be true or false")
        return value

    def rows(self, key: str, one: Callable[[Any, str], T]) -> tuple[T, ...]:
        """Each element of a list by `one(element, path)`."""
        value = self.obj.get(key)
        if value is None:
            return ()
        if not isinstance(value, list):
            raise bad(self.at(key), "must be a list")
        if len(value) > MAX_ROWS:
            raise bad(self.at(key), f"has more than {MAX_ROWS} elements")
        return tuple([one(element, f"{self.path}.{key}[{i}]") for i, element in enumerate(value)])

    def texts(self, key: str) -> tuple[str, ...]:
        value = self.obj.get(key)
        if isinstance(value, list) and len(value) <= MAX_ROWS and all(map(_is_text, value)):
            return tuple(value)
        return self.rows(key, _text)  # which names the bad one

    def pairs(self, key: str) -> tuple[tuple[str, str], ...]:
        """An object of strings."""
        inner = self.child(key)
        return tuple((_text(k, inner.path), inner.text(k)) for k in inner.obj) if inner else ()

    def child(self, key: str) -> Reader | None:
        value = self.obj.get(key)
        return None if value is None else Reader(value, self.at(key))

    def raw(self, key: str) -> dict[str, Any] | None:
        inner = self.child(key)
        return inner.obj if inner else None


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and "\0" not in value


def _text(value: Any, path: str) -> str:
    if not isinstance(value, str):
        raise bad(path, "must be a string")
    if "\0" in value:
        raise bad(path, "holds a NUL")
    return value


def _integer(value: Any, low: int, high: int, path: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise bad(path, "must be a whole number")
    if not low <= value <= high:
        raise bad(path, f"is {value}, must be {low} to {high}")
    return value


def parse(obj: Any, path: str = "$") -> Spec:
    """The Spec of a decoded config.json. Raises Invalid naming the path of the bad key."""
    r = Reader(obj, path)
    version = r.text("ociVersion", None)
    if not version.startswith("1."):
        raise bad(r.at("ociVersion"), f"is {version!r}; versions 1.x are known")
    root, process, linux, hooks = r.child("root"), r.child("process"), r.child("linux"), r.child("hooks")
    return Spec(
        oci_version=version,
        root=Root(path=root.text("path", None), readonly=root.boolean("readonly")) if root else Root(),
        process=parse_process(process.obj, process.path) if process else None,
        hostname=r.text("hostname"),
        domainname=r.text("domainname"),
        mounts=r.rows("mounts", _mount),
        linux=_linux(linux) if linux else Linux(),
        hooks=_hooks(hooks) if hooks else Hooks(),
        annotations=r.pairs("annotations"),
    )


def parse_process(obj: Any, path: str = "$.process") -> Process:
    """The Process of a `process` object alone, as exec gets it. Raises Invalid."""
    r = Reader(obj, path)
    args = r.texts("args")
    if not args:
        raise bad(r.at("args"), "is empty; there is nothing to execute")
    cwd = r.text("cwd", None)
    if not cwd.startswith("/"):
        raise bad(r.at("cwd"), f"is {cwd!r}, must be an absolute path")
    size, user, caps = r.child("consoleSize"), r.child("user"), r.child("capabilities")
    return Process(
        args=args,
        cwd=cwd,
        env=r.rows("env", _variable),
        terminal=r.boolean("terminal"),
        console_size=(size.integer("height", 0, 65535), size.integer("width", 0, 65535)) if size else (0, 0),
        user=_user(user) if user else User(),
        capabilities=_capabilities(caps) if caps else None,
        rlimits=r.rows("rlimits", _rlimit),
        no_new_privileges=r.boolean("noNewPrivileges"),
        oom_score_adj=r.optional("oomScoreAdj", -1000, 1000),
        apparmor_profile=r.text("apparmorProfile"),
        selinux_label=r.text("selinuxLabel"),
    )


def _variable(value: Any, path: str) -> str:
    text = _text(value, path)
    if "=" not in text[1:]:
        raise bad(path, f"is {text!r}, must be NAME=VALUE")
    return text


def _gid(value: Any, path: str) -> int:
    return _integer(value, 0, MAX_ID, path)


def _user(r: Reader) -> User:
    return User(
        uid=r.integer("uid", 0, MAX_ID),
        gid=r.integer("gid", 0, MAX_ID),
        umask=r.optional("umask", 0, 0o777),
        additional_gids=r.rows("additionalGids", _gid),
    )


def _capabilities(r: Reader) -> Capabilities:
    sets = {key: r.texts(key) for key in ("bounding", "effective", "inheritable", "permitted", "ambient")}
    for key, names in sets.items():
        for i, name in enumerate(names):
            if not _is_capability(name):
                raise bad(f"{r.at(key)}[{i}]", f"is {name!r}, must be a name such as CAP_NET_RAW")
    return Capabilities(**sets)


@functools.lru_cache(128)
def _is_capability(name: str) -> bool:
    return name.startswith("CAP_") and _NAME_CHARS.issuperset(name)


def _rlimit(value: Any, path: str) -> Rlimit:
    r = Reader(value, path)
    top = (1 << 64) - 1
    row = Rlimit(r.text("type", None), r.integer("soft", 0, top, None), r.integer("hard", 0, top, None))
    if not row.type.startswith("RLIMIT_") or not _NAME_CHARS.issuperset(row.type):
        raise bad(r.at("type"), f"is {row.type!r}, must be a name such as RLIMIT_NOFILE")
    if row.soft > row.hard:
        raise bad(path, f"soft limit {row.soft} is above the hard limit {row.hard}")
    return row


def _mount(value: Any, path: str) -> Mount:
    r = Reader(value, path)
    destination = r.text("destination", None)
    if not destination.startswith("/"):
        raise bad(r.at("destination"), f"is {destination!r}, must be an absolute path")
    return Mount(
        destination, r.text("type"), r.text("source"), r.texts("options"),
        r.rows("uidMappings", _mapping), r.rows("gidMappings", _mapping),
    )


def _mapping(value: Any, path: str) -> tuple[int, int, int]:
    r = Reader(value, path)
    inside, outside = r.integer("containerID", 0, MAX_ID, None), r.integer("hostID", 0, MAX_ID, None)
    count = r.integer("size", 1, MAX_ID + 1, None)
    if max(inside, outside) + count > MAX_ID + 1:
        raise bad(path, "goes beyond the largest id")
    return (inside, outside, count)


def _linux(r: Reader) -> Linux:
    return Linux(
        namespaces=_namespaces(r),
        uid_mappings=r.rows("uidMappings", _mapping),
        gid_mappings=r.rows("gidMappings", _mapping),
        devices=r.rows("devices", _device),
        cgroups_path=r.text("cgroupsPath"),
        resources=r.raw("resources"),
        sysctl=r.pairs("sysctl"),
        seccomp=r.raw("seccomp"),
        rootfs_propagation=r.text("rootfsPropagation"),
        masked_paths=r.rows("maskedPaths", _absolute),
        readonly_paths=r.rows("readonlyPaths", _absolute),
        mount_label=r.text("mountLabel"),
    )


def _absolute(value: Any, path: str) -> str:
    text = _text(value, path)
    if not text.startswith("/"):
        raise bad(path, f"is {text!r}, must be an absolute path")
    return text


def _namespaces(r: Reader) -> tuple[Namespace, ...]:
    def one(value: Any, path: str) -> Namespace:
        row = Reader(value, path)
        kind = row.text("type", None)
        if kind not in NAMESPACES:
            raise bad(row.at("type"), f"is {kind!r}, must be one of {', '.join(NAMESPACES)}")
        return Namespace(kind, row.text("path"))

    rows = r.rows("namespaces", one)
    if len({row.type for row in rows}) != len(rows):
        raise bad(r.at("namespaces"), "names a kind twice")
    return rows


def _device(value: Any, path: str) -> Device:
    r = Reader(value, path)
    kind = r.text("type", None)
    if kind not in ("c", "b", "u", "p"):
        raise bad(r.at("type"), f"is {kind!r}, must be c, b, u or p")
    required = None if kind != "p" else 0
    return Device(
        path=_absolute(r.text("path", None), r.at("path")),
        type=kind,
        major=r.integer("major", 0, (1 << 32) - 1, required),
        minor=r.integer("minor", 0, (1 << 32) - 1, required),
        mode=r.optional("fileMode", 0, 0o7777),
        uid=r.integer("uid", 0, MAX_ID),
        gid=r.integer("gid", 0, MAX_ID),
    )


def _hooks(r: Reader) -> Hooks:
    return Hooks(
        r.rows("prestart", _hook), r.rows("createRuntime", _hook), r.rows("createContainer", _hook),
        r.rows("startContainer", _hook), r.rows("poststart", _hook), r.rows("poststop", _hook),
    )


def _hook(value: Any, path: str) -> Hook:
    r = Reader(value, path)
    program = _absolute(r.text("path", None), r.at("path"))
    return Hook(program, r.texts("args"), r.texts("env"), r.integer("timeout", 0, 1 << 31))
