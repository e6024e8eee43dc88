"""The handler that `web.server.serve` is given: version, route, call, errors to statuses, Docker's headers."""

from __future__ import annotations

import traceback
from collections.abc import Awaitable, Callable
from importlib import metadata

from wharfie.base import errors
from wharfie.web import request as web
from wharfie.web import response

from . import faults, routes, versions
from .call import Call, Services

_HEADERS = {
    "Api-Version": versions.NEWEST_TEXT,
    "Docker-Experimental": "false",
    "Ostype": "linux",
    "Server": f"wharfie/{metadata.version('wharfie')} (linux)",
}


def build(
    services: Services, log: Callable[[str], None] = lambda text: None
) -> Callable[[web.Request], Awaitable[response.Response]]:
    """The handler over `services`. `log` gets what went wrong inside (status 500), with its traceback."""

    async def handle(request: web.Request) -> response.Response:
        try:
            answer = await _dispatch(services, request)
        except errors.WharfieError as error:
            if isinstance(error, web.Disconnected):
                raise
            answer = faults.answer(error)
        except OSError as error:
            log(f"{request!r}: {error}")
            log(f"debug: {traceback.format_exc()}")
            answer = faults.message(faults.HOST_STATUS.get(error.errno or 0, 500), faults.of_host(error))
        except Exception as error:
            log(f"{request!r}: {traceback.format_exc()}")
            answer = faults.message(500, f"{type(error).__name__}: {error}")
        for name, value in _HEADERS.items():
            answer.headers.setdefault(name, value)
        return answer

    return handle


async def _dispatch(services: Services, request: web.Request) -> response.Response:
    version, path = versions.split(request.path)
    found = routes.find(request.method, path)
    if found is None:
        return faults.message(404, "page not found")
    handler, name = found
    return await handler(Call(services, request, version, name))
