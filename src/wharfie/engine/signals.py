"""Names and numbers of signals, as Docker reads them: "SIGTERM", "term", "15", "RTMIN+3"."""

from __future__ import annotations

import signal

from wharfie.base import errors

_NAMES = {s.name.removeprefix("SIG"): int(s) for s in signal.Signals}
_NAMES |= {"IOT": int(signal.SIGABRT), "CLD": int(signal.SIGCHLD), "POLL": int(signal.SIGIO)}
_FIRST_RT, _LAST_RT = int(signal.SIGRTMIN), int(signal.SIGRTMAX)


def parse(text: str) -> int:
    """The number of a signal. Raises Invalid "Invalid signal: x" for what this kernel does not have."""
    word = text.strip().upper()
    is_number = word.isascii() and word.isdecimal()
    number = int(word[:4]) if is_number else _by_name(word.removeprefix("SIG"))
    if not 1 <= number <= _LAST_RT:
        raise errors.Invalid(f"Invalid signal: {text}", name=text)
    return number


def _by_name(word: str) -> int:
    if word in _NAMES:
        return _NAMES[word]
    for base, sign, first in (("RTMIN+", 1, _FIRST_RT), ("RTMAX-", -1, _LAST_RT)):
        offset = word.removeprefix(base)
        if offset != word and offset.isascii() and offset.isdecimal():
            number = first + sign * int(offset[:3])
            return number if _FIRST_RT <= number <= _LAST_RT else 0
    return 0
