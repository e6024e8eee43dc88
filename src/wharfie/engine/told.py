"""Events of containers with Docker's attributes."""

from __future__ import annotations

from .events import Events
from .model import Container


def container(events: Events, record: Container, action: str, **more: str) -> None:
    """Publish `action` of a container: its labels, image and name, and what the action adds."""
    attributes = {**(record.config.labels or {}), "image": record.config.image, "name": record.name, **more}
    events.publish("container", action, record.id, attributes)


def network(events: Events, record: Container, action: str, network_id: str, name: str, kind: str) -> None:
    """Publish connect or disconnect of a network."""
    events.publish("network", action, network_id, {"container": record.id, "name": name, "type": kind})
