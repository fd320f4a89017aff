"""The pass over fan-outs: what can be known of their items before a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from runner.core.compile.state import Compiling, Draft, Where
from runner.core.graph import Json
from runner.core.items import expand_matrix, key_text
from runner.core.rendered import BindError
from runner.diagnostics.model import Loc
from runner.templating import has_template, parse
from runner.templating.model import TemplateError


def check_fans(c: Compiling) -> None:
    """Axes, rows and keys of every fan-out."""
    for draft in c.drafts.values():
        if draft.fan == "matrix":
            _matrix(c, draft, (*draft.loc, "matrix"))
        elif draft.fan == "foreach":
            _foreach(c, draft, (*draft.loc, "foreach"))


def _matrix(c: Compiling, draft: Draft, loc: Loc) -> None:
    raw = draft.raw["matrix"]
    axes = {axis: raw[axis] for axis in raw if axis not in ("include", "exclude")}
    for axis, values in axes.items():
        if "*" not in draft.axes and axis not in draft.axes:
            c.report("unused-axis", Where((*loc, axis)), f"nothing uses `matrix.{axis}`", key=True)
        if isinstance(values, list) and not values:
            c.report("empty-axis", Where((*loc, axis)), f"the axis `{axis}` has no values, so the step would never run")
            return
    exclude = raw.get("exclude", [])
    if isinstance(exclude, list) and not _rows_fit(c, exclude, axes, (*loc, "exclude")):
        return
    known = {axis: _known_list(c, values) for axis, values in axes.items()}
    include = raw.get("include", [])
    lists = {axis: values for axis, values in known.items() if values is not None}
    if len(lists) < len(known) or has_template([include, exclude, lists]):
        return
    try:
        expand_matrix(lists, include, exclude, c.facts.max_steps)
    except BindError as error:
        rule = "limit" if "limit" in error.message else "duplicate-item"
        c.report(rule, Where(loc), error.message, key=True)


def _rows_fit(c: Compiling, rows: Sequence[Mapping[str, Json]], axes: Mapping[str, Json], loc: Loc) -> bool:
    unknown = [(index, axis) for index, row in enumerate(rows) for axis in row if axis not in axes]
    for index, axis in unknown:
        where = Where((*loc, index, axis))
        c.report("matrix-row", where, f"there is no axis `{axis}` to exclude from", c.meant(axis, axes), key=True)
    return not unknown


def _known_list(c: Compiling, values: Any) -> list[Json] | None:
    """A list as written, or a var that is one; None when it is known later."""
    if isinstance(values, list):
        return values
    var = _var_of(values)
    known = (c.data.get("vars") or {}).get(var) if var is not None else None
    return known if isinstance(known, list) else None


def _var_of(text: str) -> str | None:
    """The var that a template is, such as `{{ vars.envs }}`."""
    try:
        parsed = parse(text)
    except TemplateError:
        return None
    if not parsed.whole or len(parsed.refs) != 1:
        return None
    ref = parsed.refs[0]
    alone = text.strip().strip("{}").strip() == f"vars.{ref.path[0]}" if ref.path else False
    return str(ref.path[0]) if ref.root == "vars" and alone else None


def _foreach(c: Compiling, draft: Draft, loc: Loc) -> None:
    raw = draft.raw["foreach"]
    short = not isinstance(raw, Mapping)
    source, key = (raw, None) if short else (raw["in"], raw.get("key"))
    values = _known_list(c, source)
    if values is None:
        return
    where = Where(loc if short else (*loc, "in"))
    if len(values) > c.facts.max_steps:
        c.report("limit", where, f"{len(values)} items are more than the limit `steps`: {c.facts.max_steps}")
    elif key is not None and "".join(key.split()) == "{{item}}" and not has_template(values):
        _keys(c, values, where)


def _keys(c: Compiling, values: Sequence[Json], where: Where) -> None:
    seen: set[str] = set()
    for value in values:
        text = key_text(value)
        if text in seen:
            c.report("duplicate-item", where, f"two items have the key {text}")
            return
        seen.add(text)
