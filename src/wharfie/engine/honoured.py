"""Which fields of a create request are honoured, and the refusal of all others.

A field that is understood and not done is worse than an error: a sandbox that silently lacks what was asked for. So
every field of API v1.50 is either honoured by the rooms below or stands in REFUSED with the values that mean "nothing
asked"; a value beyond those raises Unsupported naming the field.
"""

from __future__ import annotations

import json
from typing import Any

import msgspec

from wharfie.base import errors
from wharfie.logs import options as log_options

from .model import Config, EndpointSettings, HostConfig, NetworkingConfig

_NOTHING: tuple[Any, ...] = (None, 0, "", [], {}, False)

# Attribute of HostConfig → its name in Docker's JSON, values that ask for nothing (beyond the empty ones).
REFUSED: dict[str, tuple[str, tuple[Any, ...]]] = {
    "blkio_weight": ("BlkioWeight", ()),
    "blkio_weight_device": ("BlkioWeightDevice", ()),
    "blkio_device_read_bps": ("BlkioDeviceReadBps", ()),
    "blkio_device_write_bps": ("BlkioDeviceWriteBps", ()),
    "blkio_device_read_iops": ("BlkioDeviceReadIOps", ()),
    "blkio_device_write_iops": ("BlkioDeviceWriteIOps", ()),
    "cpu_realtime_period": ("CpuRealtimePeriod", ()),
    "cpu_realtime_runtime": ("CpuRealtimeRuntime", ()),
    "device_requests": ("DeviceRequests", ()),
    "kernel_memory": ("KernelMemory", ()),
    "kernel_memory_tcp": ("KernelMemoryTCP", ()),
    "oom_kill_disable": ("OomKillDisable", ()),
    "cpu_count": ("CpuCount", ()),
    "cpu_percent": ("CpuPercent", ()),
    "io_maximum_iops": ("IOMaximumIOps", ()),
    "io_maximum_bandwidth": ("IOMaximumBandwidth", ()),
    "cgroup": ("Cgroup", ()),
    "links": ("Links", ()),
    "storage_opt": ("StorageOpt", ()),
    "userns_mode": ("UsernsMode", ("host",)),
    "isolation": ("Isolation", ("default",)),
}

ENDPOINT_REFUSED: dict[str, str] = {
    "links": "Links", "aliases": "Aliases", "driver_opts": "DriverOpts", "gw_priority": "GwPriority",
}

LOG_DRIVERS = ("json-file", "none")
DOCKERS_LOG_DRIVERS = frozenset(("awslogs", "fluentd", "gcplogs", "gelf", "journald", "local", "splunk", "syslog"))
RUNTIMES = ("", "wharfie")


def is_empty(value: Any) -> bool:
    """Whether a value asks for nothing. 0 and False are the same word here, as in Go's zero values."""
    return any(value == nothing and type(value) in (type(nothing), int, bool) for nothing in _NOTHING)


def check(config: Config, host: HostConfig, networking: NetworkingConfig) -> None:
    """Raises Unsupported for the first field with a value that would not be honoured; Invalid where Docker says so."""
    for attribute, (name, harmless) in REFUSED.items():
        value = getattr(host, attribute)
        if not is_empty(value) and value not in harmless:
            raise _refusal(f"HostConfig.{name}", value)
    if host.runtime not in RUNTIMES:
        raise errors.Invalid(f"unknown or invalid runtime name: {host.runtime}", name=host.runtime)
    health = config.healthcheck
    if health is not None and health.test and health.test != ["NONE"]:
        raise errors.Unsupported("Config.Healthcheck: health checks are not run by this engine yet",
                                 name="Config.Healthcheck", action="leave the field out")
    if config.args_escaped:
        raise _refusal("Config.ArgsEscaped", True)
    for network, endpoint in (networking.endpoints_config or {}).items():
        if endpoint is not None:
            _check_endpoint(network, endpoint)


def _check_endpoint(network: str, endpoint: EndpointSettings) -> None:
    for attribute, name in ENDPOINT_REFUSED.items():
        if not is_empty(getattr(endpoint, attribute)):
            raise _refusal(f"NetworkingConfig.EndpointsConfig.{network}.{name}", getattr(endpoint, attribute))
    ipam = endpoint.ipam_config
    if ipam is not None:
        if ipam.ipv6_address or ipam.link_local_ips:
            raise errors.Unsupported(f"NetworkingConfig.EndpointsConfig.{network}.IPAMConfig: IPv6 and link-local "
                                     "addresses are not supported by this engine yet", action="leave them out")
        if ipam.ipv4_address:
            raise errors.Invalid(
                "invalid config for network " + network + ": invalid endpoint settings: user specified IP address is "
                "supported only when connecting to networks with user configured subnets"
            )


def check_log(driver: str, options: dict[str, str]) -> None:
    """Raises Unsupported for a log driver or option that is not there yet, Invalid for a bad one."""
    if driver not in LOG_DRIVERS and driver not in DOCKERS_LOG_DRIVERS:
        raise errors.Invalid(f"logger: no log driver named '{driver}' is registered", name=driver)
    if driver not in LOG_DRIVERS:
        raise errors.Unsupported(f"HostConfig.LogConfig: log driver '{driver}' is not supported by this engine yet",
                                 action=f"use one of {', '.join(LOG_DRIVERS)}")
    if driver == "none" and options:
        raise errors.Invalid(f"HostConfig.LogConfig: unknown log opt '{min(options)}' for none log driver")
    log_options.parse(driver, options)


def _refusal(field: str, value: Any) -> errors.Unsupported:
    shown = json.dumps(msgspec.to_builtins(value))
    return errors.Unsupported(f"{field}: {shown} is not supported by this engine yet", name=field,
                              action="leave the field out")
