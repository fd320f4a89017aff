"""The last passes: what was merged and checked becomes `GraphStep`s and a `StepGraph`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from runner.core.compile.edges import edges_of
from runner.core.compile.inherit import CHECK_TIMEOUT, Inherited, caps, set_values
from runner.core.compile.layers import Layers
from runner.core.compile.state import Compiling, Draft
from runner.core.graph import Body, Check, Fan, GraphStep, InputSpec, Json, Repair, StepGraph
from runner.digest import digest, digest_bytes
from runner.manifest.fields import input_specs, object_schema
from runner.manifest.model import ChangedCheckEntry, ExprCheck, RunCheck
from runner.manifest.vocabulary import PLAIN_VERBS, Mode


def freeze(c: Compiling, *, file: str, lines: Mapping[str, int]) -> StepGraph:
    """The graph of a manifest without mistakes."""
    manifest = c.manifest
    layers, inherited = Layers(c), Inherited(manifest)
    called = set(_called(c))
    callees = {name: graph.digest for name, graph in sorted(c.callees.graphs.items()) if name in called}
    return StepGraph(
        name=manifest.name,
        digest=_graph_digest(c, callees),
        file=file,
        steps=tuple(_Step(c, draft, layers, inherited).frozen(lines.get(draft.id, 0)) for draft in c.drafts.values()),
        description=manifest.description or "",
        labels=dict(manifest.labels),
        inputs=inputs_of(c),
        vars=dict(manifest.vars),
        outputs=manifest.outputs if isinstance(manifest.outputs, str) else dict(manifest.outputs),
        budget=caps(manifest.budget) or None,
        timeout=manifest.timeout,
        concurrency=manifest.concurrency,
        triggers=set_values(manifest.triggers),
        callees=callees,
    )


def inputs_of(c: Compiling) -> dict[str, InputSpec]:
    """The declared inputs."""
    return {
        name: InputSpec(declared.schema, declared.required, declared.default, declared.description)
        for name, declared in input_specs(c.manifest.inputs).items()
    }


def _called(c: Compiling) -> list[str]:
    return [
        way.call
        for draft in c.drafts.values()
        for way in (draft.step, *getattr(draft.step, "fallback", ()))
        if way.verb == "call"
    ]


def _graph_digest(c: Compiling, callees: Mapping[str, str]) -> str:
    """Names all that apply compares: the manifest after `extends`, the contents of `file:`, the callees."""
    files = {path: digest_bytes(text.encode("utf-8", "surrogatepass")) for path, text in c.sources.items()}
    return digest([digest_bytes(c.text.encode()), files, dict(callees)])


class _Step:
    """One step on its last way."""

    def __init__(self, c: Compiling, draft: Draft, layers: Layers, inherited: Inherited) -> None:
        self.sources = c.sources
        self.draft = draft
        self.layers = layers
        self.inherited = inherited

    def frozen(self, line: int) -> GraphStep:
        """The step of the graph."""
        return self._plain(line) if self.draft.verb in PLAIN_VERBS else self._work(line)

    def _plain(self, line: int) -> GraphStep:
        draft, step = self.draft, self.draft.step
        merged = self.layers.step(draft.verb, "", None, None)
        total, idle = self.inherited.limits(draft.verb, getattr(step, "timeout", None))
        body = Body(draft.verb, self._call(step), timeout=total, idle=idle)
        return GraphStep(
            id=draft.id,
            bodies=(body,),
            edges=edges_of(draft),
            when=step.when,
            fan=_fan(step),
            faults=merged.faults,
            origins=merged.origins,
            labels=self.inherited.labels(step.labels),
            optional=step.optional,
            final=draft.final,
            volatile=draft.volatile,
            definition=digest({"verb": draft.verb, "call": body.call}),
            line=line,
        )

    def _work(self, line: int) -> GraphStep:
        draft, step, inherited = self.draft, self.draft.step, self.inherited
        server = step.tool.partition(".")[0] if draft.verb == "tool" else ""
        merged = self.layers.step(draft.verb, server, step.faults, step.route)
        bodies = (self._body(step, merged.route, entry=False), *(self._entry(entry) for entry in step.fallback))
        returns = None if step.returns is None else object_schema(step.returns)
        save = None if step.save is None else {"path": step.save.path, "from": step.save.from_}
        verbs = {body.verb for body in bodies}
        env = inherited.env(step.env, verbs)
        cwd, workspace = inherited.cwd(step.cwd, verbs), inherited.workspace(step.workspace, verbs)
        return GraphStep(
            id=draft.id,
            bodies=bodies,
            edges=edges_of(draft),
            when=step.when,
            fan=_fan(step),
            faults=merged.faults,
            origins=merged.origins,
            own_retry_errors=_own_retry_errors(step.faults),
            returns=returns,
            reuse=inherited.reuse(step.reuse),
            files=tuple(step.files),
            save=save,
            env=env,
            cwd=cwd,
            labels=inherited.labels(step.labels),
            optional=step.optional,
            budget=inherited.budget(step.budget),
            workspace=workspace,
            final=draft.final,
            volatile=draft.volatile,
            definition=_definition(bodies, returns, save, env, cwd, workspace),
            line=line,
        )

    def _body(self, way: Any, route: Mapping[Mode, Mapping[str, Json]], *, entry: bool) -> Body:
        total, idle = self.inherited.limits(way.verb, way.timeout)
        return Body(
            verb=way.verb,
            call=self._call(way),
            route=route,
            timeout=total,
            idle=idle,
            checks=tuple(self._check(check) for check in way.checks),
            repair=None if way.repair is None else Repair(way.repair.max, way.repair.session),
            effects=way.effects,
            errors=way.errors if entry else None,
            when=way.when if entry else None,
        )

    def _entry(self, entry: Any) -> Body:
        return self._body(entry, self.layers.entry(self.draft.step.faults, entry.route), entry=True)

    def _call(self, way: Any) -> Mapping[str, Json]:
        match way.verb:
            case "tool":
                server, _, tool = way.tool.partition(".")
                return {"server": server, "tool": tool, "with": way.with_}
            case "run":
                return self._command(way.run)
            case "agent" | "model":
                return self._prompt(getattr(way, way.verb))
            case "call":
                return {"manifest": way.call, "with": way.with_}
            case "approve":
                return {"message": way.approve, "show": list(way.show), "otherwise": way.otherwise}
            case "wait":
                return {"until": way.wait.until} if way.wait.until is not None else {"ms": way.wait.duration}
            case "set":
                return {"values": way.set}
            case _:
                return {"message": way.fail}

    def _command(self, body: Any) -> Mapping[str, Json]:
        if body.argv is not None:
            return {"argv": list(body.argv)}
        return {"script": body.script if body.script is not None else self.sources.get(body.file, "")}

    def _prompt(self, body: Any) -> Mapping[str, Json]:
        values = set_values(body)
        path = values.pop("file", None)
        return values if path is None else {"prompt": self.sources.get(path, ""), **values}

    def _check(self, check: Any) -> Check:
        if isinstance(check, ExprCheck):
            return Check("expr", {"expr": check.expr})
        if isinstance(check, RunCheck):
            return Check("run", {"run": self._command(check.run), "timeout": check.timeout or CHECK_TIMEOUT})
        if isinstance(check, ChangedCheckEntry):
            only, least, most = check.changed.only, check.changed.min_files, check.changed.max_files
            return Check("changed", {"changed": {"only": list(only), "min_files": least, "max_files": most}})
        judge = {"prompt": check.judge.prompt, "route": set_values(check.judge.route)}
        return Check("judge", {"judge": judge, "min": check.min})


def _definition(bodies: tuple[Body, ...], *parts: Json) -> str:
    """Digest of what makes the result: every way with its checks, and what holds for all of them. How a step is routed, retried and
    paid for does not change what it is."""
    ways = [[body.verb, body.call, [check.spec for check in body.checks], body.errors, body.when] for body in bodies]
    return digest([ways, *parts])


def _fan(step: Any) -> Fan | None:
    if step.foreach is not None:
        source = step.foreach.in_
        spec = {"in": source if isinstance(source, str) else list(source), "key": step.foreach.key}
        return Fan("foreach", spec, step.max_parallel, step.join)
    if step.matrix is not None:
        return Fan("matrix", matrix_spec(step.matrix), step.max_parallel, step.join)
    return None


def matrix_spec(matrix: Any) -> dict[str, Json]:
    """Axes, include and exclude as plain JSON."""
    axes = {axis: values if isinstance(values, str) else list(values) for axis, values in matrix.axes.items()}
    rows = {key: getattr(matrix, key) for key in ("include", "exclude")}
    return {"axes": axes} | {key: value if isinstance(value, str) else list(value) for key, value in rows.items()}


def _own_retry_errors(faults: Any) -> tuple[Any, ...]:
    if faults is None:
        return ()
    policies = (faults, faults.normal, faults.degraded, faults.brainstem)
    given = [policy.retry.errors for policy in policies if policy is not None and policy.retry is not None]
    return tuple(dict.fromkeys(error for errors in given if isinstance(errors, tuple) for error in errors))
