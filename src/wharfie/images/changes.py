"""`--change`: a few Dockerfile instructions applied to an image's settings (import and commit)."""

from __future__ import annotations

import json
import posixpath
from collections.abc import Callable
from typing import Any

from wharfie.base import errors

Settings = dict[str, Any]
_SHELL = ["/bin/sh", "-c"]


def apply(settings: Settings, lines: list[str]) -> Settings:
    """The settings (Docker's Config, as in an image's document) after the instructions. Raises Invalid."""
    made = json.loads(json.dumps(settings))
    for line in lines:
        word, _, rest = line.strip().partition(" ")
        instruction = _INSTRUCTIONS.get(word.upper())
        if instruction is None:
            raise errors.Invalid(f"{word or repr(line)} is not a valid change command", name=word,
                                 action=f"use one of {', '.join(_INSTRUCTIONS)}")
        if not rest.strip():
            raise errors.Invalid(f"{word.upper()} requires at least one argument", name=word)
        instruction(made, rest.strip())
    return dict(made)


def _json_list(text: str) -> list[str] | None:
    if not text.startswith("["):
        return None
    try:
        found = json.loads(text)
    except ValueError:
        return None
    return found if isinstance(found, list) and all(isinstance(item, str) for item in found) else None


def _command(text: str) -> list[str]:
    """The exec form, else the shell form."""
    found = _json_list(text)
    return [*_SHELL, text] if found is None else found


def _cmd(settings: Settings, text: str) -> None:
    settings["Cmd"] = _command(text)


def _entrypoint(settings: Settings, text: str) -> None:
    settings["Entrypoint"] = _command(text)
    settings.pop("Cmd", None)


def words(text: str) -> list[str]:
    """Words as in a Dockerfile: quotes are taken off, a backslash keeps the next character. Raises Invalid."""
    found: list[str] = []
    word, inside, quote, at = "", False, "", 0
    while at < len(text):
        c = text[at]
        if c == "\\" and quote != "'" and at + 1 < len(text):
            at += 1
            word, inside = word + text[at], True
        elif quote:
            quote, word = ("", word) if c == quote else (quote, word + c)
        elif c in "'\"":
            quote, inside = c, True
        elif c.isspace():
            if inside:
                found.append(word)
            word, inside = "", False
        else:
            word, inside = word + c, True
        at += 1
    if quote:
        raise errors.Invalid(f"unexpected end of statement while looking for matching {quote} in {text!r}")
    return [*found, word] if inside else found


def _pairs(text: str, what: str) -> list[tuple[str, str]]:
    """`k=v k="v w"`, or the old form `k the rest`."""
    first = text.split(None, 1)[0]
    if "=" not in first:
        key, _, value = text.partition(" ")
        if not value:
            raise errors.Invalid(f"{what} must have two arguments")
        return [(key, value.strip())]
    found = []
    for word in words(text):
        key, equals, value = word.partition("=")
        if not equals or not key:
            raise errors.Invalid(f"Syntax error - can't find = in {word!r}. Must be of the form: name=value")
        found.append((key, value))
    return found


def _env(settings: Settings, text: str) -> None:
    env = dict(e.split("=", 1) for e in settings.get("Env") or [] if "=" in e)
    env.update(_pairs(text, "ENV"))
    settings["Env"] = [f"{key}={value}" for key, value in env.items()]


def _label(settings: Settings, text: str) -> None:
    settings["Labels"] = {**(settings.get("Labels") or {}), **dict(_pairs(text, "LABEL"))}


def _expose(settings: Settings, text: str) -> None:
    ports = dict(settings.get("ExposedPorts") or {})
    for word in words(text):
        number, slash, protocol = word.partition("/")
        first, _, last = number.partition("-")
        if not (_port(first) and _port(last or first) and int(first) <= int(last or first)):
            raise errors.Invalid(f"invalid containerPort: {number}", name=word)
        if (protocol or "tcp").lower() not in ("tcp", "udp", "sctp") or (slash and not protocol):
            raise errors.Invalid(f"invalid proto: {protocol}", name=word)
        for port in range(int(first), int(last or first) + 1):
            ports[f"{port}/{(protocol or 'tcp').lower()}"] = {}
    settings["ExposedPorts"] = ports


def _port(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 5 and 0 < int(text) <= 65535


def _user(settings: Settings, text: str) -> None:
    found = words(text)
    if len(found) != 1:
        raise errors.Invalid("USER requires exactly one argument")
    settings["User"] = found[0]


def _volume(settings: Settings, text: str) -> None:
    places = _json_list(text) if text.startswith("[") else words(text)
    if not places or not all(p.strip() for p in places):
        raise errors.Invalid("VOLUME specified can not be an empty string")
    settings["Volumes"] = {**(settings.get("Volumes") or {}), **{p.strip(): {} for p in places}}


def _workdir(settings: Settings, text: str) -> None:
    place = " ".join(words(text))
    settings["WorkingDir"] = posixpath.normpath(posixpath.join("/", settings.get("WorkingDir") or "/", place))


def _onbuild(settings: Settings, text: str) -> None:
    word = text.split()[0].upper()
    if word in ("ONBUILD", "FROM", "MAINTAINER"):
        raise errors.Invalid("Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed" if word == "ONBUILD"
                             else f"{word} isn't allowed as an ONBUILD trigger")
    settings["OnBuild"] = [*(settings.get("OnBuild") or []), text]


def _stopsignal(settings: Settings, text: str) -> None:
    settings["StopSignal"] = words(text)[0]


_INSTRUCTIONS: dict[str, Callable[[Settings, str], None]] = {
    "CMD": _cmd, "ENTRYPOINT": _entrypoint, "ENV": _env, "EXPOSE": _expose, "LABEL": _label, "ONBUILD": _onbuild,
    "STOPSIGNAL": _stopsignal, "USER": _user, "VOLUME": _volume, "WORKDIR": _workdir,
}
