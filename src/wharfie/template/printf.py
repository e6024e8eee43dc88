"""fmt.Sprintf for templates: %v %s %d %q %t %x %X %o %b %c %f %e %g %T %% with flags, width and precision."""

from __future__ import annotations

from .values import kind, show, type_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_NAMES = {"\n": "\\n", "\t": "\\t", "\r": "\\r", '"': '\\"', "\\": "\\\\", "\a": "\\a", "\b": "\\b", "\f": "\\f",
          "\v": "\\v"}
_MAX_WIDTH = 10_000


def quote(text: str) -> str:
    """strconv.Quote."""
    out = []
    for c in text:
        if c in _NAMES:
            out.append(_NAMES[c])
        elif c.isprintable():
            out.append(c)
        else:
            out.append(f"\\x{ord(c):02x}" if ord(c) < 0x80 else f"\\u{ord(c):04x}")
    return '"' + "".join(out) + '"'


def printf(pattern: str, *values: Any) -> str:
    """Wrong verbs and missing operands print as Go prints them: %!d(string=x), %!s(MISSING), %!(EXTRA int=1)."""
    out: list[str] = []
    at = 0
    used = 0
    while at < len(pattern):
        mark = pattern.find("%", at)
        if mark < 0:
            out.append(pattern[at:])
            break
        out.append(pattern[at:mark])
        flags, width, precision, at = _directive(pattern, mark + 1)
        verb = pattern[at : at + 1]
        at += 1
        if not verb:
            out.append("%!(NOVERB)")
        elif verb == "%":
            out.append("%")
        elif used >= len(values):
            out.append(f"%!{verb}(MISSING)")
        else:
            out.append(_pad(_one(verb, values[used], flags, precision), flags, width, verb))
            used += 1
    if used < len(values):
        extra = ", ".join(f"{type_name(v)}={show(v)}" for v in values[used:])
        out.append(f"%!(EXTRA {extra})")
    return "".join(out)


def _directive(pattern: str, at: int) -> tuple[str, int, int, int]:
    flags = ""
    while pattern[at : at + 1] in tuple("+-# 0"):
        flags += pattern[at]
        at += 1
    width, at = _digits(pattern, at)
    precision = -1
    if pattern[at : at + 1] == ".":
        precision, at = _digits(pattern, at + 1)
    return flags, width, precision, at


def _digits(pattern: str, at: int) -> tuple[int, int]:
    end = at
    while pattern[end : end + 1].isdecimal():
        end += 1
    return min(int(pattern[at:end] or 0), _MAX_WIDTH), end


def _pad(text: str, flags: str, width: int, verb: str) -> str:
    if len(text) >= width:
        return text
    if "-" in flags:
        return text.ljust(width)
    if "0" in flags and verb in "dxXobfeEgG":
        sign = text[:1] if text[:1] in ("+", "-") else ""
        return sign + text[len(sign) :].rjust(width - len(sign), "0")
    return text.rjust(width)


def _one(verb: str, value: Any, flags: str, precision: int) -> str:
    if verb == "T":
        return type_name(value)
    what = kind(value)
    if verb == "v" or (verb == "s" and what not in ("int", "float", "bool")):
        text = show(value, top=False)
        return text if precision < 0 or verb == "v" else text[:precision]
    if verb == "q" and what == "string":
        return quote(value)
    if verb == "t" and what == "bool":
        return "true" if value else "false"
    if what == "int" and verb in "dxXobcU":
        return _integer(verb, value, flags)
    if what == "float" and verb in "feEgG":
        digits = 6 if precision < 0 and verb in "feE" else precision
        text = f"{value:.{digits}{verb}}" if digits >= 0 else show(value)
        return "+" + text if "+" in flags and value >= 0 else text
    if what == "string" and verb in "xX":
        digits_of = str(value).encode().hex()
        return digits_of if verb == "x" else digits_of.upper()
    return f"%!{verb}({type_name(value)}={show(value)})"


def _integer(verb: str, value: int, flags: str) -> str:
    if verb == "c":
        return chr(value) if 0 <= value < 0x110000 else "\ufffd"
    if verb == "U":
        return f"U+{value:04X}"
    text = format(value, f"#{verb}" if "#" in flags and verb in "xXob" else verb)
    return "+" + text if "+" in flags and value >= 0 else text
