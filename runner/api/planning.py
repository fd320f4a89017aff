"""`plan`: compares compiled manifests with the recorded state. Starts nothing, writes nothing, resolves no secret."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from runner.api import routing, select
from runner.api.facts import operator_policy
from runner.api.load import Loaded, LoadedManifest
from runner.api.queries import latest_run, products_of, shown_state
from runner.api.request import Request
from runner.api.select import Part
from runner.api.settings import Settings
from runner.api.units import micro, zone
from runner.clock import Clock
from runner.core import bind
from runner.core.assigning import Room
from runner.core.days import Calendar
from runner.core.graph import GraphStep, Json, StepGraph
from runner.core.learning import MIN_SAMPLE
from runner.core.messages import Item, Reuse, Stored
from runner.core.plan import RESUMABLE, Earlier, Plan, PlannedStep, PlanNode, plan_steps
from runner.core.prepare import Preparer, file_patterns
from runner.core.reuse import task_digest
from runner.core.roster import Entry, roster
from runner.core.router import Outlook, Verdict
from runner.engine.blobs import Blobs
from runner.engine.world import EarlierResults, changed_product
from runner.errors import InvalidInput, UsageError
from runner.manifest.vocabulary import Effects, Mode
from runner.paths import tree_digest
from runner.ports import RunRow, StepRow, Store
from runner.store.encode import BadValue, encode
from runner.templating import TemplateError

if TYPE_CHECKING:
    from runner.api.routes import Way


class PlannedManifest(NamedTuple):
    """A manifest with its inputs bound and the action that apply would take. `task` names the work: manifest and inputs as given."""

    loaded: LoadedManifest
    inputs: Mapping[str, Any]
    task: str
    fingerprint: str
    plan: Plan
    mode: Mode = "normal"
    """The mode that was planned for."""
    part: Part = None
    """The steps that are meant (`--select`); None = all."""
    ways: Mapping[str, Sequence["Way"]] = {}
    """Who would do each step that the router chooses for, by id."""
    now: int = 0

    @property
    def graph(self) -> StepGraph:
        return self.loaded.graph


def plan(
    loaded: Loaded, settings: Settings, store: Store | None, request: Request, clock: Clock, *, steps: bool = True
) -> tuple[PlannedManifest, ...]:
    """One entry a manifest that apply would run, in the order of the files; called manifests are left to their callers.

    Raises UsageError for an input that no manifest declares, InvalidInput for inputs that do not fit."""
    _refuse_stray_inputs(loaded, request)
    chosen = _selected(loaded, settings, store, request, clock)
    view = None
    if steps:
        view = routing.outlook(settings, os.environ, store.health if store else None, clock.now(), request.mode)
    planned = [
        _plan_one(entry, loaded.graphs, settings, store, request, view, chosen[entry.graph.name])
        for entry in loaded.top_level()
        if entry.graph.name in chosen
    ]
    if view is None:
        return tuple(planned)
    return tuple(_with_ways(one, loaded.graphs, settings, store, view) if one.plan.steps else one for one in planned)


def _selected(
    loaded: Loaded, settings: Settings, store: Store | None, request: Request, clock: Clock
) -> Mapping[str, Part]:
    """Manifest name → the part of it that is meant, for those that are."""
    top = loaded.top_level()
    if not request.select:
        return dict.fromkeys(entry.graph.name for entry in top)
    terms = select.parse(request.select)
    standing = {}
    if select.needs_standing(terms):
        for planned in (_plan_one(entry, loaded.graphs, settings, store, request, None, None) for entry in top):
            row = latest_run(store, planned.task) if store else None
            changed = planned.plan.action in ("create", "update")
            standing[planned.graph.name] = select.Standing(shown_state(row) if row else "new", changed)
    return select.choose(terms, loaded.graphs, [entry.graph.name for entry in top], standing)


def _refuse_stray_inputs(loaded: Loaded, request: Request) -> None:
    declared = {name for entry in loaded.manifests for name in entry.graph.inputs}
    for name in [*request.texts, *request.values]:
        if name not in declared:
            known = ", ".join(sorted(declared)) or "none is declared"
            raise UsageError(f"no manifest declares the input {name!r}", hint=f"declared inputs: {known}")


def _plan_one(
    entry: LoadedManifest,
    graphs: Mapping[str, StepGraph],
    settings: Settings,
    store: Store | None,
    request: Request,
    view: Outlook | None,
    part: Part,
) -> PlannedManifest:
    """`view` None = without its steps."""
    graph = entry.graph
    given = given_inputs(graph, request)
    missing = [name for name, spec in graph.inputs.items() if spec.required and name not in given]
    if missing:
        return _callable(entry, given, missing)
    inputs, errors = bind.bind_inputs(graph, given)
    if errors:
        raise InvalidInput(f"{graph.name}: {'; '.join(errors)}")
    try:
        encode(given)
    except BadValue as error:  # a byte of the command line that is not UTF-8
        raise InvalidInput(f"{graph.name}: inputs: {error}") from error
    _refuse_useless(graph, inputs)
    workspace = settings.workspace
    files = files_fingerprint(graph, inputs, workspace, settings.config.limits.steps)
    task = task_digest(graph.name, given)
    row = latest_run(store, task) if store else None
    earlier = _earlier(row, store, workspace) if row and store else None
    chosen = select.action(graph, files, part, earlier, force=request.force)
    if view and store and chosen.action in ("create", "update") and store.in_doubt(task):
        chosen = chosen._replace(
            reason=f"{chosen.reason}; refused until the unknown outcome in the earlier run is resolved"
        )
    if view and chosen.action != "unchanged":
        chosen = chosen._replace(steps=_steps(graph, graphs, inputs, settings, store, request, view, chosen, row, part))
    mode = view.mode if view else "normal"
    return PlannedManifest(entry, inputs, task, select.fingerprint(files, part), chosen, mode, part)


def _with_ways(
    planned: PlannedManifest, graphs: Mapping[str, StepGraph], settings: Settings, store: Store | None, view: Outlook
) -> PlannedManifest:
    """Who would do its steps in the mode that was planned for, and what that may cost."""
    from runner.api.prices import Basis, priced  # no apply asks for them
    from runner.api.routes import Router, is_routed

    config, graph = settings.config, planned.graph
    router = Router.of(config, view)
    ways = {step.id: router.ways(graph, step, planned.inputs) for step in graph.steps if is_routed(step)}
    learned = routing.Learned(router.roster, store.health if store else None, view.now)

    def typical(entry: Entry) -> int | None:
        score = learned.scores[entry.kind].get(entry.name)
        return score.cost if score is not None and score.count >= MIN_SAMPLE else None

    basis = Basis(ways, typical, micro(config.budget.per_run_usd), graphs)
    return planned._replace(plan=priced(planned.plan, graph, planned.inputs, basis), ways=ways, now=view.now)


def _callable(entry: LoadedManifest, given: Mapping[str, Any], missing: Sequence[str]) -> PlannedManifest:
    names = ", ".join(missing)
    if entry.named:
        raise InvalidInput(
            f"{entry.graph.name}: required inputs are not set: {names}",
            hint="give them with " + " ".join(f"-i {name}=…" for name in missing),
        )
    plan = Plan(entry.graph.name, entry.graph.file, "callable", f"needs the inputs {names}")
    return PlannedManifest(entry, given, "", "", plan)


def given_inputs(graph: StepGraph, request: Request) -> dict[str, Any]:
    """The inputs that the caller gave and this manifest declares, by their declared types."""
    given = {name: value for name, value in request.values.items() if name in graph.inputs}
    for name, text in request.texts.items():
        if name in graph.inputs:
            try:
                given[name] = bind.parse_input(graph.inputs[name], text)
            except bind.BindError as error:
                raise InvalidInput(f"{graph.name}: input `{name}`: {error.message}") from error
    return given


def inputs_for(graph: StepGraph, request: Request) -> Mapping[str, Json]:
    """The inputs that a caller gave for this manifest, bound. Raises UsageError, InvalidInput."""
    stray = [name for name in [*request.texts, *request.values] if name not in graph.inputs]
    if stray:
        declared = ", ".join(graph.inputs) or "none is declared"
        raise UsageError(f"{graph.name} declares no input {stray[0]!r}", hint=f"declared inputs: {declared}")
    given = given_inputs(graph, request)
    missing = [name for name, spec in graph.inputs.items() if spec.required and name not in given]
    if missing:
        wanted = " ".join(f"-i {name}=…" for name in missing)
        raise InvalidInput(f"{graph.name}: required inputs are not set: {', '.join(missing)}", hint=f"add {wanted}")
    inputs, errors = bind.bind_inputs(graph, given)
    if errors:
        raise InvalidInput(f"{graph.name}: {'; '.join(errors)}")
    return inputs


def _refuse_useless(graph: StepGraph, inputs: Mapping[str, Any]) -> None:
    """What the whole run stands on must be computable before it begins. What one step needs fails that step."""
    what = "vars"
    try:
        values = {"inputs": inputs, "vars": bind.bind_vars(graph, inputs)}
        what = "the run's limits"
        bind.run_timeout_ms(graph, values)
        bind.budget(graph.budget, values)
    except (bind.BindError, TemplateError) as error:
        raise InvalidInput(f"{graph.name}: {what}: {error.message}") from error


def files_fingerprint(graph: StepGraph, inputs: Mapping[str, Any], workspace: Path, most_items: int) -> str:
    """Digest of what the steps' `files` globs find; "" when there are none."""
    steps = [step for step in graph.steps if step.files]
    if not steps:
        return ""
    values = {"inputs": inputs, "vars": bind.bind_vars(graph, inputs)}
    patterns = {pattern for step in steps for pattern in _patterns(step, values, most_items)}
    return tree_digest(workspace, sorted(patterns))


