"""Docker's flag grammar (spf13/pflag) as a table: one line a flag, no classes to declare, nothing heavy to import.

    RUN = flags.Table('''
    a attach list          Attach to STDIN, STDOUT or STDERR
    - rm bool              Automatically remove the container when it exits
    - pull string=missing  Pull image before running
    ''', interspersed=False, aliases={"net": "network"})

A line is: short letter or "-", name, kind with an optional "=default", help. A name that ends with "!" is hidden from
help. `string?always` is a flag whose value may be left out (`--x` means `--x=always`).
Grammar: `--name=v`, `--name v`, `-itd`, `-eB=2`, `-e B=2`, `-t=false`, `--`, interspersed arguments or not. The texts
of the errors are pflag's, since scripts and people know them.
"""

from __future__ import annotations

from . import units
from .errors import Invalid
from .value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

_TRUE = frozenset(("1", "t", "T", "TRUE", "true", "True"))
_FALSE = frozenset(("0", "f", "F", "FALSE", "false", "False"))
_LISTS = frozenset(("list", "map", "filter", "ulimit", "mount", "network", "gpu-request", "strings"))


class Bad(Invalid):
    """The command line is wrong; the text is pflag's."""


class HelpAsked(Exception):
    """`--help`, or `-h` where that letter means nothing else (`shorthand` is then True)."""

    def __init__(self, shorthand: bool = False) -> None:
        super().__init__()
        self.shorthand = shorthand


class Flag(Value):
    """One flag. `bare` is the value of a mention without one ("" = a value is required)."""

    name: str
    short: str = ""
    kind: str = "string"
    default: str = ""
    help: str = ""
    bare: str = ""
    hidden: bool = False

    @property
    def label(self) -> str:
        """How errors name it: "-m, --memory"."""
        return f"-{self.short}, --{self.name}" if self.short else f"--{self.name}"


class Table:
    """The flags of one command. Cheap until used: the text is cut into lines at the first look-up."""

    def __init__(self, text: str, *, interspersed: bool = True, aliases: dict[str, str] | None = None) -> None:
        self._text = text
        self.interspersed = interspersed
        self.aliases = aliases or {}
        self._by_name: dict[str, Flag] = {}
        self._by_short: dict[str, str] = {}

    def __add__(self, other: str) -> Table:
        """The same table with more lines."""
        return Table(self._text + other, interspersed=self.interspersed, aliases=self.aliases)

    def _cut(self) -> None:
        for line in self._text.split("\n"):
            if line.strip():
                flag = _flag(line)
                self._by_name[flag.name] = flag
                if flag.short:
                    self._by_short[flag.short] = flag.name

    def __iter__(self) -> Iterator[Flag]:
        """All flags by name, hidden ones too."""
        if not self._by_name:
            self._cut()
        return iter(sorted(self._by_name.values(), key=lambda f: f.name))

    def find(self, name: str) -> Flag | None:
        """The flag of a long name or an alias of it."""
        if not self._by_name:
            self._cut()
        return self._by_name.get(self.aliases.get(name, name))

    def find_short(self, letter: str) -> Flag | None:
        if not self._by_name:
            self._cut()
        name = self._by_short.get(letter)
        return self._by_name[name] if name else None


def _flag(line: str) -> Flag:
    short, name, kind, *rest = line.split(None, 3)
    kind, _, default = kind.partition("=")
    kind, _, bare = kind.partition("?")
    hidden = name.endswith("!")
    return Flag(
        name.rstrip("!"), "" if short == "-" else short, kind, default, rest[0] if rest else "",
        bare or ("true" if kind == "bool" else ""), hidden,
    )


class Parsed:
    """What a command line says: `args`, and the flags by name. `changed` holds the names that were given."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._values: dict[str, Any] = {}
        self.changed: set[str] = set()
        self.args: list[str] = []

    def _get(self, name: str) -> Any:
        if name in self._values:
            return self._values[name]
        flag = self._table.find(name)
        if flag is None:
            raise KeyError(name)
        if flag.kind in _LISTS:
            return []
        return _CONVERT[flag.kind](flag.default) if flag.default else _EMPTY.get(flag.kind, 0)

    def text(self, name: str) -> str:
        value = self._get(name)
        return value if isinstance(value, str) else str(value)

    def on(self, name: str) -> bool:
        return bool(self._get(name))

    def number(self, name: str) -> int:
        """Of an int, a size (bytes), a duration (ns) or a decimal (billionths)."""
        return int(self._get(name))

    def all(self, name: str) -> list[str]:
        """The values of a repeatable flag, in order."""
        return list(self._get(name))

    def put(self, flag: Flag, text: str) -> None:
        """Raises Bad when `text` is not of the flag's kind."""
        try:
            if flag.kind in _LISTS:
                # "strings" is pflag's StringSlice: one mention may hold several, by commas
                items = text.split(",") if flag.kind == "strings" else [text]
                self._values.setdefault(flag.name, []).extend(items)
            else:
                self._values[flag.name] = _CONVERT[flag.kind](text)
        except Invalid as error:
            raise bad_value(flag, text, error.message) from error
        self.changed.add(flag.name)


