"""The async client: the same questions over asyncio. Many calls may run at once; each takes an idle connection or a new
one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from wharfie.base import errors
from wharfie.web import exchange

from . import calls, codec, outcomes, tls
from .calls import Call
from .endpoint import Endpoint
from .faults import Unreachable
from .heads import request
from .sync import default_endpoint
from .wire import API_VERSION

_PIECE = 256 << 10
_MAX_IDLE = 8


class _Line:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.held = bytearray()

    async def ask(self, call: Call, version: str) -> exchange.Exchange:
        """Send; the answer up to its head."""
        body = None if call.body is None else call.body.encode()
        headers = dict(call.headers)
        if body is not None:
            headers.setdefault("Content-Type", "application/json")
        self.writer.write(request(call.method, f"/v{version}{call.target}", headers, body))
        await self.writer.drain()
        answer = exchange.Exchange(call.method, self.held)
        while not answer.head():
            await self.more()
        return answer

    async def more(self) -> None:
        data = await self.reader.read(_PIECE)
        if not data:
            raise errors.Unavailable("the engine closed the connection in the middle of an answer")
        self.held += data

    async def pieces(self, answer: exchange.Exchange) -> AsyncIterator[bytes]:
        while not answer.done():
            if payload := answer.take():
                yield payload
            elif answer.done():
                return
            elif answer.until_close:
                data = await self.reader.read(_PIECE)
                if not data:
                    return
                self.held += data
            else:
                await self.more()


class Engine:
    """`async with Engine() as engine: …`. Errors as in `sync.Engine`."""

    def __init__(self, host: str = "") -> None:
        self._endpoint: Endpoint = default_endpoint(host)
        self._idle: list[_Line] = []
        self._version = API_VERSION

    async def __aenter__(self) -> Engine:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close idle connections; running calls finish."""
        for line in self._idle:
            line.writer.close()
        self._idle.clear()

    async def _connect(self) -> _Line:
        where = self._endpoint
        try:
            if where.kind == "unix":
                return _Line(*await asyncio.open_unix_connection(where.address))
            context = tls.context(where.tls) if where.tls else None
            return _Line(*await asyncio.open_connection(where.address, where.port, ssl=context))
        except OSError as error:
            raise Unreachable(f"Cannot connect to the Docker daemon at {where.url}. Is the docker daemon running?"
                              ) from error

    async def body(self, call: Call) -> bytes:
        """Any call of `calls`: the whole body of its answer."""
        line = self._idle.pop() if self._idle else await self._connect()
        try:
            answer = await line.ask(call, self._version)
            data = b"".join([piece async for piece in line.pieces(answer)])
        except BaseException:
            line.writer.close()
            raise
        if len(self._idle) < _MAX_IDLE and not answer.until_close and answer.headers.get("connection") != "close":
            self._idle.append(line)
        else:
            line.writer.close()
        if answer.status >= 400:
            raise outcomes.fault(answer.status, data)
        return data

    async def json(self, call: Call) -> Any:
        return codec.loads(await self.body(call))

    async def stream(self, call: Call) -> AsyncIterator[bytes]:
        """The body as it comes, on a connection of its own."""
        line = await self._connect()
        try:
            answer = await line.ask(call, self._version)
            if answer.status >= 400:
                raise outcomes.fault(answer.status, b"".join([p async for p in line.pieces(answer)]))
            async for piece in line.pieces(answer):
                yield piece
        finally:
            line.writer.close()

    async def events(self) -> AsyncIterator[dict[str, Any]]:
        rest = b""
        async for piece in self.stream(calls.events()):
            *lines, rest = (rest + piece).split(b"\n")
            for one in lines:
                if one.strip():
                    yield codec.loads(one)

    async def version(self) -> dict[str, Any]:
        return dict(await self.json(calls.version()))

    async def create(
        self, image: str, command: list[str] | None = None, *, name: str = "", env: dict[str, str] | None = None,
        **more: Any,
    ) -> str:
        """The new container's id."""
        body = outcomes.creation(image, command or [], env, more)
        return str((await self.json(calls.container_create(body, name)))["Id"])

    async def start(self, ref: str) -> None:
        await self.body(calls.container_start(ref))

    async def stop(self, ref: str, timeout: int | None = None) -> None:
        await self.body(calls.container_stop(ref, timeout=timeout))

    async def wait(self, ref: str) -> int:
        return outcomes.exit_code(await self.json(calls.container_wait(ref)))

    async def remove(self, ref: str, *, force: bool = False, volumes: bool = False) -> None:
        await self.body(calls.container_remove(ref, force=force, volumes=volumes))

    async def inspect(self, ref: str) -> dict[str, Any]:
        return dict(await self.json(calls.container_inspect(ref)))

    async def containers(self, *, all: bool = False) -> list[dict[str, Any]]:
        return list(await self.json(calls.container_list(all=all)))

    async def logs(self, ref: str, *, tty: bool = False) -> tuple[bytes, bytes]:
        return outcomes.split(await self.body(calls.container_logs(ref)), mux=not tty)

    async def run(
        self, image: str, command: list[str] | None = None, *, env: dict[str, str] | None = None, **more: Any
    ) -> outcomes.Result:
        """Create, start, wait, read the logs, remove (also when cancelled)."""
        ref = await self.create(image, command, env=env, **more)
        try:
            await self.start(ref)
            code = await self.wait(ref)
            return outcomes.Result(code, *await self.logs(ref))
        finally:
            await asyncio.shield(self.remove(ref, force=True, volumes=True))

    async def exec(
        self, ref: str, command: list[str], *, env: dict[str, str] | None = None, user: str = "", workdir: str = "",
    ) -> outcomes.Result:
        """Run a command in a running container and collect what it prints."""
        made = (await self.json(calls.exec_create(ref, outcomes.exec_body(command, env, user, workdir))))["Id"]
        upgrade = calls.exec_start(made, detach=False, tty=False).replace(headers=(
            ("Connection", "Upgrade"), ("Upgrade", "tcp")))
        data = b"".join([piece async for piece in self.stream(upgrade)])
        code = int((await self.json(calls.exec_inspect(made))).get("ExitCode") or 0)
        return outcomes.Result(code, *outcomes.split(data, mux=True))
