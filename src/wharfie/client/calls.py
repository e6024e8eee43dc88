"""What can be asked of an engine, as values: one function a question, no I/O. Sync, async and the command line share
them, so a path is written once."""

from __future__ import annotations

from wharfie.base.value import Value

from . import codec
from .heads import escape, query

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Filters = dict[str, list[str]]


class Call(Value):
    """One request. `target` is without the version prefix; `body` is JSON text or None."""

    method: str
    target: str
    body: str | None = None
    headers: tuple[tuple[str, str], ...] = ()


def _post(target: str, body: object = None) -> Call:
    return Call("POST", target, None if body is None else codec.dumps(body))


def _get(target: str) -> Call:
    return Call("GET", target)


def _filters(filters: Filters | None) -> str:
    return codec.dumps({k: dict.fromkeys(v, True) for k, v in filters.items()}) if filters else ""


def ping() -> Call:
    return Call("HEAD", "/_ping")


def version() -> Call:
    return _get("/version")


def info() -> Call:
    return _get("/info")


def events(since: str = "", until: str = "", filters: Filters | None = None) -> Call:
    return _get("/events" + query({"since": since, "until": until, "filters": _filters(filters)}))


# containers


def container_create(body: dict[str, Any], name: str = "", platform: str = "") -> Call:
    return _post("/containers/create" + query({"name": name, "platform": platform}), body)


def container_list(*, all: bool = False, limit: int = 0, size: bool = False, filters: Filters | None = None) -> Call:
    return _get("/containers/json" + query(
        {"all": all, "limit": limit or "", "size": size, "filters": _filters(filters)}))


def container_inspect(ref: str, *, size: bool = False) -> Call:
    return _get(f"/containers/{escape(ref)}/json" + query({"size": size}))


def container_start(ref: str, detach_keys: str = "") -> Call:
    return _post(f"/containers/{escape(ref)}/start" + query({"detachKeys": detach_keys}))


def container_stop(ref: str, *, timeout: int | None = None, signal: str = "", restart: bool = False) -> Call:
    pairs: dict[str, str | int | bool] = {"signal": signal, "t": "" if timeout is None else str(timeout)}
    return _post(f"/containers/{escape(ref)}/{'restart' if restart else 'stop'}" + query(pairs))


def container_kill(ref: str, signal: str = "") -> Call:
    return _post(f"/containers/{escape(ref)}/kill" + query({"signal": signal}))


def container_simple(ref: str, verb: str) -> Call:
    """pause, unpause."""
    return _post(f"/containers/{escape(ref)}/{verb}")


def container_wait(ref: str, condition: str = "") -> Call:
    return _post(f"/containers/{escape(ref)}/wait" + query({"condition": condition}))


def container_remove(ref: str, *, force: bool = False, volumes: bool = False, link: bool = False) -> Call:
    return Call("DELETE", f"/containers/{escape(ref)}" + query({"force": force, "v": volumes, "link": link}))


def container_rename(ref: str, name: str) -> Call:
    return _post(f"/containers/{escape(ref)}/rename" + query({"name": name}))


def container_resize(ref: str, height: int, width: int, *, exec: bool = False) -> Call:
    return _post(f"/{'exec' if exec else 'containers'}/{escape(ref)}/resize" + query({"h": height, "w": width}))


def container_top(ref: str, args: str = "") -> Call:
    return _get(f"/containers/{escape(ref)}/top" + query({"ps_args": args}))


def container_attach(
    ref: str, *, stdin: bool, stdout: bool, stderr: bool, logs: bool = False, detach_keys: str = "",
) -> Call:
    return _post(f"/containers/{escape(ref)}/attach" + query({
        "stream": True, "stdin": stdin, "stdout": stdout, "stderr": stderr, "logs": logs, "detachKeys": detach_keys}))


def container_logs(
    ref: str, *, stdout: bool = True, stderr: bool = True, follow: bool = False, timestamps: bool = False,
    since: str = "", until: str = "", tail: str = "", details: bool = False,
) -> Call:
    return _get(f"/containers/{escape(ref)}/logs" + query({
        "stdout": stdout, "stderr": stderr, "follow": follow, "timestamps": timestamps, "since": since,
        "until": until, "tail": tail, "details": details}))


def container_changes(ref: str) -> Call:
    return _get(f"/containers/{escape(ref)}/changes")


def container_export(ref: str) -> Call:
    return _get(f"/containers/{escape(ref)}/export")


