"""Images as the API shows them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from wharfie.base import when
from wharfie.engine import model

if TYPE_CHECKING:
    from wharfie.images.image import Image, Removed, Step


def summary(
    image: Image, version: int, tags: Iterable[str], records: Iterable[model.Container] = (), *, count: bool = False
) -> dict[str, Any]:
    """One element of GET /images/json; `tags` are the names to show. -1 is Docker's "not computed"."""
    users = sum(r.image == str(image.id) for r in records) if count else -1
    out: dict[str, Any] = {
        "Containers": users, "Created": image.created // 10**9, "Id": str(image.id),
        "Labels": dict(image.config.settings.labels) or None, "ParentId": str(image.parent),
        "RepoDigests": list(image.digests), "RepoTags": list(tags),
        "SharedSize": 0 if count else -1, "Size": image.size,
    }
    if not image.tags and version < 43:
        out["RepoTags"] = ["<none>:<none>"]
        out["RepoDigests"] = out["RepoDigests"] or ["<none>@<none>"]
    if version < 44:
        out["VirtualSize"] = image.size
    return out


def inspect(image: Image, version: int) -> dict[str, Any]:
    """GET /images/{name}/json."""
    config = image.config
    raw = config.raw
    out: dict[str, Any] = {
        "Id": str(image.id), "RepoTags": list(image.tags), "RepoDigests": list(image.digests),
        "Parent": str(image.parent), "Comment": _comment(config.history),
        "DockerVersion": raw.get("docker_version", ""), "Author": config.author,
        "Config": _config(raw.get("config") or {}), "Architecture": config.platform.architecture,
        "Os": config.platform.os, "Size": image.size, "GraphDriver": {"Data": None, "Name": "overlay2"},
        "RootFS": {"Type": "layers", "Layers": [str(d) for d in config.diff_ids]},
        "Metadata": {"LastTagTime": when.rfc3339(image.added)},
    }
    if config.created or version < 44:
        out["Created"] = when.rfc3339(image.created)
    if config.platform.variant:
        out["Variant"] = config.platform.variant
    if version < 44:
        out["VirtualSize"] = image.size
    if version < 45:
        out |= {"Container": raw.get("container", ""), "ContainerConfig": _config(raw.get("container_config") or {})}
    return out


def _comment(history: Iterable[Any]) -> str:
    steps = list(history)
    return steps[-1].comment if steps else ""


def _config(said: dict[str, Any]) -> dict[str, Any]:
    """The image's own Config, with the keys that clients expect to be there."""
    expected: dict[str, Any] = {
        "Hostname": "", "Domainname": "", "User": "", "AttachStdin": False, "AttachStdout": False,
        "AttachStderr": False, "Tty": False, "OpenStdin": False, "StdinOnce": False, "Env": None, "Cmd": None,
        "Image": "", "Volumes": None, "WorkingDir": "", "Entrypoint": None, "OnBuild": None, "Labels": None,
    }
    return {**expected, **said}


def removal(step: Removed) -> dict[str, str]:
    """One element of the answer to a removal."""
    return {kind: str(what) for kind, what in step.to_json().items()}


def history(step: Step) -> dict[str, Any]:
    """One line of GET /images/{name}/history."""
    return {
        "Id": str(step.id), "Created": step.created, "CreatedBy": step.created_by, "Tags": list(step.tags) or None,
        "Size": step.size, "Comment": step.comment,
    }
