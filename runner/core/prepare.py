"""Preparing a step: what happens to a ready node, decided from recorded data, config and the mode alone.

The kernel asks `prepare` with its slots in hand, right before the intent; `plan` asks the same question without a kernel.
What needs the world outside (the record, files, MCP sessions) is behind `World`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, Protocol

from runner.core import assigning, bind
from runner.core.assigning import ROUTED, Assigner, Dispatch, Way
from runner.core.contexts import Contexts
from runner.core.graph import Body, GraphStep, Json, StepGraph
from runner.core.messages import (
    UNSEEN,
    Ask,
    Broken,
    CallRun,
    Candidate,
    Computed,
    Delay,
    Expand,
    FallbackOption,
    Go,
    NodeView,
    NotNow,
    Options,
    Prepared,
    Reuse,
    RunView,
    Skip,
    Stored,
)
from runner.core.policy import OperatorPolicy
from runner.core.reuse import read_later, step_key
from runner.core.router import Routed
from runner.core.secret_leaves import render_leaves
from runner.core.spec import render_inputs, rendered, spec_of
from runner.digest import canonical_json
from runner.manifest.vocabulary import Effects
from runner.templating import TemplateError, evaluate, parse_expression, render, render_text, render_tree, truth

NOT_SELECTED = "not selected"
LOCAL = "local"
"""The label of local commands."""

BUILT_IN = "built-in"
"""The layer of values that nobody has written (see `GraphStep.origins`)."""
NEVER_REUSED = frozenset({"approve", "wait", "call", "set", "fail"})


class World(Protocol):
    """What preparing needs from outside."""

    def fetch(self, stored: Stored) -> Mapping[str, Any]:
        """The RESULT behind a stored result."""
        ...

    def reusable(self, name: str, key: str) -> Reuse | None:
        """A recorded success of this key whose products are unchanged."""
        ...

    def files_digest(self, patterns: Sequence[str]) -> str:
        """Names and contents of the files that these globs find."""
        ...

    def server(self, name: str) -> Literal["unknown", "opening", "full", "ready"]:
        """Is there a session and a slot? `opening` also begins to open it."""
        ...

    def tool_effects(self, server: str, tool: str) -> Effects:
        """The default effects of a tool, from its annotations; `once` when it says nothing."""
        ...

    def has_secret(self, name: str) -> bool:
        """Does config define this secret?"""
        ...

    def run_dir(self, run: str) -> str:
        """The directory of this run's own files."""
        ...

    def stored(self, result: Mapping[str, Any]) -> Stored:
        """Keep a computed result."""
        ...


