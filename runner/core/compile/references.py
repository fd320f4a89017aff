"""The pass that reads every template: what it names must exist and be allowed there, and a step that it names is an edge."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping

from runner.core.compile.configured import DEFINE
from runner.core.compile.places import Place, outer_places, step_places
from runner.core.compile.scope import ERROR_FIELDS, GROUP_FIELDS, PLACE_OF, RUN_FIELDS, STEP_FIELDS
from runner.core.compile.state import Compiling, Draft, Where, verb_of
from runner.core.graph import EdgeKind, Json
from runner.templating import Parsed, Ref, TemplateError, evaluate, parse, parse_expression

OWN_NAME = (
    r"\{\{-?\s*((?:inputs|vars|steps|run|matrix|secrets)(?=[.\[])|"
    r"(?:item|index|key|output|text|previous|feedback|round|error)(?=\s*(?:\}\}|\|)|\.\w|\[))[^{}\n]*"
)
"""`{{` followed by one of our names. `{{index .X}}` and `{{.Names}}` belong to other tools."""

_RULES: tuple[tuple[str, str], ...] = (
    ("is no name that templates know", "unknown-name"),
    ("^there is no filter", "unknown-filter"),
    ("^there is no test", "unknown-test"),
    ("^a secret ", "secret-place"),
    ("^which step is meant", "unknown-value"),
    ("bare expression already", "template-in-expression"),
    ("^this cannot be read", "template-syntax"),
    ("nested|larger than|may have at most|KiB|deep at most", "template-limit"),
    ("no statement|in prompts only|no part of templates|^a loop|not attributes", "template-place"),
)
"""Which rule a template's error breaks, by its message; everything else is `template-syntax`."""


def read_references(c: Compiling) -> None:
    """Judge every template, and note the edges of every step."""
    reader = _Reader(c)
    for place in outer_places(c):
        reader.read(None, place)
    for draft in c.drafts.values():
        for place in step_places(c, draft):
            reader.read(draft, place)


