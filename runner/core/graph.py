"""The compiled manifest: a `StepGraph` of one step kind, plain data through and through.

Strings that hold `{{` are templates, rendered when the step is prepared; durations are integer milliseconds, money is
integer micro-USD. A run keeps the graph that it started with as JSON (`dump`, `load`), so later edits never reach it.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from functools import cache, cached_property
from operator import attrgetter
from typing import Any, Literal, NamedTuple

from runner.manifest.vocabulary import Effects, ErrorClass, Mode, Verb

EdgeKind = Literal["data", "order", "state", "tolerant"]
Json = Any
"""A JSON value: None, bool, int, float, str, list, dict with string keys."""


class Edge(NamedTuple):
    """`to` must be settled before the reader starts.

    data: a strict reference (skipped → reader skipped, failed → blocked). order: `needs` (skipped passes, failed blocks).
    state (`.state`, `.error`) and tolerant (left of `| default`): only wait.
    """

    to: str
    kind: EdgeKind = "data"


class Check(NamedTuple):
    """One entry of `checks`. `spec`: {"expr": text} | {"run": {"argv"|"script"|"file": …}, "timeout": ms} |
    {"changed": {"only": [...], "min_files": n, "max_files": n|None}} | {"judge": {"prompt": text, "route": {}}, "min": x}."""

    kind: Literal["expr", "run", "changed", "judge"]
    spec: Mapping[str, Json]


class Repair(NamedTuple):
    """Run again while checks or `returns` fail, at most `max` rounds more."""

    max: int
    session: Literal["keep", "new"] = "keep"


class Body(NamedTuple):
    """One way to do a step: the step itself (`bodies[0]`), then its `fallback` entries in order.

    `call` by verb: tool {"server","tool","with"} · run {"argv": [...]} or {"script": text} · agent {"prompt","cwd"?,
    "allowed_tools"?} · model {"prompt","system"?,"temperature"?,"max_tokens"?} · call {"manifest","with"} · approve {"message",
    "show","otherwise"} · wait {"ms"} or {"until"} · set {"values"} · fail {"message"}.
    `route` is merged per mode. `timeout`/`idle`: milliseconds, a template, or None.
    `errors`, `when` belong to fallback entries only. `effects` None = the verb's default (a tool's: by its annotations).
    """

    verb: Verb
    call: Mapping[str, Json]
    route: Mapping[Mode, Mapping[str, Json]] = {}
    timeout: int | str | None = None
    idle: int | str | None = None
    checks: tuple[Check, ...] = ()
    repair: Repair | None = None
    effects: Effects | str | None = None
    errors: tuple[ErrorClass, ...] | None = None
    when: str | None = None


class Fan(NamedTuple):
    """`foreach` ({"in": template or list, "key": template or None}) or `matrix` ({"axes": {}, "include": [], "exclude": []})."""

    kind: Literal["foreach", "matrix"]
    spec: Mapping[str, Json]
    max_parallel: int | None = None
    join: Literal["all", "settled"] = "all"


@dataclass(frozen=True, slots=True)
class GraphStep:
    """One step. `faults[mode]` = {"retry": {"max","delay","backoff","max_delay","jitter","errors"}, "fallback": bool,
    "exhausted": "fail|skip|suspend", "skip": [labels]}, delays in milliseconds; `origins["normal.retry.max"]` names the layer
    (built-in, config, extends, defaults, step) of each value of `faults` and `route`. `own_retry_errors` are the classes named in
    the step's own `retry.errors`: an author's consent to repeat a `once` step. `definition` digests what makes the result
    (the reuse key's part that is known without inputs). `volatile`: names `run.id` or `run.dir`, so never reused."""

    id: str
    bodies: tuple[Body, ...]
    edges: tuple[Edge, ...] = ()
    when: str | None = None
    fan: Fan | None = None
    faults: Mapping[Mode, Mapping[str, Json]] = field(default_factory=dict)
    origins: Mapping[str, str] = field(default_factory=dict)
    own_retry_errors: tuple[ErrorClass, ...] = ()
    returns: Mapping[str, Json] | None = None
    """JSON Schema (object) that the output must satisfy."""
    reuse: Literal["auto", "never"] = "auto"
    files: tuple[str, ...] = ()
    save: Mapping[str, Json] | None = None
    """{"path": template, "from": template or None}."""
    env: Mapping[str, Json] = field(default_factory=dict)
    cwd: str | None = None
    labels: Mapping[str, Json] = field(default_factory=dict)
    optional: bool = False
    budget: Mapping[str, Json] | None = None
    workspace: Mapping[str, Json] | None = None
    final: bool = False
    volatile: bool = False
    definition: str = ""
    line: int = 0

    @property
    def verb(self) -> Verb:
        return self.bodies[0].verb


class InputSpec(NamedTuple):
    """One declared input: its JSON Schema, and whether it must be given."""

    schema: Mapping[str, Json]
    required: bool
    default: Json = None
    description: str = ""


@dataclass(frozen=True)
class StepGraph:
    """A manifest after `extends`, `file:`, defaults and every check. `digest` changes when anything that apply compares changes:
    the manifest after `extends`, the contents of `file:`, and its callees (`callees`: manifest name → digest of its graph)."""

    name: str
    digest: str
    file: str
    steps: tuple[GraphStep, ...]
    description: str = ""
    labels: Mapping[str, Json] = field(default_factory=dict)
    inputs: Mapping[str, InputSpec] = field(default_factory=dict)
    vars: Mapping[str, Json] = field(default_factory=dict)
    outputs: Mapping[str, Json] | str = field(default_factory=dict)
    budget: Mapping[str, Json] | None = None
    timeout: int | str | None = None
    concurrency: int | None = None
    triggers: Mapping[str, Json] = field(default_factory=dict)
    callees: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def by_id(self) -> Mapping[str, GraphStep]:
        return {step.id: step for step in self.steps}

    @cached_property
    def text(self) -> str:
        """As the record keeps it (`dump`), made once: many runs of one graph may start in a row."""
        return dump(self)


def dump(graph: StepGraph) -> str:
    """The graph as JSON text. Fields that hold their default are left out, and policies that steps share are written once: a
    step's own are most of what it takes, and hardly any step has some."""
    policies = {tuple(map(id, _shared(step))): _shared(step) for step in graph.steps}
    places = {kind: place for place, kind in enumerate(policies)}
    steps = [_step_json(step, places[tuple(map(id, _shared(step)))]) for step in graph.steps]
    data = {**_given(graph), "steps": steps, "policies": list(policies.values())}
    return json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def load(text: str) -> StepGraph:
    """The graph that `dump` wrote. Raises ValueError, KeyError or TypeError for any other text."""
    data = json.loads(text)
    policies = data.pop("policies", ())
    return StepGraph(
        **data
        | {
            "steps": tuple(_step(step, policies) for step in data["steps"]),
            "inputs": {name: InputSpec(**spec) for name, spec in data.get("inputs", {}).items()},
        }
    )


def _shared(step: GraphStep) -> tuple[Json, Json, Json]:
    return step.faults, step.origins, step.bodies[0].route


def _step_json(step: GraphStep, policy: int) -> dict[str, Json]:
    first, *others = step.bodies
    bodies = [_given(first, without=("route",)), *map(_given, others)]
    return (
        _given(step, without=("faults", "origins", "bodies"))
        | {"bodies": bodies}
        | ({"policy": policy} if policy else {})
    )


def _given(value: Any, without: tuple[str, ...] = ()) -> dict[str, Json]:
    """The fields of a value that do not hold their default."""
    names, get, defaults = _fields(value.__class__, without)
    return {
        name: _plain(found) if name in _PARTS else found
        for name, found, default in zip(names, get(value), defaults, strict=True)
        if found is not default and found != default
    }


_PARTS = frozenset({"edges", "checks", "repair", "fan", "inputs"})
"""Fields that hold a value of ours, or a tuple or map of some."""


def _plain(value: Any) -> Json:
    """Them as JSON, which would write named tuples as lists."""
    if value is None:
        return None
    if value.__class__ is tuple:
        return [_given(one) for one in value]
    if isinstance(value, tuple):
        return _given(value)
    return {name: _given(one) for name, one in value.items()}


@cache
def _fields(kind: Any, without: tuple[str, ...]) -> tuple[list[str], Callable[[Any], tuple[Any, ...]], list[Any]]:
    """Names, a getter of them all, defaults."""
    if issubclass(kind, tuple):
        known = {name: kind._field_defaults.get(name, MISSING) for name in kind._fields}
    else:
        known = {f.name: {} if f.default_factory is dict else f.default for f in fields(kind)}
    names = [name for name in known if name not in without]
    return names, attrgetter(*names), [known[name] for name in names]


def _step(data: dict[str, Json], policies: Sequence[tuple[Json, Json, Json]]) -> GraphStep:
    if policies:
        data["faults"], data["origins"], data["bodies"][0]["route"] = policies[data.pop("policy", 0)]
    if data.get("fan"):
        data["fan"] = Fan(**data["fan"])
    data["bodies"] = tuple(_body(body) for body in data["bodies"])
    data["edges"] = tuple(Edge(**edge) for edge in data.get("edges", ()))
    for name in ("own_retry_errors", "files"):
        data[name] = tuple(data.get(name, ()))
    return GraphStep(**data)


def _body(data: dict[str, Json]) -> Body:
    data["checks"] = tuple(Check(**check) for check in data.get("checks", ()))
    if data.get("repair"):
        data["repair"] = Repair(**data["repair"])
    if data.get("errors") is not None:
        data["errors"] = tuple(data["errors"])
    return Body(**data)
