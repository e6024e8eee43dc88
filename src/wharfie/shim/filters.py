"""Compiled seccomp filters, kept as files in the run root: compiling costs 9 ms, loading one 0.2 ms.

The key is the profile (which the engine has already resolved for the container's capabilities), the architecture, the
kernel and our own code's version of the compiler. The first shim that needs one writes it, by rename.
"""

from __future__ import annotations

import errno
import importlib
import json
import os
import sys

from wharfie.base import atomic
from wharfie.kernel import seccomp

TYPE_CHECKING = False
if TYPE_CHECKING:
    from hashlib import sha256
    from typing import Any
else:
    # hashlib's own C module: hashlib itself would map OpenSSL into every shim.
    sha256 = importlib.import_module("_sha2" if sys.version_info >= (3, 12) else "_sha256").sha256

_INSTRUCTION = 8  # struct sock_filter


def ensure(directory: str, profile: dict[str, Any]) -> str:
    """The file with the BPF program of an OCI `linux.seccomp`, made if it is not there. Raises OSError for a profile
    that cannot be."""
    path = f"{directory}/{_key(profile)}"
    if not os.path.exists(path):
        os.makedirs(directory, 0o700, exist_ok=True)
        atomic.write(path, seccomp.compile(profile, os.uname().machine), durable=False)
    return path


def read(path: str) -> bytes | None:
    """The program in a file; None for "", no filter. Raises OSError, among them EINVAL: a filter is never skipped
    because its file is broken."""
    if not path:
        return None
    with open(path, "rb") as f:
        found = f.read()
    if not found or len(found) % _INSTRUCTION:
        raise OSError(errno.EINVAL, "not a seccomp program", path)
    return found


def _key(profile: dict[str, Any]) -> str:
    system = os.uname()
    text = json.dumps([profile, system.machine, system.release, seccomp.__file__], sort_keys=True)
    return sha256(text.encode()).hexdigest()[:32]
