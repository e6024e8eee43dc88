"""Events of containers with Docker's attributes."""

from __future__ import annotations

from .events import Events
from .model import Container, MountPoint


def container(events: Events, record: Container, action: str, **more: str) -> None:
    """Publish `action` of a container: its labels, image and name, and what the action adds."""
    attributes = {**(record.config.labels or {}), "image": record.config.image, "name": record.name, **more}
    events.publish("container", action, record.id, attributes)


def network(events: Events, record: Container, action: str, network_id: str, name: str, kind: str) -> None:
    """Publish connect or disconnect of a network."""
    events.publish("network", action, network_id, {"container": record.id, "name": name, "type": kind})


def volume(events: Events, name: str, action: str) -> None:
    """Publish create or destroy of a volume."""
    events.publish("volume", action, name, {"driver": "local"})


def mounted(events: Events, record: Container) -> None:
    """Publish that the volumes of a container that starts are in use."""
    for m in _volumes(record):
        events.publish("volume", "mount", m.name, {
            "container": record.id, "destination": m.destination, "driver": m.driver, "propagation": m.propagation,
            "read/write": "true" if m.rw else "false",
        })


def unmounted(events: Events, record: Container) -> None:
    """Publish that they are not any more."""
    for m in _volumes(record):
        events.publish("volume", "unmount", m.name, {"container": record.id, "driver": m.driver})


def _volumes(record: Container) -> list[MountPoint]:
    return [m for m in record.mounts if m.type == "volume"]