class _Reader:
    """Reads templates of one manifest; knows its names."""

    def __init__(self, c: Compiling) -> None:
        self.c = c
        self.inputs = {name.removesuffix("?") for name in c.data.get("inputs") or {}}
        self.vars = set(c.data.get("vars") or {})
        self._fields: dict[str, frozenset[str] | None] = {}
        self._marked: set[bool] = set()

    def read(self, draft: Draft | None, place: Place) -> None:
        """Judge one template."""
        if draft is not None and "ARES_RUN_DIR" in place.text:
            draft.volatile = True
        if place.form == "script":
            self._script(place)
            return
        if place.form == "literal":
            self._literal(place)
            return
        try:
            parsed = _parse(place)
        except TemplateError as error:
            rule = next((rule for pattern, rule in _RULES if re.search(pattern, error.message)), "template-syntax")
            self.c.report(rule, _where(place, error.offset, error.length), error.message, error.fix)
            return
        for ref in parsed.refs:
            self._ref(draft, place, ref)
        if place.form == "expr":
            self._lint(draft, place, parsed)

    def _literal(self, place: Place) -> None:
        match = re.search(OWN_NAME, place.text)
        if match is not None:
            message = f"`{place.part}` is plain data, which is never rendered"
            self.c.report("template-place", _where(place, match.start(), len(match[0])), message)

    def _script(self, place: Place) -> None:
        if "{{" not in place.text:
            return
        for match in re.finditer(OWN_NAME, place.text):
            name = re.sub(r"\W+", "_", match[1]).strip("_")
            inner = match[0].lstrip("{-").strip()
            parts = [part for part in re.split(r"\W+", inner) if part]
            variable = (parts[-1] if parts else name).upper()
            fix = f'env: {{{variable}: "{{{{ {inner} }}}}"}} and `"${variable}"` in the script'
            message = "a script is passed to the shell as it is written, so values go in through `env`"
            self.c.report("script-template", _where(place, match.start(), len(match[0])), message, fix)

    # ------------------------------------------------------------ references

    def _ref(self, draft: Draft | None, place: Place, ref: Ref) -> None:
        if ref.root not in place.scope.roots:
            self._out_of_scope(place, ref)
            return
        judge = _JUDGES.get(ref.root)
        if judge is not None:
            judge(self, draft, place, ref)

    def _out_of_scope(self, place: Place, ref: Ref) -> None:
        rule = "secret-place" if ref.root == "secrets" else "template-scope"
        message = f"`{ref.root}` cannot be used here; it can {PLACE_OF[ref.root]}"
        fix = None
        if ref.root == "error" and len(place.loc) > 1:
            fix = "a step reads another's with `steps.<id>.error`"
        self._report(rule, place, ref, message, fix)

    def _report(self, rule: str, place: Place, ref: Ref, message: str, fix: str | None = None) -> None:
        self.c.report(rule, _where(place, ref.offset, ref.length), message, fix)

    def _unknown(self, rule: str, place: Place, ref: Ref, word: object, what: str, known: Collection[str]) -> None:
        self._report(rule, place, ref, f"{what} `{word}`", self.c.meant(str(word), known, listed=True))

    def _input(self, draft: Draft | None, place: Place, ref: Ref) -> None:
        if ref.path and ref.path[0] not in self.inputs:
            self._unknown("unknown-input", place, ref, ref.path[0], "there is no input", self.inputs)

    def _var(self, draft: Draft | None, place: Place, ref: Ref) -> None:
        if ref.path and ref.path[0] not in self.vars:
            self._unknown("unknown-var", place, ref, ref.path[0], "there is no var", self.vars)

    def _axis(self, draft: Draft | None, place: Place, ref: Ref) -> None:
        assert draft is not None  # `matrix` is in no scope outside steps
        draft.axes.add(str(ref.path[0]) if ref.path else "*")
        known = _axes(draft)
        if ref.path and known is not None and ref.path[0] not in known:
            self._unknown("unknown-axis", place, ref, ref.path[0], "this step's matrix has no axis", known)

    def _run(self, draft: Draft | None, place: Place, ref: Ref) -> None:
        fields = place.scope.run
        if not ref.path:
            self._report(
                "unknown-field", place, ref, "`run` alone is no value", f"there are {', '.join(sorted(fields))}"
            )
        elif ref.path[0] not in fields:
            if ref.path[0] in ("state", "mode", "cost_usd", "failed"):
                message = f"`run.{ref.path[0]}` is known in `finally`, `show` and `outputs` only: elsewhere results would depend on timing"
                self._report("template-scope", place, ref, message)
            else:
                self._unknown("unknown-field", place, ref, ref.path[0], "`run` has no field", fields)
        elif draft is not None and ref.path[0] in RUN_FIELDS - {"name"}:
            draft.volatile = True
        elif draft is None and ref.path[0] in ("id", "dir") and place.loc[0] != "outputs":
            self._mark_volatile(place)

    def _mark_volatile(self, place: Place) -> None:
        """`env` is part of every command, `cwd` of `defaults` of every command and agent; `outputs` are no part of a step."""
        agents = place.loc[-1] == "cwd"
        if agents in self._marked:
            return  # as many as there are values, and steps: not each with each
        self._marked.add(agents)
        users = {"run", "agent"} if agents else {"run"}
        for draft in self.c.drafts.values():
            if not users.isdisjoint(_verbs(draft)):
                draft.volatile = True

    def _error(self, draft: Draft | None, place: Place, ref: Ref) -> None:
        if ref.path and ref.path[0] not in ERROR_FIELDS:
            self._unknown("unknown-field", place, ref, ref.path[0], "`error` has no field", ERROR_FIELDS)

    def _secret(self, draft: Draft | None, place: Place, ref: Ref) -> None:
        known = self.c.facts.secrets
        if known is not None and ref.path and ref.path[0] not in known:
            message = f"config defines no secret `{ref.path[0]}`"
            self._report("not-configured", place, ref, message, self.c.meant(str(ref.path[0]), known) or DEFINE)

    def _step(self, draft: Draft | None, place: Place, ref: Ref) -> None:
        id = str(ref.path[0])
        target = self.c.drafts.get(id)
        if target is None:
            self._unknown("unknown-step", place, ref, id, "there is no step", self.c.drafts)
        elif draft is not None and draft.id == id:
            self._report("self-reference", place, ref, f"`{id}` reads itself", _self_fix(place))
        elif draft is not None and target.final and not draft.final:
            message = f"`{id}` is a `finally` step: it runs after all main steps"
            self._report("final-reference", place, ref, message)
        else:
            self._field(target, place, ref)
            if draft is not None:
                draft.wait_for(id, _edge_kind(draft, target, ref), _where(place, ref.offset, ref.length))

    def _field(self, target: Draft, place: Place, ref: Ref) -> None:
        if len(ref.path) < 2:
            self._report(
                "unknown-field", place, ref, f"`steps.{target.id}` alone is no value", "say `.output` or `.text`"
            )
            return
        field = ref.path[1]
        if field not in STEP_FIELDS:
            self._unknown("unknown-field", place, ref, field, "a step has no field", STEP_FIELDS)
        elif target.fan and field not in GROUP_FIELDS:
            message = f"`{target.id}` fans out, so it has no `{field}` of its own"
            self._report("fan-state", place, ref, message, "use `.output` or `.items`")
        elif field == "error" and len(ref.path) > 2 and ref.path[2] not in ERROR_FIELDS:
            self._unknown("unknown-field", place, ref, ref.path[2], "`error` has no field", ERROR_FIELDS)
        elif field == "output" and len(ref.path) > 2 and not target.fan:
            known = self._output_fields(target)
            if known is not None and ref.path[2] not in known:
                what = f"the output of `{target.id}` has no field"
                self._unknown("unknown-field", place, ref, ref.path[2], what, known)

    def _output_fields(self, target: Draft) -> frozenset[str] | None:
        """The fields of a step's output; None when they are not known."""
        if target.id not in self._fields:
            self._fields[target.id] = _output_fields(self.c, target)
        return self._fields[target.id]

    # ------------------------------------------------------------ conditions

    def _lint(self, draft: Draft | None, place: Place, parsed: Parsed) -> None:
        where = _where(place, 0, len(place.text))
        if not parsed.refs and parsed.always is None and not isinstance(_constant(place.text), bool):
            self.c.report("not-boolean", where, "a condition gives true or false; this one is something else")
        if parsed.always is not None:
            rule = "always-true" if parsed.always else "always-false"
            self.c.report(rule, where, f"this condition is always {'true' if parsed.always else 'false'}")
        if place.part != "when":
            return
        literals = dict(reversed(parsed.comparisons))  # of several literals, the first is shown
        for ref, literal in literals.items():
            target = self.c.drafts.get(str(ref.path[0])) if ref.root == "steps" and ref.path else None
            if target is not None and _is_free_text(target, ref):
                message = f"`{target.id}` answers in its own words, so comparing them with '{literal}' is brittle"
                fix = "ask for a field with `returns` and compare that"
                if isinstance(returns := target.raw.get("returns"), Mapping) and returns:
                    fix = f"compare a field of it: `steps.{target.id}.output.{next(iter(returns)).removesuffix('?')}`"
                self._report("text-literal", place, ref, message, fix)


