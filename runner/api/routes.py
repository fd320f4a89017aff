"""Who would do a step, and why: every way of it (the step, its fallbacks, its judges), every candidate with its reason.

For `runner route` and `plan`. Nothing is asked, started or resolved; a prompt that depends on what other steps return is not known
yet, and what depends on it is said to be so.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, cast

from runner import spelling
from runner.core import bind
from runner.core.graph import Body, GraphStep, Json, StepGraph
from runner.core.plan import RouteChoice
from runner.core.prepare import LOCAL
from runner.core.roster import Kind, Roster, roster
from runner.core.router import Outlook, Routed, Verdict, Want, estimate_tokens, route_in
from runner.errors import UsageError
from runner.manifest.config import Config
from runner.manifest.vocabulary import MODES
from runner.templating import TemplateError, parse, render

ROUTED: Mapping[str, Kind] = {"agent": "agent", "model": "model"}
_KNOWN = frozenset({"inputs", "vars", "matrix"})
"""What templates may name that is known before any step has run."""


class Way(NamedTuple):
    """One way to do a step. `name`: "step", "fallback 1", "judge of check 2". `prompt`: why the prompt is not known yet; "" = it is.
    `target`, `trouble`: of a way that nobody routes, who does it, and why nobody may."""

    name: str
    verb: str
    routed: Routed | None = None
    prompt: str = ""
    sent: int | None = None
    """About how many tokens the prompt has; None = not known yet."""
    most: int | None = None
    """The longest answer in tokens; None = nobody limits it."""
    target: str = ""
    trouble: str = ""

    @property
    def tokens(self) -> int | None:
        """About how many tokens prompt and answer need, as far as that is known."""
        return None if self.sent is None else self.sent + (self.most or 0)

    @property
    def first(self) -> str | None:
        """Who is asked first; None when nobody may start now."""
        verdicts = self.routed.verdicts if self.routed is not None else ()
        return next((verdict.label for verdict in verdicts if verdict.shown), None)

    @property
    def choices(self) -> tuple[RouteChoice, ...]:
        """The candidates as a plan tells them: the first that may start is taken."""
        if self.routed is None:
            taken = RouteChoice(self.target, not self.trouble, self.trouble or _SAYS.get(self.verb, ""))
            return (taken,) if self.target else ()
        first = self.first
        return tuple(RouteChoice(v.label, v.label == first, shown_reason(v, first)) for v in self.routed.verdicts)


_SAYS = {"tool": "the server that the step names", "run": "a local command"}


def shown_reason(verdict: Verdict, first: str | None) -> str:
    """Why: what refuses or hides it, its place in the chain, or that it has to wait for its turn."""
    if not verdict.shown:
        return verdict.reason
    return verdict.reason if verdict.label == first else f"{verdict.reason}: asked when those before it fail"


class Router(NamedTuple):
    """The router with all that it needs but the step."""

    roster: Roster
    outlook: Outlook
    deny_unpriced: bool
    """`budget.unpriced: deny` in the config."""
    most_items: int
    """`limits.steps` of the config."""

    @classmethod
    def of(cls, config: Config, outlook: Outlook) -> "Router":
        """As a completed config says."""
        return cls(roster(config), outlook, config.budget.unpriced == "deny", config.limits.steps)

    def ways(self, graph: StepGraph, step: GraphStep, inputs: Mapping[str, Json]) -> tuple[Way, ...]:
        """Every way of a step, with its judges. `inputs` are bound."""
        try:
            values = _values(graph, step, inputs, self.most_items)
        except (bind.BindError, TemplateError) as error:
            return (Way("step", step.verb, Routed(ROUTED.get(step.verb, "model"), trouble=error.message)),)
        return tuple(
            found
            for level, body in enumerate(step.bodies)
            for found in self._ways(graph, step, body, f"fallback {level}" if level else "step", values)
        )

    def _ways(
        self, graph: StepGraph, step: GraphStep, body: Body, name: str, values: Mapping[str, Json]
    ) -> Iterator[Way]:
        yield self._way(graph, step, body, name, values)
        for number, check in enumerate(body.checks, start=1):
            if check.kind == "judge":
                judge = check.spec["judge"]
                asked = Body("model", {"prompt": ""}, dict.fromkeys(MODES, judge.get("route") or {}))
                whose = f"judge of check {number}" if name == "step" else f"judge of check {number} of {name}"
                found = self._way(graph, step, asked, whose, values)
                yield found._replace(prompt="it holds the result that is judged", sent=None)

    def _way(self, graph: StepGraph, step: GraphStep, body: Body, name: str, values: Mapping[str, Json]) -> Way:
        kind = ROUTED.get(body.verb)
        if kind is None:
            return Way(name, body.verb, target=_target(body), trouble=self.outlook.policy.refusal(body) or "")
        prompt, unknown = _prompt(body, values)
        sent = None if prompt is None else estimate_tokens(prompt) + estimate_tokens(str(body.call.get("system") or ""))
        most = _most(body)
        try:
            usual = bind.route(body, "normal", values)
            want = Want(
                kind,
                hints=bind.route(body, self.outlook.mode, values),
                labels=step.labels,
                prompt=prompt,
                tokens=None if sent is None or kind == "agent" else sent + (most or 0),
                deny_unpriced=self._denies_unpriced(graph, step, values),
                tools=bool(body.call.get("allowed_tools")),
            )
        except (bind.BindError, TemplateError) as error:
            return Way(name, body.verb, Routed(kind, trouble=error.message), prompt=unknown)
        return Way(name, body.verb, route_in(want, usual, self.roster, self.outlook), unknown, sent, most)

    def _denies_unpriced(self, graph: StepGraph, step: GraphStep, values: Mapping[str, Json]) -> bool:
        caps = (bind.budget(graph.budget, values), bind.budget(step.budget, values))
        return self.deny_unpriced or any(cap.get("unpriced") == "deny" for cap in caps)


def is_routed(step: GraphStep) -> bool:
    """Does the router choose for any way of it, or for who judges it?"""
    return any(body.verb in ROUTED or any(check.kind == "judge" for check in body.checks) for body in step.bodies)


def find_step(graphs: Sequence[StepGraph], name: str) -> tuple[StepGraph, GraphStep]:
    """The step that `STEP` or `MANIFEST/STEP` means. Raises UsageError when there is none, or more than one."""
    manifest, slash, id = name.rpartition("/")
    among = [graph for graph in graphs if not slash or graph.name == manifest]
    if slash and not among:
        raise UsageError(
            f"no manifest {manifest!r}", hint=f"manifests here: {', '.join(graph.name for graph in graphs)}"
        )
    found = [graph for graph in among if id in graph.by_id]
    if len(found) > 1:
        names = ", ".join(f"{graph.name}/{id}" for graph in found)
        raise UsageError(f"several manifests have a step {id!r}", hint=f"name one of {names}")
    if not found:
        steps = [step for graph in among for step in graph.by_id]
        near = spelling.near(id, steps)
        hint = f"did you mean {near}?" if near else f"steps: {', '.join(steps[:20]) or 'none'}"
        raise UsageError(f"no manifest here has a step {id!r}", hint=hint)
    return found[0], found[0].by_id[id]


# ---------------------------------------------------------------- what is known before anything has run


def _values(graph: StepGraph, step: GraphStep, inputs: Mapping[str, Json], most_items: int) -> dict[str, Json]:
    """Inputs and vars; of a matrix the first combination stands for all."""
    values: dict[str, Json] = {"inputs": dict(inputs), "vars": bind.bind_vars(graph, inputs)}
    if step.fan is not None and step.fan.kind == "matrix" and (items := bind.matrix_items(step, values, most_items)):
        values["matrix"] = items[0].value
    return values


def _prompt(body: Body, values: Mapping[str, Json]) -> tuple[str | None, str]:
    """(the prompt with what is known, or None; why it is not known, or "")."""
    try:
        texts = [str(body.call["prompt"]), str(body.call.get("system") or "")]
        waits = _waits([ref for text in texts for ref in parse(text, blocks=True).refs], values)
        if waits:
            return None, f"depends on {', '.join(waits)}"
        return str(render(texts[0], values, blocks=True)), ""
    except TemplateError as error:
        return None, error.message


def _waits(refs: Sequence[Any], values: Mapping[str, Json]) -> list[str]:
    """What stands in a prompt and is known only later, as steps and names."""
    names = [f"steps.{ref.path[0]}" if ref.root == "steps" and ref.path else ref.root for ref in refs]
    return list(dict.fromkeys(n for n, ref in zip(names, refs, strict=True) if ref.root not in _KNOWN & values.keys()))


def _most(body: Body) -> int | None:
    answer = body.call.get("max_tokens")
    return answer if isinstance(answer, int) and not isinstance(answer, bool) else None


def _target(body: Body) -> str:
    match body.verb:
        case "tool":
            return str(body.call["server"])
        case "run":
            return LOCAL
        case _:
            return ""


# ---------------------------------------------------------------- JSON


def route_json(graph: StepGraph, step: GraphStep, ways: Sequence[Way], outlook: Outlook) -> dict[str, Any]:
    """The document of `route --json`."""
    return {
        "version": 1,
        "manifest": graph.name,
        "file": graph.file,
        "step": step.id,
        "mode": outlook.mode,
        "ways": [_way_json(way) for way in ways],
    }


def _way_json(way: Way) -> dict[str, Any]:
    routed = way.routed
    return {
        "way": way.name,
        "verb": way.verb,
        "source": (routed.source if routed else "") or None,
        "trouble": (routed.trouble if routed else way.trouble) or None,
        "model": routed.model if routed else None,
        "prompt": way.prompt or None,
        "tokens": way.tokens,
        "notes": list(routed.notes) if routed else [],
        "candidates": [
            {"target": choice.target, "taken": choice.taken, "reason": choice.reason, **_stand(way, choice)}
            for choice in way.choices
        ],
    }


def _stand(way: Way, choice: RouteChoice) -> dict[str, Any]:
    verdict = cast(Verdict, way.routed.verdict(choice.target)) if way.routed else None
    if verdict is None:
        return {"stand": "taken" if choice.taken else "refused", "until": None}
    return {"stand": verdict.stand, "until": verdict.until}
