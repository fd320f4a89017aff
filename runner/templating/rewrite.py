"""The checked tree, rewritten so that every costly or revealing operation goes through a filter of ours: concatenation, slices,
comparisons, literals, loops, output. New nodes are built; the tree itself is never changed."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from typing import Any, Final

from jinja2 import nodes

from runner.templating.model import SOURCE_LIMIT

RESULT: Final = "result"
"""The name that a whole expression leaves its value under."""

Spans = Sequence[tuple[int, int]]
_Mark = str | None
"""What to wrap each path in: None, or the inner filter `_passing` or `_deferred`."""


def as_value(node: nodes.Expr) -> nodes.Template:
    """A template that leaves the value of `node` under the name `RESULT`."""
    target = nodes.Name(RESULT, "store", lineno=1)
    return nodes.Template([nodes.Assign(target, _inner("_end", _rewrite(node, None)), lineno=1)], lineno=1)


def as_text(node: nodes.Template, spans: Spans) -> nodes.Template:
    """The template with each expression made text. `spans`: offset and length of each expression, in order."""
    return nodes.Template([_statement(child, spans) for child in node.body], lineno=1)


def only_expression(node: nodes.Template) -> nodes.Expr:
    """The expression of a template that is one whole expression."""
    return next(
        child
        for output in node.body
        if isinstance(output, nodes.Output)
        for child in output.nodes
        if not isinstance(child, nodes.TemplateData)
    )


def _statement(node: nodes.Node, spans: Spans) -> nodes.Node:
    def body(children: list[nodes.Node]) -> list[nodes.Node]:
        return [_statement(child, spans) for child in children]

    if isinstance(node, nodes.Output):
        return nodes.Output([_output(child, spans) for child in node.nodes], lineno=node.lineno)
    if isinstance(node, nodes.If):
        elifs = [_statement(child, spans) for child in node.elif_]
        return nodes.If(_rewrite(node.test, None), body(node.body), elifs, body(node.else_), lineno=node.lineno)
    assert isinstance(node, nodes.For)
    test = None if node.test is None else _rewrite(node.test, None)
    cost = 1 + sum(1 for _ in node.find_all(nodes.Node))
    source = _inner("_loop", _rewrite(node.iter, None), nodes.Const(cost))
    return nodes.For(node.target, source, body(node.body), body(node.else_), test, False, lineno=node.lineno)


def _output(node: nodes.Expr, spans: Spans) -> nodes.Expr:
    if isinstance(node, nodes.TemplateData):
        return node
    offset, length = spans[bisect_right(spans, (_offset(node), SOURCE_LIMIT)) - 1]
    return _inner("_text", _rewrite(node, None), nodes.Const(offset), nodes.Const(length))


def _offset(node: nodes.Node) -> int:
    """The first offset of a node: an operator stands after its left side."""
    return min([node.lineno or 0, *(child.lineno for child in node.find_all(nodes.Expr) if child.lineno)])


def _inner(name: str, *args: nodes.Expr) -> nodes.Filter:
    return nodes.Filter(args[0], name, list(args[1:]), [], None, None, lineno=args[0].lineno or 1)


def _rewrite(node: nodes.Node, mark: _Mark) -> nodes.Expr:
    special = _REWRITE.get(type(node))
    return _rebuilt(node, mark) if special is None else special(node, mark)


def _rebuilt(node: Any, mark: _Mark) -> nodes.Expr:
    """The same node with its expressions rewritten."""
    fields = []
    for name in node.fields:
        value = getattr(node, name)
        if isinstance(value, list):
            value = [_rewrite_any(item, mark) for item in value]
        fields.append(_rewrite_any(value, mark))
    rebuilt: nodes.Expr = type(node)(*fields, lineno=node.lineno)
    return rebuilt


def _rewrite_any(value: Any, mark: _Mark) -> Any:
    return _rewrite(value, mark) if isinstance(value, (nodes.Expr, nodes.Helper)) else value


def _path(node: Any, mark: _Mark) -> nodes.Expr:
    """A chain of names and subscripts, marked as one."""
    chain = _chain(node, mark)
    return chain if mark is None else _inner(mark, chain)


def _chain(node: Any, mark: _Mark) -> nodes.Expr:
    if isinstance(node, nodes.Getattr):
        return nodes.Getattr(_chain(node.node, mark), node.attr, "load", lineno=node.lineno)
    if isinstance(node, nodes.Getitem) and not isinstance(node.arg, nodes.Slice):
        return nodes.Getitem(_chain(node.node, mark), _rewrite(node.arg, mark), "load", lineno=node.lineno)
    if isinstance(node, nodes.Getitem):
        part = node.arg
        assert isinstance(part, nodes.Slice)
        bounds = [
            nodes.Const(None) if end is None else _rewrite(end, mark) for end in (part.start, part.stop, part.step)
        ]
        return _inner("_slice", _rewrite(node.node, mark), *bounds)
    return node if isinstance(node, nodes.Name) else _rewrite(node, mark)


def _filter(node: nodes.Filter, mark: _Mark) -> nodes.Expr:
    assert node.node is not None
    inner, outer = (mark, mark) if node.name != "default" else ("_passing", mark or "_deferred")
    args = [_rewrite(arg, outer) for arg in node.args]
    named = [nodes.Keyword(k.key, _rewrite(k.value, outer), lineno=k.lineno) for k in node.kwargs]
    return nodes.Filter(_rewrite(node.node, inner), node.name, args, named, None, None, lineno=node.lineno)


def _test(node: nodes.Test, mark: _Mark) -> nodes.Expr:
    inner = "_passing" if node.name == "defined" else mark
    args = [_rewrite(arg, mark) for arg in node.args]
    return nodes.Test(_rewrite(node.node, inner), node.name, args, [], None, None, lineno=node.lineno)


def _concat(node: nodes.Concat, mark: _Mark) -> nodes.Expr:
    return _inner("_concat", *(_rewrite(part, mark) for part in node.nodes))


def _compare(node: nodes.Compare, mark: _Mark) -> nodes.Expr:
    ops = [nodes.Operand(operand.op, _operand(operand.expr, mark)) for operand in node.ops]
    return nodes.Compare(_operand(node.expr, mark), ops, lineno=node.lineno)


def _operand(node: nodes.Expr, mark: _Mark) -> nodes.Expr:
    return node if isinstance(node, nodes.Const) else _inner("_operand", _rewrite(node, mark))


def _list(node: nodes.List | nodes.Tuple, mark: _Mark) -> nodes.Expr:
    if not node.items:
        return nodes.List([], lineno=node.lineno)
    return _inner("_list", *(_rewrite(item, mark) for item in node.items))


def _map(node: nodes.Dict, mark: _Mark) -> nodes.Expr:
    if not node.items:
        return nodes.Dict([], lineno=node.lineno)
    return _inner("_map", *(part for pair in node.items for part in (pair.key, _rewrite(pair.value, mark))))


_REWRITE: Final[dict[type[nodes.Node], Callable[[Any, _Mark], nodes.Expr]]] = {
    nodes.Name: _path,
    nodes.Getattr: _path,
    nodes.Getitem: _path,
    nodes.Filter: _filter,
    nodes.Test: _test,
    nodes.Concat: _concat,
    nodes.Compare: _compare,
    nodes.List: _list,
    nodes.Tuple: _list,
    nodes.Dict: _map,
}
"""Nodes that do not stay as they are. Arithmetic does: the sandbox intercepts it."""
