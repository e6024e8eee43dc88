"""Programs started in running containers."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from wharfie.base import errors
from wharfie.engine import model
from wharfie.web import reply, response

from . import body, decoding, lifecycle
from .call import Call
from .streams import last_words, stream_type


class Start(model.Shape):
    """Body of POST /exec/{id}/start."""

    detach: bool = False
    tty: bool = False
    console_size: list[int] | None = None


async def create(call: Call) -> response.Response:
    config = decoding.decode(await body.read(call.request, required=True), model.ExecConfig)
    if not config.cmd:
        raise errors.Invalid("No exec command specified")
    if call.version < 42:
        config.console_size = None
    if config.console_size is not None:
        config.console_size = list(console_size(config.console_size))
    return response.Json({"Id": await call.services.execs.create(call.name, config)}, 201)


def console_size(said: list[int]) -> tuple[int, int]:
    """(height, width). Raises Invalid."""
    if len(said) != 2 or not all(0 <= n <= 0xFFFF for n in said):
        raise errors.Invalid(f"ConsoleSize: {said} is not [height, width]")
    return said[0], said[1]


async def start(call: Call) -> response.Response:
    """Detached: 200 once the program runs. Else the connection leaves HTTP, and a program that cannot be started says
    so on it, as dockerd does. `Tty` of this call, not that of the exec, decides whether the stream has frames: so does
    dockerd, and docker-py counts on it."""
    wish = decoding.decode(await body.read(call.request), Start)
    execs = call.services.execs
    found = execs.check_start(call.name)
    said = wish.console_size if call.version >= 42 and found.config.tty else None
    size = console_size(said) if said else None
    if wish.detach:
        with _code_of_version(found, call.version):
            await execs.start(found.id, detach=True, console_size=size)
        return response.Empty(200)

    async def take(fd: int, residue: bytes) -> None:
        with last_words(fd, tty=wish.tty), _code_of_version(found, call.version):
            await execs.start(
                found.id, detach=False, fd=fd, residue=residue, console_size=size, mux=not wish.tty,
                ready=lambda: reply.until_read(fd),
            )

    return response.Hijack(take, stream_type(tty=wish.tty, version=call.version))


@contextlib.contextmanager
def _code_of_version(found: model.Exec, version: int) -> Iterator[None]:
    """Around a start: before 1.48 (dockerd 28) every program that could not be started has the exit code 126, one that
    is not there too, and clients of that time count on it."""
    try:
        yield
    except errors.NoCommand:
        if version < 48:
            found.exit_code = 126
        raise


async def resize(call: Call) -> response.Response:
    height, width = lifecycle.size_of(call)
    await call.services.execs.resize(call.name, height=height, width=width)
    return response.Empty(200)


async def inspect(call: Call) -> response.Response:
    return response.Json(shown(call.services.execs.get(call.name)))


def shown(found: model.Exec) -> dict[str, Any]:
    """An exec as inspect shows it; ExitCode is null until it has ended."""
    config = found.config
    command = config.cmd or [""]
    return {
        "ID": found.id, "Running": found.running, "ExitCode": found.exit_code,
        "ProcessConfig": {
            "tty": config.tty, "entrypoint": command[0], "arguments": command[1:], "privileged": config.privileged,
            **({"user": config.user} if config.user else {}),
        },
        "OpenStdin": config.attach_stdin, "OpenStderr": config.attach_stderr, "OpenStdout": config.attach_stdout,
        "CanRemove": not found.running and found.started, "ContainerID": found.container_id,
        "DetachKeys": config.detach_keys, "Pid": found.pid,
    }
