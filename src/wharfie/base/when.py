"""Instants as RFC 3339 with nanoseconds, Docker's form, from and to integer nanoseconds since 1970."""

from __future__ import annotations

import time

from .errors import Invalid

ZERO = "0001-01-01T00:00:00Z"


def now() -> int:
    """Nanoseconds since 1970."""
    return time.time_ns()


def rfc3339(ns: int) -> str:
    """"2026-11-24T14:28:29.123456789Z"; trailing zeros of the fraction are dropped as Go's RFC3339Nano does.
    0 is Docker's "never", the zero time of Go."""
    if ns == 0:
        return ZERO
    seconds, fraction = divmod(ns, 10**9)
    t = time.gmtime(seconds)
    text = f"{t[0]:04d}-{t[1]:02d}-{t[2]:02d}T{t[3]:02d}:{t[4]:02d}:{t[5]:02d}"
    return f"{text}.{fraction:09d}".rstrip("0") + "Z" if fraction else text + "Z"


def rfc3339_fixed(ns: int) -> str:
    """The same with all nine digits of the fraction: the form of log timestamps."""
    seconds, fraction = divmod(ns, 10**9)
    t = time.gmtime(seconds)
    return f"{t[0]:04d}-{t[1]:02d}-{t[2]:02d}T{t[3]:02d}:{t[4]:02d}:{t[5]:02d}.{fraction:09d}Z"


def parse_rfc3339(text: str) -> int:
    """Nanoseconds since 1970 of an RFC 3339 instant, with "Z" or a numeric zone. Raises Invalid."""
    try:
        date, _, clock = text.replace("t", "T").replace(" ", "T", 1).partition("T")
        year, month, day = (int(p) for p in date.split("-"))
        zone = 0
        if clock[-1:] in "Zz" and clock:
            clock = clock[:-1]
        else:
            for sign in "+-":
                if sign in clock:
                    clock, _, offset = clock.partition(sign)
                    hours, minutes = offset.split(":")
                    zone = (int(hours) * 3600 + int(minutes) * 60) * (1 if sign == "+" else -1)
        whole, _, fraction = clock.partition(".")
        hour, minute, second = (int(p) for p in whole.split(":")) if whole else (0, 0, 0)
        days = _days(year, month, day)
        seconds = days * 86400 + hour * 3600 + minute * 60 + second - zone
        return seconds * 10**9 + int((fraction + "000000000")[:9] if fraction else 0)
    except (ValueError, IndexError) as error:
        raise Invalid(f"invalid time: '{text}'", action="write RFC 3339, such as 2026-01-02T15:04:05Z") from error


def _days(year: int, month: int, day: int) -> int:
    """Days since 1970-01-01 of a civil date (proleptic Gregorian)."""
    if not (1 <= month <= 12 and 1 <= day <= 31):
        raise ValueError("no such day")
    y = year - (month <= 2)
    era = y // 400
    yoe = y - era * 400
    doy = (153 * (month + (-3 if month > 2 else 9)) + 2) // 5 + day - 1
    return era * 146097 + yoe * 365 + yoe // 4 - yoe // 100 + doy - 719468
