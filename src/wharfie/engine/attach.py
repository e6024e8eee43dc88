"""Attach: the client's socket goes to the shim, which serves it from then on without the engine."""

from __future__ import annotations

import base64
import os

from wharfie.base import errors
from wharfie.shim import wire

from . import states, told
from .link import Link
from .live import Live, Parked
from .model import AttachOptions
from .services import Services

# In base64 this still fits into one message.
MAX_RESIDUE = 128 * 1024


class Attaching:
    """Hands clients to shims, now or at the start."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def check(self, live: Live) -> None:
        """Raises Conflict for a container that cannot be attached to now."""
        state = live.record.state
        if state.status == states.PAUSED:
            raise errors.Conflict(f"container {live.id} is paused, unpause the container before attach", name=live.id)
        if state.status == states.RESTARTING:
            raise errors.Conflict(f"container {live.id} is restarting, wait until the container is running",
                                  name=live.id)

    async def attach(self, live: Live, options: AttachOptions, fd: int, residue: bytes) -> None:
        """See Containers.attach. Owns the fd."""
        try:
            self.check(live)
            if len(residue) > MAX_RESIDUE:
                raise errors.Invalid(f"{len(residue)} bytes were sent ahead of attaching, {MAX_RESIDUE} are taken")
            async with live.lock:
                if live.link is None or not live.record.state.running:
                    if not options.stream:
                        raise errors.Unsupported("attach without stream to a container that does not run",
                                                 action="read its logs instead")
                    live.park(Parked(options, fd, residue))
                    fd = -1
                else:
                    await send(live.link, options, fd, residue)
            told.container(self._services.events, live.record, "attach")
        finally:
            if fd >= 0:
                os.close(fd)

    async def unpark(self, live: Live, link: Link) -> None:
        """Give the parked clients to a shim that is about to start the process."""
        parked, live.parked = live.parked, []
        for one in parked:
            try:
                if not one.has_left():
                    await send(link, one.options, one.fd, one.residue)
            finally:
                one.close()


async def send(link: Link, options: AttachOptions, fd: int, residue: bytes) -> None:
    """One client to a shim; the fd stays the caller's."""
    await link.request(
        wire.ATTACH, [fd], names=["client"],
        streams={"stdin": options.stdin and options.stream, "stdout": options.stdout and options.stream,
                 "stderr": options.stderr and options.stream},
        detach_keys=options.detach_keys, mux=options.mux, logs=options.logs,
        residue=base64.b64encode(residue).decode(),
    )
