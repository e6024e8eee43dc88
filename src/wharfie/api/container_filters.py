"""The filters of GET /containers/json and of prune: which records a `ps --filter` keeps. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable

from wharfie.base import errors, units, when
from wharfie.engine import model

from . import shapes_container
from .query import Filters, has_label, truth, without_label

ALLOWED = frozenset((
    "ancestor", "before", "expose", "exited", "health", "id", "isolation", "is-task", "label", "label!", "name",
    "network", "publish", "since", "status", "volume",
))
PRUNE_ALLOWED = frozenset(("label", "label!", "until"))
_STATUSES = ("created", "restarting", "running", "removing", "paused", "exited", "dead")
_HEALTHS = ("starting", "healthy", "unhealthy", "none")

Lookup = Callable[[str], model.Container]
Keeps = Callable[[model.Container], bool]


def predicates(wanted: Filters, container: Lookup, image_id: Callable[[str], str]) -> list[Keeps]:
    """One predicate per filter; a record is listed when all keep it. `container` looks one up by name or id,
    `image_id` gives the id of an image reference ("" for an unknown one). Raises Invalid, NotFound."""
    out: list[Keeps] = []
    for name, values in wanted.items():
        if not values:
            continue
        make = _MAKERS.get(name)
        if make is not None:
            out.append(make(values))
        elif name == "ancestor":
            ids = {image_id(v) for v in values} - {""}
            out.append(_by_image(ids))
        elif name in ("before", "since"):
            out.append(_by_age(name, container(values[-1])))
        elif name == "is-task" and truth(wanted, name):
            out.append(lambda c: False)
    return out


def implies_all(wanted: Filters) -> bool:
    """Whether a filter speaks of containers that do not run, so that they are listed without `all` too."""
    return bool(wanted.get("status") or wanted.get("exited"))


def _by_image(ids: set[str]) -> Keeps:
    return lambda c: c.image in ids


def _by_age(name: str, pivot: model.Container) -> Keeps:
    if name == "before":
        return lambda c: c.created < pivot.created
    return lambda c: c.created > pivot.created


def _by_status(values: list[str]) -> Keeps:
    for value in values:
        if value not in _STATUSES:
            raise errors.Invalid(f"invalid filter 'status={value}'")
    wanted = frozenset(values)
    return lambda c: c.state.status in wanted


def _by_exited(values: list[str]) -> Keeps:
    codes = set()
    for value in values:
        digits = value.removeprefix("-")
        if not (digits.isascii() and digits.isdecimal() and len(digits) < 20):
            raise errors.Invalid(f"invalid filter 'exited=[{value}]'")
        codes.add(int(value))
    return lambda c: c.state.exit_code in codes and c.state.status in ("exited", "dead") and bool(c.state.finished_at)


def _by_health(values: list[str]) -> Keeps:
    for value in values:
        if value not in _HEALTHS:
            raise errors.Invalid(f"invalid filter 'health={value}'")
    return lambda c: "none" in values


def _patterns(name: str, values: list[str]) -> list[re.Pattern[str]]:
    try:
        return [re.compile(v) for v in values]
    except re.error as error:
        raise errors.Invalid(f"invalid filter '{name}={values}': {error}") from error


def _by_name(values: list[str]) -> Keeps:
    patterns = _patterns("name", values)
    return lambda c: any(p.search(c.name) or p.search(f"/{c.name}") for p in patterns)


def _by_id(values: list[str]) -> Keeps:
    return lambda c: any(c.id.startswith(v) for v in values)


def _by_volume(values: list[str]) -> Keeps:
    wanted = frozenset(values)
    return lambda c: any(m.destination in wanted or (m.name or m.source) in wanted for m in c.mounts)


def _by_network(values: list[str]) -> Keeps:
    def keeps(c: model.Container) -> bool:
        for name, endpoint in shapes_container.networks(c).items():
            for value in values:
                if value == name or (endpoint.network_id and endpoint.network_id.startswith(value)):
                    return True
        return False

    return keeps


def _port_set(name: str, values: list[str]) -> set[tuple[int, str]]:
    """Ports of `80`, `80/udp`, `8000-8010/tcp`."""
    out: set[tuple[int, str]] = set()
    for value in values:
        span, _, proto = value.partition("/")
        low, _, high = span.partition("-")
        if not all(p.isascii() and p.isdecimal() and len(p) < 6 for p in (low, high or low)):
            raise errors.Invalid(f"invalid filter '{name}={value}': not a port or a range of ports")
        out.update((port, proto or "tcp") for port in range(int(low), min(int(high or low), 65535) + 1))
    return out


def _by_publish(values: list[str]) -> Keeps:
    wanted = _port_set("publish", values)
    return lambda c: any((p.host_port, p.proto) in wanted for p in c.ports)


def _by_expose(values: list[str]) -> Keeps:
    wanted = _port_set("expose", values)

    def keeps(c: model.Container) -> bool:
        for text in c.config.exposed_ports or ():
            number, _, proto = text.partition("/")
            if number.isdecimal() and (int(number), proto or "tcp") in wanted:
                return True
        return False

    return keeps


_MAKERS: dict[str, Callable[[list[str]], Keeps]] = {
    "status": _by_status,
    "exited": _by_exited,
    "health": _by_health,
    "name": _by_name,
    "id": _by_id,
    "volume": _by_volume,
    "network": _by_network,
    "publish": _by_publish,
    "expose": _by_expose,
    "label": lambda values: lambda c: has_label(c.config.labels, values),
    "label!": lambda values: lambda c: without_label(c.config.labels, values),
    "isolation": lambda values: lambda c: (c.host_config.isolation or "default") in values,
}


def until(values: Filters, now: int) -> int:
    """The instant (ns) of prune's `until`: a duration ago, a UNIX time or RFC 3339; 0 when absent."""
    said = values.get("until")
    if not said:
        return 0
    if len(said) > 1:
        raise errors.Invalid("more than one until filter specified")
    text = said[0]
    if text.replace(".", "", 1).isdecimal():
        return int(float(text) * 10**9)
    if "-" in text[1:]:
        return when.parse_rfc3339(text if "T" in text else f"{text}T00:00:00Z")
    return now - units.parse_duration(text)
