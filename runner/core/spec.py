"""What an attempt is told: its inputs, rendered, and what is asked of its result."""

from __future__ import annotations

from collections.abc import Mapping

from runner.core import bind
from runner.core.graph import Body, Check, GraphStep, Json
from runner.core.rendered import Room
from runner.core.secret_leaves import Secrets, render_leaves
from runner.templating import render_text, render_tree


def spec_of(step: GraphStep, body: Body, context: dict[str, Json], env: Json) -> dict[str, Json]:
    """What the result must be like and what becomes of it, where it is worked, and what checks may read. Raises TemplateError, BindError."""
    spec: dict[str, Json] = {}
    if step.returns is not None:
        spec["returns"] = step.returns
    if body.checks:
        spec["checks"] = [_check(check, context) for check in body.checks]
    if step.save is not None:
        spec["save"] = {
            "path": render_text(step.save["path"], context, tolerant=step.final),
            "from": step.save.get("from"),
        }
    if env:
        spec["env"] = env
    if step.cwd is not None:
        spec["cwd"] = render_text(step.cwd, context, tolerant=step.final)
    if step.workspace is not None:
        spec["workspace"] = step.workspace
    if body.checks or (step.save is not None and step.save.get("from")):
        spec["context"] = context
    return spec


def _check(check: Check, context: Mapping[str, Json]) -> dict[str, Json]:
    """What a worker is told of a check: what may use inputs, vars and matrix alone is bound, the rest is for when there is a result."""
    spec: dict[str, Json] = {"kind": check.kind, **check.spec}
    if check.kind == "judge":
        spec["judge"] = {**spec["judge"], "route": bind.hints_of(spec["judge"].get("route") or {}, context)}
    elif check.kind == "run":
        spec["timeout"] = bind.check_timeout_ms(spec["timeout"], context)
    return spec


def rendered(value: Json, context: Mapping[str, Json], tolerant: bool) -> Json:
    """Values that are computed of others, and may be many. Raises TemplateError."""
    room = Room()
    if not isinstance(value, Mapping):
        return room.take(render_tree(value, context, tolerant=tolerant))
    return {name: room.take(render_tree(one, context, tolerant=tolerant)) for name, one in value.items()}


def render_inputs(body: Body, context: Mapping[str, Json], *, tolerant: bool) -> tuple[dict[str, Json], Secrets]:
    """The inputs of a command or tool, and where secrets belong in them. Raises TemplateError."""
    if body.verb == "tool":
        return render_leaves({"tool": body.call["tool"], "with": body.call["with"]}, context, tolerant=tolerant)
    if body.call.get("script") is not None:
        return {"script": body.call["script"]}, {}  # a script is never rendered: `{{` in it belongs to the shell
    return render_leaves({"argv": body.call["argv"]}, context, tolerant=tolerant)
