"""Capabilities, SecurityOpt and seccomp profiles as asked for → what the spec says: pure."""

from __future__ import annotations

import json
from typing import Any

from wharfie.base import capabilities as capability_names
from wharfie.base import errors
from wharfie.base.value import Value
from wharfie.oci import defaults, seccomp_default

_ALL = "ALL"
_MKNOD = "CAP_MKNOD"
MAX_PROFILE = 1 << 20
_MAX_UINT64 = (1 << 64) - 1
_ACTIONS = tuple(f"SCMP_ACT_{word}" for word in (
    "KILL", "KILL_THREAD", "KILL_PROCESS", "TRAP", "ERRNO", "TRACE", "NOTIFY", "LOG", "ALLOW"))
_COMPARISONS = tuple(f"SCMP_CMP_{word}" for word in ("EQ", "NE", "GT", "GE", "LT", "LE", "MASKED_EQ"))


class Options(Value):
    """SecurityOpt, parsed. `seccomp` is "default", "unconfined" or "custom" with `profile` its JSON text."""

    no_new_privileges: bool = False
    seccomp: str = "default"
    profile: str = ""


def parse_options(options: list[str] | None) -> Options:
    """Raises Invalid for unknown words, Unsupported for what this host cannot do."""
    made = Options()
    for text in options or []:
        key, sign, value = text.partition("=")
        if not sign:
            key, sign, value = text.partition(":")
        if key == "no-new-privileges" and value in ("", "true", "false"):
            made = made.replace(no_new_privileges=value != "false")
        elif key == "seccomp":
            made = _seccomp(made, value)
        elif key == "apparmor":
            if value != "unconfined":
                raise errors.Unsupported(f"HostConfig.SecurityOpt: AppArmor profile {value!r} cannot be applied yet",
                                         action="only apparmor=unconfined is honoured")
        elif key == "label":
            if value != "disable":
                raise errors.Unsupported(f"HostConfig.SecurityOpt: SELinux label {value!r} cannot be applied",
                                         action="only label=disable is honoured")
        elif key in ("systempaths", "writable-cgroups"):
            raise errors.Unsupported(f"HostConfig.SecurityOpt: {text} is not honoured here",
                                     action="for system paths send MaskedPaths and ReadonlyPaths")
        else:
            raise errors.Invalid(f'invalid --security-opt 2: "{text}"', name=text)
    return made


def _seccomp(made: Options, value: str) -> Options:
    if value == "unconfined":
        return made.replace(seccomp="unconfined", profile="")
    if value in ("builtin", "default"):
        return made.replace(seccomp="default", profile="")
    check_profile(value)
    return made.replace(seccomp="custom", profile=value)


def check_profile(text: str) -> dict[str, Any]:
    """The object in a profile's JSON text. Raises Invalid."""
    if len(text) > MAX_PROFILE:
        raise errors.Invalid("Decoding seccomp profile failed: it is larger than 1 MiB")
    try:
        profile = json.loads(text)
    except (ValueError, RecursionError) as error:
        why = "nested too deep" if isinstance(error, RecursionError) else str(error)
        raise errors.Invalid(f"Decoding seccomp profile failed: {why}") from error
    if not isinstance(profile, dict):
        raise errors.Invalid("Decoding seccomp profile failed: an object with defaultAction is needed")
    _check_action(profile.get("defaultAction"), "defaultAction")
    _check_number(profile, "defaultErrnoRet", 4095, "")
    _check_texts(profile, ("architectures", "flags"), "")
    for n, row in enumerate(_objects(profile, "archMap", "")):
        _check_texts(row, ("subArchitectures",), f"archMap[{n}].")
    for n, row in enumerate(_objects(profile, "syscalls", "")):
        where = f"syscalls[{n}]."
        _check_action(row.get("action"), f"{where}action")
        _check_number(row, "errnoRet", 4095, where)
        _check_texts(row, ("names",), where)
        for key in ("includes", "excludes"):
            _check_texts(_object(row, key, where), ("caps", "arches"), f"{where}{key}.")
        for m, arg in enumerate(_objects(row, "args", where)):
            _check_argument(arg, f"{where}args[{m}].")
    return profile


def _bad_profile(where: str, why: str) -> errors.Invalid:
    return errors.Invalid(f"Decoding seccomp profile failed: {where} {why}")


def _object(holder: dict[str, Any], key: str, where: str) -> dict[str, Any]:
    found = holder.get(key) or {}
    if not isinstance(found, dict):
        raise _bad_profile(f"{where}{key}", "is no object")
    return found


def _objects(holder: dict[str, Any], key: str, where: str) -> list[dict[str, Any]]:
    found = holder.get(key) or []
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise _bad_profile(f"{where}{key}", "is no list of objects")
    return found


def _check_texts(holder: dict[str, Any], keys: tuple[str, ...], where: str) -> None:
    for key in keys:
        found = holder.get(key) or []
        if not isinstance(found, list) or not all(isinstance(one, str) for one in found):
            raise _bad_profile(f"{where}{key}", "is no list of texts")


def _check_action(said: object, where: str) -> None:
    if said not in _ACTIONS:
        raise _bad_profile(where, f"must be one of {', '.join(_ACTIONS)}")


def _check_number(holder: dict[str, Any], key: str, top: int, where: str) -> None:
    number = holder.get(key)
    if number is not None and (not isinstance(number, int) or isinstance(number, bool) or not 0 <= number <= top):
        raise _bad_profile(f"{where}{key}", f"must be a whole number from 0 to {top}")


