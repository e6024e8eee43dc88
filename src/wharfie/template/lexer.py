"""Cutting a template into tokens: plain text, and the words of each {{action}} (Go, text/template/parse/lex.go's
grammar as its documentation tells it)."""

from __future__ import annotations

from wharfie.base.errors import Invalid
from wharfie.base.value import Value

_SPACE = " \t\r\n"
_SINGLES = {"(": "(", ")": ")", ",": ",", "|": "|", "=": "="}
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "\\": "\\", '"': '"', "'": "'", "a": "\a", "b": "\b", "f": "\f", "v": "\v"}
_DIGITS = "0123456789"


class Token(Value):
    """`kind` is text, open, close, field, dot, variable, word, string, number, or the sign itself.
    `spaced`: white space stands before it (`.a .b` are two operands, `.a.b` is one)."""

    kind: str
    text: str
    at: int
    spaced: bool = False
    value: object = None


class Malformed(Invalid):
    """The template does not parse. The text is in Go's form, `template: :LINE: what`."""


def fail(source: str, at: int, what: str) -> Malformed:
    """The error for position `at`."""
    return Malformed(f"template: :{source.count(chr(10), 0, at) + 1}: {what}")


def tokens(source: str) -> list[Token]:
    """All tokens of a template. Raises Malformed."""
    out: list[Token] = []
    at = 0
    trim = False
    while at < len(source):
        start = source.find("{{", at)
        text = source[at:] if start < 0 else source[at:start]
        if trim:
            text = text.lstrip(_SPACE)
            trim = False
        if start < 0:
            _text(out, text, at)
            break
        inside = start + 2
        if source.startswith("-", inside) and source[inside + 1 : inside + 2] in tuple(_SPACE):
            text = text.rstrip(_SPACE)
            inside += 1
        _text(out, text, at)
        at, trim = _comment(source, inside) or _action(source, start, inside, out)
    return out


def _text(out: list[Token], text: str, at: int) -> None:
    if text:
        out.append(Token("text", text, at))


def _comment(source: str, at: int) -> tuple[int, bool] | None:
    body = at
    while source[body : body + 1] in tuple(_SPACE):
        body += 1
    if not source.startswith("/*", body):
        return None
    end = source.find("*/", body + 2)
    if end < 0:
        raise fail(source, at, "unclosed comment")
    end += 2
    trim = source[end : end + 2].strip(_SPACE) == "-" and source.startswith("-}}", end + 1)
    if trim:
        return end + 4, True
    if not source.startswith("}}", end):
        raise fail(source, at, "comment ends before closing delimiter")
    return end + 2, False


def _action(source: str, start: int, at: int, out: list[Token]) -> tuple[int, bool]:
    """Tokens of one action; where it ends, and whether it trims what follows."""
    out.append(Token("open", "{{", start))
    spaced = False
    while at < len(source):
        if source.startswith("}}", at):
            out.append(Token("close", "}}", at))
            return at + 2, False
        c = source[at]
        if c in _SPACE:
            if source.startswith("-}}", at + 1):
                out.append(Token("close", "}}", at))
                return at + 4, True
            spaced = True
            at += 1
            continue
        token, at = _token(source, at, spaced)
        out.append(token)
        spaced = False
    raise fail(source, start, "unclosed action")


def _token(source: str, at: int, spaced: bool) -> tuple[Token, int]:
    c = source[at]
    following = source[at + 1 : at + 2]
    if c == ".":
        if following in tuple(_DIGITS):
            return _number(source, at, spaced)
        end = _word_end(source, at + 1)
        kind = "field" if end > at + 1 else "dot"
        return Token(kind, source[at + 1 : end], at, spaced), end
    if c == "$":
        end = _word_end(source, at + 1)
        return Token("variable", source[at:end], at, spaced), end
    if c == ":" and following == "=":
        return Token(":=", ":=", at, spaced), at + 2
    if c in _SINGLES:
        return Token(c, c, at, spaced), at + 1
    if c == "`":
        end = source.find("`", at + 1)
        if end < 0:
            raise fail(source, at, "unterminated raw quoted string")
        return Token("string", source[at : end + 1], at, spaced, source[at + 1 : end]), end + 1
    if c == '"':
        value, end = _quoted(source, at, '"')
        return Token("string", source[at:end], at, spaced, value), end
    if c == "'":
        value, end = _quoted(source, at, "'")
        if len(value) != 1:
            raise fail(source, at, f"malformed character constant: {source[at:end]}")
        return Token("number", source[at:end], at, spaced, ord(value)), end
    if c in _DIGITS or (c in "+-" and following in tuple(_DIGITS + ".")):
        return _number(source, at, spaced)
    if c == "_" or c.isalpha():
        end = _word_end(source, at)
        return Token("word", source[at:end], at, spaced), end
    raise fail(source, at, f"unexpected bad character U+{ord(c):04X} {c!r} in command")


def _word_end(source: str, at: int) -> int:
    while at < len(source) and (source[at] == "_" or source[at].isalnum()):
        at += 1
    return at


def _quoted(source: str, at: int, quote: str) -> tuple[str, int]:
    out: list[str] = []
    i = at + 1
    while i < len(source) and source[i] != quote:
        c = source[i]
        if c == "\n":
            break
        if c != "\\":
            out.append(c)
            i += 1
            continue
        text, i = _escape(source, i + 1)
        out.append(text)
    if source[i : i + 1] != quote:
        raise fail(source, at, "unterminated quoted string" if quote == '"' else "unterminated character constant")
    return "".join(out), i + 1


def _escape(source: str, at: int) -> tuple[str, int]:
    c = source[at : at + 1]
    if c in _ESCAPES and c:
        return _ESCAPES[c], at + 1
    width = {"x": 2, "u": 4, "U": 8}.get(c, 0)
    try:
        if width:
            return chr(int(source[at + 1 : at + 1 + width], 16)), at + 1 + width
        return chr(int(source[at : at + 3], 8)), at + 3
    except ValueError:
        raise fail(source, at, f"invalid escape \\{c} in quoted string") from None


def _number(source: str, at: int, spaced: bool) -> tuple[Token, int]:
    end = at + 1
    while end < len(source) and (source[end].isalnum() or source[end] in "._" or (
            source[end] in "+-" and source[end - 1] in "eE")):
        end += 1
    text = source[at:end]
    try:
        value: object = int(text, 0)
    except ValueError:
        try:
            value = float(text)
        except ValueError:
            raise fail(source, at, f"bad number syntax: {text!r}") from None
    return Token("number", text, at, spaced, value), end
