"""Events with history."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping

from .model import Event


class Events:
    """Publishes, remembers, and lets others follow."""

    def publish(self, kind: str, action: str, actor_id: str, attributes: Mapping[str, str]) -> Event:
        """Say that `action` happened to `actor_id`; kind is container, image, volume, network or daemon."""
        raise NotImplementedError

    def subscribe(
        self, *, since: int = 0, until: int = 0, filters: Mapping[str, list[str]] | None = None
    ) -> AsyncIterator[Event]:
        """Events from `since` (ns; 0: from now on) to `until` (ns; 0: for ever). Subscribed when this call returns.
        Filters as Docker's: type, event, container, image, volume, network, label, scope, daemon."""
        raise NotImplementedError
