"""The sync client for Python programs.

    with Engine() as engine:
        print(engine.run("wharfie/shell", ["echo", "hello"]).stdout)
"""

from __future__ import annotations

import os

from . import calls, outcomes
from .endpoint import Config, Endpoint, config_directory, find
from .wire import Connection

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType
    from typing import Any

    from .calls import Call


def default_endpoint(host: str = "") -> Endpoint:
    """Where `docker` itself would go: DOCKER_HOST, contexts, else the default socket. Raises errors.Invalid."""
    return find(Config(config_directory(os.environ)), os.environ, host=host)


class Engine:
    """One keep-alive connection to an engine; not for several threads at once. Every method raises the
    `faults.EngineFault` of what the engine answers, and `faults.Unreachable`."""

    def __init__(self, host: str = "") -> None:
        self._connection = Connection(default_endpoint(host))

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        self._connection.close()

    def json(self, call: Call) -> Any:
        """Any call of `calls` whose answer is JSON."""
        return self._connection.do(call).json()

    def finish(self, call: Call) -> None:
        """Any call whose answer does not matter."""
        self._connection.do(call).read()

    def version(self) -> dict[str, Any]:
        return dict(self.json(calls.version()))

    def create(
        self, image: str, command: list[str] | None = None, *, name: str = "", env: dict[str, str] | None = None,
        **more: Any,
    ) -> str:
        """The new container's id. `more` are fields of the API's create body (HostConfig={...})."""
        body = outcomes.creation(image, command or [], env, more)
        return str(self.json(calls.container_create(body, name))["Id"])

    def start(self, ref: str) -> None:
        self.finish(calls.container_start(ref))

    def stop(self, ref: str, timeout: int | None = None) -> None:
        self.finish(calls.container_stop(ref, timeout=timeout))

    def kill(self, ref: str, signal: str = "") -> None:
        self.finish(calls.container_kill(ref, signal))

    def wait(self, ref: str) -> int:
        return outcomes.exit_code(self.json(calls.container_wait(ref)))

    def remove(self, ref: str, *, force: bool = False, volumes: bool = False) -> None:
        self.finish(calls.container_remove(ref, force=force, volumes=volumes))

    def inspect(self, ref: str) -> dict[str, Any]:
        return dict(self.json(calls.container_inspect(ref)))

    def containers(self, *, all: bool = False) -> list[dict[str, Any]]:
        return list(self.json(calls.container_list(all=all)))

    def images(self) -> list[dict[str, Any]]:
        return list(self.json(calls.image_list()))

    def logs(self, ref: str, *, tty: bool = False) -> tuple[bytes, bytes]:
        """(stdout, stderr) so far; with a terminal all is stdout."""
        return outcomes.split(self._connection.do(calls.container_logs(ref)).read(), mux=not tty)

    def events(self) -> Iterator[dict[str, Any]]:
        """Events as they come, on a connection of their own."""
        from . import codec

        for line in self._connection.fresh().do(calls.events()).lines():
            if line.strip():
                yield codec.loads(line)

    def run(
        self, image: str, command: list[str] | None = None, *, env: dict[str, str] | None = None, **more: Any
    ) -> outcomes.Result:
        """Create, start, wait, read the logs, remove."""
        ref = self.create(image, command, env=env, **more)
        try:
            self.start(ref)
            code = self.wait(ref)
            return outcomes.Result(code, *self.logs(ref))
        finally:
            self.remove(ref, force=True, volumes=True)

    def exec(
        self, ref: str, command: list[str], *, env: dict[str, str] | None = None, user: str = "", workdir: str = "",
    ) -> outcomes.Result:
        """Run a command in a running container and collect what it prints."""
        made = self.json(calls.exec_create(ref, outcomes.exec_body(command, env, user, workdir)))["Id"]
        sock, residue, _ = self._connection.fresh().hijack(calls.exec_start(made, detach=False, tty=False))
        try:
            sock.shutdown(1)
            data = [residue]
            while piece := sock.recv(1 << 16):
                data.append(piece)
        finally:
            sock.close()
        code = int(self.json(calls.exec_inspect(made)).get("ExitCode") or 0)
        return outcomes.Result(code, *outcomes.split(b"".join(data), mux=True))