def _patterns(step: GraphStep, values: Mapping[str, Any], most_items: int) -> list[str]:
    """The globs of a step; none when they cannot be computed: such a step fails by itself, with the reason."""
    try:
        return [pattern for row in _rows(step, values, most_items) for pattern in file_patterns(step, row)]
    except (bind.BindError, TemplateError):
        return []


def _rows(step: GraphStep, values: Mapping[str, Any], most_items: int) -> list[Mapping[str, Any]]:
    """The values that `files` may use: one set for each combination of a matrix."""
    if step.fan is None or step.fan.kind != "matrix":
        return [values]
    return [{**values, "matrix": item.value} for item in bind.matrix_items(step, values, most_items)]


def _earlier(row: RunRow, store: Store, workspace: Path) -> Earlier:
    changed = None
    if row.state == "succeeded":
        changed = changed_product(workspace, products_of(store.steps(row.run)))
    return Earlier(row.run, row.state, row.manifest, row.fingerprint, row.owner_alive, changed)


def _steps(
    graph: StepGraph,
    graphs: Mapping[str, StepGraph],
    inputs: Mapping[str, Any],
    settings: Settings,
    store: Store | None,
    request: Request,
    view: Outlook,
    chosen: Plan,
    row: RunRow | None,
    part: Part,
) -> Any:
    recorded = {}
    if chosen.action == "resume" and store is not None and row is not None:
        recorded = recorded_nodes(graph, store.steps(row.run))
    preparer = Preparer(PlanWorld(settings, store), operator_policy(settings.config), PlanDispatch(settings, view))
    preparer.know(graphs.values())
    refresh = "all" if request.force else None
    return plan_steps(
        graph,
        inputs,
        preparer,
        now=view.now,
        mode=view.mode,
        recorded=recorded,
        refresh=refresh,
        selected=part,
    )