def bad_value(flag: Flag, text: str, why: str) -> Bad:
    """pflag's words for a value that a flag cannot take."""
    return Bad(f'invalid argument "{text}" for "{flag.label}" flag: {why}')


def parse(table: Table, argv: list[str]) -> Parsed:
    """Raises Bad, HelpAsked."""
    parsed = Parsed(table)
    at = 0
    while at < len(argv):
        word = argv[at]
        at += 1
        if word == "--":
            parsed.args += argv[at:]
            break
        if len(word) < 2 or word[0] != "-":
            parsed.args.append(word)
            if not table.interspersed:
                parsed.args += argv[at:]
                break
        elif word.startswith("--"):
            at = _long(parsed, table, word, argv, at)
        else:
            at = _shorts(parsed, table, word[1:], argv, at)
    return parsed


def _long(parsed: Parsed, table: Table, word: str, argv: list[str], at: int) -> int:
    name, given, value = word[2:].partition("=")
    if not name or name[0] == "-":
        raise Bad(f"bad flag syntax: {word}")
    if name == "help":
        raise HelpAsked
    flag = table.find(name)
    if flag is None:
        raise Bad(f"unknown flag: --{name}")
    if not given:
        if flag.bare:
            value = flag.bare
        elif at < len(argv):
            value = argv[at]
            at += 1
        else:
            raise Bad(f"flag needs an argument: --{name}")
    parsed.put(flag, value)
    return at


def _shorts(parsed: Parsed, table: Table, letters: str, argv: list[str], at: int) -> int:
    """A cluster such as "itd", "eB=2", "t=false", "n"."""
    while letters:
        flag = table.find_short(letters[0])
        if flag is None:
            if letters[0] == "h":
                raise HelpAsked(shorthand=True)
            raise Bad(f"unknown shorthand flag: '{letters[0]}' in -{letters}")
        if len(letters) > 2 and letters[1] == "=":
            parsed.put(flag, letters[2:])
            return at
        if flag.bare:
            parsed.put(flag, flag.bare)
            letters = letters[1:]
            continue
        if len(letters) > 1:
            parsed.put(flag, letters[1:])
            return at
        if at == len(argv):
            raise Bad(f"flag needs an argument: '{letters}' in -{letters}")
        parsed.put(flag, argv[at])
        return at + 1
    return at


def _bool(text: str) -> bool:
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    raise Invalid(f'strconv.ParseBool: parsing "{text}": invalid syntax')


def _integer(low: int, high: int, word: str) -> Callable[[str], int]:
    def convert(text: str) -> int:
        body = text.lstrip("+-") if low < 0 else text
        if len(text) - len(body) > 1 or not body.isascii() or not body.replace("_", "").isalnum():
            raise Invalid(f'strconv.{word}: parsing "{text}": invalid syntax')
        try:
            value = int(text, 0) if body != body.lstrip("0") and not body.isdecimal() else int(text, 10)
        except ValueError:
            raise Invalid(f'strconv.{word}: parsing "{text}": invalid syntax') from None
        if not low <= value <= high:
            raise Invalid(f'strconv.{word}: parsing "{text}": value out of range')
        return value

    return convert


def _size(text: str) -> int:
    """Bytes; -1 is "unlimited" where a command knows that word."""
    return -1 if text == "-1" else units.parse_size(text)


def _duration(text: str) -> int:
    if text.isdecimal() and text != "0":
        raise Invalid(f'time: missing unit in duration "{text}"')
    try:
        return units.parse_duration(text)
    except Invalid:
        raise Invalid(f'time: invalid duration "{text}"') from None


def _decimal(text: str) -> int:
    """Billionths of a decimal number (`--cpus 1.5`)."""
    whole, _, fraction = text.partition(".")
    digits = whole + fraction
    if not digits.isascii() or not digits.isdecimal():
        raise Invalid(f"failed to parse {text} as a rational number")
    if len(fraction.rstrip("0")) > 9:
        raise Invalid("value is too precise")
    return int(whole or "0") * 10**9 + int((fraction + "000000000")[:9])


_INT64 = _integer(-(1 << 63), (1 << 63) - 1, "ParseInt")
_CONVERT: dict[str, Callable[[str], Any]] = {
    "bool": _bool, "string": str, "int": _INT64, "uint16": _integer(0, 65535, "ParseUint"),
    "uint": _integer(0, (1 << 64) - 1, "ParseUint"), "bytes": _size, "duration": _duration, "decimal": _decimal,
}
_EMPTY: dict[str, Any] = {"string": "", "bool": False}
