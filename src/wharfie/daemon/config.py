"""The daemon's configuration: dockerd's flags, and the same words in daemon.json.

A directive given in both places is refused, as dockerd does: neither can be right for whoever wrote the other. Unknown
keys of the file are warned of. Every value is checked here, once, and named in the error.
"""

from __future__ import annotations

import ipaddress
import json
from typing import Any

from wharfie.base import errors, flags, units
from wharfie.base.value import Value
from wharfie.engine import honoured, model, resources
from wharfie.network import model as network_model

TABLE = flags.Table("""
- allow-tcp-without-tls bool   Listen on tcp:// without client certificates: whoever connects is root
- bip string                   IPv4 address and prefix of the default bridge
b bridge string                Attach containers to an existing bridge, or "none"
- cgroup-parent string         Parent cgroup of everything this engine runs
- config-file string           Daemon configuration file
- data-root string             Root directory of persistent state
D debug bool                   Enable debug mode
- default-address-pool list    Address pools for networks: base=...,size=...
- default-shm-size bytes       Default size of /dev/shm
- default-ulimit list          Default ulimits for containers: name=soft[:hard]
- dns list                     DNS server to use
- dns-opt list                 DNS option to use
- dns-search list              DNS search domain to use
- exec-root string             Root directory of runtime state
G group string                 Group of the unix socket
H host list                    Socket to listen on: unix://, fd://, tcp://
- init bool                    Run an init in every container
- insecure-registry list       Registry that may be spoken to without TLS
- ip string                    Address that published ports listen on when none is said
- live-restore bool            Accepted; containers always outlive the daemon
l log-level string             debug, info, warn, error, fatal
- log-driver string            Default log driver of containers
- log-opt list                 Default log driver options: key=value
- mtu int                      MTU of the default bridge
p pidfile string               File for the daemon's pid
- private bool                 End when no container has lived for a minute
- registry-mirror list         Mirror of the default registry
s storage-driver string        Storage driver
""")

# Key of daemon.json → (name of the flag, how its value becomes flag texts)
KEYS: dict[str, tuple[str, str]] = {
    "bip": ("bip", "text"), "bridge": ("bridge", "text"), "cgroup-parent": ("cgroup-parent", "text"),
    "data-root": ("data-root", "text"), "debug": ("debug", "bool"), "default-address-pools":
    ("default-address-pool", "pools"), "default-shm-size": ("default-shm-size", "text"),
    "default-ulimits": ("default-ulimit", "ulimits"), "dns": ("dns", "list"), "dns-opts": ("dns-opt", "list"),
    "dns-search": ("dns-search", "list"), "exec-root": ("exec-root", "text"), "group": ("group", "text"),
    "hosts": ("host", "list"), "init": ("init", "bool"), "insecure-registries": ("insecure-registry", "list"),
    "ip": ("ip", "text"), "live-restore": ("live-restore", "bool"), "log-driver": ("log-driver", "text"),
    "log-level": ("log-level", "text"), "log-opts": ("log-opt", "map"), "mtu": ("mtu", "number"),
    "pidfile": ("pidfile", "text"), "registry-mirrors": ("registry-mirror", "list"),
    "storage-driver": ("storage-driver", "text"),
}
CONFIG_FILE = "/etc/wharfie/daemon.json"
DATA_ROOT, EXEC_ROOT = "/var/lib/wharfie", "/run/wharfie"
_LEVELS = ("debug", "info", "warn", "error", "fatal")
_STORAGE_DRIVERS = ("", "overlay2", "overlay")
MAX_FILE = 1 << 20


class Config(Value):
    """Everything the daemon was told. `registry_mirrors` and `insecure_registries` wait for pulling."""

    data_root: str = DATA_ROOT
    exec_root: str = EXEC_ROOT
    hosts: tuple[str, ...] = ()
    pidfile: str = ""
    group: str = ""
    debug: bool = False
    log_level: str = "info"
    private: bool = False
    allow_tcp: bool = False
    cgroup_parent: str = ""
    log_driver: str = "json-file"
    log_options: tuple[tuple[str, str], ...] = ()
    ulimits: tuple[model.Ulimit, ...] = ()
    init: bool = False
    shm_size: int = 64 << 20
    network: network_model.Settings = network_model.Settings()
    registry_mirrors: tuple[str, ...] = ()
    insecure_registries: tuple[str, ...] = ()


