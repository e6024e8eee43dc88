"""The body of POST /containers/create from a command line: pure, only what was asked for goes in."""

from __future__ import annotations

from wharfie.base import errors, flags
from wharfie.base.value import Value
from wharfie.client import codec

# The readers of single flags are imported where their flags are given: a plain `run IMAGE` pays for none of them.

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# flag: field of Config or HostConfig, taken as text or list when given
_CONFIG_TEXT = {"domainname": "Domainname", "hostname": "Hostname", "stop-signal": "StopSignal", "user": "User",
                "workdir": "WorkingDir"}
_HOST_TEXT = {"cgroupns": "CgroupnsMode", "cidfile": "ContainerIDFile", "ipc": "IpcMode", "isolation": "Isolation",
              "pid": "PidMode", "runtime": "Runtime", "userns": "UsernsMode", "uts": "UTSMode",
              "volume-driver": "VolumeDriver"}
_HOST_LIST = {"add-host": "ExtraHosts", "dns": "Dns",
              "dns-search": "DnsSearch", "group-add": "GroupAdd", "volumes-from": "VolumesFrom"}
_HOST_BOOL = {"privileged": "Privileged", "publish-all": "PublishAllPorts", "read-only": "ReadonlyRootfs",
              "rm": "AutoRemove", "init": "Init"}
_HOST_MAP = {"storage-opt": "StorageOpt", "sysctl": "Sysctls", "annotation": "Annotations"}
# groups of flags, by the module that reads them
_NETWORK = frozenset(("network", "ip", "ip6", "mac-address", "network-alias", "link-local-ip", "link"))
_MOUNTS = frozenset(("volume", "tmpfs", "mount"))
_CAPABILITIES = frozenset(("cap-add", "cap-drop"))
_PORTS = frozenset(("publish", "expose"))
_TEXTS = frozenset(("env", "env-file", "label", "label-file"))
_NO_RESOURCES = (_NETWORK | _CAPABILITIES | _MOUNTS | _PORTS | _TEXTS | frozenset(_CONFIG_TEXT) | frozenset(_HOST_TEXT)
                 | frozenset(_HOST_LIST) | frozenset(_HOST_BOOL) | frozenset(
    ("tty", "interactive", "detach", "entrypoint", "name", "attach", "sig-proxy", "detach-keys", "pull", "quiet")))
_STREAMS = ("stdin", "stdout", "stderr")


class Creation(Value):
    """`streams` are the names of the streams to attach."""

    name: str
    platform: str
    image: str
    body: dict[str, Any]
    streams: frozenset[str]
    tty: bool


def build(parsed: flags.Parsed, table: flags.Table, *, detach: bool = False) -> Creation:
    """Raises errors.Invalid, flags.Bad, OSError (env files and the like)."""
    _check(parsed)
    image, command = parsed.args[0], parsed.args[1:]
    streams = _streams(parsed, detach=detach)
    body = _config(parsed, image, command, streams)
    host = _host(parsed)
    if parsed.changed - _NO_RESOURCES:
        from . import limits

        host.update(limits.resources(parsed, table))
    if parsed.changed & _NETWORK:
        from . import netspec

        mode, endpoints = netspec.networking(parsed)
        if mode:
            host["NetworkMode"] = mode
        if endpoints:
            body["NetworkingConfig"] = {"EndpointsConfig": endpoints}
    if parsed.changed & _MOUNTS:
        _mounts(parsed, body, host)
    if parsed.changed & _PORTS:
        _ports(parsed, body, host)
    if host:
        body["HostConfig"] = host
    return Creation(parsed.text("name"), parsed.text("platform"), image, body, streams, parsed.on("tty"))


def _check(parsed: flags.Parsed) -> None:
    swappiness = parsed.number("memory-swappiness")
    if not -1 <= swappiness <= 100:
        raise errors.Invalid(f"invalid value: {swappiness}. Valid memory swappiness range is 0-100")
    if parsed.on("rm") and parsed.text("restart") not in ("no", ""):
        raise errors.Invalid("conflicting options: cannot specify both --restart and --rm")
    if parsed.on("no-healthcheck") and any(n.startswith("health-") for n in parsed.changed):
        raise errors.Invalid("--no-healthcheck conflicts with --health-* options")
    if parsed.on("use-api-socket"):
        raise errors.Unsupported("--use-api-socket is not supported yet")


def _streams(parsed: flags.Parsed, *, detach: bool) -> frozenset[str]:
    wanted: set[str] = set()
    for text in parsed.all("attach"):
        if text.lower() not in _STREAMS:
            raise errors.Invalid("valid streams are STDIN, STDOUT and STDERR")
        wanted.add(text.lower())
    if not wanted and not detach:
        wanted = {"stdout", "stderr"} | ({"stdin"} if parsed.on("interactive") else set())
    return frozenset(wanted)


def _config(parsed: flags.Parsed, image: str, command: list[str], streams: frozenset[str]) -> dict[str, Any]:
    body: dict[str, Any] = {"Image": image}
    if command:
        body["Cmd"] = command
    for name, field in _CONFIG_TEXT.items():
        if name in parsed.changed:
            body[field] = parsed.text(name)
    for stream in _STREAMS:
        if stream in streams:
            body[f"Attach{stream.capitalize()}"] = True
    if parsed.on("tty"):
        body["Tty"] = True
    if parsed.on("interactive"):
        body["OpenStdin"] = True
        if "stdin" in streams:
            body["StdinOnce"] = True
    if "entrypoint" in parsed.changed:
        body["Entrypoint"] = [parsed.text("entrypoint")]
    if "stop-timeout" in parsed.changed:
        body["StopTimeout"] = parsed.number("stop-timeout")
    if parsed.changed & _TEXTS:
        _texts(parsed, body)
    health = _health(parsed)
    if health:
        body["Healthcheck"] = health
    return body


