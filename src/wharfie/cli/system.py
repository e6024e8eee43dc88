"""wharfie version and wharfie info."""

from __future__ import annotations

import os
import sys

from wharfie.base import errors, flags, units
from wharfie.client import calls, codec, wire

from . import tables
from .command import Command
from .session import complain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .session import Session

_FORMAT = flags.Table('f format string   "json" or a Go template for the output')
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


def version() -> str:
    """This client's version, without importing importlib.metadata (it costs more than a whole command)."""
    from wharfie import __version__

    return __version__


def version_line() -> str:
    return f"wharfie version {version()}"


def _client(session: Session) -> dict[str, Any]:
    machine = os.uname().machine
    return {
        "Version": version(), "ApiVersion": wire.API_VERSION, "DefaultAPIVersion": wire.API_VERSION,
        "Os": "linux", "Arch": _ARCHITECTURES.get(machine, machine), "Context": session.place.context,
        "PythonVersion": sys.version.split()[0],
    }


def _version(session: Session, parsed: flags.Parsed) -> int:
    client = _client(session)
    server, failure = _ask(session, calls.version())
    form = parsed.text("format")
    if form:
        _formatted({"Client": client, "Server": server}, form)
    else:
        print_pairs("Client:", [
            ("Version", client["Version"]), ("API version", client["ApiVersion"]),
            ("Python version", client["PythonVersion"]), ("OS/Arch", f"{client['Os']}/{client['Arch']}"),
            ("Context", client["Context"])], 18)
        if server:
            _print_server(server)
    if failure is not None:
        raise failure
    return 0


def _print_server(server: dict[str, Any]) -> None:
    platform = (server.get("Platform") or {}).get("Name") or ""
    sys.stdout.write(f"\nServer: {platform}".rstrip() + "\n")
    for part in server.get("Components") or ():
        details = part.get("Details") or {}
        rows = [("Version", part.get("Version"))]
        if details.get("ApiVersion"):
            rows.append(("API version", f"{details['ApiVersion']} (minimum version {details.get('MinAPIVersion')})"))
        rows += [(_TITLES.get(k, k), v) for k, v in details.items() if k in _TITLES]
        sys.stdout.write(f" {part.get('Name')}:\n")
        for name, value in rows:
            if value:
                sys.stdout.write(f"  {name + ':':<17} {value}\n")


_TITLES = {"PythonVersion": "Python version", "GitCommit": "Git commit", "BuildTime": "Built",
           "KernelVersion": "Kernel version", "Arch": "Arch", "Os": "OS", "Experimental": "Experimental"}


def _ask(session: Session, call: calls.Call) -> tuple[Any, errors.WharfieError | None]:
    """The engine's answer, or why there is none: the client's half is printed all the same."""
    try:
        return session.json(call), None
    except errors.WharfieError as error:
        return None, error


def _formatted(data: Any, form: str) -> None:
    if form == "json":
        sys.stdout.write(codec.dumps(data) + "\n")
        return
    from wharfie.template import text

    try:
        sys.stdout.write(text.Template(form, missing="error").render(data) + "\n")
    except errors.Invalid as error:
        raise tables.parsing_error(error) from error


def print_pairs(title: str, rows: list[tuple[str, Any]], width: int) -> None:
    """" Name:   value" lines below a title."""
    sys.stdout.write(title + "\n")
    for name, value in rows:
        sys.stdout.write(f" {name + ':':<{width}} {value}\n")


def _info(session: Session, parsed: flags.Parsed) -> int:
    client = _client(session)
    found, failure = _ask(session, calls.info())
    form = parsed.text("format")
    if form:
        _formatted({**(found or {}), "ClientInfo": {**client, "Debug": False, "Plugins": [], "Warnings": None}}, form)
    else:
        sys.stdout.write(f"Client:\n Version:    {client['Version']}\n Context:    {client['Context']}\n"
                         " Debug Mode: false\n\nServer:\n")
        if found:
            _print_info(found)
    if failure is not None:
        raise failure
    for warning in (found or {}).get("Warnings") or ():
        complain(warning)
    return 0


def _print_info(i: dict[str, Any]) -> None:
    out = sys.stdout
    out.write(f" Containers: {i.get('Containers', 0)}\n  Running: {i.get('ContainersRunning', 0)}\n"
              f"  Paused: {i.get('ContainersPaused', 0)}\n  Stopped: {i.get('ContainersStopped', 0)}\n"
              f" Images: {i.get('Images', 0)}\n Server Version: {i.get('ServerVersion', '')}\n"
              f" Storage Driver: {i.get('Driver', '')}\n")
    for pair in i.get("DriverStatus") or ():
        out.write(f"  {pair[0]}: {pair[1]}\n")
    for name, key in (("Logging Driver", "LoggingDriver"), ("Cgroup Driver", "CgroupDriver"),
                      ("Cgroup Version", "CgroupVersion")):
        if i.get(key):
            out.write(f" {name}: {i[key]}\n")
    plugins = i.get("Plugins") or {}
    out.write(" Plugins:\n")
    for name in ("Volume", "Network", "Log"):
        out.write(f"  {name}: {' '.join(plugins.get(name) or ())}\n")
    out.write(f" Swarm: {(i.get('Swarm') or {}).get('LocalNodeState') or 'inactive'}\n")
    out.write(f" Runtimes: {' '.join(sorted(i.get('Runtimes') or {}))}\n")
    out.write(f" Default Runtime: {i.get('DefaultRuntime', '')}\n")
    if i.get("SecurityOptions"):
        out.write(" Security Options:\n")
        for option in i["SecurityOptions"]:
            parts = dict(p.partition("=")[::2] for p in option.split(","))
            out.write(f"  {parts.pop('name', option)}\n")
            out.write("".join(f"   {k.capitalize()}: {v}\n" for k, v in parts.items()))
    for name, key in (("Kernel Version", "KernelVersion"), ("Operating System", "OperatingSystem"),
                      ("OSType", "OSType"), ("Architecture", "Architecture"), ("CPUs", "NCPU")):
        out.write(f" {name}: {i.get(key, '')}\n")
    out.write(f" Total Memory: {units.human_binary(i.get('MemTotal') or 0)}\n")
    for name, key in (("Name", "Name"), ("ID", "ID"), ("Docker Root Dir", "DockerRootDir")):
        out.write(f" {name}: {i.get(key, '')}\n")
    out.write(f" Debug Mode: {str(bool(i.get('Debug'))).lower()}\n"
              f" Experimental: {str(bool(i.get('ExperimentalBuild'))).lower()}\n"
              f" Live Restore Enabled: {str(bool(i.get('LiveRestoreEnabled'))).lower()}\n")


VERSION = Command("[OPTIONS]", "Show the version of client and engine", _FORMAT, _version, 0, 0)
INFO = Command("[OPTIONS]", "Display system-wide information", _FORMAT, _info, 0, 0)
