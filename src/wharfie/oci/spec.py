"""The OCI runtime spec (config.json) as frozen values: `spec.parse(obj)`, and the words it is made of."""

from __future__ import annotations

from .spec_parse import parse, parse_process
from .spec_values import (
    Capabilities,
    Device,
    Hook,
    Hooks,
    Linux,
    Mount,
    Namespace,
    Process,
    Rlimit,
    Root,
    Spec,
    User,
)

__all__ = [
    "Capabilities", "Device", "Hook", "Hooks", "Linux", "Mount", "Namespace", "Process", "Rlimit", "Root", "Spec",
    "User", "parse", "parse_process",
]