def _texts(parsed: flags.Parsed, body: dict[str, Any]) -> None:
    from . import envspec

    environment = envspec.environment(parsed.all("env-file"), parsed.all("env"))
    if environment:
        body["Env"] = environment
    labels = envspec.labels(parsed.all("label-file"), parsed.all("label"))
    if labels:
        body["Labels"] = labels


def _health(parsed: flags.Parsed) -> dict[str, Any]:
    if parsed.on("no-healthcheck"):
        return {"Test": ["NONE"]}
    out: dict[str, Any] = {}
    if parsed.text("health-cmd"):
        out["Test"] = ["CMD-SHELL", parsed.text("health-cmd")]
    for name, field in (("health-interval", "Interval"), ("health-timeout", "Timeout"), ("health-retries", "Retries"),
                        ("health-start-period", "StartPeriod"), ("health-start-interval", "StartInterval")):
        if name in parsed.changed:
            if parsed.number(name) < 0:
                raise errors.Invalid(f"--{name} cannot be negative")
            out[field] = parsed.number(name)
    return out


def _host(parsed: flags.Parsed) -> dict[str, Any]:
    host: dict[str, Any] = {}
    for name in parsed.changed:
        if name in _HOST_TEXT:
            host[_HOST_TEXT[name]] = parsed.text(name)
        elif name in _HOST_LIST:
            host[_HOST_LIST[name]] = parsed.all(name)
        elif name in _HOST_BOOL:
            host[_HOST_BOOL[name]] = parsed.on(name)
        elif name in _HOST_MAP:
            host[_HOST_MAP[name]] = _pairs(parsed.all(name))
    if parsed.changed & _CAPABILITIES:
        add, drop = capabilities(parsed.all("cap-add"), parsed.all("cap-drop"))
        host.update({k: v for k, v in (("CapAdd", add), ("CapDrop", drop)) if v})
    options = parsed.all("dns-option") + parsed.all("dns-opt")
    if options:
        host["DnsOptions"] = options
    if parsed.all("link") and parsed.all("network") in ([], ["bridge"], ["default"]):
        host["Links"] = parsed.all("link")
    if parsed.text("log-driver") or parsed.all("log-opt"):
        driver = parsed.text("log-driver")
        if driver == "none" and parsed.all("log-opt"):
            raise errors.Invalid("invalid logging opts for driver none")
        host["LogConfig"] = {"Type": driver, "Config": _pairs(parsed.all("log-opt"))}
    policy = restart_policy(parsed.text("restart"))
    if policy["Name"] not in ("no", ""):
        host["RestartPolicy"] = policy
    _security(parsed.all("security-opt"), host)
    return host


def capabilities(add: list[str], drop: list[str]) -> tuple[list[str], list[str]]:
    """What docker's client makes of --cap-add and --cap-drop: full names, sorted, ALL swallows the others, and what is
    added is not dropped."""
    added, dropped = ({_capability(c) for c in names} for names in (add, drop))
    added = {"ALL"} if "ALL" in added else added
    dropped = {"ALL"} if "ALL" in dropped else dropped
    return sorted(added), sorted(dropped - added)


def _capability(name: str) -> str:
    name = name.strip().upper()
    return name if name == "ALL" or name.startswith("CAP_") else f"CAP_{name}"


def _pairs(items: list[str]) -> dict[str, str]:
    from . import envspec

    return envspec.pairs(items)


def restart_policy(text: str) -> dict[str, Any]:
    """{"Name", "MaximumRetryCount"} of "on-failure:3". Raises errors.Invalid."""
    name, mark, count = text.partition(":")
    if mark and not name:
        raise errors.Invalid("invalid restart policy format: no policy provided before colon")
    if mark and not count.lstrip("-").isdecimal():
        raise errors.Invalid("invalid restart policy format: maximum retry count must be an integer")
    return {"Name": name, "MaximumRetryCount": int(count) if mark else 0}


def _security(options: list[str], host: dict[str, Any]) -> None:
    """seccomp profiles are files of the client, read here; systempaths=unconfined means empty lists of paths."""
    out: list[str] = []
    for option in options:
        key, _, value = option.replace(":", "=", 1).partition("=") if "=" not in option else option.partition("=")
        if key == "systempaths" and value == "unconfined":
            host["MaskedPaths"] = []
            host["ReadonlyPaths"] = []
            continue
        if key == "seccomp" and value not in ("unconfined", "builtin", ""):
            with open(value, "rb") as file:
                option = "seccomp=" + codec.dumps(codec.loads(file.read(4 << 20)))
        out.append(option)
    if out:
        host["SecurityOpt"] = out


def _mounts(parsed: flags.Parsed, body: dict[str, Any], host: dict[str, Any]) -> None:
    from . import mountspec

    binds, anonymous = mountspec.volumes(parsed.all("volume"))
    if binds:
        host["Binds"] = binds
    if anonymous:
        body["Volumes"] = {path: {} for path in anonymous}
    if parsed.all("tmpfs"):
        host["Tmpfs"] = mountspec.tmpfs(parsed.all("tmpfs"))
    if parsed.all("mount"):
        host["Mounts"] = mountspec.mounts(parsed.all("mount"))


def _ports(parsed: flags.Parsed, body: dict[str, Any], host: dict[str, Any]) -> None:
    from . import portspec

    bindings = portspec.publish(parsed.all("publish"))
    exposed = [*bindings, *portspec.expose(parsed.all("expose"))]
    if bindings:
        host["PortBindings"] = bindings
    if exposed:
        body["ExposedPorts"] = {port: {} for port in exposed}