def _check_argument(arg: dict[str, Any], where: str) -> None:
    for key, top in (("index", 5), ("value", _MAX_UINT64), ("valueTwo", _MAX_UINT64)):
        _check_number(arg, key, top, where)
    if arg.get("index") is None or arg.get("value") is None:
        raise _bad_profile(where.rstrip("."), "needs index and value")
    if arg.get("op") not in _COMPARISONS:
        raise _bad_profile(f"{where}op", f"must be one of {', '.join(_COMPARISONS)}")


def capabilities(
    add: list[str] | None, drop: list[str] | None, *, privileged: bool, devices: bool = True
) -> tuple[str, ...]:
    """The bounding, permitted and effective set as "CAP_..." names in the kernel's order (moby caps.TweakCapabilities).
    Without `devices`, a host that can keep no device rules, whoever could make a node could read the host's disks: then
    only privileged containers have CAP_MKNOD. Raises Invalid for an unknown name."""
    adds = [_name(c, "CapAdd") for c in add or []]
    drops = [_name(c, "CapDrop") for c in drop or []]
    if privileged:
        held = set(capability_names.NAMES)
    elif _ALL in adds:
        held = set(capability_names.NAMES) - set(drops)
    elif _ALL in drops:
        held = set(adds)
    else:
        held = (set(defaults.CAPABILITIES) - set(drops)) | set(adds)
    if not devices and not privileged:
        held.discard(_MKNOD)
    return tuple(c for c in capability_names.NAMES if c in held)


def check_held(
    add: list[str] | None, drop: list[str] | None, *, privileged: bool, devices: bool, withheld: tuple[str, ...]
) -> list[str]:
    """Warnings: what a container with all capabilities does not get since the engine has it not. Raises Unsupported for
    one asked for by name."""
    named = {_name(c, "CapAdd") for c in add or []}
    if not privileged:
        for cap in sorted(named & set(withheld)):
            raise errors.Unsupported(f"HostConfig.CapAdd: the engine cannot give {cap}, it lacks it itself", name=cap,
                                     action=f"run the engine with {cap}, or leave it out")
        if _MKNOD in named and not devices:
            raise errors.Unsupported(f"HostConfig.CapAdd: {_MKNOD} is not given where no cgroup can keep device rules",
                                     name=_MKNOD, action="leave it out, or use --privileged")
    if not privileged and _ALL not in named:
        return []
    lost = [c for c in capabilities(add, drop, privileged=privileged, devices=devices) if c in withheld]
    return [f"the container does not get {', '.join(lost)}: this engine lacks it itself"] if lost else []


def _name(text: str, field: str) -> str:
    word = text.strip().upper()
    if word == _ALL:
        return _ALL
    full = word if word.startswith("CAP_") else f"CAP_{word}"
    if full not in capability_names.NAMES:
        raise errors.Invalid(f'invalid {field}: unknown capability: "{text}"', name=text)
    return full


def seccomp(
    options: Options, caps: tuple[str, ...], *, privileged: bool, machine: str, kernel: tuple[int, int]
) -> dict[str, Any] | None:
    """OCI linux.seccomp, or None for no filter. A privileged container has none unless one is asked for."""
    if options.seccomp == "unconfined" or (privileged and options.seccomp != "custom"):
        return None
    if options.seccomp == "default":
        return seccomp_default.resolve(caps, machine, kernel)
    return _resolve_custom(json.loads(options.profile), caps, machine, kernel)


def _resolve_custom(
    profile: dict[str, Any], caps: tuple[str, ...], machine: str, kernel: tuple[int, int]
) -> dict[str, Any]:
    """A profile in Docker's form (archMap, includes, excludes) or the OCI's, as the OCI's."""
    arch, native = seccomp_default.ARCHITECTURES.get(machine, (machine, ""))
    out: dict[str, Any] = {k: profile[k] for k in ("defaultAction", "defaultErrnoRet", "flags") if k in profile}
    arches = list(profile.get("architectures") or [])
    for row in profile.get("archMap") or []:
        if isinstance(row, dict) and row.get("architecture") == native:
            arches = [native, *(row.get("subArchitectures") or [])]
    if arches:
        out["architectures"] = arches
    rows = [r for r in profile.get("syscalls") or [] if isinstance(r, dict)]
    out["syscalls"] = [_row(r) for r in rows if _applies(r, caps, arch, kernel)]
    return out


def _row(row: dict[str, Any]) -> dict[str, Any]:
    names = row.get("names") or ([row["name"]] if row.get("name") else [])
    out: dict[str, Any] = {"names": [str(n) for n in names], "action": str(row.get("action", ""))}
    out |= {k: row[k] for k in ("errnoRet", "args") if row.get(k)}
    return out


def _applies(row: dict[str, Any], caps: tuple[str, ...], arch: str, kernel: tuple[int, int]) -> bool:
    includes, excludes = row.get("includes") or {}, row.get("excludes") or {}
    rule = seccomp_default.Rule(
        "", caps=tuple(includes.get("caps") or ()), arches=tuple(includes.get("arches") or ()),
        without_caps=tuple(excludes.get("caps") or ()), without_arches=tuple(excludes.get("arches") or ()),
        kernel=_version(includes.get("minKernel")),
    )
    return seccomp_default.applies(rule, caps, arch, kernel)


def _version(text: object) -> tuple[int, int]:
    if not isinstance(text, str):
        return 0, 0
    major, _, minor = text.partition(".")
    try:
        return int(major[:4]), int(minor.partition(".")[0][:4] or 0)
    except ValueError as error:
        raise errors.Invalid(f"Decoding seccomp profile failed: minKernel {text!r}") from error
