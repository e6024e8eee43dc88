"""Containers: the verbs that move one from state to state. Each is a line of the engine and a 204."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import msgspec

from wharfie.base import errors
from wharfie.web import response

from . import query
from .call import Call

_CONDITIONS = frozenset(("not-running", "next-exit", "removed"))


async def start(call: Call) -> response.Response:
    request = call.request
    if await request.body(1 << 16):
        raise errors.Invalid(
            "starting container with non-empty request body was deprecated since API v1.22 and removed in v1.24"
        )
    if request.value("checkpoint") or request.value("checkpoint-dir"):
        raise errors.Unsupported("checkpoint: starting from a checkpoint is not supported")
    await call.services.containers.start(call.name)
    return response.Empty()


async def stop(call: Call) -> response.Response:
    request = call.request
    signal = request.value("signal") if call.version >= 42 else ""
    timeout = query.optional_integer(request, "t")
    await call.services.containers.stop(call.name, timeout=timeout, signal=signal)
    return response.Empty()


async def restart(call: Call) -> response.Response:
    request = call.request
    signal = request.value("signal") if call.version >= 42 else ""
    timeout = query.optional_integer(request, "t")
    await call.services.containers.restart(call.name, timeout=timeout, signal=signal)
    return response.Empty()


async def kill(call: Call) -> response.Response:
    await call.services.containers.kill(call.name, call.request.value("signal"))
    return response.Empty()


async def pause(call: Call) -> response.Response:
    await call.services.containers.pause(call.name)
    return response.Empty()


async def unpause(call: Call) -> response.Response:
    await call.services.containers.unpause(call.name)
    return response.Empty()


async def rename(call: Call) -> response.Response:
    new = call.request.value("name")
    if not new:
        raise errors.Invalid("Neither old nor new names may be empty")
    await call.services.containers.rename(call.name, new)
    return response.Empty()


async def resize(call: Call) -> response.Response:
    height, width = size_of(call)
    await call.services.containers.resize(call.name, height=height, width=width)
    return response.Empty(200)


def size_of(call: Call) -> tuple[int, int]:
    """(h, w) of a resize; both must be given. Raises Invalid."""
    out = []
    for name, word in (("h", "height"), ("w", "width")):
        said = call.request.value(name)
        if not (said.isascii() and said.isdecimal() and len(said) <= 10 and int(said) < 1 << 32):
            raise errors.Invalid(f'invalid resize {word} "{said}": invalid syntax')
        out.append(min(int(said), 0xFFFF))
    return out[0], out[1]


async def remove(call: Call) -> response.Response:
    request = call.request
    if request.flag("link"):
        raise errors.Unsupported("link: removing a link is not supported; links between containers come later")
    await call.services.containers.remove(
        call.name, force=request.flag("force"), volumes=request.flag("v"), link=False
    )
    return response.Empty()


class _WaitError(msgspec.Struct, rename="pascal"):
    message: str


class _Waited(msgspec.Struct, rename="pascal", omit_defaults=True):
    status_code: int
    error: _WaitError | None = None


async def wait(call: Call) -> response.Response:
    """The head goes out as soon as the wait is subscribed: clients wait for it before they start the container."""
    condition = call.request.value("condition") if call.version >= 30 else ""
    if condition and condition not in _CONDITIONS:
        raise errors.Invalid(f'invalid condition: "{condition}"')
    future = call.services.containers.watch(call.name, condition or "not-running")
    if call.version < 30:
        return response.Json(_waited(await future))

    async def pieces() -> AsyncIterator[bytes]:
        try:
            yield msgspec.json.encode(_waited(await future)) + b"\n"
        except errors.WharfieError as error:
            yield msgspec.json.encode(_Waited(0, _WaitError(str(error)))) + b"\n"
        finally:
            future.cancel()

    return response.Stream(pieces(), unread=future.cancel)


def _waited(result: Any) -> _Waited:
    return _Waited(result.code, _WaitError(result.error) if result.error else None)
