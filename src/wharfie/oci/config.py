"""Image configs (OCI image-spec, config.md, and Docker's additions): the raw document is kept, since the digest of its
bytes is the image's id; a typed view says what the platform acts on."""

from __future__ import annotations

from wharfie.base import errors, when
from wharfie.base.value import Value

from . import reading
from .digest import Digest, of
from .platform import Platform

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

MAX_HISTORY = 10_000


class History(Value):
    """One step that the image came from."""

    created: str = ""
    created_by: str = ""
    comment: str = ""
    author: str = ""
    empty_layer: bool = False


class Settings(Value):
    """What `config` of the document sets for containers. Names as in Docker's Config."""

    user: str = ""
    exposed_ports: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] | None = None
    cmd: tuple[str, ...] | None = None
    volumes: tuple[str, ...] = ()
    working_dir: str = ""
    labels: tuple[tuple[str, str], ...] = ()
    stop_signal: str = ""
    shell: tuple[str, ...] = ()
    onbuild: tuple[str, ...] = ()
    healthcheck: dict[str, Any] | None = None


class ImageConfig(Value):
    """A parsed config. `data` are its exact bytes, `raw` the document."""

    data: bytes
    raw: dict[str, Any]
    platform: Platform
    created: str
    author: str
    settings: Settings
    diff_ids: tuple[Digest, ...]
    history: tuple[History, ...]

    @property
    def digest(self) -> Digest:
        """The image id."""
        return of(self.data)

    @property
    def created_ns(self) -> int:
        """ns since 1970; 0 when unknown (Docker shows the zero time)."""
        try:
            return max(when.parse_rfc3339(self.created), 0) if self.created else 0
        except errors.Invalid:
            return 0

    @classmethod
    def parse(cls, data: bytes) -> ImageConfig:
        """Raises Damaged naming the path of the bad key."""
        raw = reading.document(data, "image config")
        rootfs = reading.optional(raw, "rootfs", dict, {}, "$")
        diff_ids = []
        for i, item in enumerate(reading.strings(rootfs.get("diff_ids"), "$.rootfs.diff_ids")):
            try:
                diff_ids.append(Digest.parse(item))
            except errors.Invalid as error:
                raise errors.Damaged(f"$.rootfs.diff_ids[{i}]: {error.message}") from error
        history = reading.optional(raw, "history", list, [], "$")
        if len(history) > MAX_HISTORY:
            raise errors.Damaged(f"$.history: more than {MAX_HISTORY} steps")
        return cls(
            data, raw, Platform.of(raw), reading.optional(raw, "created", str, "", "$"),
            reading.optional(raw, "author", str, "", "$"),
            _settings(reading.optional(raw, "config", dict, {}, "$")), tuple(diff_ids),
            tuple(_history(item, f"$.history[{i}]") for i, item in enumerate(history)),
        )

    @classmethod
    def make(cls, raw: dict[str, Any]) -> ImageConfig:
        """The config of a document that we wrote."""
        return cls.parse(reading.encode(raw))


def _settings(d: dict[str, Any]) -> Settings:
    path = "$.config"
    return Settings(
        user=reading.optional(d, "User", str, "", path),
        exposed_ports=tuple(reading.optional(d, "ExposedPorts", dict, {}, path)),
        env=_environment(reading.strings(d.get("Env"), f"{path}.Env")),
        entrypoint=_command(d, "Entrypoint"),
        cmd=_command(d, "Cmd"),
        volumes=tuple(reading.optional(d, "Volumes", dict, {}, path)),
        working_dir=reading.optional(d, "WorkingDir", str, "", path),
        labels=tuple(reading.string_map(d.get("Labels"), f"{path}.Labels").items()),
        stop_signal=reading.optional(d, "StopSignal", str, "", path),
        shell=reading.strings(d.get("Shell"), f"{path}.Shell"),
        onbuild=reading.strings(d.get("OnBuild"), f"{path}.OnBuild"),
        healthcheck=reading.optional(d, "Healthcheck", dict, None, path),
    )


def _command(d: dict[str, Any], key: str) -> tuple[str, ...] | None:
    value = d.get(key)
    if isinstance(value, str):  # very old images
        return (value,)
    return None if value is None else reading.strings(value, f"$.config.{key}")


def _environment(env: tuple[str, ...]) -> tuple[str, ...]:
    """KEY=VALUE only. A key alone would mean "take it from the caller" to a client; an image may not ask for that."""
    return tuple(e for e in env if e.partition("=")[0] and "=" in e and "\0" not in e)


def _history(value: Any, path: str) -> History:
    d = reading.typed(value, dict, path)
    return History(
        reading.optional(d, "created", str, "", path), reading.optional(d, "created_by", str, "", path),
        reading.optional(d, "comment", str, "", path), reading.optional(d, "author", str, "", path),
        reading.optional(d, "empty_layer", bool, False, path),
    )
