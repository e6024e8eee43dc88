"""The routes table and how a path finds its row: dictionary look-ups, no regular expressions.

A pattern has at most one variable, `{name}`, in second place; like Docker's it may hold slashes (`images/a/b/json`).
What follows the variable is one word, or `word/word`. So a path is looked up whole; then cut at its first slash and
its last (two) slashes.
"""

from __future__ import annotations

from . import absent, containers, execs, images, lifecycle, networks, prune, streams, system, transfer, volumes
from .call import Handler

ROUTES: tuple[tuple[str, str, Handler], ...] = (
    # system
    ("GET", "/_ping", system.ping),
    ("HEAD", "/_ping", system.ping),
    ("GET", "/version", system.version),
    ("GET", "/info", system.info),
    ("GET", "/system/df", system.disk_usage),
    ("GET", "/events", system.events),
    ("POST", "/auth", system.auth),
    # containers
    ("GET", "/containers/json", containers.listing),
    ("POST", "/containers/create", containers.create),
    ("GET", "/containers/{name}/json", containers.inspect),
    ("GET", "/containers/{name}/top", containers.top),
    ("GET", "/containers/{name}/stats", containers.stats),
    ("POST", "/containers/{name}/update", containers.update),
    ("POST", "/containers/{name}/start", lifecycle.start),
    ("POST", "/containers/{name}/stop", lifecycle.stop),
    ("POST", "/containers/{name}/restart", lifecycle.restart),
    ("POST", "/containers/{name}/kill", lifecycle.kill),
    ("POST", "/containers/{name}/pause", lifecycle.pause),
    ("POST", "/containers/{name}/unpause", lifecycle.unpause),
    ("POST", "/containers/{name}/rename", lifecycle.rename),
    ("POST", "/containers/{name}/resize", lifecycle.resize),
    ("POST", "/containers/{name}/wait", lifecycle.wait),
    ("DELETE", "/containers/{name}", lifecycle.remove),
    ("GET", "/containers/{name}/logs", streams.logs),
    ("POST", "/containers/{name}/attach", streams.attach),
    ("GET", "/containers/{name}/attach/ws", absent.attach_websocket),
    ("GET", "/containers/{name}/changes", transfer.changes),
    ("GET", "/containers/{name}/export", transfer.export),
    ("HEAD", "/containers/{name}/archive", transfer.archive_stat),
    ("GET", "/containers/{name}/archive", transfer.archive_get),
    ("PUT", "/containers/{name}/archive", transfer.archive_put),
    ("POST", "/containers/prune", prune.containers),
    ("POST", "/commit", transfer.commit),
    # exec
    ("POST", "/containers/{name}/exec", execs.create),
    ("POST", "/exec/{name}/start", execs.start),
    ("POST", "/exec/{name}/resize", execs.resize),
    ("GET", "/exec/{name}/json", execs.inspect),
    # images
    ("GET", "/images/json", images.listing),
    ("POST", "/images/create", images.create),
    ("GET", "/images/{name}/json", images.inspect),
    ("GET", "/images/{name}/history", images.history),
    ("POST", "/images/{name}/push", absent.push),
    ("POST", "/images/{name}/tag", images.tag),
    ("DELETE", "/images/{name}", images.remove),
    ("GET", "/images/search", absent.search),
    ("POST", "/images/prune", prune.images),
    ("GET", "/images/{name}/get", images.save),
    ("GET", "/images/get", images.save),
    ("POST", "/images/load", images.load),
    # volumes
    ("GET", "/volumes", volumes.listing),
    ("POST", "/volumes/create", volumes.create),
    ("GET", "/volumes/{name}", volumes.inspect),
    ("PUT", "/volumes/{name}", absent.swarm),
    ("DELETE", "/volumes/{name}", volumes.remove),
    ("POST", "/volumes/prune", prune.volumes),
    # networks
    ("GET", "/networks", networks.listing),
    ("GET", "/networks/{name}", networks.inspect),
    ("POST", "/networks/create", networks.create),
    ("POST", "/networks/{name}/connect", networks.connect),
    ("POST", "/networks/{name}/disconnect", networks.disconnect),
    ("DELETE", "/networks/{name}", networks.remove),
    ("POST", "/networks/prune", prune.networks),
    # what has not been built yet: an honest answer for each
    ("POST", "/build", absent.build),
    ("POST", "/build/prune", prune.build_cache),
    ("POST", "/session", absent.build),
    ("GET", "/distribution/{name}/json", absent.registry),
    ("GET", "/plugins", absent.no_plugins),
    *((method, path, absent.plugins) for method, path in absent.PLUGIN_PATHS),
    *((method, path, absent.swarm) for method, path in absent.SWARM_PATHS),
)

_exact: dict[tuple[str, str], Handler] = {}
_named: dict[tuple[str, str, str], Handler] = {}

for _method, _path, _handler in ROUTES:
    if "{name}" in _path:
        _first, _, _tail = _path.strip("/").partition("/{name}")
        _named[(_method, _first, _tail.strip("/"))] = _handler
    else:
        _exact[(_method, _path)] = _handler


def find(method: str, path: str) -> tuple[Handler, str] | None:
    """(handler, the name in the path) for a path without version; None when there is no such route."""
    handler = _exact.get((method, path))
    if handler is not None:
        return handler, ""
    first, _, rest = path[1:].partition("/")
    name, slash, tail = rest.rpartition("/")
    if slash and name:
        handler = _named.get((method, first, tail))
        if handler is not None:
            return handler, name
        longer, slash, middle = name.rpartition("/")
        if slash and longer and (handler := _named.get((method, first, f"{middle}/{tail}"))) is not None:
            return handler, longer
    if rest and (handler := _named.get((method, first, ""))) is not None:
        return handler, rest
    return None
