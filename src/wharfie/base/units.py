"""Numbers with units, as Docker reads and prints them: sizes in powers of 1024 in, powers of 1000 out; durations."""

from __future__ import annotations

from .errors import Invalid

_BINARY = {"": 1, "b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40, "p": 1 << 50}
_DIGITS = frozenset("0123456789")
MAX_INT64 = (1 << 63) - 1


def parse_size(text: str) -> int:
    """Bytes of "512", "64m", "1.5GiB", "2 gb" (go-units RAMInBytes: always powers of 1024). Raises Invalid."""
    body = text.strip().lower()
    cut = len(body)
    while cut and body[cut - 1] not in _DIGITS:
        cut -= 1
    number, unit = body[:cut], body[cut:].strip()
    unit = unit.removesuffix("ib") if unit.endswith("ib") else (unit.removesuffix("b") or unit)
    if unit in _BINARY and number and _DIGITS.issuperset(number.replace(".", "", 1)):
        size = int(float(number) * _BINARY[unit]) if "." in number else int(number[:20]) * _BINARY[unit]
        if size <= MAX_INT64:
            return size
    raise Invalid(f"invalid size: '{text}'", action="write a number with an optional unit: b, k, m, g, t")


def _significant(value: float, digits: int = 3) -> str:
    return f"{value:.{digits}g}" if value < 1000 else f"{value:.4g}"


def human_size(size: float) -> str:
    """"1.24MB": three significant digits, powers of 1000 (go-units HumanSize)."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if size < 1000:
            return f"{_significant(size)}{unit}"
        size /= 1000
    return f"{_significant(size)}PB"


def human_binary(size: float) -> str:
    """"1.5GiB": four significant digits, powers of 1024 (go-units BytesSize)."""
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if size < 1024:
            return f"{size:.4g}{unit}"
        size /= 1024
    return f"{size:.4g}PiB"


def human_duration(seconds: float) -> str:
    """"About a minute", "3 hours": go-units HumanDuration."""
    s = int(seconds)
    if s < 1:
        return "Less than a second"
    if s == 1:
        return "1 second"
    if s < 60:
        return f"{s} seconds"
    minutes = s // 60
    if minutes == 1:
        return "About a minute"
    if minutes < 60:
        return f"{minutes} minutes"
    hours = int(seconds / 3600 + 0.5)
    if hours == 1:
        return "About an hour"
    if hours < 48:
        return f"{hours} hours"
    if hours < 24 * 7 * 2:
        return f"{hours // 24} days"
    if hours < 24 * 30 * 2:
        return f"{hours // 24 // 7} weeks"
    if hours < 24 * 365 * 2:
        return f"{hours // 24 // 30} months"
    return f"{int(seconds / 3600) // 24 // 365} years"


_DURATION = (("ns", 1), ("us", 1_000), ("µs", 1_000), ("ms", 1_000_000), ("s", 10**9), ("m", 60 * 10**9),
             ("h", 3600 * 10**9))


def parse_duration(text: str) -> int:
    """Nanoseconds of a Go duration: "1h2m3.5s", "-10s". Raises Invalid."""
    rest = text.strip()
    sign = -1 if rest.startswith("-") else 1
    rest = rest.lstrip("+-")
    total = 0.0
    bad = Invalid(f"invalid duration: '{text}'", action="write a number with a unit, such as 10s, 5m or 1h30m")
    if rest == "0":
        return 0
    if not rest:
        raise bad
    while rest:
        cut = 0
        while cut < len(rest) and (rest[cut] in _DIGITS or rest[cut] == "."):
            cut += 1
        number, tail = rest[:cut], rest[cut:]
        end = 0
        while end < len(tail) and tail[end] not in _DIGITS and tail[end] != ".":
            end += 1
        unit = dict(_DURATION).get(tail[:end])
        if unit is None or not number or number.count(".") > 1 or number == ".":
            raise bad
        total += float(number) * unit
        rest = tail[end:]
    return sign * int(total)
