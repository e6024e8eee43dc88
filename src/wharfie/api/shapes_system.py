"""What /version and /info say. Constants of this engine, facts of this host, and what the engine adds."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from importlib import metadata
from typing import Any

from wharfie.base import when

from . import versions
from .shapes_stats import host_memory

VERSION = metadata.version("wharfie")
# What Docker's clients call these machines.
_GO_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "i686": "386"}


def version_document() -> dict[str, Any]:
    """GET /version."""
    host = os.uname()
    architecture = _GO_ARCHITECTURES.get(host.machine, host.machine)
    details = {
        "ApiVersion": versions.NEWEST_TEXT, "Arch": architecture, "BuildTime": "", "Experimental": "false",
        "GitCommit": "", "GoVersion": "", "KernelVersion": host.release, "MinAPIVersion": versions.OLDEST_TEXT,
        "Os": "linux", "Python": sys.version.partition(" ")[0],
    }
    return {
        "Platform": {"Name": "wharfie"}, "Version": VERSION, "ApiVersion": versions.NEWEST_TEXT,
        "MinAPIVersion": versions.OLDEST_TEXT, "Os": "linux", "Arch": architecture, "KernelVersion": host.release,
        "GitCommit": "", "GoVersion": "", "BuildTime": "",
        "Components": [{"Name": "Engine", "Version": VERSION, "Details": details}],
    }


def operating_system() -> str:
    """The name of this distribution, from os-release."""
    for path in ("/etc/os-release", "/usr/lib/os-release"):
        try:
            with open(path, encoding="utf-8", errors="replace") as file:
                for line in file:
                    if line.startswith("PRETTY_NAME="):
                        return line.partition("=")[2].strip().strip("\"'")
        except OSError:
            continue
    return "Linux"


def info_document(facts: Mapping[str, Any], counts: Mapping[str, int]) -> dict[str, Any]:
    """GET /info: `facts` of the engine override what stands here."""
    host = os.uname()
    out: dict[str, Any] = {
        "ID": "", "Containers": 0, "ContainersRunning": 0, "ContainersPaused": 0, "ContainersStopped": 0, "Images": 0,
        "Driver": "overlay2", "DriverStatus": [["Backing Filesystem", "extfs"]],
        "Plugins": {
            "Volume": ["local"], "Network": ["bridge", "host", "null"], "Authorization": None,
            "Log": ["json-file", "none"],
        },
        "MemoryLimit": True, "SwapLimit": True, "CpuCfsPeriod": True, "CpuCfsQuota": True, "CPUShares": True,
        "CPUSet": True, "PidsLimit": True, "OomKillDisable": False, "IPv4Forwarding": True, "Debug": False,
        "NFd": len(os.listdir("/proc/self/fd")), "NGoroutines": 0, "SystemTime": when.rfc3339(when.now()),
        "LoggingDriver": "json-file", "CgroupDriver": "cgroupfs", "CgroupVersion": "1", "NEventsListener": 0,
        "KernelVersion": host.release, "OperatingSystem": operating_system(), "OSVersion": "", "OSType": "linux",
        "Architecture": host.machine, "NCPU": len(os.sched_getaffinity(0)), "MemTotal": host_memory(),
        "IndexServerAddress": "", "RegistryConfig": {
            "AllowNondistributableArtifactsCIDRs": [], "AllowNondistributableArtifactsHostnames": [],
            "InsecureRegistryCIDRs": [], "IndexConfigs": {}, "Mirrors": [],
        },
        "GenericResources": None, "DockerRootDir": "", "HttpProxy": "", "HttpsProxy": "", "NoProxy": "",
        "Name": host.nodename, "Labels": [], "ExperimentalBuild": False, "ServerVersion": VERSION,
        "Runtimes": {"wharfie": {"path": "wharfie-runtime"}}, "DefaultRuntime": "wharfie", "Swarm": _no_swarm(),
        "LiveRestoreEnabled": True, "Isolation": "", "InitBinary": "wharfie-init",
        "ContainerdCommit": {"ID": "", "Expected": ""}, "RuncCommit": {"ID": "", "Expected": ""},
        "InitCommit": {"ID": "", "Expected": ""}, "SecurityOptions": ["name=seccomp,profile=builtin"],
        "ProductLicense": "", "CDISpecDirs": [], "DefaultAddressPools": [], "Warnings": [],
    }
    return {**out, **counts, **facts}


def _no_swarm() -> dict[str, Any]:
    return {
        "NodeID": "", "NodeAddr": "", "LocalNodeState": "inactive", "ControlAvailable": False, "Error": "",
        "RemoteManagers": None,
    }
