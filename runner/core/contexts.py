"""What the templates of each step may read. Holds nothing but what was bound from each run's inputs, and a few views that many items share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from weakref import WeakKeyDictionary

from runner.core import bind
from runner.core.context import Fetch, item_view, repair_view, run_view, step_view, steps_view
from runner.core.graph import GraphStep, Json, StepGraph
from runner.core.messages import NodeView, RunView
from runner.core.states import GOOD

MOST_VIEWS = 4
"""Steps that the items of a run read, and that are kept for the next item."""


class Contexts:
    """The names that templates know, by run and node. `run_dir`: the directory of a run's own files."""

    def __init__(self, fetch: Fetch, run_dir: Callable[[str], str]) -> None:
        self._fetch = fetch
        self._run_dir = run_dir
        self._vars: WeakKeyDictionary[RunView, dict[str, Json]] = WeakKeyDictionary()
        self._views: WeakKeyDictionary[RunView, dict[str, tuple[Any, str, dict[str, Json]]]] = WeakKeyDictionary()

    def of(self, run: RunView, node: NodeView, values: Mapping[str, Json] | None = None) -> dict[str, Json]:
        """All names that the templates of `node` may use. `values`: its values, when they are at hand. Raises TemplateError."""
        step: GraphStep = node.step
        ended = step.final or step.verb == "approve"
        return {
            **(self.values(run, node) if values is None else values),
            "steps": {e.to: self._view(run, node, e.to) for e in step.edges if e.kind != "order"},
            "run": run_view(run, self._run_dir(run.run), ended=ended),
            **item_view(node, matrix=step.fan is not None and step.fan.kind == "matrix"),
            **repair_view(node, self._fetch),
        }

    def values(self, run: RunView, node: NodeView) -> dict[str, Json]:
        """`inputs`, `vars` and `matrix`: what is known before any step has ended. Raises TemplateError."""
        values: dict[str, Json] = {"inputs": run.inputs, "vars": self._vars_of(run)}
        fan = node.step.fan
        if fan is not None and fan.kind == "matrix" and node.item is not None:
            values["matrix"] = node.item.value
        return values

    def whole(self, run: RunView) -> dict[str, Json]:
        """What the outputs of a run that has ended may read. Raises TemplateError."""
        graph: StepGraph = run.graph
        return {
            "inputs": run.inputs,
            "vars": self._vars_of(run),
            "steps": steps_view(run, [step.id for step in graph.steps], self._fetch),
            "run": run_view(run, self._run_dir(run.run), ended=True),
        }

    def _view(self, run: RunView, node: NodeView, id: str) -> dict[str, Json]:
        """`steps.<id>`. Thousands of items read the same one, of thousands of values: it is made once for all of them."""
        source = run.nodes[id]
        if node.item is None or source.state not in GOOD:
            return step_view(run, id, self._fetch)
        kept = self._views.setdefault(run, {})
        hit = kept.get(id)
        if hit is None or hit[0] is not source or hit[1] != source.producer:
            if len(kept) >= MOST_VIEWS:
                kept.clear()
            hit = kept[id] = (source, source.producer, step_view(run, id, self._fetch))
        return hit[2]

    def _vars_of(self, run: RunView) -> dict[str, Json]:
        bound = self._vars.get(run)
        if bound is None:
            bound = self._vars[run] = bind.bind_vars(run.graph, run.inputs)
        return bound