class Preparer:
    """The host of every kernel of a process."""

    def __init__(
        self, world: World, policy: OperatorPolicy | None = None, dispatch: Dispatch | None = None
    ) -> None:  # fmt: skip
        self._world = world
        self._policy = policy or OperatorPolicy()
        self._assigner = Assigner(dispatch)
        self._contexts = Contexts(world.fetch, world.run_dir)
        self._callees: dict[str, StepGraph] = {}

    def know(self, callees: Iterable[StepGraph]) -> None:
        """The manifests that steps may call: their inputs and time-outs are bound before a sub-run begins."""
        self._callees |= {graph.digest: graph for graph in callees}

    # ------------------------------------------------------------ Host

    def prepare(self, run: RunView, node: NodeView, now: int) -> Prepared:
        step = _step(node)
        if run.selected is not None and step.id not in run.selected and not step.final:
            return Skip(NOT_SELECTED)
        try:
            return self._prepare(run, node, step, now)
        except TemplateError as error:
            return Broken("invalid", f"{step.id}: {error.message}" + (f"; {error.fix}" if error.fix else ""))
        except bind.BindError as error:
            return Broken(error.error_class, f"{step.id}: {error.message}")

    def options(self, run: RunView, node: NodeView, now: int) -> Options:
        step, values = _step(node), self._contexts.values(run, node)
        body = step.bodies[node.level]
        routed = self.routed(run, node, now)
        candidates, veil = assigning.candidates(routed, node) if routed else (_candidates(body), UNSEEN)
        policy = bind.policy(step, run.mode, values)
        if step.origins.get(f"{run.mode}.exhausted") == BUILT_IN:
            policy = policy._replace(patient=True)
        return Options(
            policy=policy,
            candidates=candidates,
            hidden=veil,
            fallbacks=self._fallbacks(run, node, step),
            repair_max=repair_rounds(body, node),
            consent=consent(step),
            most_attempts=self._policy.most_attempts,
        )

    def routed(self, run: RunView, node: NodeView, now: int) -> Routed | None:
        """The chain of a step that the router assigns, as things are now; None for any other one. A prompt that cannot be rendered
        yet counts as unknown. Raises BindError when its hints make no sense."""
        step = _step(node)
        body = step.bodies[node.level]
        if body.verb not in ROUTED:
            return None
        try:
            inputs = assigning.asked(body, self._contexts.of(run, node), tolerant=step.final)
        except (TemplateError, bind.BindError):
            inputs = None
        return self._assigner.routed(run, node, body, self._contexts.values(run, node), inputs, now)

    def intended(self, run: RunView, node: NodeView, go: Go, now: int) -> None:
        """Tell who is asked for a model or an agent."""
        if (routed := self.routed(run, node, now)) is not None:
            self._assigner.intended(routed, go, now)

    def outputs(self, run: RunView) -> tuple[Json, str | None]:
        graph: StepGraph = run.graph
        try:
            return rendered(graph.outputs, self._contexts.whole(run), tolerant=True), None
        except TemplateError as error:
            return None, f"outputs: {error.message}"

    def keep(self, result: Mapping[str, Any]) -> Stored:
        return self._world.stored(result)

    # ------------------------------------------------------------ deciding

    def _prepare(self, run: RunView, node: NodeView, step: GraphStep, now: int) -> Prepared:
        values = self._contexts.values(run, node)
        if skip := _skipped_by_mode(run, step, values):
            return skip
        fans = step.fan is not None and node.item is None
        context = self._contexts.of(run, node, values)
        if step.when is not None and _judged_here(step, node) and not truth(step.when, context, tolerant=step.final):
            return Skip(f"when: {step.when} is false")
        if fans:
            return self._expand(run, node, step, context)
        bind.check_policies(step, values)  # whatever mode holds when it ends, its policy can be told
        body = step.bodies[node.level]
        if refusal := self._policy.refusal(body):
            return Broken("denied", refusal)
        if body.verb in ("run", "tool"):
            return self._attempt(run, node, step, body, values, context, now)
        if body.verb in ROUTED:
            return self._assign(run, node, step, body, context, now)
        if body.verb == "call":
            return self._call(run, node, step, body, context, now)
        return self._simple(step, body, context, now)

    def _expand(self, run: RunView, node: NodeView, step: GraphStep, context: dict[str, Json]) -> Prepared:
        fan = step.fan
        assert fan is not None
        if fan.kind == "matrix":
            found = bind.matrix_items(step, self._contexts.values(run, node), self._policy.most_items)
            return self._crowded(run, step, len(found)) or Expand(tuple(found), fan.max_parallel)
        source = fan.spec["in"]
        values = render_tree(source if isinstance(source, str) else list(source), context, tolerant=step.final)
        if not isinstance(values, list):
            return Broken("invalid", f"{step.id}: foreach needs a list, not {_kind(values)}")
        key = fan.spec.get("key")

        def key_of(index: int, value: Json) -> Json:
            return (
                index if key is None else render(key, {**context, "item": value, "index": index}, tolerant=step.final)
            )

        found = bind.foreach_items(step, values, key_of, self._policy.most_items)
        return self._crowded(run, step, len(found)) or Expand(tuple(found), fan.max_parallel)

    def _crowded(self, run: RunView, step: GraphStep, more: int) -> Broken | None:
        """Would so many more steps or items be too many for one run?"""
        total, most = run.size + more, self._policy.most_nodes
        if total <= most:
            return None
        what = f"{more} more would make {total} steps and items of this run, more than {most} (limit `run_steps`)"
        return Broken("invalid", f"{step.id}: {what}; split the manifest, or raise limits.run_steps in config")

    def _simple(self, step: GraphStep, body: Body, context: dict[str, Json], now: int) -> Prepared:
        match body.verb:
            case "set":
                return Computed(self._world.stored({"output": rendered(body.call["values"], context, step.final)}))
            case "fail":
                return Broken("tool_error", render_text(str(body.call["message"]), context, tolerant=step.final))
            case "wait":
                return Delay(bind.wait_until(body, context, now))
            case _:
                return self._ask(body, context, now)

    def _ask(self, body: Body, context: dict[str, Json], now: int) -> Ask:
        timeout = bind.timeout_ms(body, context)
        return Ask(
            message=str(render(body.call["message"], context, blocks=True)),
            show=tuple(render_text(text, context, tolerant=True) for text in body.call["show"]),
            until=None if timeout is None else now + timeout,
            otherwise=body.call["otherwise"],
        )

    def _call(
        self, run: RunView, node: NodeView, step: GraphStep, body: Body, context: dict[str, Json], now: int
    ) -> Prepared:
        spec, values = spec_of(step, body, context, {}), self._contexts.values(run, node)
        if (refused := self._assigner.judges(run, node, values, spec, now)) is not None:
            return refused
        own = self._assigner.own_caps(run, node, values)
        inputs = rendered(dict(body.call["with"]), context, step.final)
        name = str(body.call["manifest"])
        callee = self._callees.get(run.graph.callees.get(name, ""))
        day = self._assigner.judging_day(spec, now)
        if callee is None:
            return CallRun(name, inputs, spec, day=day, cap=own.usd, token_cap=own.tokens)
        bound, wrong = bind.bind_inputs(callee, inputs)
        if wrong:
            return Broken("invalid", f"{step.id}: {name} cannot take this: {'; '.join(wrong)}")
        timeout = bind.run_timeout_ms(callee, {"inputs": bound, "vars": bind.bind_vars(callee, bound)})
        steps = len(callee.steps)
        if node.child is None and (crowded := self._crowded(run, step, steps)):
            return crowded
        return CallRun(
            name, bound, spec, {} if timeout is None else {"timeout_ms": timeout}, steps, day, own.usd, own.tokens
        )

    def _attempt(
        self, run: RunView, node: NodeView, step: GraphStep, body: Body, values: Mapping[str, Json],
        context: dict[str, Json], now: int,
    ) -> Prepared:  # fmt: skip
        inputs, secrets = render_inputs(body, context, tolerant=step.final)
        env, env_secrets = render_leaves(step.env if body.verb == "run" else {}, context, tolerant=step.final)
        if secrets or env_secrets:
            secrets = {f"inputs/{path}": parts for path, parts in secrets.items()} | {
                f"env/{path}": parts for path, parts in env_secrets.items()
            }
            for name in _secret_names(secrets):
                if not self._world.has_secret(name):
                    return Broken("invalid", f"needs secret {name}, which is not configured")
        spec = spec_of(step, body, context, env)
        key = node.key or self._key(run, node, step, inputs, spec, context)
        if reused := self._reused(run, node, step, key):
            return reused
        lane, label = ("", LOCAL) if body.verb == "run" else (body.call["server"],) * 2
        if not node.approved and (asks := self._policy.asks(step, body)):
            return Ask(asks, (canonical_json(inputs),), None, "reject", gate=True)
        if (refused := self._assigner.judges(run, node, values, spec, now) or self._lane_blocked(lane)) is not None:
            return refused
        go = Go(
            label=label,
            lane=lane,
            inputs=inputs,
            key=key,
            effects=self._effects(body, values),
            timeout_ms=bind.timeout_ms(body, values),
            idle_ms=bind.idle_ms(body, values),
            spec=spec,
            secrets=secrets,
            reason=go_reason(node),
            claim=bind.claim(step, body),
        )
        return self._assigner.judged(run, node, values, go, now)

    # ------------------------------------------------------------ models and agents

    def _assign(
        self, run: RunView, node: NodeView, step: GraphStep, body: Body, context: dict[str, Json], now: int
    ) -> Prepared:
        inputs = assigning.asked(body, context, tolerant=step.final)
        spec = spec_of(step, body, context, {})
        if body.call.get("cwd") is not None:
            spec["cwd"] = render_text(str(body.call["cwd"]), context, tolerant=step.final)
        key = node.key or self._key(run, node, step, inputs, spec, context)
        if reused := self._reused(run, node, step, key):
            return reused
        if not node.approved and (asks := self._policy.asks(step, body)):
            return Ask(asks, (str(inputs["prompt"]),), None, "reject", gate=True)
        if assigning.names_feedback(body):
            spec["told"] = True
        return self._assigner.prepared(
            Way(run, node, body, self._contexts.values(run, node), inputs, spec, key, go_reason(node)), now
        )

    def _key(
        self, run: RunView, node: NodeView, step: GraphStep, inputs: Json, spec: Mapping[str, Json],
        context: Mapping[str, Json],
    ) -> str:  # fmt: skip
        rendered = {"inputs": inputs, "env": spec.get("env"), "cwd": spec.get("cwd"), "save": spec.get("save")}
        if later := read_later(step, context):
            rendered["later"] = later
        files = self._world.files_digest(file_patterns(step, self._contexts.values(run, node))) if step.files else ""
        return step_key(run.graph.name, step, node.item, rendered, files, _producers(run, step))

    def _reused(self, run: RunView, node: NodeView, step: GraphStep, key: str) -> Reuse | None:
        if node.attempt or step.reuse == "never" or step.volatile or step.final or step.verb in NEVER_REUSED:
            return None  # `finally` cleans up after this very run: an earlier clean-up does not stand in
        if run.refresh == "all" or (run.refresh and step.id in run.refresh):
            return None
        return self._world.reusable(run.graph.name, key)

    def _lane_blocked(self, lane: str) -> Prepared | None:
        if not lane:
            return None
        match self._world.server(lane):
            case "unknown":
                return Broken("invalid", f"needs MCP server {lane}, which is not configured")
            case "opening" | "full":
                return NotNow(lane)
            case _:
                return None

    def _effects(self, body: Body, values: Mapping[str, Json]) -> Effects:
        declared = bind.effects(body, values)
        if declared is not None:
            return declared
        return "once" if body.verb == "run" else self._world.tool_effects(body.call["server"], body.call["tool"])

    def _fallbacks(self, run: RunView, node: NodeView, step: GraphStep) -> tuple[FallbackOption, ...]:
        options = []
        for level in range(node.level + 1, len(step.bodies)):
            body = step.bodies[level]
            if body.when is None or self._holds(body.when, run, node):
                options.append(FallbackOption(level, frozenset(body.errors) if body.errors else None))
        return tuple(options)

    def _holds(self, when: str, run: RunView, node: NodeView) -> bool:
        try:
            return evaluate(when, {**self._contexts.of(run, node), "error": node.error}) is True
        except TemplateError:
            return False  # a condition that cannot be judged never opens another way