def recorded_nodes(graph: StepGraph, rows: Sequence[StepRow]) -> dict[str, PlanNode]:
    """The steps of a recorded run that stand, or wait for something, as the planner reads them."""
    steps = graph.by_id
    nodes: dict[str, PlanNode] = {}
    for row in rows:
        if row.node in steps and row.state in ("succeeded", "reused", "suspended", "waiting", "running", "skipped"):
            nodes[row.node] = PlanNode(
                row.node,
                steps[row.node],
                state=row.state,
                result=row.result,
                producer=row.producer or "",
                label=row.executor,
                error=row.error,
                cost=row.cost,
            )
    for row in rows:
        step, _, index = row.node.partition("[")
        if index and step in nodes:
            group = nodes[step]
            group.items = group.items or []
            number = int(index.rstrip("]"))
            item = Item(row.item_key or str(number), None)
            group.items.append(
                PlanNode(
                    row.node, steps[step], state=row.state, result=row.result, error=row.error, item=item, index=number
                )
            )
    return nodes


class PlanWorld:
    """`core.prepare.World` that starts nothing: sessions count as ready, tools as `once`."""

    def __init__(self, settings: Settings, store: Store | None) -> None:
        self._settings = settings
        self._earlier = EarlierResults(store, settings.workspace) if store else None
        self._blobs = Blobs(store.blob if store is not None else _no_blob)

    def fetch(self, stored: Stored) -> Mapping[str, Any]:
        return self._blobs.fetch(stored)

    def stored(self, result: Mapping[str, Any]) -> Stored:
        return {"value": result}

    def reusable(self, name: str, key: str) -> Reuse | None:
        return self._earlier.find(name, key) if self._earlier else None

    def files_digest(self, patterns: Sequence[str]) -> str:
        return tree_digest(self._settings.workspace, list(patterns))

    def server(self, name: str) -> Literal["unknown", "opening", "full", "ready"]:
        return "ready" if name in self._settings.config.mcp_servers else "unknown"

    def tool_effects(self, server: str, tool: str) -> Effects:
        return "once"

    def has_secret(self, name: str) -> bool:
        return name in self._settings.config.secrets

    def run_dir(self, run: str) -> str:
        return ""


