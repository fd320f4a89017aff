"""The real engine over the real store: random manifests, whose process dies at any commit, end as they do when nobody dies.

The in-memory twin drives the undisturbed run, SQLite the interrupted ones, so the two stores are compared as well. Manifests, executors
and the person are those of kernel_world; here is only what an engine needs besides.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable, Sequence
from contextlib import closing
from itertools import count
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kernel_world import PATIENCE_MS, Case, WorldHost, absent, done, make_case, person, work

from runner.clock import FakeClock
from runner.core.events import Recorded
from runner.core.graph import load
from runner.core.messages import Note, Outcome, StepTask
from runner.core.slots import Slots
from runner.core.tree import Member, Tree
from runner.engine.blobs import Blobs
from runner.engine.driven import RunEnd, manifest_row
from runner.engine.driver import Engine
from runner.errors import StoreError, StoreFull
from runner.ports import NewRun, OwnerId, RunRecord, Store, Told, Unit
from runner.store.memory import MemoryStore
from runner.store.owners import this_process
from runner.store.sqlite import SqliteStore
from runner.transports.local import LocalTransport

GRAPHS = int(os.environ.get("ARES_ENGINE_GRAPHS", "60"))
"""How many manifests in the default suite."""
MANY = 300
ROOT = "r"
PATIENCE = 5.0
FIRST = {False: 2, True: 1}
"""A run that died before its first commit never began: `apply` begins another one."""
OWNERS = count()


class DiesAt:
    """A store whose process dies at its `nth` commit: before it, or after it, when the answer gets lost."""

    def __init__(self, store: Store, nth: int, *, after: bool) -> None:
        self._store, self.left, self._after = store, nth, after

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def record(self, entries: Sequence[tuple[Unit, Told]]) -> None:
        self.left -= 1
        if self.left > 0:
            self._store.record(entries)
            return
        if self.left == 0 and self._after:
            self._store.record([(unit, lambda error: None) for unit, _ in entries])
        for _, told in entries:
            told(StoreFull("no space left"))


class Counted:
    """A store that counts commits."""

    def __init__(self, store: Store) -> None:
        self._store, self.commits = store, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def record(self, entries: Sequence[tuple[Unit, Told]]) -> None:
        self.commits += 1
        self._store.record(entries)


class Life:
    """What one case goes through: one record, the outside world that remembers effects, and one engine after the other."""

    def __init__(self, case: Case, store: Store, clock: FakeClock, seed: int) -> None:
        self.case, self.store, self.clock, self.rng = case, store, clock, Random(seed)
        self.effects: dict[tuple[str, str], int] = {}
        self.broken: list[str] = []
        self.engine: Engine | None = None

    # ------------------------------------------------------------ executors

    async def step(self, task: StepTask, note: Callable[[Note], None]) -> Outcome:
        """Lands in any order; its effect happens together with its outcome. An assertion here would be a crash of the step."""
        if task.verb != "call" and not any(row.n == task.attempt for row in self.store.attempts(task.run, task.node)):
            self.broken.append(f"{task.key} was submitted before its intent was recorded")
        for _ in range(self.rng.randrange(4)):
            await asyncio.sleep(0)
        outcome = work(self.case, task)
        if (
            task.verb != "call"
            and task.effects == "once"
            and (outcome.state == "succeeded" or outcome.effect == "maybe")
        ):
            at = (task.run, task.node)
            self.effects[at] = self.effects.get(at, 0) + 1
            if self.effects[at] > 1:
                self.broken.append(f"the effect of {at} happened twice")
        return outcome

    def event(self, recorded: Recorded, name: str) -> None:
        """As a reporter: time passes as soon as a step waits for it."""
        until = recorded.event.data.get("until") if recorded.event.kind == "step_waiting" else None
        if until is not None and self.engine is not None:
            self.clock.advance(max(0, until - self.clock.now()))
            asyncio.get_running_loop().call_soon(self.engine.put, recorded.run, ("timer",))

    def close(self) -> None:
        """Nothing is held."""

    def _let_time_pass(self) -> None:
        """Nobody told us of what was waiting when the last process died."""
        runs = [record.row.run for record in self.store.load(ROOT)]
        waiting = [row.until for run in runs for row in self.store.steps(run) if row.state == "waiting" and row.until]
        self.clock.advance(max(0, max(waiting, default=0) - self.clock.now()))

    # ------------------------------------------------------------ one process

    async def process(self, store: Store) -> RunEnd:
        """A runner: starts the run or goes on with it, until it ends, waits for a person, or dies (StoreFull)."""
        me = this_process()
        owner = OwnerId(f"owner{next(OWNERS)}", me.host, me.pid, me.pid_start + 1)  # dead for whoever comes next
        slots = self.case.slots()
        self.engine = Engine(
            store=store, transport=LocalTransport(self.step), slots=slots, blobs=Blobs(store.blob), clock=self.clock,
            owner=owner, sinks=[self],
        )  # fmt: skip
        async with self.engine, asyncio.timeout(PATIENCE):
            if self.store.run(ROOT) is None:
                return await (await self._start(slots))
            self._let_time_pass()
            return await (await self.engine.resume(ROOT, lambda records: self.tree(records, slots)))

    async def _start(self, slots: Slots) -> asyncio.Future[RunEnd]:
        assert self.engine is not None
        graphs = self.case.graphs
        rows = [
            manifest_row(graphs["main"]),
            *(manifest_row(graph) for name, graph in graphs.items() if name != "main"),
        ]
        row = NewRun(ROOT, ROOT, "main", graphs["main"].digest, "task", {"path": "r"}, self.clock.now())
        tree = Tree(ROOT, "main", graphs, WorldHost(self.case, slots), slots)
        return await self.engine.start(row, rows, tree, ("start", {"path": "r"}, None, dict(self.case.extra)))

    def tree(self, records: Sequence[RunRecord], slots: Slots) -> Tree:
        members = [
            Member(r.row.run, load(r.graph), r.events, r.row.parent or "", r.row.parent_node or "") for r in records
        ]
        return Tree(ROOT, "main", self.case.graphs, WorldHost(self.case, slots), slots, members)

    # ------------------------------------------------------------ people

    async def decide(self) -> None:
        """A person looks at one step that waits, and leaves an answer for whoever goes on."""
        waiting = [
            (record.row.run, record.row.inputs["path"], row)
            for record in self.store.load(ROOT)
            if record.row.state in ("running", "suspended")
            for row in self.store.steps(record.row.run)
            if row.state == "suspended"
        ]
        run, path, row = self.rng.choice(waiting)
        place, reason = f"{path}.{row.node}", row.reason.split(":")[0]
        if reason == "approval" and absent(self.case, place):  # nobody comes, until it is too late
            self.clock.advance(PATIENCE_MS)
            return
        body: dict[str, Any] = {"run": run, "node": row.node, "output": done(self.case, place)}
        kind = "resolve"
        if reason == "budget":
            kind, body = "raise", {"micro_usd": 3_000}
        elif reason == "unknown":
            kind = "resolve" if (run, row.node) in self.effects else "redo"
        elif reason == "approval":
            kind = "approve" if person(self.case, place, reason) == "succeeded" else "reject"
        elif person(self.case, place, "exhausted") == "failed":
            kind = "reject"
        await self.store.post(ROOT, kind, body, "me")

    # ------------------------------------------------------------ to the end

    async def live(self, store: Store | None = None) -> Any:
        """Until the run has ended; returns its picture. The first process writes through `store`, the others to the record itself."""
        for _ in range(200):
            try:
                end = await self.process(store or self.store)
            except StoreError:
                store = None
                continue
            assert self.broken == []
            if end.state != "suspended":
                return self.picture()
            await self.decide()
        raise AssertionError("does not end")

    def picture(self) -> Any:
        """State and results of all runs, by where they are called from. Rows must say what the events say."""
        records = self.store.load(ROOT)
        tree = self.tree(records, self.case.slots())
        for record in records:
            self._compare(record, tree)
        return {
            kernel.inputs.get("path", run): (
                kernel.state,
                kernel.verdict,
                {n.id: (n.state, _shape(n)) for n in kernel.nodes.values()},
            )
            for run, kernel in tree.kernels.items()
        }

    def _compare(self, record: RunRecord, tree: Tree) -> None:
        kernel, row = tree.kernels[record.row.run], record.row
        assert (row.state, row.verdict, row.leg) == (kernel.state, kernel.verdict, kernel.leg)
        assert row.cost == sum(n.cost for n in kernel.top)
        rows = {step.node: step for step in self.store.steps(row.run)}
        for node in kernel.nodes.values():
            step = rows.get(node.id)
            told = (step.state, step.attempt, step.cost, step.lost) if step else ("pending", 0, 0, 0)
            assert told == (node.state, node.attempt, node.cost, node.lost), (row.run, node.id)
            if step is not None and node.result is not None and node.items is None:
                assert step.result == node.result, (row.run, node.id)


def _shape(n: Any) -> Any:
    if n.result is None:
        return n.error["class"] if n.error and n.state == "failed" else None
    output = n.result["value"]["output"]
    return "approved" if isinstance(output, dict) and "by" in output else output


def undisturbed(case: Case, seed: int) -> tuple[Any, int]:
    """The picture at the end, and how many commits led there."""
    clock = FakeClock()
    store = Counted(MemoryStore(clock))
    picture = asyncio.run(Life(case, store, clock, seed).live())  # type: ignore[arg-type]
    return picture, store.commits


def interrupted(case: Case, seed: int, path: Path, nth: int, *, after: bool) -> Any:
    clock = FakeClock()
    with closing(SqliteStore.open(path, durability="process", clock=clock)) as store:
        return asyncio.run(Life(case, store, clock, seed).live(DiesAt(store, nth, after=after)))  # type: ignore[arg-type]


def check_graph(folder: Path, seed: int) -> None:
    case, rng = make_case(seed), Random(seed)
    base, commits = undisturbed(case, seed)
    for after in (False, True):
        nth = rng.randint(FIRST[after], max(commits, FIRST[after]))
        path = folder / f"{seed}-{nth}-{after}.db"
        found = interrupted(case, seed + nth, path, nth, after=after)
        assert found == base, f"seed {seed}, commit {nth}, {'after' if after else 'before'} it\n{json.dumps(found)}"
        for left in folder.glob(f"{path.name}*"):
            left.unlink()


@pytest.mark.parametrize("count", [GRAPHS, pytest.param(MANY, marks=pytest.mark.slow)])
def test_a_run_whose_process_dies_at_any_commit_ends_as_the_undisturbed_one(tmp_path: Path, count: int) -> None:
    @given(seed=st.integers(0, 10**9))
    @settings(
        max_examples=count, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck)
    )  # fmt: skip
    def check(seed: int) -> None:
        check_graph(tmp_path, seed)

    check()


@pytest.mark.parametrize("seed", [5])
def test_a_run_whose_process_dies_at_every_commit_in_turn_ends_as_the_undisturbed_one(
    tmp_path: Path, seed: int
) -> None:
    case = make_case(seed)
    base, commits = undisturbed(case, seed)
    for after in (False, True):
        for nth in range(FIRST[after], commits + 1):
            assert interrupted(case, nth, tmp_path / f"{nth}-{after}.db", nth, after=after) == base, (nth, after)
