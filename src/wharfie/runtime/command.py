"""Finding and executing the container's program, with the words of Docker's clients: they make exit codes 127 and 126
out of them."""

from __future__ import annotations

import errno
import os
import stat

from wharfie.base import errors

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

_MISSING = frozenset((errno.ENOENT,))


def variables(env: Sequence[str]) -> dict[bytes, bytes]:
    """NAME=VALUE lines as execve takes them; the last of equal names wins."""
    out: dict[bytes, bytes] = {}
    for line in env:
        name, _, value = os.fsencode(line).partition(b"=")
        out[name] = value
    return out


def find(name: str, env: dict[bytes, bytes]) -> str:
    """The path of the program `name`, looked up in PATH as this process sees the file system, with its own rights.
    Raises NoCommand or NotExecutable."""
    if "/" in name:
        problem = _problem(name)
        if problem == errno.ENOENT:
            raise errors.NoCommand(f'exec: "{name}": stat {name}: no such file or directory', name=name)
        if problem:
            raise errors.NotExecutable(f'exec: "{name}": {_words(problem)}', name=name)
        return name
    for directory in os.fsdecode(env.get(b"PATH", b"")).split(":"):
        path = f"{directory or '.'}/{name}"
        if name and not _problem(path):
            return path
    raise errors.NoCommand(f'exec: "{name}": executable file not found in $PATH', name=name)


def _problem(path: str) -> int:
    """The errno that says why `path` cannot be executed, 0 if it can."""
    try:
        mode = os.stat(path).st_mode
    except OSError as error:
        return error.errno or errno.EIO
    if stat.S_ISDIR(mode):
        return errno.EISDIR
    return 0 if os.access(path, os.X_OK) else errno.EACCES


def _words(number: int) -> str:
    return os.strerror(number).lower()


def execute(path: str, args: Sequence[str], env: dict[bytes, bytes]) -> None:
    """execve. Returns only by raising NoCommand or NotExecutable."""
    try:
        os.execve(path, list(args), env)
    except OSError as error:
        text = f"exec {path}: {_words(error.errno or 0)}"
        raise (errors.NoCommand if error.errno in _MISSING else errors.NotExecutable)(text, name=path) from error
