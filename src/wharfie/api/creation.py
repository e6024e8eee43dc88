"""The body of POST /containers/create: three Shapes, the differences between API versions, and Docker's own repairs."""

from __future__ import annotations

from typing import Any

import msgspec

from wharfie.base import errors
from wharfie.engine import model

from . import body, decoding


class Creation(msgspec.Struct):
    """A parsed wish. `warnings` names keys that no field of API 1.50 answers to."""

    config: model.Config
    host_config: model.HostConfig
    networking: model.NetworkingConfig
    warnings: list[str]

    @classmethod
    def read(cls, found: dict[str, Any], version: int) -> Creation:
        """Raises Invalid naming the field."""
        host = _object(body.pick(found, "HostConfig"), "HostConfig")
        networking = _object(body.pick(found, "NetworkingConfig"), "NetworkingConfig")
        if not found:
            raise errors.Invalid("config cannot be empty in order to create a container")
        unknown: decoding.Unknown = []
        made = cls(
            decoding.decode(found, model.Config, unknown=unknown),
            decoding.decode(host, model.HostConfig, path="HostConfig", unknown=unknown),
            decoding.decode(networking, model.NetworkingConfig, path="NetworkingConfig", unknown=unknown),
            [],
        )
        given = set(unknown)
        made.warnings = [f"{path} is not a field of this API and was ignored" for path in sorted(given)]
        _repair(made.host_config)
        _of_version(made, version)
        _mac_address(made)
        return made


def _object(said: Any, name: str) -> dict[str, Any]:
    if said is None:
        return {}
    if not isinstance(said, dict):
        raise errors.Invalid(f"invalid JSON: cannot unmarshal {body.word(said)} into field {name} of type object")
    return said


def _repair(host: model.HostConfig) -> None:
    """What dockerd does for every version: "no limit" has several spellings."""
    host.network_mode = host.network_mode or "default"
    if host.pids_limit is not None and host.pids_limit <= 0:
        host.pids_limit = None
    if host.memory_swappiness == -1:
        host.memory_swappiness = None


def _of_version(made: Creation, version: int) -> None:
    """Fields that an older API does not have are not read, and old defaults hold."""
    config, host = made.config, made.host_config
    if version < 40 and not host.ipc_mode:
        host.ipc_mode = "shareable"
    if version < 41 and not host.cgroupns_mode:
        host.cgroupns_mode = "private"  # Docker: host. Private is stricter and what every newer client gets.
    if version < 42:
        host.console_size = None
    if version < 43:
        host.annotations = None
    if version < 44:
        if config.healthcheck is not None:
            config.healthcheck.start_interval = 0
        endpoints = made.networking.endpoints_config or {}
        if len(endpoints) > 1:
            raise errors.Invalid(
                f"Container cannot be created with multiple network endpoints: {', '.join(sorted(endpoints))}"
            )


def _mac_address(made: Creation) -> None:
    """`MacAddress` of the container is that of its endpoint on the network of NetworkMode (dockerd,
    handleMACAddressBC)."""
    said = made.config.mac_address
    if not said:
        return
    mode = made.host_config.network_mode
    if mode in ("host", "none") or mode.startswith("container:"):
        raise errors.Invalid("conflicting options: mac-address and the network mode")
    endpoints = made.networking.endpoints_config = made.networking.endpoints_config or {}
    endpoint = endpoints.get(mode) or model.EndpointSettings()
    endpoints[mode] = endpoint
    if endpoint.mac_address and endpoint.mac_address != said:
        raise errors.Invalid(
            "the container-wide MAC address must match the endpoint-specific MAC address for the main network, "
            "or be left empty"
        )
    endpoint.mac_address = said
