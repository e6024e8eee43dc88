"""What is checked of a create request before anything is made: values and their combinations, with Docker's words."""

from __future__ import annotations

import ipaddress

from wharfie.base import errors

from . import honoured, merge, mounts, ports, resources, restart_policy, security, signals
from .model import Config, HostConfig, NetworkingConfig

_HOSTNAME = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-.")
_SYSCTL = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._/")
_SYSCTL_IPC = frozenset({
    "kernel.msgmax", "kernel.msgmnb", "kernel.msgmni", "kernel.sem", "kernel.shmall", "kernel.shmmax", "kernel.shmmni",
    "kernel.shm_rmid_forced",
})  # fmt: skip


def check(config: Config, host: HostConfig, networking: NetworkingConfig, here: resources.Host) -> list[str]:
    """Warnings. Raises Invalid, Unsupported."""
    honoured.check(config, host, networking)
    warnings = resources.check(host, here)
    restart_policy.check(host.restart_policy, auto_remove=host.auto_remove)
    merge.check_env(config.env or [])
    _check_config(config)
    _check_modes(config, host)
    security.parse_options(host.security_opt)
    security.capabilities(host.cap_add, host.cap_drop, privileged=host.privileged)
    warnings += security.check_held(
        host.cap_add, host.cap_drop, privileged=host.privileged, devices=here.devices, withheld=here.withheld)
    ports.check_exposed(config.exposed_ports)
    published = ports.wanted(config.exposed_ports, host)
    if published and host.network_mode == "host":
        warnings.append("Published ports are discarded when using host network mode")
    _check_names(host)
    _check_sysctls(host)
    _check_host(host)
    return warnings


def _check_config(config: Config) -> None:
    if config.hostname and (not _HOSTNAME.issuperset(config.hostname) or len(config.hostname) > 63):
        raise errors.Invalid(f"invalid hostname format: {config.hostname}", name=config.hostname)
    if config.domainname and (not _HOSTNAME.issuperset(config.domainname) or len(config.domainname) > 64):
        raise errors.Invalid(f"invalid domainname: {config.domainname} (at most 64 letters, digits, dots and hyphens)",
                             name=config.domainname)
    if config.stop_signal:
        signals.parse(config.stop_signal)
    if config.working_dir and ("\0" in config.working_dir or not config.working_dir.startswith("/")):
        raise errors.Invalid(
            f"the working directory '{config.working_dir}' is invalid, it needs to be an absolute path")
    mounts.check_length(config.working_dir, "WorkingDir")
    for what, argv in (("Cmd", config.cmd), ("Entrypoint", config.entrypoint)):
        if any("\0" in a for a in argv or []):
            raise errors.Invalid(f"Config.{what}: an argument has a null byte")
    if config.mac_address:
        check_mac(config.mac_address)


def check_mac(text: str) -> None:
    """Raises Invalid for anything but six hex pairs with colons."""
    parts = text.lower().split(":")
    if len(parts) != 6 or any(len(p) != 2 or not set(p) <= set("0123456789abcdef") for p in parts):
        raise errors.Invalid(f"{text} is not a valid mac address", name=text)


def _check_modes(config: Config, host: HostConfig) -> None:
    for field, value, allowed in (
        ("IpcMode", host.ipc_mode, ("", "private", "shareable", "host", "none")),
        ("PidMode", host.pid_mode, ("", "host")),
        ("UTSMode", host.uts_mode, ("", "host")),
        ("CgroupnsMode", host.cgroupns_mode, ("", "private", "host")),
    ):
        joins = field in ("IpcMode", "PidMode") and value.startswith("container:") and len(value) > len("container:")
        if value not in allowed and not joins:
            raise errors.Invalid(f"invalid {field}: {value}", name=value)
    if host.uts_mode == "host" and (config.hostname or config.domainname):
        raise errors.Invalid("conflicting options: hostname and the UTS mode")
    if host.network_mode.startswith("container:"):
        for given, what in (
            (config.hostname, "hostname and the network mode"),
            (host.dns, "dns and the network mode"),
            (host.extra_hosts, "custom host-to-IP mapping and the network mode"),
            (config.mac_address, "mac-address and the network mode"),
            (host.port_bindings or host.publish_all_ports, "port publishing and the container type network mode"),
        ):
            if given:
                raise errors.Invalid(f"conflicting options: {what}")
        if host.network_mode == "container:":
            raise errors.Invalid("Invalid network mode: invalid container format container:<name|id>")


