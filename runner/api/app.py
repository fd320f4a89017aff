"""Wiring: the only module that knows which concrete classes stand behind the ports."""

from __future__ import annotations

import asyncio
import os
import secrets as randomness
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

from runner.api.dispatching import Hooks, enter_routing, micro, needs_routing
from runner.api.facts import operator_policy
from runner.api.late import Late
from runner.api.secrets import SecretSource
from runner.api.servers import agent_specs, server_specs
from runner.api.settings import Settings
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
from runner.engine.attempt import Attempts, Limits, Places
from runner.engine.attend import Attended
from runner.engine.blobs import Blobs
from runner.engine.driver import Engine, RunEnd, manifest_row
from runner.engine.health import HealthKeeper, Probe
from runner.engine.world import EngineWorld
from runner.errors import UsageError
from runner.executors.given import GivenResults
from runner.executors.local import LocalCommands
from runner.executors.mcp import McpServers
from runner.executors.mcp_process import ProcessId
from runner.executors.orphans import Orphans, reap
from runner.executors.tools_lock import ToolsLock
from runner.llms.judge import ModelJudge
from runner.llms.spec import catalog
from runner.manifest.config import Config
from runner.manifest.vocabulary import Mode
from runner.ports import Executor, NewRun, OwnerId, RunRecord, RunRow, ServerPool, Sink, Store
from runner.store.owners import this_process
from runner.store.sqlite import SqliteStore
from runner.transports.local import LocalTransport, Step

Wrap = Callable[[Mapping[str, Executor]], Mapping[str, Executor]]


def open_store(settings: Settings, clock: Clock, *, read_only: bool = False) -> SqliteStore:
    """The state database of these settings. Raises the StoreError family."""
    durability = settings.config.state.durability
    return SqliteStore.open(settings.state_path, durability=durability, clock=clock, read_only=read_only)


@dataclass(slots=True)
class App:
    """Everything that a driving command needs, wired. Made by `open_app`."""

    settings: Settings
    store: Store
    engine: Engine
    slots: Slots
    host: Preparer
    attempts: Attempts
    keeper: HealthKeeper
    roster: Roster
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
        while self.store.knows(run := randomness.token_hex(5)):
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
        """Once a leg is over, nobody goes on with what its attempts left for a next one."""
        end = await done
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


@asynccontextmanager
async def open_app(
    settings: Settings,
    *,
    sinks: Sequence[Sink],
    clock: Clock,
    jobs: int | None = None,
    mode: Mode | None = None,
    env: Mapping[str, str] | None = None,
    store: Store | None = None,
    wrap: Wrap = lambda executors: executors,
    pool: Callable[[ServerPool], ServerPool] = lambda servers: servers,
    probe: Callable[[Probe], Probe] = lambda probe: probe,
    step: Callable[[Step], Step] = lambda step: step,
    on_warning: Callable[[str], None] = lambda text: None,
) -> AsyncIterator[App]:
    """The application, alive; on leaving, nothing that it started is left. `store`: the record to use instead of the settings'
    database; it is the caller's to close. `mode`: holds in this process whatever circuits say. `wrap`: what stands in for the
    executors, by verb; `pool`, for the servers that are asked what is open and what their tools do; `probe`, for what asks endpoints and
    executors whether they are there; `step`, for the whole of an attempt. `on_warning` is told, in one line each, what a person should look at and no run fails of. Raises the StoreError
    family."""
    given, store = store, store or open_store(settings, clock)
    async with AsyncExitStack() as stack:
        if given is None:
            stack.callback(store.close)
        yield await _wired(
            stack,
            settings,
            store,
            Wishes(sinks, clock, jobs, mode, wrap, pool, probe, step, on_warning),
            env if env is not None else os.environ,
        )


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the caller of `open_app` wants."""

    sinks: Sequence[Sink]
    clock: Clock
    jobs: int | None
    mode: Mode | None
    wrap: Wrap
    pool: Callable[[ServerPool], ServerPool]
    probe: Callable[[Probe], Probe]
    step: Callable[[Step], Step]
    on_warning: Callable[[str], None]


async def _wired(
    stack: AsyncExitStack, settings: Settings, store: Store, wishes: Wishes, env: Mapping[str, str]
) -> App:
    config, clock, state = settings.config, wishes.clock, settings.state_path.parent
    slots = Slots(wishes.jobs or config.concurrency.runs * config.concurrency.steps)
    blobs, source, owner = Blobs(store.blob), SecretSource(config, env), this_process()
    servers, closing = _servers(settings, source, owner, wishes.on_warning)
    stack.callback(closing)
    stack.push_async_callback(servers.close)
    pool = wishes.pool(servers)
    world = EngineWorld(
        store=store,
        blobs=blobs,
        servers=pool,
        slots=slots,
        workspace=settings.workspace,
        run_dirs=state / "runs",
        secrets=config.secrets,
        on_lane=lambda lane: engine.poke(lane),
    )
    hooks = Hooks(lambda lane: engine.poke(lane), lambda mode: engine.mode_changed(mode), wishes.on_warning)
    routed = await enter_routing(
        stack,
        settings,
        env,
        store,
        clock,
        servers=pool,
        sessions=world,
        pinned=wishes.mode,
        hooks=hooks,
        instead_of_probe=wishes.probe,
    )
    calls = Late("model", lambda made: made(catalog(config.models, env), clock=clock))
    asked = wishes.wrap(
        {
            "tool": servers,
            "run": LocalCommands(output_bytes=config.limits.output_bytes),
            "call": GivenResults(),
            "model": calls,
            "agent": Late("agent", lambda made: made(servers, agent_specs(config), clock=clock)),
        }
    )
    for executor in asked.values():
        stack.push_async_callback(executor.close)
    # What a call says of its endpoint counts whoever gave the answer.
    attended = {
        "model": Attended(asked["model"], "model", routed, clock),
        "agent": Attended(asked["agent"], "agent", routed, clock),
    }
    executors = {**asked, **attended}
    attempts = Attempts(
        executors=executors,
        places=Places(settings.workspace, state / "runs", state / "logs"),
        secrets=source.get,
        redactor=source.redactor(),
        blobs=blobs.keep,
        judge=ModelJudge(executors["model"]),
        limits=Limits(output=config.limits.output_bytes),
        progress=lambda run, node, text: engine.progress(run, node, text),
    )
    engine = Engine(
        store=store,
        transport=LocalTransport(wishes.step(attempts.run)),
        slots=slots,
        blobs=blobs,
        clock=clock,
        owner=owner,
        sinks=wishes.sinks,
        better_at=routed.keeper.better_at,
        on_settled=routed.funds.came_back,
    )
    await stack.enter_async_context(engine)
    host = Preparer(world, operator_policy(config), routed.dispatch)
    return App(settings, store, engine, slots, host, attempts, routed.keeper, routed.roster, clock, calls.prefetch)


def _servers(
    settings: Settings, source: SecretSource, owner: OwnerId, on_warning: Callable[[str], None]
) -> tuple[McpServers, Callable[[], None]]:
    """The pool, and what is to be done once it is closed."""
    state = settings.state_path.parent
    reap(state / "servers")
    orphans = Orphans(state / "servers", ProcessId(owner.pid, owner.pid_start))
    servers = McpServers(
        server_specs(settings, source.env),
        on_process=orphans.note,
        on_tools=ToolsLock(state, on_warning).seen,
        output_bytes=settings.config.limits.output_bytes,
    )
    return servers, orphans.forget


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
