"""Wiring: the only module that knows which concrete classes stand behind the ports."""

from __future__ import annotations

import os
import secrets as randomness
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from runner.api.facts import operator_policy
from runner.api.secrets import SecretSource
from runner.api.servers import server_specs
from runner.api.settings import Settings
from runner.clock import Clock
from runner.core import bind
from runner.core.graph import StepGraph
from runner.core.graph import load as load_graph
from runner.core.plan import UNFINISHED, in_order
from runner.core.prepare import Preparer
from runner.core.slots import Slots
from runner.core.states import SETTLED_RUN
from runner.core.tree import Member, Tree
from runner.engine.attempt import Attempts, Limits, Places
from runner.engine.blobs import Blobs
from runner.engine.driver import Engine, RunEnd, manifest_row
from runner.engine.world import EngineWorld
from runner.errors import UsageError
from runner.executors.given import GivenResults
from runner.executors.local import LocalCommands
from runner.executors.mcp import McpServers
from runner.executors.mcp_process import ProcessId
from runner.executors.orphans import Orphans, reap
from runner.executors.tools_lock import ToolsLock
from runner.ports import NewRun, RunRecord, RunRow, Sink, Store
from runner.store.owners import this_process
from runner.store.sqlite import SqliteStore
from runner.transports.local import LocalTransport


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
    clock: Clock

    @property
    def draining(self) -> bool:
        return self.engine.draining

    def drain(self) -> None:
        self.engine.drain()

    def stop(self) -> None:
        self.engine.stop()

    def new_run_id(self) -> str:
        """Ten hex digits that no run of this database has."""
        while self.store.run(run := randomness.token_hex(5)) is not None:
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
    ) -> RunEnd:
        """Create a run of `graph`, or of a part of it, and drive it to its end. `graphs`: what it may call, by name."""
        called = [manifest_row(graph_) for graph_ in graphs.values() if graph_.digest != graph.digest]
        self.host.know(graphs.values())
        tree = Tree(row.run, graph.name, {**graphs, graph.name: graph}, self.host, self.slots, concurrency=self._steps)
        start = self._start(graph, row.inputs, refresh, part)
        done = await self.engine.start(row, [manifest_row(graph, source), *called], tree, start, supersede=supersede)
        return await self._ended(done)

    async def _ended(self, done: Awaitable[RunEnd]) -> RunEnd:
        """Once a leg is over, nobody goes on with what its attempts left for a next one."""
        end = await done
        if end.state in SETTLED_RUN:
            await self.attempts.forget(end.run)
        return end

    async def resume(self, run: str, messages: Sequence[tuple[Any, ...]]) -> RunEnd:
        """Go on with a recorded run."""
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

    async def settle_inbox(self, run: str, *, drive: bool) -> None:
        """Take what the inbox of a run without owner holds. Nothing starts, unless `drive`: then the run goes on to its end."""
        self.slots.closed = not drive
        done = await self.engine.resume(run, self._rebuild)
        if not drive:
            self.engine.drain()
        await self._ended(done)

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
        return Tree(root.run, root.graph.name, graphs, self.host, self.slots, members, concurrency=self._steps)

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
        self, graph: StepGraph, inputs: Mapping[str, Any], refresh: Any, part: frozenset[str] | None
    ) -> tuple[Any, ...]:
        values = {"inputs": inputs, "vars": bind.bind_vars(graph, inputs)}
        timeout = bind.run_timeout_ms(graph, values)
        extra: dict[str, Any] = {} if timeout is None else {"timeout_ms": timeout}
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
    env: Mapping[str, str] | None = None,
    store: Store | None = None,
    on_warning: Callable[[str], None] = lambda text: None,
) -> AsyncIterator[App]:
    """The application, alive; on leaving, nothing that it started is left. `store`: the record to use instead of the settings'
    database; it is the caller's to close. `on_warning` is told, in one line each, what a person should look at and no run fails of.
    Raises the StoreError family."""
    given, store = store, store or open_store(settings, clock)
    try:
        config = settings.config
        slots = Slots(jobs or config.concurrency.runs * config.concurrency.steps)
        blobs = Blobs(store.blob)
        source = SecretSource(config, env if env is not None else os.environ)
        owner = this_process()
        reap(settings.state_path.parent / "servers")
        orphans = Orphans(settings.state_path.parent / "servers", ProcessId(owner.pid, owner.pid_start))
        servers = McpServers(
            server_specs(settings, source.env),
            on_process=orphans.note,
            on_tools=ToolsLock(settings.state_path.parent, on_warning).seen,
            output_bytes=config.limits.output_bytes,
        )
        commands = LocalCommands(output_bytes=config.limits.output_bytes)
        attempts = Attempts(
            executors={"tool": servers, "run": commands, "call": GivenResults()},
            places=Places(settings.workspace, settings.state_path.parent / "runs", settings.state_path.parent / "logs"),
            secrets=source.get,
            redactor=source.redactor(),
            blobs=blobs.keep,
            limits=Limits(output=config.limits.output_bytes),
            progress=lambda run, node, text: engine.progress(run, node, text),
        )
        engine = Engine(
            store=store,
            transport=LocalTransport(attempts.run),
            slots=slots,
            blobs=blobs,
            clock=clock,
            owner=owner,
            sinks=sinks,
        )
        world = EngineWorld(
            store=store,
            blobs=blobs,
            servers=servers,
            slots=slots,
            workspace=settings.workspace,
            run_dirs=settings.state_path.parent / "runs",
            secrets=config.secrets,
            on_lane=engine.poke,
        )
        try:
            async with engine:
                yield App(settings, store, engine, slots, Preparer(world, operator_policy(config)), attempts, clock)
        finally:
            await servers.close()
            await commands.close()
            orphans.forget()
    finally:
        if given is None:
            store.close()


def downstream(graph: StepGraph, start: str) -> frozenset[str]:
    """`start` and every step that depends on it, however far. Raises UsageError for an unknown step."""
    if start not in graph.by_id:
        raise UsageError(f"{graph.name} has no step {start!r}", hint=f"steps: {', '.join(graph.by_id)}")
    found = {start}
    for step in in_order(graph.steps):
        if any(edge.to in found for edge in step.edges):
            found.add(step.id)
    return frozenset(found)