def _step(node: NodeView) -> GraphStep:
    step: GraphStep = node.step
    return step


def _skipped_by_mode(run: RunView, step: GraphStep, values: Mapping[str, Json]) -> Skip | None:
    label = bind.skip_label(step, run.mode, values)
    return Skip(f"mode {run.mode} skips label {label}") if label else None


def _judged_here(step: GraphStep, node: NodeView) -> bool:
    """A `when` that names the item is judged for each item, any other one once for the step."""
    return step.fan is None or (node.item is not None) == _names_item(step.when or "")


def _names_item(expression: str) -> bool:
    return any(ref.root in ("item", "index", "key", "matrix") for ref in parse_expression(expression).refs)


def file_patterns(step: GraphStep, values: Mapping[str, Json]) -> list[str]:
    """The globs of `files`, which may use inputs, vars and matrix."""
    return [str(render_text(pattern, values)) for pattern in step.files]


def _secret_names(secrets: Mapping[str, Sequence[Json]]) -> list[str]:
    return sorted({part["secret"] for parts in secrets.values() for part in parts if isinstance(part, dict)})


def _producers(run: RunView, step: GraphStep) -> list[str]:
    return [run.nodes[edge.to].producer for edge in step.edges if edge.kind == "order"]


def _candidates(body: Body) -> tuple[Candidate, ...]:
    match body.verb:
        case "tool":
            return (Candidate(body.call["server"]),)
        case "call":
            return (Candidate(body.call["manifest"]),)
        case _:
            return (Candidate(LOCAL),)


def _kind(value: Json) -> str:
    names = {dict: "a map", str: "text", bool: "true or false", int: "a number", float: "a number", type(None): "none"}
    return names.get(type(value), type(value).__name__)


def repair_rounds(body: Body, node: NodeView) -> int:
    """Rounds that the step may be repaired: its own, or one for `bad_output` of a model or agent."""
    if body.repair is not None:
        return body.repair.max
    bad_output = node.error is not None and node.error.get("class") == "bad_output"
    return 1 if body.verb in ("model", "agent") and bad_output else 0


def consent(step: GraphStep) -> frozenset[str]:
    """Classes after which the author agreed that a `once` step may be repeated or passed on."""
    named = set(step.own_retry_errors)
    for body in step.bodies[1:]:
        named |= set(body.errors or ())
    if step.bodies[0].repair is not None:
        named |= {"check_failed", "bad_output"}
    return frozenset(named)


def go_reason(node: NodeView) -> str:
    """Why this attempt is made."""
    if node.level:
        return f"fallback {node.level}"
    if node.repair:
        return f"repair round {node.repair}"
    return "retry" if node.attempt else "ready"