def container_commit(
    ref: str, reference: str = "", *, author: str = "", message: str = "", changes: list[str] | None = None,
    pause: bool = True,
) -> Call:
    repository, _, tag = split_tag(reference)
    target = "/commit" + query({"container": ref, "repo": repository, "tag": tag, "author": author, "comment": message,
                                "pause": "1" if pause else "0"})
    return _post(target + "".join("&changes=" + escape(c) for c in changes or []))


def container_update(ref: str, body: dict[str, Any]) -> Call:
    return _post(f"/containers/{escape(ref)}/update", body)


def container_prune(filters: Filters | None = None) -> Call:
    return _post("/containers/prune" + query({"filters": _filters(filters)}))


def exec_create(ref: str, body: dict[str, Any]) -> Call:
    return _post(f"/containers/{escape(ref)}/exec", body)


def exec_start(identifier: str, *, detach: bool, tty: bool, size: tuple[int, int] | None = None) -> Call:
    body: dict[str, Any] = {"Detach": detach, "Tty": tty}
    if size:
        body["ConsoleSize"] = list(size)
    return _post(f"/exec/{identifier}/start", body)


def exec_inspect(identifier: str) -> Call:
    return _get(f"/exec/{identifier}/json")


# images


def image_list(*, all: bool = False, digests: bool = False, filters: Filters | None = None) -> Call:
    return _get("/images/json" + query({"all": all, "digests": digests, "filters": _filters(filters)}))


def image_inspect(ref: str) -> Call:
    return _get(f"/images/{escape(ref, b'/:@')}/json")


def image_history(ref: str) -> Call:
    return _get(f"/images/{escape(ref, b'/:@')}/history")


def image_remove(ref: str, *, force: bool = False, noprune: bool = False) -> Call:
    return Call("DELETE", f"/images/{escape(ref, b'/:@')}" + query({"force": force, "noprune": noprune}))


def image_tag(source: str, repository: str, tag: str) -> Call:
    return _post(f"/images/{escape(source, b'/:@')}/tag" + query({"repo": repository, "tag": tag}))


def image_pull(repository: str, tag: str, platform: str = "") -> Call:
    return _post("/images/create" + query({"fromImage": repository, "tag": tag, "platform": platform}))


def image_load(*, quiet: bool = False) -> Call:
    return Call("POST", "/images/load" + query({"quiet": quiet}), None, (("Content-Type", "application/x-tar"),))


def image_save(refs: list[str]) -> Call:
    return _get("/images/get?" + "&".join("names=" + escape(r) for r in refs))


def image_import(source: str, reference: str, message: str, changes: list[str], platform: str = "") -> Call:
    repository, _, tag = split_tag(reference)
    target = "/images/create" + query(
        {"fromSrc": source, "repo": repository, "tag": tag, "message": message, "platform": platform})
    target += "".join("&changes=" + escape(c) for c in changes)
    return Call("POST", target, None, (("Content-Type", "application/x-tar"),))


def split_tag(reference: str) -> tuple[str, str, str]:
    """"a:5000/b:c" is ("a:5000/b", ":", "c"); with a digest, ("a", "@", "sha256:…")."""
    if "@" in reference:
        return reference.partition("@")
    head, mark, tail = reference.rpartition(":")
    return (head, mark, tail) if mark and "/" not in tail else (reference, "", "")


def image_prune(filters: Filters | None = None) -> Call:
    return _post("/images/prune" + query({"filters": _filters(filters)}))


# volumes and networks


def volume_list(filters: Filters | None = None) -> Call:
    return _get("/volumes" + query({"filters": _filters(filters)}))


def volume_create(body: dict[str, Any]) -> Call:
    return _post("/volumes/create", body)


def volume_inspect(name: str) -> Call:
    return _get(f"/volumes/{escape(name)}")


def volume_remove(name: str, *, force: bool = False) -> Call:
    return Call("DELETE", f"/volumes/{escape(name)}" + query({"force": force}))


def volume_prune(filters: Filters | None = None) -> Call:
    return _post("/volumes/prune" + query({"filters": _filters(filters)}))


def network_list(filters: Filters | None = None) -> Call:
    return _get("/networks" + query({"filters": _filters(filters)}))


def network_inspect(name: str, *, verbose: bool = False) -> Call:
    return _get(f"/networks/{escape(name)}" + query({"verbose": verbose}))