class PlanDispatch:
    """`core.assigning.Dispatch` that asks nobody: everyone has room, and the day's budget is not looked at."""

    def __init__(self, settings: Settings, view: Outlook) -> None:
        self.roster, self.unpriced = roster(settings.config), settings.config.budget.unpriced
        self._view, self._calendar = view, Calendar(zone(settings.config))

    def outlook(self, mode: Mode, now: int) -> Outlook:
        return self._view._replace(mode=mode, now=now)

    def room(self, entry: Entry, now: int) -> Room:
        return "ready"

    def typical(self, entry: Entry) -> int | None:
        return None

    def today(self, now: int) -> str:
        return self._calendar.today(now)

    def day_ends(self, now: int) -> int:
        return self._calendar.day_ends(now)

    def may_spend(self, attempt: str, amount: int, now: int) -> Literal["yes"]:
        return "yes"

    def intended(self, verdict: Verdict, lasts_ms: int | None, now: int) -> None:
        """Nothing starts."""

    def unknown_price(self, entry: Entry) -> None:
        """The plan says so itself."""


def _no_blob(digest: str) -> bytes:
    raise KeyError(digest)


def plan_json(planned: Sequence[PlannedManifest]) -> dict[str, Any]:
    """The document of `plan --format json` (cli.md)."""
    return {"version": 1, "manifests": [_manifest_json(entry.plan) for entry in planned]}


def _manifest_json(plan: Plan) -> dict[str, Any]:
    from runner.api.prices import price_json

    return {
        "name": plan.name,
        "file": plan.file,
        "action": plan.action,
        "reason": plan.reason,
        "steps": [_step_json(step) for step in plan.steps],
        **({} if plan.price is None else {"cost": price_json(plan.price)}),
    }


def _step_json(step: PlannedStep) -> dict[str, Any]:
    from runner.api.prices import price_json

    return {
        "id": step.id,
        "verb": step.verb,
        "action": step.action,
        "reason": step.reason,
        "route": [{"target": r.target, "taken": r.taken, "reason": r.reason} for r in step.route],
        **({} if step.price is None else {"cost": price_json(step.price)}),
    }


def has_changes(planned: Sequence[PlannedManifest]) -> bool:
    """Would apply do anything? (`--detailed-exitcode`)"""
    return any(entry.plan.action in ("create", "update", "resume") for entry in planned)


__all__ = ["RESUMABLE", "PlannedManifest", "has_changes", "plan", "plan_json"]
