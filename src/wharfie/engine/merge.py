"""What the user asked for, completed by what the image says (Docker's rules, moby daemon/commit.go): pure."""

from __future__ import annotations

import posixpath
from typing import Any

from wharfie.base import errors
from wharfie.oci import defaults

from .model import Config, HealthConfig


def with_image(config: Config, image: dict[str, Any]) -> None:
    """Complete `config` in place from `image`, the "config" object of an OCI image configuration."""
    config.user = config.user or _text(image, "User")
    config.working_dir = _clean(config.working_dir or _text(image, "WorkingDir"))
    config.stop_signal = config.stop_signal or _text(image, "StopSignal")
    if config.shell is None:
        config.shell = _texts(image, "Shell")
    config.env = _merged_env(config.env or [], _texts(image, "Env") or [])
    _merge_command(config, image)
    for mine, theirs in (("exposed_ports", "ExposedPorts"), ("volumes", "Volumes")):
        both = {**{str(k): {} for k in image.get(theirs) or {}}, **(getattr(config, mine) or {})}
        setattr(config, mine, both or None)
    labels = {str(k): str(v) for k, v in (image.get("Labels") or {}).items()}
    config.labels = {**labels, **(config.labels or {})}
    if config.healthcheck is None and isinstance(image.get("Healthcheck"), dict):
        config.healthcheck = _health(image["Healthcheck"])


def _merge_command(config: Config, image: dict[str, Any]) -> None:
    if not config.entrypoint:
        if not config.cmd:
            config.cmd = _texts(image, "Cmd")
        if config.entrypoint is None:
            config.entrypoint = _texts(image, "Entrypoint")
    if config.entrypoint == [""]:
        config.entrypoint = None  # the user's way to say: no entrypoint at all
    if not (config.entrypoint or config.cmd):
        raise errors.Invalid("no command specified", action="name a command, or use an image that has one")


def _merged_env(mine: list[str], theirs: list[str]) -> list[str]:
    """The user's variables, then those of the image that the user did not name. An image's entry without "=" would
    mean "copy from the host" to some engines; it is dropped."""
    named = {entry.partition("=")[0] for entry in mine}
    return mine + [e for e in theirs if "=" in e and not e.startswith("=") and e.partition("=")[0] not in named]


def command(config: Config) -> tuple[str, list[str]]:
    """The program and its arguments: entrypoint, then cmd."""
    argv = [*(config.entrypoint or []), *(config.cmd or [])]
    return argv[0], argv[1:]


def environment(config: Config, *, hostname: str, home: str) -> list[str]:
    """The environment of the first process: PATH, HOSTNAME and TERM as Docker sets them, then the configured ones; a
    name without "=" takes a variable away. HOME last, when nobody set it."""
    out: dict[str, str] = {"PATH": defaults.PATH, "HOSTNAME": hostname}
    if config.tty:
        out["TERM"] = "xterm"
    apply(out, config.env or [])
    if not out.get("HOME"):
        out["HOME"] = home
    return [f"{k}={v}" for k, v in out.items()]


def exec_environment(config: Config, extra: list[str], *, hostname: str, home: str, tty: bool) -> list[str]:
    """The environment of an exec: the container's, then the exec's own."""
    out: dict[str, str] = {"PATH": defaults.PATH, "HOSTNAME": hostname}
    if tty:
        out["TERM"] = "xterm"
    apply(out, config.env or [])
    apply(out, extra)
    if not out.get("HOME"):
        out["HOME"] = home
    return [f"{k}={v}" for k, v in out.items()]


def apply(env: dict[str, str], entries: list[str]) -> None:
    """Set "K=V", drop "K"."""
    for entry in entries:
        key, sign, value = entry.partition("=")
        if sign:
            env[key] = value
        else:
            env.pop(key, None)


def check_env(entries: list[str]) -> None:
    """Raises Invalid for what execve could not carry."""
    for entry in entries:
        if not entry or entry.startswith("="):
            raise errors.Invalid(f"invalid environment variable: {entry}")
        if "\0" in entry:
            raise errors.Invalid(f"invalid environment variable: {entry.partition('=')[0]} has a null byte")


def _clean(directory: str) -> str:
    """A directory without "..", absolute; "" stays."""
    return "/" + posixpath.normpath("/" + directory).lstrip("/") if directory else ""


def _text(image: dict[str, Any], key: str) -> str:
    value = image.get(key)
    return value if isinstance(value, str) else ""


def _texts(image: dict[str, Any], key: str) -> list[str] | None:
    value = image.get(key)
    return [str(v) for v in value] if isinstance(value, list) else None


def _health(image: dict[str, Any]) -> HealthConfig:
    def number(key: str) -> int:
        value = image.get(key)
        return value if isinstance(value, int) else 0

    return HealthConfig(
        test=_texts(image, "Test"), interval=number("Interval"), timeout=number("Timeout"), retries=number("Retries"),
        start_period=number("StartPeriod"), start_interval=number("StartInterval"),
    )
