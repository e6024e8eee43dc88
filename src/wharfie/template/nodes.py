"""The parsed template: frozen values."""

from __future__ import annotations

from wharfie.base.value import Value


class Node(Value):
    """The root. `at` is the position in the source, `text` how errors quote it."""

    at: int
    text: str


class Text(Node):
    """Plain text: `text` itself."""


class Constant(Node):
    value: object


class Dot(Node):
    pass


class Fields(Node):
    """`.A.B` of dot (`base` None), of a variable or of a parenthesised pipeline."""

    base: Node | None
    names: tuple[str, ...]


class Variable(Node):
    name: str


class Name(Node):
    """A function's name."""

    name: str


class Command(Node):
    """An operand and its arguments."""

    words: tuple[Node, ...]


class Pipeline(Node):
    """Commands joined by `|`; `targets` are the variables it is bound to."""

    commands: tuple[Command, ...]
    targets: tuple[str, ...] = ()
    declares: bool = False


class Output(Node):
    pipeline: Pipeline


class If(Node):
    pipeline: Pipeline
    body: tuple[Node, ...]
    otherwise: tuple[Node, ...]


class With(If):
    pass


class Range(If):
    pass


class Jump(Node):
    """break or continue."""


class Call(Node):
    """{{template "name" pipeline}}."""

    name: str
    pipeline: Pipeline | None
