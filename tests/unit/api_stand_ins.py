"""In-memory stand-ins for the rooms below the api, as small as the api's questions; the web server is the real one."""

from __future__ import annotations

import asyncio
import http.client
import os
import socket
import tempfile
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from types import SimpleNamespace
from typing import Any

from wharfie.api import app
from wharfie.base import errors, ids, when
from wharfie.engine import honoured, model
from wharfie.images import image
from wharfie.network import model as cnm
from wharfie.oci import config as image_config
from wharfie.oci import digest
from wharfie.web import server

IMAGE_ID = "sha256:" + "ab" * 32


class Containers:
    """Verbs move a word; `said` remembers every call."""

    def __init__(self, directory: str) -> None:
        self.directory = directory
        self.records: dict[str, model.Container] = {}
        self.said: list[tuple[Any, ...]] = []
        self.raises: errors.WharfieError | None = None
        self.futures: list[asyncio.Future[model.WaitResult]] = []

    async def create(
        self,
        config: model.Config,
        host_config: model.HostConfig,
        networking: model.NetworkingConfig,
        *,
        name: str = "",
        platform: str = "",
    ) -> tuple[model.Container, list[str]]:
        honoured.check(config, host_config, networking)
        if config.image == "missing":
            raise errors.NotFound("No such image: missing:latest", name="missing")
        identifier = ids.new()
        record = model.Container(
            id=identifier,
            name=name or f"n{len(self.records)}",
            created=when.now(),
            path="sh",
            args=["-c", "a b"],
            image=IMAGE_ID,
            image_name=config.image,
            config=config,
            host_config=host_config,
            networking=networking,
            log_path=f"{self.directory}/{identifier}-json.log",
        )
        self.records[identifier] = record
        self.said.append(("create", name, platform))
        return record, ["a warning"] if name == "warned" else []

    def get(self, ref: str) -> model.Container:
        for record in self.records.values():
            if ref in (record.id, record.name) or (len(ref) > 3 and record.id.startswith(ref)):
                return record
        raise errors.NotFound(f"No such container: {ref}", name=ref)

    def list(self) -> list[model.Container]:
        return sorted(self.records.values(), key=lambda r: -r.created)

    def __getattr__(self, verb: str) -> Any:
        async def say(ref: str, *args: Any, **named: Any) -> Any:
            record = self.get(ref)
            if self.raises is not None:
                raise self.raises
            self.said.append((verb, *args, *(v for _, v in sorted(named.items()))))
            if verb == "start":
                record.state = model.State(status="running", started_at=when.now(), pid=4242)
            if verb == "top":
                return {"Titles": ["PID"], "Processes": [["1"]]}
            if verb == "stats":
                return {
                    "cpu": {"total": 5, "user": 2, "system": 3},
                    "memory": {"usage": 9, "limit": 1 << 20},
                    "pids": {},
                }
            return None

        return say

    def watch(self, ref: str, condition: str = "not-running") -> asyncio.Future[model.WaitResult]:
        self.get(ref)
        self.said.append(("watch", condition))
        future: asyncio.Future[model.WaitResult] = asyncio.get_running_loop().create_future()
        self.futures.append(future)
        return future

    def check_attach(self, ref: str) -> model.Container:
        if self.raises is not None:
            raise self.raises
        return self.get(ref)

    async def attach(self, ref: str, options: model.AttachOptions, fd: int, residue: bytes) -> None:
        with socket.socket(fileno=fd) as s:
            if self.raises is not None:
                raise self.raises
            s.setblocking(True)
            await asyncio.to_thread(s.sendall, b"attached " + repr(options.mux).encode() + b" " + residue)


