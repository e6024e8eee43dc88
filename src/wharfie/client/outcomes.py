"""What answers mean: shared by the sync and the async client. Pure."""

from __future__ import annotations

from wharfie.base import errors, frames
from wharfie.base.value import Value

from . import codec
from .faults import EngineFault, from_answer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Result(Value):
    """What a finished command left."""

    code: int
    stdout: bytes
    stderr: bytes


def fault(status: int, body: bytes) -> EngineFault:
    """The error of an answer with a status of 400 or more."""
    try:
        said = codec.loads(body)
        message = str(said.get("message") or body.decode("utf-8", "replace"))
    except (errors.Damaged, AttributeError):
        message = body.decode("utf-8", "replace").strip() or f"status {status}"
    return from_answer(status, message)


def split(data: bytes, *, mux: bool) -> tuple[bytes, bytes]:
    """(stdout, stderr) of a whole stream. Raises errors.Damaged."""
    if not mux:
        return data, b""
    try:
        found = frames.Splitter().feed(data)
    except ValueError as error:
        raise errors.Damaged(str(error)) from error
    out = b"".join(p for s, p in found if s != frames.STDERR)
    return out, b"".join(p for s, p in found if s == frames.STDERR)


def exit_code(said: dict[str, Any]) -> int:
    """Of a wait answer. Raises errors.WharfieError when waiting itself failed."""
    failure = (said.get("Error") or {}).get("Message")
    if failure:
        raise errors.WharfieError(str(failure))
    return int(said["StatusCode"])


def creation(image: str, command: list[str], env: dict[str, str] | None, more: dict[str, Any]) -> dict[str, Any]:
    """The body of a create call; `more` are further fields in the API's names."""
    body: dict[str, Any] = {"Image": image, **more}
    if command:
        body["Cmd"] = command
    if env:
        body["Env"] = [f"{k}={v}" for k, v in env.items()]
    return body


def exec_body(command: list[str], env: dict[str, str] | None, user: str, workdir: str) -> dict[str, Any]:
    body: dict[str, Any] = {"Cmd": command, "AttachStdout": True, "AttachStderr": True}
    if env:
        body["Env"] = [f"{k}={v}" for k, v in env.items()]
    if user:
        body["User"] = user
    if workdir:
        body["WorkingDir"] = workdir
    return body