def _check_names(host: HostConfig) -> None:
    for server in host.dns or []:
        try:
            ipaddress.ip_address(server)
        except ValueError as error:
            raise errors.Invalid(f"HostConfig.Dns: {server} is not an ip address", name=server) from error
    for text in [*(host.dns_search or []), *(host.dns_options or [])]:
        if not text or any(c.isspace() or c == "\0" for c in text):
            raise errors.Invalid(f"invalid DNS option or search domain: {text!r}")
    for entry in host.extra_hosts or []:
        name, _, address = entry.partition(":")
        if not name or not address or any(c.isspace() for c in entry):
            raise errors.Invalid(f"bad format for add-host: {entry!r}", name=entry)
        if address != "host-gateway":
            try:
                ipaddress.ip_address(address.strip("[]"))
            except ValueError as error:
                raise errors.Invalid(f'invalid IP address in add-host: "{address}"', name=entry) from error


def _check_sysctls(host: HostConfig) -> None:
    """Only what is namespaced, and no character that could name another file (CVE-2022-0811)."""
    for name, value in (host.sysctls or {}).items():
        dotted = name.replace("/", ".")
        if not _SYSCTL.issuperset(name) or ".." in dotted or "\n" in value or "\0" in value:
            raise errors.Invalid(f"invalid sysctl: {name!r}", name=name)
        is_ipc = dotted in _SYSCTL_IPC or dotted.startswith("fs.mqueue.")
        if not is_ipc and not dotted.startswith("net.") and dotted != "kernel.domainname":
            raise errors.Invalid(f'sysctl "{name}" is not in a separate kernel namespace', name=name)
        if is_ipc and host.ipc_mode == "host":
            raise errors.Invalid(f'sysctl "{name}" not allowed in host ipc namespace', name=name)
        if dotted.startswith("net.") and host.network_mode == "host":
            raise errors.Invalid(f'sysctl "{name}" not allowed in host network namespace', name=name)


def _check_host(host: HostConfig) -> None:
    if host.shm_size < 0:
        raise errors.Invalid("SHM size can not be less than 0")
    if not -1000 <= host.oom_score_adj <= 1000:
        raise errors.Invalid(f"Invalid value {host.oom_score_adj}, range for oom score adj is [-1000, 1000]")
    if host.console_size is not None and (len(host.console_size) != 2 or any(not 0 <= n < 65536 for n in
                                                                              host.console_size)):
        raise errors.Invalid("HostConfig.ConsoleSize: two numbers of at most 65535 are needed, height and width")
    if ".." in host.cgroup_parent.split("/") or "\0" in host.cgroup_parent:
        raise errors.Invalid(f"invalid CgroupParent: {host.cgroup_parent}")
    mounts.check_length(host.cgroup_parent, "CgroupParent")
    for device in host.devices or []:
        if "\0" in device.path_on_host + device.path_in_container:
            raise errors.Invalid(f"invalid device mapping: {device.path_on_host!r}: it has a null byte")
        mounts.check_length(device.path_in_container, "PathInContainer")
    for path in [*(host.masked_paths or []), *(host.readonly_paths or [])]:
        if not path.startswith("/") or "\0" in path:
            raise errors.Invalid(f"invalid masked or read-only path: {path}")
        mounts.check_length(path, "MaskedPaths, ReadonlyPaths")
    for rule in host.device_cgroup_rules or []:
        device_rule(rule)
    log = host.log_config
    honoured.check_log(log.type or "json-file", log.config or {})


def device_rule(text: str) -> dict[str, object]:
    """"c 13:* rwm" as an OCI device rule. Raises Invalid."""
    parts = text.split(" ")
    numbers = parts[1].split(":") if len(parts) == 3 else []
    good = (
        len(numbers) == 2 and parts[0] in ("a", "b", "c") and parts[2] and set(parts[2]) <= set("rwm")
        and all(n == "*" or (n.isascii() and n.isdecimal() and len(n) < 10) for n in numbers)
    )
    if not good:
        raise errors.Invalid(f"invalid device cgroup rule format: '{text}'", name=text)
    rule: dict[str, object] = {"allow": True, "type": parts[0], "access": parts[2]}
    rule |= {k: int(n) for k, n in zip(("major", "minor"), numbers, strict=True) if n != "*"}
    return rule