class Execs:
    def __init__(self, containers: Containers) -> None:
        self.containers = containers
        self.found: dict[str, model.Exec] = {}
        self.sizes: list[Any] = []
        self.raises: errors.WharfieError | None = None

    async def create(self, ref: str, config: model.ExecConfig) -> str:
        made = model.Exec(id=ids.new(), container_id=self.containers.get(ref).id, config=config)
        self.found[made.id] = made
        return made.id

    def get(self, identifier: str) -> model.Exec:
        if identifier not in self.found:
            raise errors.NotFound(f"No such exec instance: {identifier}")
        return self.found[identifier]

    check_start = get

    def of(self, container_id: str) -> list[str]:
        return []

    async def start(
        self,
        identifier: str,
        *,
        detach: bool,
        fd: int = -1,
        residue: bytes = b"",
        console_size: tuple[int, int] | None = None,
        mux: bool | None = None,
        ready: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self.sizes.append(console_size)
        if ready is not None:
            await ready()
        if fd < 0:
            return
        with socket.socket(fileno=fd) as s:
            if self.raises is not None:
                raise self.raises
            s.setblocking(True)
            await asyncio.to_thread(s.sendall, b"exec %d " % bool(mux) + residue)

    async def resize(self, identifier: str, *, height: int, width: int) -> None:
        self.sizes.append((height, width))


class Images:
    def __init__(self) -> None:
        self.raises: errors.WharfieError | None = None
        config = image_config.ImageConfig.make(
            {
                "architecture": "amd64",
                "os": "linux",
                "config": {"Env": ["A=1"]},
                "rootfs": {"type": "layers", "diff_ids": []},
            }
        )
        self.image = SimpleNamespace(
            id=digest.Digest(IMAGE_ID),
            config=config,
            tags=("img:latest",),
            digests=(),
            size=7,
            created=10**18,
            added=10**18,
            parent="",
        )
        self.got: list[Any] = []

    def list(self, filters: Any = None, *, all: bool = False) -> list[Any]:
        self.got.append((filters, all))
        return [self.image]

    def get(self, ref: str, *, make: bool = True) -> Any:
        if ref not in ("img", "img:latest", "a/b/img:1", IMAGE_ID):
            raise errors.NotFound(f"No such image: {ref}", name=ref)
        return self.image

    def history(self, ref: str) -> list[image.Step]:
        self.get(ref)
        return [image.Step(digest.Digest(IMAGE_ID), 5, "sh", "", 7), image.Step("<missing>", 5, "sh", "", 7)]

    def tag(self, source: str, target: str) -> Any:
        self.got.append(("tag", source, target))
        return self.image

    def remove(self, ref: str, *, force: bool = False, noprune: bool = False, users: Any = None) -> list[image.Removed]:
        self.got.append(("remove", ref, force, noprune, users(IMAGE_ID)))
        return [
            image.Removed(untagged="img:latest", image=digest.Digest(IMAGE_ID)),
            image.Removed(deleted=digest.Digest(IMAGE_ID), image=digest.Digest(IMAGE_ID)),
        ]

    def load(self, stream: Any, *, wanted: Any = None) -> list[image.Loaded]:
        if self.raises is not None:
            raise self.raises
        self.got.append(("load", len(stream.read())))
        return [image.Loaded(digest.Digest(IMAGE_ID), "img:latest")]

    def import_(self, stream: Any, ref: str, changes: list[str], message: str, made_for: Any = None) -> Any:
        self.got.append(("import", len(stream.read()), ref, changes, message))
        return self.image

    def save(self, refs: list[str], wanted: Any = None) -> Iterator[bytes]:
        for ref in refs:
            self.get(ref)
        return (ref.encode() * 1000 for ref in refs)


class Events:
    def __init__(self) -> None:
        self.published: list[Any] = []
        self.asked: dict[str, Any] = {}

    def publish(self, *args: Any) -> None:
        self.published.append(args)

    def subscribe(self, *, since: int = 0, until: int = 0, filters: Any = None) -> Followed:
        self.asked = {"since": since, "until": until, "filters": filters}
        return Followed()


class Followed:
    async def __aiter__(self) -> AsyncIterator[model.Event]:
        for action in ("create", "start"):
            yield model.Event(
                type="container", action=action, actor_id="c1", attributes={"image": "img"}, time=5 * 10**9 + 7
            )

    def leave(self) -> None: ...


class Networks:
    def __init__(self) -> None:
        self.all = [
            cnm.Network("1" * 64, "bridge", "bridge", 10**18, subnet="172.17.0.0/16", gateway="172.17.0.1"),
            cnm.Network("2" * 64, "host", "host", 10**18),
            cnm.Network("3" * 64, "none", "null", 10**18),
        ]

    def networks(self) -> list[cnm.Network]:
        return self.all

    def get(self, ref: str) -> cnm.Network:
        for network in self.all:
            if ref in (network.name, network.id):
                return network
        raise errors.NotFound(f"network {ref} not found", name=ref)


class Volumes:
    def __init__(self) -> None:
        self.all: dict[str, Any] = {}

    def create(self, name: str, driver: str, labels: dict[str, str], options: dict[str, str]) -> Any:
        name = name or ids.new()
        made = SimpleNamespace(
            name=name,
            driver=driver,
            labels=tuple(labels.items()),
            options=(),
            path=f"/v/{name}/_data",
            created=10**18,
            anonymous=False,
        )
        return self.all.setdefault(name, made)

    def list(self) -> list[Any]:
        return list(self.all.values())

    def get(self, name: str) -> Any:
        if name not in self.all:
            raise errors.NotFound(f"get {name}: no such volume", name=name)
        return self.all[name]

    def remove(self, name: str, users: Any = ()) -> None:
        if users:
            raise errors.Conflict(f"remove {name}: volume is in use - [{', '.join(users)}]")
        del self.all[self.get(name).name]


class Engine:
    """The handler over stand-ins, served on a unix socket by an event loop in a thread."""

    def __init__(self) -> None:
        self.directory = tempfile.TemporaryDirectory(prefix="wapi")
        self.path = f"{self.directory.name}/s"
        self.containers = Containers(self.directory.name)
        self.execs = Execs(self.containers)
        self.images = Images()
        self.events = Events()
        self.volumes = Volumes()
        snapshots = SimpleNamespace(usage=lambda c: 11, size=lambda c: 22)
        self.services = SimpleNamespace(
            containers=self.containers,
            execs=self.execs,
            images=self.images,
            events=self.events,
            volumes=self.volumes,
            networks=Networks(),
            facts=lambda: {"ID": "the-id"},
            store=SimpleNamespace(snapshots=snapshots, layers=SimpleNamespace(list=list)),
        )
        self.loop = asyncio.new_event_loop()
        self.ready = threading.Event()
        self.logged: list[str] = []

    def __enter__(self) -> Engine:
        threading.Thread(target=self._run, daemon=True).start()
        assert self.ready.wait(10)
        return self

    def _run(self) -> None:
        async def main() -> None:
            sock = socket.socket(socket.AF_UNIX)
            sock.bind(self.path)
            self.stop = asyncio.Event()
            made = await server.serve(app.build(self.services, self.logged.append), sock)  # type: ignore[arg-type]
            self.ready.set()
            await self.stop.wait()
            made.abort()

        self.loop.run_until_complete(main())

    def __exit__(self, *_: object) -> None:
        self.loop.call_soon_threadsafe(self.stop.set)
        self.directory.cleanup()

    def ask(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> http.client.HTTPResponse:
        """The response, its body unread; a dict as body is sent as JSON."""
        connection = Local(self.path)
        sent = dict(headers or {})
        if isinstance(body, dict | list):
            import json

            body = json.dumps(body)
            sent.setdefault("Content-Type", "application/json")
        connection.request(method, path, body=body, headers=sent)
        return connection.getresponse()

    def json(self, method: str, path: str, body: Any = None, status: int = 200) -> Any:
        """The decoded answer, which must have `status`."""
        import json

        got = self.ask(method, path, body)
        data = got.read()
        assert got.status == status, (got.status, data)
        return json.loads(data) if data else None

    def made(self, **config: Any) -> str:
        """A container's id."""
        return str(
            self.json(
                "POST", f"/containers/create?name=c{len(self.containers.records)}", {"Image": "img", **config}, 201
            )["Id"]
        )


class Local(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("d")
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(20)
        self.sock.connect(os.fspath(self._path))
