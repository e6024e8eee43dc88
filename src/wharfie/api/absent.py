"""What the API describes and this engine does not do yet: each answers with a status that Docker uses and a text that
says what is missing and what to do instead. Nothing here is silent, and nothing pretends."""

from __future__ import annotations

from wharfie.web import response

from . import faults
from .call import Call

_NO_SWARM = (
    "This node is not a swarm manager. Use \"docker swarm init\" or \"docker swarm join\" to connect this node to "
    "swarm and try again."
)

SWARM_PATHS: tuple[tuple[str, str], ...] = (
    ("GET", "/swarm"), ("POST", "/swarm/leave"), ("POST", "/swarm/update"), ("GET", "/swarm/unlockkey"),
    ("POST", "/swarm/unlock"), ("POST", "/swarm/init"), ("POST", "/swarm/join"),
    ("GET", "/nodes"), ("GET", "/nodes/{name}"), ("DELETE", "/nodes/{name}"), ("POST", "/nodes/{name}/update"),
    ("GET", "/services"), ("POST", "/services/create"), ("GET", "/services/{name}"), ("DELETE", "/services/{name}"),
    ("POST", "/services/{name}/update"), ("GET", "/services/{name}/logs"),
    ("GET", "/tasks"), ("GET", "/tasks/{name}"), ("GET", "/tasks/{name}/logs"),
    ("GET", "/secrets"), ("POST", "/secrets/create"), ("GET", "/secrets/{name}"), ("DELETE", "/secrets/{name}"),
    ("POST", "/secrets/{name}/update"),
    ("GET", "/configs"), ("POST", "/configs/create"), ("GET", "/configs/{name}"), ("DELETE", "/configs/{name}"),
    ("POST", "/configs/{name}/update"),
)

PLUGIN_PATHS: tuple[tuple[str, str], ...] = (
    ("GET", "/plugins/privileges"), ("POST", "/plugins/pull"), ("GET", "/plugins/{name}/json"),
    ("DELETE", "/plugins/{name}"), ("POST", "/plugins/{name}/enable"), ("POST", "/plugins/{name}/disable"),
    ("POST", "/plugins/{name}/upgrade"), ("POST", "/plugins/create"), ("POST", "/plugins/{name}/push"),
    ("POST", "/plugins/{name}/set"),
)


async def swarm(call: Call) -> response.Response:
    """Docker's 503 of a node outside a swarm; starting one is a 501."""
    if call.request.path.endswith(("/swarm/init", "/swarm/join")):
        return faults.message(501, "swarm mode comes with a later version of wharfie")
    return faults.message(503, _NO_SWARM)


async def no_plugins(call: Call) -> response.Response:
    """There are none."""
    return response.Json([])


async def plugins(call: Call) -> response.Response:
    """Reading one plugin is a 404, since there are none; everything else a 501."""
    if call.name and call.request.method == "GET":
        return faults.message(404, f'plugin "{call.name}" not found')
    return faults.message(501, "plugins are not supported by wharfie")


async def build(call: Call) -> response.Response:
    return faults.message(
        501, "building images comes with a later version of wharfie: build elsewhere, `docker save` and `docker load`"
    )


async def registry(call: Call) -> response.Response:
    return faults.message(501, f"cannot ask about {call.name}: registries come with a later version of wharfie")


async def push(call: Call) -> response.Response:
    return faults.message(
        501, f"cannot push {call.name}: registries come with a later version of wharfie; `docker save` works"
    )


async def search(call: Call) -> response.Response:
    return faults.message(501, "searching registries comes with a later version of wharfie")


async def attach_websocket(call: Call) -> response.Response:
    return faults.message(501, "attach over websocket is not supported: use POST /containers/{id}/attach")