_JUDGES: Mapping[str, Callable[[_Reader, Draft | None, Place, Ref], None]] = {
    "inputs": _Reader._input,
    "vars": _Reader._var,
    "matrix": _Reader._axis,
    "run": _Reader._run,
    "error": _Reader._error,
    "secrets": _Reader._secret,
    "steps": _Reader._step,
}


def _constant(expression: str) -> Json:
    """The value of an expression that reads nothing; true when it has none, which only a run can tell."""
    try:
        return evaluate(expression, {})
    except TemplateError:
        return True


def _parse(place: Place) -> Parsed:
    if place.form == "expr":
        return parse_expression(place.text)
    return parse(place.text, blocks=place.form == "blocks")


def _where(place: Place, offset: int, length: int) -> Where:
    if place.file:
        return Where(place.loc, None, place.file, place.text.count("\n", 0, offset) + 1)
    return Where(place.loc, (offset, length))


def _edge_kind(draft: Draft, target: Draft, ref: Ref) -> EdgeKind:
    if draft.final and not target.final:
        return "tolerant"
    if ref.state_only:
        return "state"
    return "tolerant" if ref.tolerant else "data"


def _self_fix(place: Place) -> str:
    if place.part in ("checks", "save"):
        return "here the step's own result is `output` and `text`"
    return "in repair rounds the last result is `previous`"


def _axes(draft: Draft) -> set[str] | None:
    """The axes of a step's matrix with what `include` adds; None when `include` is a template."""
    matrix = draft.raw["matrix"]
    rows = matrix.get("include", [])
    if isinstance(rows, str):
        return None
    return {axis for axis in matrix if axis not in ("include", "exclude")}.union(*rows)


def _verbs(draft: Draft) -> set[str]:
    return {draft.verb, *(verb_of(entry) for entry in draft.raw.get("fallback", ()))}


def _output_fields(c: Compiling, target: Draft) -> frozenset[str] | None:
    raw = target.raw
    if "returns" in raw:
        return frozenset(name.removesuffix("?") for name in raw["returns"])
    if raw.get("fallback"):
        return None
    if target.verb == "set":
        return frozenset(raw["set"])
    if target.verb == "approve":
        return frozenset({"by", "comment", "at"})
    callee = c.callees.graphs.get(raw["call"]) if target.verb == "call" else None
    return None if callee is None or isinstance(callee.outputs, str) else frozenset(callee.outputs)


def _is_free_text(target: Draft, ref: Ref) -> bool:
    if target.verb not in ("model", "agent") or target.fan or len(ref.path) != 2:
        return False
    return ref.path[1] == "text" or (ref.path[1] == "output" and "returns" not in target.raw)
