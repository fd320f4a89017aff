"""The full grammar: Jinja's parser over our tokens, then a walk that refuses all that is not on the closed lists and collects what
the template reads. A node's `lineno` is a character offset here, which is how references know their place.

Nothing is run here. `compiled` turns the same tree into code.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from jinja2 import nodes
from jinja2.exceptions import TemplateSyntaxError
from jinja2.lexer import Token as JinjaToken
from jinja2.lexer import TokenStream, operators
from jinja2.parser import Parser

from runner.spelling import did_you_mean
from runner.templating.arguments import check_arguments, check_test_name, closed
from runner.templating.constants import always
from runner.templating.environments import STRICT
from runner.templating.model import ROOTS, Parsed, Ref, TemplateError, brief
from runner.templating.sandbox import checked_number
from runner.templating.scan import Token, is_whole, scan, scan_expression
from runner.templating.words import FILTERS, KEYWORD_ONLY, LOOP_NAMES, REQUIRED, TEST_POSITION, TESTS

DEPTH_LIMIT: Final = 40
NODE_LIMIT: Final = 5_000

_OWN_NAMES: Final = frozenset({"inputs", "vars", "steps", "run", "matrix", "secrets", "loop"})
_IDENTIFIER: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]*\Z")
_PART: Final = re.compile(r"""\.\s*\w+|\[\s*(?:-?\s*\d+|'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")\s*\]""", re.DOTALL)
_TEST_NAME: Final = re.compile(r"is\s+(?:not\s+)?([\w.]*)")
_SIGNS: Final = {"'end of print statement'": "`}}`", "'end of statement block'": "`%}`", "Expected": "expected"}
"""How Jinja's messages name what we have signs for."""
_ARITHMETIC: Final = (nodes.Add, nodes.Sub, nodes.Mul, nodes.Div, nodes.FloorDiv, nodes.Mod, nodes.Pow)


@dataclass(frozen=True, slots=True)
class Tree:
    """A checked template: its syntax tree (for `compiled`, which copies before it changes anything), and what is known of it."""

    parsed: Parsed
    node: Any
    spans: tuple[tuple[int, int], ...] = ()
    """Offset and length of the expression in each `{{ }}`."""


def read_template(text: str, *, blocks: bool) -> Tree:
    """The tree of a template. Raises TemplateError at the first thing that is not allowed."""
    tokens = scan(text, blocks=blocks)
    node = _parse(tokens, lambda parser: parser.parse())
    walk = _checked(text, node)
    whole = is_whole(tokens)
    return Tree(walk.parsed(whole=whole), node, _spans(text, tokens))


def read_expression(text: str) -> Tree:
    """The tree of a bare expression. Raises TemplateError at the first thing that is not allowed."""
    if text.lstrip().startswith("{{"):
        raise TemplateError("this is a bare expression already", 0, len(text), "leave out the braces `{{ }}`")
    tokens = scan_expression(text)
    if not tokens:
        raise TemplateError("the expression is empty", 0, len(text))
    node: nodes.Expr = _parse(tokens, _bare)
    walk = _checked(text, node)
    if walk.secrets:
        raise _secret_error(walk.secrets[0])
    return Tree(walk.parsed(whole=True, always=always(node)), node)


def _bare(parser: Parser) -> nodes.Expr:
    node = parser.parse_expression()
    parser.stream.expect("eof")
    return node


def _spans(text: str, tokens: Sequence[Token]) -> tuple[tuple[int, int], ...]:
    starts = [tokens[at + 1].offset for at, token in enumerate(tokens) if token.kind == "variable_begin"]
    ends = [token.offset for token in tokens if token.kind == "variable_end"]
    return tuple((start, len(text[start:end].rstrip())) for start, end in zip(starts, ends, strict=True))


def _parse(tokens: Sequence[Token], read: Callable[[Parser], Any]) -> Any:
    parser = Parser(STRICT, "")
    parser.stream = TokenStream(map(_jinja_token, tokens), None, None)
    try:
        return read(parser)
    except TemplateSyntaxError as error:
        offset = error.lineno if error.lineno and error.lineno > 1 else 0
        message = str(error.message)
        for theirs, ours in _SIGNS.items():
            message = message.replace(theirs, ours)
        raise TemplateError(f"this cannot be read: {message}", offset, 1) from error
    except RecursionError as error:
        raise TemplateError("this template is nested too deeply") from error


def _jinja_token(token: Token) -> JinjaToken:
    value: Any = token.value
    kind = token.kind
    if kind == "operator":
        kind = operators[value]
    elif kind in ("integer", "float"):
        value = _number(token)
    return JinjaToken(token.offset, kind, value)


def _number(token: Token) -> int | float:
    try:
        return checked_number(int(token.value) if token.kind == "integer" else float(token.value))
    except (ValueError, TemplateError):
        raise TemplateError("this number is too large, or not well formed", token.offset, len(token.value)) from None


def _checked(text: str, node: nodes.Node) -> _Walk:
    _bounded(node)
    walk = _Walk(text)
    walk.visit(node, _Place())
    return walk


def _bounded(root: nodes.Node) -> None:
    stack: list[tuple[nodes.Node, int]] = [(root, 0)]
    count = 0
    while stack:
        node, depth = stack.pop()
        count += 1
        if depth > DEPTH_LIMIT or count > NODE_LIMIT:
            what = f"nested deeper than {DEPTH_LIMIT}" if depth > DEPTH_LIMIT else f"larger than {NODE_LIMIT} nodes"
            raise TemplateError(f"this template is {what}", node.lineno or 0, 1)
        stack.extend((child, depth + 1) for child in node.iter_child_nodes())


@dataclass(frozen=True, slots=True)
class _Place:
    """Where the walk is: left of a default, at the top of braces, inside a loop with these names."""

    tolerant: bool = False
    alone: bool = False
    names: frozenset[str] = frozenset()


@dataclass(slots=True)
class _Walk:
    """Checks every node and collects what it reads; one walk, one template."""

    text: str
    refs: list[Ref] = field(default_factory=list)
    secrets: list[Ref] = field(default_factory=list)
    comparisons: list[tuple[Ref, str]] = field(default_factory=list)

    def parsed(self, *, whole: bool, always: bool | None = None) -> Parsed:
        names = tuple(dict.fromkeys(str(ref.path[0]) for ref in self.secrets))
        return Parsed(self.text, False, whole, tuple(self.refs), names, always, tuple(self.comparisons))

    def visit(self, node: nodes.Node, place: _Place) -> None:
        _VISIT.get(type(node), _refuse)(self, node, place)

    def each(self, children: Iterable[nodes.Node], place: _Place) -> None:
        for child in children:
            self.visit(child, place)


def _refuse(walk: _Walk, node: nodes.Node, place: _Place) -> None:
    raise TemplateError(f"{type(node).__name__.lower()} is no part of templates", node.lineno or 0, 1)


def _children(walk: _Walk, node: nodes.Node, place: _Place) -> None:
    walk.each(node.iter_child_nodes(), _Place(place.tolerant, False, place.names))


def _leaf(walk: _Walk, node: nodes.Node, place: _Place) -> None:
    pass


def _output(walk: _Walk, node: nodes.Output, place: _Place) -> None:
    walk.each(node.nodes, _Place(alone=True, names=place.names))


def _path(walk: _Walk, node: nodes.Expr, place: _Place) -> None:
    """A chain of names and subscripts: a reference when it starts with a root."""
    links: list[nodes.Getattr | nodes.Getitem] = []
    base = node
    while isinstance(base, (nodes.Getattr, nodes.Getitem)):
        links.append(base)
        base = base.node
    links.reverse()
    keys, last = _static_keys(walk, links, place)
    if not isinstance(base, nodes.Name):
        walk.visit(base, _Place(place.tolerant, False, place.names))
        return
    end = base.lineno + len(base.name)
    if last is not None and (match := _PART.match(walk.text, last.lineno)):
        end = match.end()
    ref = Ref(base.name, tuple(keys), place.tolerant, base.lineno, end - base.lineno)
    if base.name not in place.names:
        _record(walk, ref, place, whole=len(keys) == len(links))
    elif base.name == "loop" and (len(links) != 1 or keys[:1] not in [[name] for name in LOOP_NAMES]):
        raise _error(ref, "`loop` alone is no value", f"`loop` has {', '.join(LOOP_NAMES)}")


def _static_keys(
    walk: _Walk, links: Sequence[nodes.Getattr | nodes.Getitem], place: _Place
) -> tuple[list[str | int], nodes.Expr | None]:
    """The keys up to the first computed one, and the last link that has such a key. Computed keys are visited."""
    keys: list[str | int] = []
    last: nodes.Expr | None = None
    known = True
    for link in links:
        key = _static_key(link)
        if key is None:
            known = False
            assert isinstance(link, nodes.Getitem)
            walk.visit(link.arg, _Place(place.tolerant, False, place.names))
        elif known:
            keys.append(key)
            last = link
    return keys, last


def _static_key(link: nodes.Getattr | nodes.Getitem) -> str | int | None:
    if isinstance(link, nodes.Getattr):
        if link.attr.startswith("_"):
            fix = f"a key of that name is read as `['{link.attr}']`"
            raise TemplateError("names that start with `_` are not attributes", link.lineno, len(link.attr) + 1, fix)
        return link.attr
    arg, sign = link.arg, 1
    if isinstance(arg, nodes.Neg):
        arg, sign = arg.node, -1
    if not isinstance(arg, nodes.Const) or isinstance(arg.value, (bool, float)) or arg.value is None:
        return None
    if isinstance(arg.value, str):
        return arg.value if sign > 0 else None
    return sign * int(arg.value)


def _record(walk: _Walk, ref: Ref, place: _Place, *, whole: bool) -> None:
    if ref.root not in ROOTS:
        raise _error(ref, f"`{brief(ref.root)}` is no name that templates know", _root_fix(ref.root))
    if ref.root == "steps" and not (ref.path and isinstance(ref.path[0], str)):
        raise _error(ref, "which step is meant cannot be known before it runs", "name the step: `steps.ID.output`")
    if ref.root == "secrets":
        if not (place.alone and whole and len(ref.path) == 1 and isinstance(ref.path[0], str)):
            raise _secret_error(ref)
        walk.secrets.append(ref)
    walk.refs.append(ref)


def _root_fix(name: str) -> str:
    return did_you_mean(name, ROOTS) or f"a text is written in quotes: `'{brief(name)}'`"


def _secret_error(ref: Ref) -> TemplateError:
    name = ref.path[0] if ref.path else "NAME"
    fix = f"`{{{{ secrets.{name} }}}}` in `env` of `run` or `with` of `tool`"
    return _error(ref, "a secret stands alone in its braces, without filters", fix)


def _error(ref: Ref, message: str, fix: str | None = None) -> TemplateError:
    return TemplateError(message, ref.offset, ref.length, fix)


def _filter(walk: _Walk, node: nodes.Filter, place: _Place) -> None:
    params = FILTERS.get(node.name)
    if params is None:
        raise TemplateError(
            f"there is no filter `{brief(node.name)}`", node.lineno, len(node.name), closed(node.name, FILTERS)
        )
    positional: tuple[str, ...] = () if node.name in KEYWORD_ONLY else params
    check_arguments(node, positional, params, REQUIRED.get(node.name, 0))
    if node.name in TEST_POSITION:
        check_test_name(node, params.index("test"))
    if node.node is None:
        raise TemplateError("filters stand after a value", node.lineno, len(node.name))
    walk.visit(node.node, _Place(place.tolerant or node.name == "default", False, place.names))
    inner = _Place(place.tolerant, False, place.names)
    walk.each([*node.args, *(keyword.value for keyword in node.kwargs)], inner)


def _test(walk: _Walk, node: nodes.Test, place: _Place) -> None:
    match = _TEST_NAME.match(walk.text, node.lineno)
    at, length = (match.start(1), len(match[1])) if match else (node.lineno, 2)
    if node.name not in TESTS:
        raise TemplateError(f"there is no test `{brief(node.name)}`", at, length, closed(node.name, TESTS))
    if node.kwargs or node.dyn_args is not None or node.dyn_kwargs is not None or len(node.args) != TESTS[node.name]:
        raise TemplateError(f"the test `{node.name}` takes {TESTS[node.name] or 'no'} argument", at, length)
    walk.visit(node.node, _Place(place.tolerant or node.name == "defined", False, place.names))
    walk.each(node.args, _Place(place.tolerant, False, place.names))
    if node.name in ("==", "eq", "!=", "ne", "in"):
        _compared(walk, node.node, node.args[0])


def _compare(walk: _Walk, node: nodes.Compare, place: _Place) -> None:
    _children(walk, node, place)
    left = node.expr
    for operand in node.ops:
        if operand.op in ("eq", "ne", "in", "notin"):
            _compared(walk, left, operand.expr)
            if operand.op in ("eq", "ne"):
                _compared(walk, operand.expr, left)
        left = operand.expr


def _compared(walk: _Walk, left: nodes.Node, right: nodes.Node) -> None:
    """Notes that the reference `left` is compared with the text, or list of texts, `right`."""
    base = left
    while isinstance(base, (nodes.Getattr, nodes.Getitem)):
        base = base.node
    ref = next((r for r in walk.refs if isinstance(base, nodes.Name) and r.offset == base.lineno), None)
    if ref is None:
        return
    options = right.items if isinstance(right, (nodes.List, nodes.Tuple)) else [right]
    texts = [option.value for option in options if isinstance(option, nodes.Const) and isinstance(option.value, str)]
    walk.comparisons.extend((ref, text) for text in texts)


def _call(walk: _Walk, node: nodes.Call, place: _Place) -> None:
    name = node.node.attr if isinstance(node.node, nodes.Getattr) else getattr(node.node, "name", "")
    fix = f"use the filter: `| {name}`" if name in FILTERS else "templates have filters (`| upper`), no calls"
    raise TemplateError("calls are no part of templates", node.lineno, 1, fix)


def _condition(walk: _Walk, node: nodes.CondExpr, place: _Place) -> None:
    if node.expr2 is None:
        raise TemplateError("this `if` has no `else`", node.lineno, 1, "say what holds otherwise: `a if b else ''`")
    _children(walk, node, place)


def _map(walk: _Walk, node: nodes.Dict, place: _Place) -> None:
    for pair in node.items:
        if not (isinstance(pair.key, nodes.Const) and isinstance(pair.key.value, str)):
            raise TemplateError("a key of a map is a text in quotes", pair.lineno, 1)
    walk.each((pair.value for pair in node.items), _Place(place.tolerant, False, place.names))


def _loop(walk: _Walk, node: nodes.For, place: _Place) -> None:
    target = node.target
    if not isinstance(target, nodes.Name) or not _IDENTIFIER.match(target.name) or target.name in _OWN_NAMES:
        raise TemplateError("a loop names one plain variable of its own", node.lineno, 3, "`{% for x in list %}`")
    if node.recursive:
        raise TemplateError("a loop cannot be recursive", node.lineno, 3)
    if "loop" in place.names:
        raise TemplateError("a loop cannot stand in a loop", node.lineno, 3, "prepare the data in a `set` step")
    walk.visit(node.iter, place)
    if node.test is not None:
        walk.visit(node.test, _Place(names=place.names | {target.name}))
    walk.each(node.body, _Place(names=place.names | {target.name, "loop"}))
    walk.each(node.else_, place)


_VISIT: Final[dict[type[nodes.Node], Callable[[_Walk, Any, _Place], None]]] = {
    nodes.Template: _children,
    nodes.Output: _output,
    nodes.TemplateData: _leaf,
    nodes.If: _children,
    nodes.For: _loop,
    nodes.Name: _path,
    nodes.Getattr: _path,
    nodes.Getitem: _path,
    nodes.Slice: _children,
    nodes.Const: _leaf,
    nodes.Tuple: _children,
    nodes.List: _children,
    nodes.Dict: _map,
    nodes.CondExpr: _condition,
    nodes.Filter: _filter,
    nodes.Test: _test,
    nodes.Call: _call,
    nodes.Compare: _compare,
    nodes.Operand: _children,
    nodes.Concat: _children,
    nodes.And: _children,
    nodes.Or: _children,
    nodes.Not: _children,
    nodes.Neg: _children,
    nodes.Pos: _children,
    **dict.fromkeys(_ARITHMETIC, _children),
}
"""Every kind of node that a template may hold. What is not here is refused."""
