"""The states of a container, as one table.

    created ──start──▶ running ◀──▶ paused
       │                │  ▲  │
       │           exit │  │  └─▶ restarting ──▶ running | exited
       │                ▼  │start
       │              exited
       └──remove──▶ removing ◀──remove── exited | dead
                        └── removal failed ──▶ dead
"""

from __future__ import annotations

from wharfie.base import errors

from .model import Container

CREATED, RUNNING, PAUSED, RESTARTING = "created", "running", "paused", "restarting"
EXITED, REMOVING, DEAD = "exited", "removing", "dead"

MOVES: dict[str, frozenset[str]] = {
    CREATED: frozenset({RUNNING, EXITED, REMOVING}),
    RUNNING: frozenset({PAUSED, RESTARTING, EXITED}),
    PAUSED: frozenset({RUNNING, RESTARTING, EXITED}),
    RESTARTING: frozenset({RUNNING, EXITED, RESTARTING}),
    EXITED: frozenset({RUNNING, RESTARTING, REMOVING}),
    REMOVING: frozenset({DEAD}),
    DEAD: frozenset({REMOVING}),
}

ALL: tuple[str, ...] = tuple(MOVES)
ALIVE = frozenset({RUNNING, PAUSED})


def check(container: Container, to: str) -> None:
    """Raises Conflict, naming both states, when the table has no such move."""
    now = container.state.status
    if to not in MOVES[now]:
        raise errors.Conflict(f"container {container.id} is {now} and cannot become {to}", name=container.id)


def move(container: Container, to: str) -> None:
    """Put the container into state `to`. Raises Conflict."""
    check(container, to)
    container.state.status = to