def load(argv: list[str]) -> tuple[Config, list[str]]:
    """The configuration and warnings. Raises flags.Bad, flags.HelpAsked, Invalid."""
    given = flags.parse(TABLE, argv)
    if given.args:
        raise flags.Bad(f"unexpected argument: {given.args[0]}")
    path = given.text("config-file") or CONFIG_FILE
    content = _read(path, must_exist="config-file" in given.changed)
    warnings = merge(given, content, path)
    return build(given), warnings


def _read(path: str, *, must_exist: bool) -> dict[str, Any]:
    try:
        with open(path, "rb") as file:
            raw = file.read(MAX_FILE + 1)
    except FileNotFoundError:
        if must_exist:
            raise errors.Invalid(f"unable to configure the daemon with file {path}: no such file") from None
        return {}
    except OSError as error:
        raise errors.Invalid(f"unable to configure the daemon with file {path}: {error.strerror}") from error
    if len(raw) > MAX_FILE:
        raise errors.Invalid(f"unable to configure the daemon with file {path}: larger than 1 MiB")
    try:
        content = json.loads(raw or b"{}")
    except (ValueError, RecursionError) as error:
        raise errors.Invalid(f"unable to configure the daemon with file {path}: {error}") from error
    if not isinstance(content, dict):
        raise errors.Invalid(f"unable to configure the daemon with file {path}: an object is needed")
    return content


def merge(given: flags.Parsed, content: dict[str, Any], path: str) -> list[str]:
    """Put the file's directives beside the flags; warnings for keys nobody knows. Raises Invalid for a directive in
    both places, or of the wrong type."""
    warnings = []
    twice = []
    for key, value in content.items():
        known = KEYS.get(key)
        if known is None:
            warnings.append(f"{path}: {key}: no such directive, or not one of this engine; it is passed over")
            continue
        name, shape = known
        if name in given.changed:
            twice.append(f"{key}: (from flag: {_shown(given, name)}, from file: {json.dumps(value)})")
            continue
        flag = TABLE.find(name)
        assert flag is not None
        for text in _texts(key, value, shape):
            given.put(flag, text)
    if twice:
        raise errors.Invalid(
            f"unable to configure the daemon with file {path}: the following directives are specified both as a flag "
            f"and in the configuration file: {', '.join(twice)}"
        )
    return warnings


def _shown(given: flags.Parsed, name: str) -> str:
    flag = TABLE.find(name)
    assert flag is not None
    return f"[{' '.join(given.all(name))}]" if flag.kind == "list" else given.text(name)


def _texts(key: str, value: Any, shape: str) -> list[str]:
    """A value of the file as the texts its flag would have. Raises Invalid."""
    bad = errors.Invalid(f"daemon configuration: {key}: ", name=key)
    if shape == "text" and isinstance(value, str):
        return [value]
    if shape == "bool" and isinstance(value, bool):
        return [str(value).lower()]
    if shape == "number" and isinstance(value, int) and not isinstance(value, bool):
        return [str(value)]
    if shape == "list" and isinstance(value, list) and all(isinstance(v, str) for v in value):
        return list(value)
    if shape == "map" and isinstance(value, dict) and all(isinstance(v, str) for v in value.values()):
        return [f"{k}={v}" for k, v in value.items()]
    if shape == "pools" and isinstance(value, list) and all(isinstance(v, dict) for v in value):
        return [f"base={v.get('base', '')},size={v.get('size', '')}" for v in value]
    if shape == "ulimits" and isinstance(value, dict) and all(isinstance(v, dict) for v in value.values()):
        return [f"{k}={v.get('Soft', 0)}:{v.get('Hard', 0)}" for k, v in value.items()]
    bad.message += f"{json.dumps(value)[:80]} is of the wrong type"
    raise bad


