"""Capabilities: the five sets (capabilities(7)) as integers with one bit each."""

from __future__ import annotations

import ctypes
import errno
import struct

from wharfie.base import capabilities
from wharfie.base.value import Value

from .syscalls import NR_CAPGET, NR_CAPSET, call, error, prctl

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

NAMES = capabilities.NAMES
NUMBERS: dict[str, int] = {name: number for number, name in enumerate(NAMES)}

SECBIT_NOROOT = 1
SECBIT_NO_SETUID_FIXUP = 4
SECBIT_KEEP_CAPS = 16

_PR_GET_KEEPCAPS, _PR_SET_KEEPCAPS = 7, 8
_PR_CAPBSET_READ, _PR_CAPBSET_DROP = 23, 24
_PR_GET_SECUREBITS, _PR_SET_SECUREBITS = 27, 28
_PR_SET_NO_NEW_PRIVS, _PR_GET_NO_NEW_PRIVS = 38, 39
_PR_CAP_AMBIENT = 47
_AMBIENT_IS_SET, _AMBIENT_RAISE, _AMBIENT_LOWER, _AMBIENT_CLEAR_ALL = 1, 2, 3, 4
_VERSION_3 = 0x20080522


class Caps(Value):
    """The three sets that capget and capset handle, as masks."""

    effective: int = 0
    permitted: int = 0
    inheritable: int = 0


def parse(name: str) -> int:
    """The number of "CAP_CHOWN", "CHOWN" or "chown". Raises OSError EINVAL for an unknown name."""
    upper = name.upper()
    number = NUMBERS.get(upper, NUMBERS.get("CAP_" + upper))
    if number is None:
        raise error(errno.EINVAL, detail=f"unknown capability {name!r}")
    return number


def mask(names: Iterable[str]) -> int:
    """The set with these capabilities. Raises OSError EINVAL for an unknown name."""
    total = 0
    for name in names:
        total |= 1 << parse(name)
    return total


def names(mask: int) -> list[str]:
    """The names in a set, in the order of their numbers; bits without a name are "CAP_<number>"."""
    return [NAMES[n] if n < len(NAMES) else f"CAP_{n}" for n in range(mask.bit_length()) if mask >> n & 1]


def last_cap() -> int:
    """The highest capability this kernel knows."""
    number = len(NAMES) - 1
    while number > 0 and not _known(number):
        number -= 1
    while _known(number + 1):
        number += 1
    return number


def all_caps() -> int:
    """The set of all that this kernel knows."""
    return (1 << last_cap() + 1) - 1


def _known(number: int) -> bool:
    try:
        prctl(_PR_CAPBSET_READ, number)
    except OSError:
        return False
    return True


def capget(pid: int = 0) -> Caps:
    """capget(2) of a process, 0 for this thread. Raises ProcessLookupError."""
    data = ctypes.create_string_buffer(24)
    call(NR_CAPGET, struct.pack("=Ii", _VERSION_3, pid), data)
    e0, p0, i0, e1, p1, i1 = struct.unpack("=6I", data)
    return Caps(e0 | e1 << 32, p0 | p1 << 32, i0 | i1 << 32)


def capset(caps: Caps) -> None:
    """capset(2) for this thread. Bits the kernel does not know are an error there. Raises PermissionError when more is
    asked than permitted."""
    e, p, i, low = caps.effective, caps.permitted, caps.inheritable, 0xFFFFFFFF
    raw = struct.pack("=6I", e & low, p & low, i & low, e >> 32, p >> 32, i >> 32)
    call(NR_CAPSET, struct.pack("=Ii", _VERSION_3, 0), raw)


def bounding() -> int:
    """The bounding set of this thread."""
    total = 0
    for number in range(last_cap() + 1):
        total |= (prctl(_PR_CAPBSET_READ, number) == 1) << number
    return total


def bounding_keep(mask: int) -> None:
    """Drop everything outside `mask` from the bounding set. Needs CAP_SETPCAP. Raises PermissionError."""
    for number in range(last_cap() + 1):
        if not mask >> number & 1 and prctl(_PR_CAPBSET_READ, number) == 1:
            prctl(_PR_CAPBSET_DROP, number)


def ambient() -> int:
    """The ambient set of this thread."""
    total = 0
    for number in range(last_cap() + 1):
        total |= (prctl(_PR_CAP_AMBIENT, _AMBIENT_IS_SET, number) == 1) << number
    return total


def ambient_raise(mask: int) -> None:
    """Raise these; each must be permitted and inheritable already, else PermissionError."""
    for number in range(mask.bit_length()):
        if mask >> number & 1:
            prctl(_PR_CAP_AMBIENT, _AMBIENT_RAISE, number)


def ambient_clear() -> None:
    """Empty the ambient set."""
    prctl(_PR_CAP_AMBIENT, _AMBIENT_CLEAR_ALL)


def set_keepcaps(keep: bool) -> None:
    """Whether permitted capabilities survive a change from uid 0 to others (execve resets it)."""
    prctl(_PR_SET_KEEPCAPS, int(keep))


def securebits() -> int:
    """The securebits flags (SECBIT_*)."""
    return prctl(_PR_GET_SECUREBITS)


def set_securebits(bits: int) -> None:
    """Set the securebits flags. Needs CAP_SETPCAP."""
    prctl(_PR_SET_SECUREBITS, bits)


def set_no_new_privs() -> None:
    """From now on execve grants nothing (setuid, file capabilities); inherited, irrevocable."""
    prctl(_PR_SET_NO_NEW_PRIVS, 1)


def no_new_privs() -> bool:
    """Whether it is set."""
    return prctl(_PR_GET_NO_NEW_PRIVS) == 1
