"""A small engine for the tests of client and cli: a real web server on a real socket, whose containers are programs
written here (`true`, `cat`, `fail`, …). It keeps every create body it is sent."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import threading
from collections.abc import AsyncIterator

from wharfie.base import frames
from wharfie.web import request, response, server

CONTAINER = "c0" * 32
EXEC = "e0" * 32
_BOUND = {"HostIp": "0.0.0.0", "HostPort": "8080"}
ROW = {
    "Id": CONTAINER, "Names": ["/web"], "Image": "busybox", "ImageID": "sha256:" + "1" * 64,
    "Command": "sleep 100000000000000",
    "Created": 1700000000, "Status": "Up 2 hours", "State": "running", "Labels": {"com.x.y": "z", "a": "b"},
    "Ports": [{"IP": "0.0.0.0", "PrivatePort": 80, "PublicPort": 8080, "Type": "tcp"},
              {"IP": "::", "PrivatePort": 80, "PublicPort": 8080, "Type": "tcp"},
              {"PrivatePort": 53, "Type": "udp"}, {"PrivatePort": 54, "Type": "udp"}],
    "Mounts": [{"Name": "vol", "Driver": "local"}], "NetworkSettings": {"Networks": {"bridge": {}}},
}
IMAGE = {
    "Id": "sha256:" + "ab" * 32, "RepoTags": ["localhost:5000/busybox:1"], "RepoDigests": [],
    "Created": 1700000000, "Size": 4_261_502, "Containers": -1,
}


class Engine:
    """`with Engine(path) as engine`: serves from a thread of its own."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.url = f"unix://{path}"
        self.bodies: list[dict[str, object]] = []
        self.seen: list[str] = []
        self.max_version = "1.50"
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._main()), daemon=True)

    def __enter__(self) -> Engine:
        self._thread.start()
        assert self._ready.wait(5)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(5)

    async def _main(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        self._started = asyncio.Event()
        self._signalled = asyncio.Event()
        sock = socket.socket(socket.AF_UNIX)
        sock.bind(self.path)
        srv = await server.serve(self._handle, sock)
        self._ready.set()
        await self._stop.wait()
        srv.close()
        srv.abort()

    async def _handle(self, req: request.Request) -> response.Response:
        self.seen.append(f"{req.method} {req.target}")
        path = req.path
        if path.startswith("/v1."):
            version, _, rest = path[2:].partition("/")
            if tuple(map(int, version.split("."))) > tuple(map(int, self.max_version.split("."))):
                return response.Json({"message": f"client version {version} is too new. Maximum supported API version "
                                                 f"is {self.max_version}"}, 400)
            path = "/" + rest
        if path == "/_ping":
            return response.Text("OK", headers={"Api-Version": self.max_version, "Ostype": "linux"})
        return await self._route(req, path)

    async def _route(self, req: request.Request, path: str) -> response.Response:
        words = path.strip("/").split("/")
        match [req.method, *words]:
            case ["GET", "version"]:
                return response.Json({"Version": "9.9", "ApiVersion": "1.50", "Components": [
                    {"Name": "Engine", "Version": "9.9", "Details": {"ApiVersion": "1.50", "MinAPIVersion": "1.24"}}]})
            case ["POST", "containers", "create"]:
                return await self._create(req)
            case ["POST", "containers", _, "attach"]:
                return self._hijack(self.bodies[-1], bool(req.value("stdin")))
            case ["GET", "info"]:
                return response.Json({"Swarm": {"LocalNodeState": "inactive"}})
            case ["POST", "containers", "done", "wait"]:
                return response.Json({"StatusCode": 5})
            case ["POST", "containers", _, "wait"]:
                return response.Stream(self._wait())
            case ["POST", "containers", _, "start"]:
                return self._start()
            case ["POST", "containers", _, "kill"]:
                self._signalled.set()
                return response.Empty()
            case ["POST", "containers", "gone", _] | ["DELETE", "containers", "gone"]:
                return response.Json({"message": "No such container: gone"}, 404)
            case ["POST", "containers" | "exec", _, "resize" | "stop" | "rename"]:
                return response.Empty()
            case ["DELETE", "containers", _]:
                return response.Empty()
            case ["GET", "containers", "json"]:
                return response.Json([ROW])
            case ["GET", "containers", "web", "json"]:
                return response.Json({"Id": CONTAINER, "Name": "/web", "State": {"Running": True}, "Args": [],
                                      "Config": {"Tty": False, "Cmd": None, "Labels": {"a": "b"}},
                                      "NetworkSettings": {"Ports": {"80/tcp": [_BOUND]}}})
            case ["GET", "containers", _, "logs"]:
                lines = ((1, b"one\n"), (2, b"two\n"), (1, b"three\n"))
                return response.Bytes(b"".join(frames.frame(stream, line) for stream, line in lines))
            case ["POST", "containers", _, "exec"]:
                self.bodies.append(json.loads(await req.body()))
                return response.Json({"Id": EXEC}, 201)
            case ["POST", "exec", _, "start"]:
                await req.body()
                self._started.set()
                command = self.bodies[-1]
                return self._hijack({**command, "OpenStdin": command.get("AttachStdin")}, True)
            case ["GET", "exec", _, "json"]:
                return response.Json({"ExitCode": 3, "Running": False})
            case ["GET", "images", "json"]:
                return response.Json([IMAGE])
            case ["POST", "images", "load"]:
                size = len(await req.body(64 << 20))
                return response.Json({"stream": f"Loaded {size}\n"})
            case ["POST", "images", "create"]:
                return response.Json({"message": "pulling comes later"}, 501)
        return response.Json({"message": f"page not found: {path}"}, 404)

    async def _create(self, req: request.Request) -> response.Response:
        body = json.loads(await req.body())
        self.bodies.append(body)
        self._started.clear()
        self._signalled.clear()
        if body["Image"] == "missing":
            return response.Json({"message": "No such image: missing:latest"}, 404)
        return response.Json({"Id": CONTAINER, "Warnings": ["mind the gap"] if body["Image"] == "warn" else []}, 201)

    def _start(self) -> response.Response:
        command = self.bodies[-1].get("Cmd")
        if command == ["nosuch"]:
            return response.Json({"message": 'exec: "nosuch": executable file not found in $PATH: unknown'}, 400)
        if command == ["noperm"]:
            return response.Json({"message": "exec: permission denied: unknown"}, 400)
        self._started.set()
        return response.Empty()

    async def _wait(self) -> AsyncIterator[bytes]:
        await self._started.wait()
        code = {"fail": 7, "linger": 143}.get((self.bodies[-1].get("Cmd") or [""])[0], 0)  # type: ignore[index]
        yield json.dumps({"StatusCode": code}).encode()

    def _hijack(self, body: dict[str, object], stdin: bool) -> response.Response:
        async def take(fd: int, residue: bytes) -> None:
            sock = socket.socket(fileno=fd)
            with sock:
                await self._started.wait()
                await self._program(sock, residue, body)

        kind = "raw" if body.get("Tty") else "multiplexed"
        return response.Hijack(take, f"application/vnd.docker.{kind}-stream")

    async def _program(self, sock: socket.socket, early: bytes, body: dict[str, object]) -> None:
        loop = asyncio.get_running_loop()
        tty = bool(body.get("Tty"))
        command = body.get("Cmd") or ["true"]

        async def out(data: bytes, stream: int = 1) -> None:
            await loop.sock_sendall(sock, data if tty else frames.frame(stream, data))

        match command:
            case ["cat"]:
                if tty:
                    await out(b"ready$ ")
                data = early
                while data or (data := await loop.sock_recv(sock, 65536)):
                    await out(data)
                    data = b""
            case ["echo", *words]:
                await out(" ".join(words).encode() + b"\n")
            case ["both"]:
                await out(b"to out\n")
                await out(b"to err\n", 2)
            case ["linger"]:
                await out(b"ready\n")
                await self._signalled.wait()


def environment(engine: Engine) -> dict[str, str]:
    """For client programs."""
    return {"DOCKER_HOST": engine.url, "PATH": os.environ["PATH"], "HOME": os.path.dirname(engine.path), "TZ": "UTC"}
