"""Walking the nodes over data: dicts answer fields by key, a callable under a key is a method, lists are ranged."""

from __future__ import annotations

from . import nodes
from .values import ABSENT, Failed, show, truth, type_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

_MAX_CALLS = 1000


class Break(Exception):
    """{{break}}."""


class Continue(Exception):
    """{{continue}}."""


class Evaluator:
    """One execution. `missing`: what a key does that is not there: "error", or "no value"; a `typed` name makes it a
    missing field of that Go type (only the words differ)."""

    def __init__(
        self, source: str, functions: dict[str, Callable[..., Any]], defined: dict[str, tuple[nodes.Node, ...]],
        missing: str, typed: str,
    ) -> None:
        self._source = source
        self._functions = functions
        self._defined = defined
        self._missing = missing
        self._typed = typed
        self._out: list[str] = []
        self._scope: list[tuple[str, Any]] = []
        self._calls = 0

    def run(self, body: tuple[nodes.Node, ...], data: Any) -> str:
        """Raises Failed."""
        self._scope = [("$", data)]
        self._walk(body, data)
        return "".join(self._out)

    def _fail(self, node: nodes.Node, what: str) -> Failed:
        line = self._source.count("\n", 0, node.at) + 1
        column = node.at - (self._source.rfind("\n", 0, node.at) + 1)
        return Failed(f'template: :{line}:{column}: executing "" at <{node.text}>: {what}')

    def _walk(self, body: tuple[nodes.Node, ...], dot: Any) -> None:
        marks = len(self._scope)
        for node in body:
            self._step(node, dot)
        del self._scope[marks:]

    def _step(self, node: nodes.Node, dot: Any) -> None:
        match node:
            case nodes.Text():
                self._out.append(node.text)
            case nodes.Output():
                value = self._pipeline(node.pipeline, dot)
                if not node.pipeline.targets:
                    self._out.append(show(value))
            case nodes.Range():
                self._range(node, dot)
            case nodes.If():
                self._branch(node, dot)
            case nodes.Jump():
                raise Break if node.text == "break" else Continue
            case nodes.Call():
                self._call(node, dot)

    def _branch(self, node: nodes.If, dot: Any) -> None:
        marks = len(self._scope)
        value = self._pipeline(node.pipeline, dot)
        if truth(value):
            self._walk(node.body, value if isinstance(node, nodes.With) else dot)
        else:
            self._walk(node.otherwise, dot)
        del self._scope[marks:]

    def _range(self, node: nodes.Range, dot: Any) -> None:
        marks = len(self._scope)
        targets = node.pipeline.targets
        value = self._pipeline(node.pipeline.replace(targets=()), dot)
        ran = False
        for key, item in self._items(node, value):
            ran = True
            if targets:
                bound = (key, item) if len(targets) == 2 else (item,)
                for name, each in zip(targets, bound, strict=True):
                    self._bind(name, each, node.pipeline.declares)
            try:
                self._walk(node.body, item)
            except Break:
                break
            except Continue:
                continue
            finally:
                del self._scope[marks:]
        if not ran:
            self._walk(node.otherwise, dot)

    def _items(self, node: nodes.Node, value: Any) -> Iterable[tuple[Any, Any]]:
        if isinstance(value, dict):
            return [(k, value[k]) for k in sorted(value)]
        if isinstance(value, list | tuple):
            return enumerate(value)
        if isinstance(value, int) and not isinstance(value, bool):
            return ((n, n) for n in range(value))
        if value is None or value is ABSENT:
            return ()
        raise self._fail(node, f"range can't iterate over {show(value)}")

    def _call(self, node: nodes.Call, dot: Any) -> None:
        body = self._defined.get(node.name)
        if body is None:
            raise self._fail(node, f'template "{node.name}" not defined')
        self._calls += 1
        if self._calls > _MAX_CALLS:
            raise self._fail(node, "exceeded maximum template depth")
        data = self._pipeline(node.pipeline, dot) if node.pipeline else None
        scope, self._scope = self._scope, [("$", data)]
        self._walk(body, data)
        self._scope = scope
        self._calls -= 1

    def _bind(self, name: str, value: Any, declares: bool) -> None:
        if not declares:
            for at in range(len(self._scope) - 1, -1, -1):
                if self._scope[at][0] == name:
                    self._scope[at] = (name, value)
                    return
        self._scope.append((name, value))

    def _pipeline(self, node: nodes.Pipeline, dot: Any) -> Any:
        value: Any = None
        for n, command in enumerate(node.commands):
            value = self._command(command, dot, (value,) if n else ())
        for name in node.targets:
            self._bind(name, value, node.declares)
        return value

    def _command(self, node: nodes.Command, dot: Any, piped: tuple[Any, ...]) -> Any:
        first = node.words[0]
        rest = node.words[1:]
        if isinstance(first, nodes.Name):
            if first.name in ("and", "or"):
                return self._decide(first, rest, dot, piped)
            args = [self._operand(word, dot) for word in rest]
            return self._apply(first, self._functions[first.name], (*args, *piped))
        if isinstance(first, nodes.Fields):
            value = self._fields(first, dot)
            args = [self._operand(word, dot) for word in rest]
            if callable(value):
                return self._apply(first, value, (*args, *piped))
            if args or piped:
                raise self._fail(first, f"{first.names[-1]} has arguments but cannot be invoked as function")
            return value
        if rest or piped:
            raise self._fail(first, f"can't give argument to non-function {first.text}")
        return self._operand(first, dot)

    def _decide(self, name: nodes.Name, words: tuple[nodes.Node, ...], dot: Any, piped: tuple[Any, ...]) -> Any:
        if not words and not piped:
            raise self._fail(name, f"wrong number of args for {name.name}: want at least 1 got 0")
        value: Any = None
        for word in words:
            value = self._operand(word, dot)
            if truth(value) == (name.name == "or"):
                return value
        return piped[0] if piped else value

    def _apply(self, node: nodes.Node, function: Callable[..., Any], args: tuple[Any, ...]) -> Any:
        try:
            return function(*args)
        except Failed as error:
            raise error if error.message.startswith("template:") else self._fail(node, error.message) from error
        except (TypeError, AttributeError, ValueError) as error:
            raise self._fail(node, f"wrong type or number of args for {node.text}") from error

    def _operand(self, node: nodes.Node, dot: Any) -> Any:
        match node:
            case nodes.Constant():
                return node.value
            case nodes.Dot():
                return dot
            case nodes.Variable():
                return self._variable(node.name)
            case nodes.Fields():
                value = self._fields(node, dot)
                return self._apply(node, value, ()) if callable(value) else value
            case nodes.Pipeline():
                return self._pipeline(node, dot)
            case nodes.Name():
                if node.name in ("and", "or"):
                    return self._decide(node, (), dot, ())
                return self._apply(node, self._functions[node.name], ())
        raise self._fail(node, "cannot be evaluated")

    def _variable(self, name: str) -> Any:
        for known, value in reversed(self._scope):
            if known == name:
                return value
        return ABSENT

    def _fields(self, node: nodes.Fields, dot: Any) -> Any:
        value = dot if node.base is None else self._operand(node.base, dot)
        for n, name in enumerate(node.names):
            if n and callable(value):
                value = self._apply(node, value, ())
            value = self._field(node, value, name)
        return value

    def _field(self, node: nodes.Fields, value: Any, name: str) -> Any:
        if isinstance(value, dict):
            if name in value:
                return value[name]
            if self._typed:
                raise self._fail(node, f"can't evaluate field {name} in type {self._typed}")
            if self._missing == "error":
                raise self._fail(node, f'map has no entry for key "{name}"')
            return ABSENT
        if value is None or value is ABSENT:
            if self._missing == "error" or value is None:
                raise self._fail(node, f"nil data; no entry for key {name!r}".replace("'", '"'))
            return ABSENT
        raise self._fail(node, f"can't evaluate field {name} in type {type_name(value)}")
