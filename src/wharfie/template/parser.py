"""Tokens to nodes."""

from __future__ import annotations

from . import nodes
from .lexer import Token, fail, tokens
from .nodes import Node, Pipeline

_KEYWORDS = frozenset(
    ("if", "else", "end", "range", "with", "break", "continue", "define", "block", "template", "nil")
)
_BRANCHES: dict[str, type[nodes.If]] = {"if": nodes.If, "range": nodes.Range, "with": nodes.With}
_MAX_DEPTH = 100


class Parser:
    """One template text. `parse` gives its nodes; `defined` the named templates found on the way."""

    def __init__(self, source: str, functions: frozenset[str]) -> None:
        self._source = source
        self._functions = functions
        self._tokens = tokens(source)
        self._at = 0
        self._loops = 0
        self._depth = 0
        self._scope: list[str] = ["$"]
        self.defined: dict[str, tuple[Node, ...]] = {}

    def parse(self) -> tuple[Node, ...]:
        """Raises Malformed."""
        body, end = self._list(())
        if end is not None:
            raise self._fail(end.at, f"unexpected {{{{{end.text}}}}}")
        return body

    def _fail(self, at: int, what: str) -> Exception:
        return fail(self._source, at, what)

    def _peek(self) -> Token:
        if self._at < len(self._tokens):
            return self._tokens[self._at]
        return Token("end of input", "EOF", len(self._source))

    def _take(self, kind: str = "", context: str = "action") -> Token:
        token = self._peek()
        if kind and token.kind != kind:
            raise self._fail(token.at, f'unexpected "{token.text}" in {context}')
        self._at += 1
        return token

    def _deeper(self) -> None:
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise self._fail(self._peek().at, "nested too deeply")

    def _list(self, stops: tuple[str, ...]) -> tuple[tuple[Node, ...], Token | None]:
        """Nodes up to one of the stop words (its token is returned, what follows it is still to be read)."""
        self._deeper()
        marks = len(self._scope)
        out: list[Node] = []
        while self._at < len(self._tokens):
            token = self._take()
            if token.kind == "text":
                out.append(nodes.Text(token.at, token.text))
                continue
            word = self._peek()
            if word.kind == "word" and word.text in ("end", "else"):
                if word.text not in stops:
                    raise self._fail(word.at, f"unexpected {{{{{word.text}}}}}")
                self._at += 1
                self._depth -= 1
                del self._scope[marks:]
                return tuple(out), word
            node = self._action(word)
            if node is not None:
                out.append(node)
        if stops:
            raise self._fail(len(self._source), "unexpected EOF")
        self._depth -= 1
        return tuple(out), None

    def _action(self, word: Token) -> Node | None:
        if word.kind == "word" and word.text in _KEYWORDS:
            if word.text in _BRANCHES:
                self._at += 1
                return self._branch(word)
            if word.text in ("break", "continue"):
                self._at += 1
                if not self._loops:
                    raise self._fail(word.at, f"{{{{{word.text}}}}} outside {{{{range}}}}")
                self._take("close", word.text)
                return nodes.Jump(word.at, word.text)
            if word.text in ("define", "block", "template"):
                self._at += 1
                return self._named(word)
        pipeline = self._pipeline("command")
        self._take("close", "command")
        return nodes.Output(word.at, pipeline.text, pipeline)

    def _branch(self, word: Token) -> Node:
        marks = len(self._scope)
        pipeline = self._pipeline(word.text)
        self._take("close", word.text)
        self._loops += word.text == "range"
        body, stop = self._list(("end", "else"))
        self._loops -= word.text == "range"
        otherwise: tuple[Node, ...] = ()
        if stop is not None and stop.text == "else":
            following = self._peek()
            if following.kind == "word" and following.text in ("if", "with"):
                self._at += 1
                otherwise = (self._branch(following),)
                del self._scope[marks:]
                return _BRANCHES[word.text](word.at, pipeline.text, pipeline, body, otherwise)
            self._take("close", "else")
            otherwise, stop = self._list(("end",))
        self._take("close", "end")
        del self._scope[marks:]
        return _BRANCHES[word.text](word.at, pipeline.text, pipeline, body, otherwise)

    def _named(self, word: Token) -> Node | None:
        name = str(self._take("string", word.text).value)
        pipeline = None if self._peek().kind == "close" else self._pipeline(word.text)
        self._take("close", word.text)
        if word.text != "template":
            scope, self._scope = self._scope, ["$"]
            self.defined[name], _ = self._list(("end",))
            self._scope = scope
            self._take("close", "end")
            if word.text == "define":
                return None
        return nodes.Call(word.at, word.text, name, pipeline)

    def _pipeline(self, context: str) -> Pipeline:
        start = self._peek().at
        targets, declares = self._targets(context)
        commands: list[nodes.Command] = []
        while True:
            commands.append(self._command(context))
            if self._peek().kind != "|":
                break
            self._at += 1
        self._scope += targets if declares else []
        text = self._source[start : self._peek().at].strip()
        for command in commands[1:]:
            if isinstance(command.words[0], nodes.Constant | nodes.Dot):
                raise self._fail(command.at, f"non executable command in pipeline stage {commands.index(command) + 1}")
        return Pipeline(start, text, tuple(commands), tuple(targets), declares)

    def _targets(self, context: str) -> tuple[list[str], bool]:
        """`$x :=`, `$x =`, and in range `$i, $x :=`."""
        at = self._at
        names: list[str] = []
        while self._peek().kind == "variable":
            names.append(self._take().text)
            kind = self._peek().kind
            if kind == "," and context == "range" and len(names) == 1:
                self._at += 1
                continue
            if kind in (":=", "="):
                self._at += 1
                for name in names:
                    if kind == "=" and name not in self._scope:
                        raise self._fail(self._peek().at, f'undefined variable "{name}"')
                return names, kind == ":="
            break
        self._at = at
        return [], False

    def _command(self, context: str) -> nodes.Command:
        start = self._peek().at
        words: list[Node] = []
        while self._peek().kind not in ("close", "|", ")"):
            if words and not self._peek().spaced and self._peek().kind != "(":
                raise self._fail(self._peek().at, f'unexpected "{self._peek().text}" in operand')
            words.append(self._operand(context))
        if not words:
            raise self._fail(start, f"missing value for {context}")
        return nodes.Command(start, self._source[start : self._peek().at].strip(), tuple(words))

    def _operand(self, context: str) -> Node:
        base = self._term(context)
        names: list[str] = []
        while self._peek().kind == "field" and not self._peek().spaced:
            names.append(self._take().text)
        if not names:
            return base
        text = self._source[base.at : self._peek().at].strip()
        if isinstance(base, nodes.Fields) and base.base is None:
            return nodes.Fields(base.at, text, None, (*base.names, *names))
        if isinstance(base, nodes.Constant | nodes.Dot):
            raise self._fail(base.at, f"unexpected . after term {base.text}")
        return nodes.Fields(base.at, text, base, tuple(names))

    def _term(self, context: str) -> Node:
        token = self._take()
        match token.kind:
            case "field":
                return nodes.Fields(token.at, "." + token.text, None, (token.text,))
            case "dot":
                return nodes.Dot(token.at, ".")
            case "string" | "number":
                return nodes.Constant(token.at, token.text, token.value)
            case "variable":
                if token.text not in self._scope:
                    raise self._fail(token.at, f'undefined variable "{token.text}"')
                return nodes.Variable(token.at, token.text, token.text)
            case "word":
                return self._word(token)
            case "(":
                self._deeper()
                pipeline = self._pipeline("parenthesized pipeline")
                self._take(")", "parenthesized pipeline")
                self._depth -= 1
                return pipeline
        raise self._fail(token.at, f'unexpected "{token.text}" in {context}')

    def _word(self, token: Token) -> Node:
        if token.text in ("true", "false"):
            return nodes.Constant(token.at, token.text, token.text == "true")
        if token.text == "nil":
            return nodes.Constant(token.at, "nil", None)
        if token.text not in self._functions:
            raise self._fail(token.at, f'function "{token.text}" not defined')
        return nodes.Name(token.at, token.text, token.text)