def build(given: flags.Parsed) -> Config:
    """Flags as one checked value. Raises Invalid, Unsupported."""
    level = given.text("log-level") or "info"
    if level not in _LEVELS:
        raise errors.Invalid(f"invalid logging level: {level}", action=f"use one of {', '.join(_LEVELS)}")
    if given.text("storage-driver") not in _STORAGE_DRIVERS:
        raise errors.Unsupported(f"storage driver {given.text('storage-driver')!r} is not there yet; overlay2 is")
    log_driver = given.text("log-driver") or "json-file"
    log_options = tuple(_pair(o, "log-opt") for o in given.all("log-opt"))
    honoured.check_log(log_driver, dict(log_options))
    exec_root = given.text("exec-root") or EXEC_ROOT
    return Config(
        data_root=given.text("data-root") or DATA_ROOT, exec_root=exec_root,
        hosts=tuple(given.all("host")) or (f"unix://{exec_root}/docker.sock",),
        pidfile=given.text("pidfile") or f"{exec_root}/wharfie.pid", group=given.text("group"), debug=given.on("debug"),
        log_level="debug" if given.on("debug") else level, private=given.on("private"),
        allow_tcp=given.on("allow-tcp-without-tls"), cgroup_parent=_cgroup_parent(given.text("cgroup-parent")),
        log_driver=log_driver, log_options=log_options,
        ulimits=tuple(ulimit(u) for u in given.all("default-ulimit")), init=given.on("init"),
        shm_size=given.number("default-shm-size") or 64 << 20, network=_network(given),
        registry_mirrors=tuple(given.all("registry-mirror")),
        insecure_registries=tuple(given.all("insecure-registry")),
    )


def _network(given: flags.Parsed) -> network_model.Settings:
    for server in given.all("dns"):
        _address(server, "dns")
    if given.text("ip"):
        _address(given.text("ip"), "ip")
    if given.text("bip") and given.text("bridge"):
        raise errors.Invalid("--bridge and --bip exclude each other", action="specify one of them")
    mtu = given.number("mtu")
    if mtu and not 68 <= mtu <= 65535:
        raise errors.Invalid(f"invalid MTU: {mtu}")
    pools = tuple(pool(p) for p in given.all("default-address-pool"))
    plain = network_model.Settings()
    return plain.replace(
        bip=given.text("bip"), bridge=given.text("bridge"), mtu=mtu or plain.mtu, dns=tuple(given.all("dns")),
        dns_search=tuple(given.all("dns-search")), dns_options=tuple(given.all("dns-opt")),
        default_address_pools=pools or plain.default_address_pools, host_ip=given.text("ip"),
    )


def _address(text: str, name: str) -> None:
    try:
        ipaddress.ip_address(text)
    except ValueError as error:
        raise errors.Invalid(f"invalid --{name}: {text} is not an ip address", name=text) from error


def _pair(text: str, name: str) -> tuple[str, str]:
    key, sign, value = text.partition("=")
    if not key or not sign:
        raise errors.Invalid(f"invalid --{name}: {text!r}: write key=value", name=text)
    return key, value


def _cgroup_parent(text: str) -> str:
    if ".." in text.split("/") or "\0" in text:
        raise errors.Invalid(f"invalid --cgroup-parent: {text!r}", name=text)
    return text.strip("/")


def pool(text: str) -> tuple[str, int]:
    """"base=10.10.0.0/16,size=24". Raises Invalid."""
    parts = dict(_pair(p, "default-address-pool") for p in text.split(","))
    size = parts.get("size", "")
    if set(parts) != {"base", "size"} or not (size.isascii() and size.isdecimal() and len(size) < 4):
        raise errors.Invalid(f"invalid --default-address-pool: {text!r}: write base=NETWORK,size=PREFIX", name=text)
    return parts["base"], int(size)


def ulimit(text: str) -> model.Ulimit:
    """"nofile=1024[:2048]". Raises Invalid."""
    name, value = _pair(text, "default-ulimit")
    soft, sign, hard = value.partition(":")
    try:
        made = model.Ulimit(name=name, soft=_limit(soft), hard=_limit(hard if sign else soft))
    except ValueError as error:
        raise errors.Invalid(f"invalid --default-ulimit: {text!r}", name=text) from error
    resources.check_ulimit(made)
    return made


def _limit(text: str) -> int:
    body = text.removeprefix("-")
    if not (body.isascii() and body.isdecimal()) or len(body) > 19:
        raise ValueError(text)
    value = int(text)
    if not -1 <= value <= units.MAX_INT64:
        raise ValueError(text)
    return value
