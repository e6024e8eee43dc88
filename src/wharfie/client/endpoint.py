"""Where the engine is. docker/cli's precedence: `--context`; `--host`; DOCKER_HOST; DOCKER_CONTEXT; the current context
of config.json; the default socket. A context is `contexts/meta/<sha256 of name>/meta.json` below the config folder."""

from __future__ import annotations

import os

from wharfie.base import errors
from wharfie.base.value import Value

from . import codec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

DEFAULT = "unix:///run/wharfie/docker.sock"
_FALSE = frozenset(("", "0", "false"))


class Tls(Value):
    """File names; an empty `ca` means the system's."""

    ca: str = ""
    cert: str = ""
    key: str = ""
    verify: bool = True


class Endpoint(Value):
    """`kind` is unix or tcp. `chosen` is False when nothing named an engine and the default was taken."""

    kind: str
    address: str
    port: int = 0
    tls: Tls | None = None
    context: str = "default"
    chosen: bool = True

    @property
    def url(self) -> str:
        """As DOCKER_HOST would say it."""
        return f"unix://{self.address}" if self.kind == "unix" else f"tcp://{self.address}:{self.port}"


class Config:
    """config.json, read when something is asked of it. `mentions` is a cheap look without parsing."""

    def __init__(self, directory: str) -> None:
        self.directory = directory
        self._raw: bytes | None = None
        self._parsed: dict[str, Any] | None = None

    def mentions(self, word: str) -> bool:
        if self._raw is None:
            try:
                with open(f"{self.directory}/config.json", "rb", buffering=0) as file:
                    self._raw = file.read(1 << 20)
            except OSError:
                self._raw = b""
        return word.encode() in self._raw

    def get(self, name: str, default: Any = "") -> Any:
        """A top-level value. Raises errors.Damaged."""
        if not self.mentions(f'"{name}"'):
            return default
        if self._parsed is None:
            parsed = codec.loads(self._raw or b"{}")
            self._parsed = parsed if isinstance(parsed, dict) else {}
        return self._parsed.get(name, default)


def config_directory(environ: Mapping[str, str], flag: str = "") -> str:
    """Where the client's config files are."""
    return flag or environ.get("DOCKER_CONFIG") or f"{environ.get('HOME') or '/root'}/.docker"


def find(config: Config, environ: Mapping[str, str], *, host: str = "", context: str = "") -> Endpoint:
    """The engine to talk to. Raises errors.Invalid, NotFound, Damaged."""
    if host and context:
        raise errors.Invalid("conflicting options: either specify --host or --context, not both")
    if not context:
        named = host or environ.get("DOCKER_HOST", "")
        if named:
            return parse(named, tls=_tls_of_environ(config, environ))
        context = environ.get("DOCKER_CONTEXT", "") or str(config.get("currentContext"))
    if context in ("", "default"):
        return parse(DEFAULT).replace(chosen=False)
    return _of_context(config, context)


def parse(host: str, *, tls: Tls | None = None, context: str = "default") -> Endpoint:
    """An endpoint of a DOCKER_HOST text. Raises errors.Invalid, Unsupported."""
    scheme, mark, rest = host.partition("://")
    if not mark:
        scheme, rest = ("unix", host) if host.startswith("/") else ("tcp", host)
    if scheme == "unix":
        return Endpoint("unix", rest or DEFAULT.removeprefix("unix://"), context=context)
    if scheme in ("tcp", "http", "https"):
        address, _, port = rest.partition("/")[0].rpartition(":")
        if not address:
            address, port = port, ""
        default_port = 2376 if tls else 2375
        if port and not port.isdecimal():
            raise errors.Invalid(f"unable to parse docker host `{host}`")
        return Endpoint("tcp", address.strip("[]") or "localhost", int(port or default_port), tls, context)
    if scheme in ("ssh", "fd", "npipe"):
        raise errors.Unsupported(f"{scheme}:// engines are not supported yet", action="use unix:// or tcp://")
    raise errors.Invalid(f"unable to parse docker host `{host}`")


def _tls_of_environ(config: Config, environ: Mapping[str, str]) -> Tls | None:
    verify = environ.get("DOCKER_TLS_VERIFY", "") != ""
    if not verify and environ.get("DOCKER_TLS", "").lower() in _FALSE:
        return None
    folder = environ.get("DOCKER_CERT_PATH") or config.directory
    return _tls_in(folder, verify=verify)


def _tls_in(folder: str, *, verify: bool) -> Tls:
    names = [f"{folder}/{n}.pem" for n in ("ca", "cert", "key")]
    ca, cert, key = (n if os.path.exists(n) else "" for n in names)
    return Tls(ca, cert, key, verify)


def _of_context(config: Config, name: str) -> Endpoint:
    import hashlib

    folder = hashlib.sha256(name.encode()).hexdigest()
    try:
        with open(f"{config.directory}/contexts/meta/{folder}/meta.json", "rb") as file:
            meta = codec.loads(file.read(1 << 20))
    except FileNotFoundError as error:
        raise errors.NotFound(
            f'context "{name}": context not found: open {error.filename}: no such file or directory', name=name
        ) from error
    docker = (meta.get("Endpoints") or {}).get("docker") or {}
    host = str(docker.get("Host") or DEFAULT)
    tls = None
    secrets = f"{config.directory}/contexts/tls/{folder}/docker"
    if os.path.isdir(secrets) or host.startswith("https"):
        tls = _tls_in(secrets, verify=not docker.get("SkipTLSVerify"))
    return parse(host, tls=tls, context=name)
