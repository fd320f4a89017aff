"""A stage for engine tests: manifests as text, a transport whose step function does what the test says, both stores, and waiting
for recorded events instead of sleeping."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from textwrap import dedent
from typing import Any

from ruamel.yaml import YAML

from runner.clock import Clock, SystemClock
from runner.core.compile import Callees, compile_manifest
from runner.core.events import Recorded
from runner.core.graph import StepGraph, load
from runner.core.messages import Note, Outcome, StepTask
from runner.core.prepare import Preparer
from runner.core.slots import Slots
from runner.core.tree import Member, Tree
from runner.engine.blobs import Blobs
from runner.engine.driven import RunEnd, manifest_row
from runner.engine.driver import Engine
from runner.engine.results import stored
from runner.engine.world import EngineWorld
from runner.manifest.model import Manifest
from runner.ports import NewRun, OwnerId, RunRecord, Store, Told, Unit
from runner.store.memory import MemoryStore
from runner.store.owners import this_process
from runner.store.sqlite import SqliteStore
from runner.transports.local import LocalTransport

PATIENCE = 20.0
"""Seconds after which a wait is a failure of the test."""

Say = Callable[[StepTask], Any]


def graph_of(text: str, name: str = "m", callees: Mapping[str, StepGraph] | None = None) -> StepGraph:
    """The graph of a manifest written in a test, which must have no error."""
    data: dict[str, Any] = {"ares": "v1", "name": name, **YAML(typ="safe", pure=True).load(dedent(text))}
    called = callees or {}
    known = Callees(graphs=called, known=frozenset(called))
    graph, problems = compile_manifest(Manifest.model_validate(data), data, file=f"{name}.yaml", callees=known)
    assert graph is not None, problems
    return graph


def ok(value: Any = "ok", **more: Any) -> Outcome:
    return Outcome("succeeded", {"value": {"output": value}}, **more)


def failed(error_class: str = "unavailable", **more: Any) -> Outcome:
    return Outcome("failed", error_class=error_class, message=f"it was {error_class}", **more)


def open_stores(kind: str, folder: Path, clock: Clock) -> Iterator[Callable[[], Store]]:
    """A function that opens the record: another connection each time, or the one in memory."""
    opened: list[Any] = []

    def connect() -> Store:
        if kind == "memory":
            opened.append(opened[0] if opened else MemoryStore(clock))
        else:
            opened.append(SqliteStore.open(folder / "state.db", durability="process", clock=clock))
        found: Store = opened[-1]
        return found

    yield connect
    for store in opened:
        store.close()


class Watch:
    """A reporter that remembers what was recorded, and lets a test wait for it."""

    def __init__(self) -> None:
        self.events: list[Recorded] = []
        self._more = asyncio.Event()

    def event(self, recorded: Recorded, name: str) -> None:
        self.events.append(recorded)
        self._more.set()

    def close(self) -> None:
        """Nothing is held."""

    def kinds(self, node: str | None = None) -> list[str]:
        return [r.event.kind for r in self.events if node is None or r.event.node == node]

    async def until(self, kind: str, node: str = "", count: int = 1) -> None:
        """Wait until `count` such events are recorded."""
        async with asyncio.timeout(PATIENCE):
            while sum(r.event[:2] == (kind, node) for r in self.events) < count:
                self._more.clear()
                await self._more.wait()


class Script:
    """The step function. `say[node]` (an item's: `say["step"]` too) is an Outcome, a list of them taken one by one, a value, or a
    function of the task. A node in `gates` waits for its gate. What began is in `started`."""

    def __init__(self, **say: Any) -> None:
        self.say: dict[str, Any] = say
        self.gates: dict[str, asyncio.Event] = {}
        self.started: list[StepTask] = []
        self.ended: list[str] = []
        self.blobs: Callable[[str, bytes], None] | None = None
        self._more = asyncio.Event()

    async def __call__(self, task: StepTask, note: Callable[[Note], None]) -> Outcome:
        self.started.append(task)
        self._more.set()
        gate = self.gates.get(task.node)
        if gate is not None:
            await gate.wait()
        said = self.say.get(task.node, self.say.get(task.node.split("[")[0], "ok"))
        if isinstance(said, list):
            said = said.pop(0) if len(said) > 1 else said[0]
        if callable(said):
            said = said(task)
        self.ended.append(task.key)
        outcome = said if isinstance(said, Outcome) else ok(said)
        return self._kept(outcome)

    def _kept(self, outcome: Outcome) -> Outcome:
        if outcome.result is None or "value" not in outcome.result:
            return outcome
        kept, blob = stored(outcome.result["value"])
        if blob is not None and self.blobs is not None:
            self.blobs(kept["ref"], blob)
        return outcome._replace(result=kept)

    def keys(self) -> list[str]:
        return [task.key for task in self.started]

    async def until(self, count: int) -> None:
        """Wait until so many attempts have begun."""
        async with asyncio.timeout(PATIENCE):
            while len(self.started) < count:
                self._more.clear()
                await self._more.wait()


class Watched(LocalTransport):
    """Local, with a look at the record at the moment of every submit."""

    def __init__(self, step: Script, look: Callable[[StepTask], None]) -> None:
        super().__init__(step)
        self._look = look

    def submit(self, task: StepTask) -> None:
        self._look(task)
        super().submit(task)


class Faulty:
    """A store whose `nth` transaction from now on fails with `error`, and every later one: before anything is written, or after (the
    answer got lost)."""

    def __init__(self, store: Store, nth: int, error: Exception, *, after: bool = False) -> None:
        self._store, self.left, self._error, self._after = store, nth, error, after

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def record(self, entries: Sequence[tuple[Unit, Told]]) -> None:
        self.left -= 1
        if self.left > 0:
            self._store.record(entries)
            return
        if self._after and self.left == 0:
            self._store.record([(unit, lambda error: None) for unit, _ in entries])
        for _, told in entries:
            told(self._error)


class NoServers:
    """No MCP server is configured."""

    def known(self, server: str) -> bool:
        return False

    def status(self, server: str) -> Any:
        return "closed"

    def ensure(self, server: str, done: Any) -> None:
        raise AssertionError("nothing to open")

    def tool(self, server: str, name: str) -> None:
        return None

    def max_in_flight(self, server: str) -> int:
        return 1


def gone(name: str) -> OwnerId:
    """A runner whose process is dead: whatever it holds may be taken over at once."""
    me = this_process()
    return OwnerId(name, me.host, me.pid, me.pid_start + 1)


class Desk:
    """One engine over a store, and short ways to start and resume runs."""

    def __init__(
        self, store: Store, script: Script, *, slots: int = 16, clock: Clock | None = None, owner: OwnerId | None = None,
        workspace: Path | None = None, sinks: Sequence[Any] = (),
    ) -> None:  # fmt: skip
        self.store, self.script, self.watch = store, script, Watch()
        self.clock = clock or SystemClock()
        self.slots = Slots(slots)
        blobs = Blobs(store.blob)
        script.blobs = blobs.keep
        self.submitted: list[str] = []
        self.unrecorded: list[str] = []
        self._intents: set[str] = set()
        self._read: dict[str, int] = {}
        folder = workspace or Path.cwd()
        world = EngineWorld(
            store=store, blobs=blobs, servers=NoServers(), slots=self.slots, workspace=folder, run_dirs=folder / "runs",
            secrets=(), on_lane=lambda lane: self.engine.poke(lane),
        )  # fmt: skip
        self.host = Preparer(world)
        self.engine = Engine(
            store=store, transport=Watched(script, self._look), slots=self.slots, blobs=blobs, clock=self.clock,
            owner=owner or this_process(), sinks=[self.watch, *sinks],
        )  # fmt: skip

    def _look(self, task: StepTask) -> None:
        """At submit: is the intent in the record already?"""
        self.submitted.append(task.key)
        for recorded in self.store.events(task.run, self._read.get(task.run, 0)):
            self._read[task.run] = recorded.seq
            if recorded.event.kind == "attempt_started":
                self._intents.add(f"{task.run}/{recorded.event.node}/{recorded.event.data['n']}")
        if task.key not in self._intents:
            self.unrecorded.append(task.key)

    async def start(
        self, graph: StepGraph, run: str = "r", *, callees: Mapping[str, StepGraph] | None = None, inputs: Any = None,
        extra: Any = None, refresh: Any = None, supersede: Sequence[str] = (),
    ) -> asyncio.Future[RunEnd]:  # fmt: skip
        row = NewRun(run, run, graph.name, graph.digest, f"task-{run}", inputs or {}, self.clock.now())
        graphs = {**(callees or {}), graph.name: graph}
        tree = Tree(run, graph.name, graphs, self.host, self.slots)
        rows = [manifest_row(graph), *(manifest_row(called) for called in (callees or {}).values())]
        message = ("start", dict(inputs or {}), refresh, extra or {})
        return await self.engine.start(row, rows, tree, message, supersede=supersede)

    async def resume(self, run: str = "r", *messages: Any) -> asyncio.Future[RunEnd]:
        return await self.engine.resume(run, self._tree, messages)

    def _tree(self, records: Sequence[RunRecord]) -> Tree:
        members = [
            Member(r.row.run, load(r.graph), r.events, r.row.parent or "", r.row.parent_node or "") for r in records
        ]
        graphs: dict[str, StepGraph] = {member.graph.name: member.graph for member in members}
        for member in members:
            for name, known in member.graph.callees.items():
                row = self.store.manifest(known)
                if name not in graphs and row is not None:
                    graphs[name] = load(row.graph)
        return Tree(members[0].run, members[0].graph.name, graphs, self.host, self.slots, members)

    async def done(self, run: asyncio.Future[RunEnd]) -> RunEnd:
        """The end of a run, in bounded time."""
        async with asyncio.timeout(PATIENCE):
            return await run


@asynccontextmanager
async def desk(store: Store, script: Script | None = None, **more: Any) -> AsyncIterator[Desk]:
    """A desk whose engine is alive."""
    made = Desk(store, script or Script(), **more)
    async with made.engine:
        yield made


def states(store: Store, run: str = "r") -> dict[str, str]:
    return {row.node: row.state for row in store.steps(run)}


def kinds(store: Store, run: str = "r", node: str | None = None) -> list[str]:
    return [r.event.kind for r in store.events(run) if node is None or r.event.node == node]


def outputs(store: Store, run: str = "r") -> Any:
    ends = [r.event.data for r in store.events(run) if r.event.kind == "run_finished"]
    return ends[-1].get("outputs") if ends else None
