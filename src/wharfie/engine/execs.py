"""Programs started in running containers."""

from __future__ import annotations

from .model import Exec, ExecConfig


class Execs:
    async def create(self, ref: str, config: ExecConfig) -> str:
        """The id of a new exec. Raises NotFound, Conflict when the container does not run or is paused."""
        raise NotImplementedError

    def get(self, identifier: str) -> Exec:
        """Raises NotFound "No such exec instance: x"."""
        raise NotImplementedError

    def check_start(self, identifier: str) -> Exec:
        """What may be said before the upgrade: NotFound, Conflict (already ran, container stopped or paused)."""
        raise NotImplementedError

    async def start(
        self, identifier: str, *, detach: bool, fd: int = -1, residue: bytes = b"",
        console_size: tuple[int, int] | None = None,
    ) -> None:
        """Start it; with `fd` the streams asked for at create go there. Returns when the program has been executed.
        On success the fd belongs to the engine; when this raises (NoCommand, NotExecutable...) it still belongs to
        the caller, who writes the text to it; the exec's exit code is then 127 or 126."""
        raise NotImplementedError

    async def resize(self, identifier: str, *, height: int, width: int) -> None:
        raise NotImplementedError
