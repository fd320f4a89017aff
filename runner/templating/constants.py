"""Conditions that are true, or false, whatever the data: for the lint of `when` and `expr`. Nothing is run that costs anything:
filters and arithmetic are never folded."""

from __future__ import annotations

from typing import Any

from jinja2 import nodes

from runner.templating.environments import STRICT


def always(node: nodes.Expr) -> bool | None:
    """The constant truth of an expression, or None when it depends on data or cannot be told."""
    if isinstance(node, nodes.Not):
        inner = always(node.node)
        return None if inner is None else not inner
    if isinstance(node, (nodes.And, nodes.Or)):
        return _either(always(node.left), always(node.right), decisive=isinstance(node, nodes.Or))
    if isinstance(node, nodes.CondExpr) and node.expr2 is not None:
        test = always(node.test)
        if test is not None:
            return always(node.expr1 if test else node.expr2)
    value = _constant(node)
    return value if isinstance(value, bool) else None


def _either(left: bool | None, right: bool | None, *, decisive: bool) -> bool | None:
    """`a or b` is true as soon as one is true (`decisive`); `a and b` is false as soon as one is false."""
    if decisive in (left, right):
        return decisive
    return None if None in (left, right) else not decisive


def _constant(node: nodes.Expr) -> Any:
    try:
        return node.as_const(nodes.EvalContext(STRICT))
    except (nodes.Impossible, TypeError, ValueError):
        return None
