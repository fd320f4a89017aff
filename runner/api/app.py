"""What a driving command does with runs: start, resume, fork, settle. Which classes stand behind the ports is wiring.py's."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from runner.api.dispatching import needs_routing
from runner.api.settings import Settings
from runner.api.units import micro
from runner.clock import Clock
from runner.core import bind
from runner.core.graph import StepGraph
from runner.core.graph import load as load_graph
from runner.core.plan import UNFINISHED, in_order
from runner.core.prepare import Preparer
from runner.core.roster import Roster
from runner.core.slots import Slots
from runner.core.states import SETTLED_RUN
from runner.core.tree import Member, Tree
from runner.engine.attempt import Attempts
from runner.engine.driven import RunEnd, manifest_row
from runner.engine.driver import Engine
from runner.engine.funds import DayFunds
from runner.engine.health import HealthKeeper
from runner.errors import UsageError
from runner.manifest.config import Config
from runner.ports import NewRun, RunRecord, RunRow, Store


@dataclass(slots=True, eq=False)
class App:
    """Everything that a driving command needs, wired. Made by `wiring.open_app`."""

    settings: Settings
    store: Store
    engine: Engine
    slots: Slots
    host: Preparer
    attempts: Attempts
    keeper: HealthKeeper
    roster: Roster
    funds: DayFunds
    clock: Clock
    prefetch: Callable[[], Awaitable[None]]
    """Loads what model steps need, while others run."""
    _loading: asyncio.Future[None] | None = None

    @property
    def draining(self) -> bool:
        return self.engine.draining

    def drain(self) -> None:
        self.engine.drain()

    def stop(self) -> None:
        self.engine.stop()

    def new_run_id(self) -> str:
        """Ten hex digits that no run of this database has."""
        while self.store.knows(run := os.urandom(5).hex()):
            continue
        return run

    async def start(
        self,
        row: NewRun,
        graph: StepGraph,
        graphs: Mapping[str, StepGraph],
        source: str,
        *,
        refresh: Any,
        supersede: Sequence[str],
        part: frozenset[str] | None = None,
        max_usd: float | None = None,
    ) -> RunEnd:
        """Create a run of `graph`, or of a part of it, and drive it to its end. `graphs`: what it may call, by name. `max_usd`: a
        cap besides those of config and manifest."""
        called = [manifest_row(graph_) for graph_ in graphs.values() if graph_.digest != graph.digest]
        self.host.know(graphs.values())
        await self._look_around((graph, *graphs.values()))
        known = {**graphs, graph.name: graph}
        tree = Tree(row.run, graph.name, known, self.host, self.slots, mode=self.keeper.mode, concurrency=self._steps)
        start = self._start(graph, row.inputs, refresh, part, max_usd)
        done = await self.engine.start(row, [manifest_row(graph, source), *called], tree, start, supersede=supersede)
        return await self._ended(done)

    async def _ended(self, done: Awaitable[RunEnd]) -> RunEnd:
        """Once a leg is over, nobody goes on with what its attempts left for a next one. Of one that was interrupted some may still
        run, and cost."""
        end = await done
        if end.state != "interrupted":
            await self.funds.forget(end.run)
        if end.state in SETTLED_RUN:
            await self.attempts.forget(end.run)
        return end

    async def resume(self, run: str, messages: Sequence[tuple[Any, ...]], *, warm: bool = False) -> RunEnd:
        """Go on with a recorded run. `warm`: a person says so, and who cools is asked again."""
        await self._look_around([load_graph(record.graph) for record in self.store.load(run)], warm=warm)
        return await self._ended(await self.engine.resume(run, self._rebuild, messages))

    async def fork(self, row: RunRow, step: str) -> RunEnd:
        """A new run of the same task that reuses what does not depend on `step`. Raises UsageError."""
        kept = self.store.manifest(row.manifest)
        assert kept is not None
        graph = load_graph(kept.graph)
        again = downstream(graph, step)
        graphs: dict[str, StepGraph] = {}
        self._add_callees(graph, graphs)
        new = NewRun(
            run=(run := self.new_run_id()),
            root=run,
            name=row.name,
            manifest=row.manifest,
            task=row.task,
            inputs=row.inputs,
            created=self.clock.now(),
            fingerprint=row.fingerprint,
            forked_from=row.run,
            reason=f"again from {step} of run {row.run}",
        )
        older = [row.run] if row.state in UNFINISHED else []
        part = self._part_of(row.run)
        if part is not None and step not in part and not graph.by_id[step].final:
            raise UsageError(
                f"run {row.run} is about a part of {row.name}: {step} was not selected",
                hint=f"`runner apply PATH --select {row.name}/{step}` runs it",
            )
        return await self.start(new, graph, graphs, kept.source, refresh=again, supersede=older, part=part)

    async def settle_inbox(self, run: str, *, drive: bool, messages: Sequence[tuple[Any, ...]] = ()) -> None:
        """Take what the inbox of a run without owner holds, then `messages`. Nothing starts, unless `drive`: then the run goes on to its
        end."""
        self.slots.closed = not drive
        done = await self.engine.resume(run, self._rebuild, messages)
        if not drive:
            self.engine.drain()
        await self._ended(done)

    async def _look_around(self, graphs: Iterable[StepGraph], *, warm: bool = False) -> None:
        """Before steps that need somebody: who was not well is asked now, so that nobody waits for a probe that is due later."""
        if any(map(needs_routing, graphs)):
            self._prefetch()
            await self.keeper.ask(warm=warm)

    def _prefetch(self) -> None:
        if self._loading is None:
            self._loading = asyncio.ensure_future(self.prefetch())

    def _rebuild(self, records: Sequence[RunRecord]) -> Tree:
        graphs: dict[str, StepGraph] = {}
        members = []
        for record in records:
            graph = load_graph(record.graph)
            self._add_callees(graph, graphs)
            members.append(
                Member(record.row.run, graph, record.events, record.row.parent or "", record.row.parent_node or "")
            )
        root = members[0]
        graphs[root.graph.name] = root.graph
        self.host.know(graphs.values())
        mode = self.keeper.mode
        tree = Tree(root.run, root.graph.name, graphs, self.host, self.slots, members, mode, concurrency=self._steps)
        self._forget_trials(tree)
        return tree

    def _forget_trials(self, tree: Tree) -> None:
        """Calls that died with their runner hold no half open circuit: else nobody could try it for minutes."""
        for flight in tree.inflight():
            node = tree.kernels[flight.run].nodes[flight.node]
            kind = node.body.verb
            if kind in ("model", "agent") and (entry := self.roster.of(kind).get(node.label)) is not None:
                self.keeper.lost(entry.place)

    def _add_callees(self, graph: StepGraph, graphs: dict[str, StepGraph]) -> None:
        for name, known in graph.callees.items():
            row = self.store.manifest(known)
            if name not in graphs and row is not None:
                graphs[name] = load_graph(row.graph)
                self._add_callees(graphs[name], graphs)

    def _part_of(self, run: str) -> frozenset[str] | None:
        """The steps that a run is about; None = all."""
        began = next((each.event for each in self.store.events(run) if each.event.kind == "run_started"), None)
        return frozenset(began.data["select"]) if began is not None and "select" in began.data else None

    def _start(
        self,
        graph: StepGraph,
        inputs: Mapping[str, Any],
        refresh: Any,
        part: frozenset[str] | None,
        max_usd: float | None,
    ) -> tuple[Any, ...]:
        values = {"inputs": inputs, "vars": bind.bind_vars(graph, inputs)}
        timeout = bind.run_timeout_ms(graph, values)
        extra: dict[str, Any] = caps_of(bind.budget(graph.budget, values), self.settings.config, max_usd)
        extra |= {} if timeout is None else {"timeout_ms": timeout}
        return ("start", dict(inputs), refresh, extra if part is None else {**extra, "select": sorted(part)})

    @property
    def _steps(self) -> int:
        return self.settings.config.concurrency.steps


def caps_of(budget: Mapping[str, Any], config: Config, max_usd: float | None) -> dict[str, Any]:
    """What `run_started` says of money: the lowest of all caps. `budget` is the manifest's, bound (micro-USD)."""
    given = [budget.get("usd"), micro(config.budget.per_run_usd), micro(max_usd)]
    cap = min((usd for usd in given if usd is not None), default=None)
    told: dict[str, Any] = {"exceed": budget.get("exceed", config.budget.exceed)}
    if cap is not None:
        told |= {"cap": cap, "finally_cap": micro(config.limits.finally_usd)}
    if budget.get("tokens") is not None:
        told["token_cap"] = budget["tokens"]
    return {} if told == {"exceed": "suspend"} else told


def downstream(graph: StepGraph, start: str) -> frozenset[str]:
    """`start` and every step that depends on it, however far. Raises UsageError for an unknown step."""
    if start not in graph.by_id:
        raise UsageError(f"{graph.name} has no step {start!r}", hint=f"steps: {', '.join(graph.by_id)}")
    found = {start}
    for step in in_order(graph.steps):
        if any(edge.to in found for edge in step.edges):
            found.add(step.id)
    return frozenset(found)
