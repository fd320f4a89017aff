"""The language, case by case: each folder here is a manifest (with files beside it) and what must come of it.

`expected.json`, all keys optional but one of `exit_code` and `mistakes`:
  exit_code, state, reasons   of the run              steps        {id: state, "reused", or {state, attempts, class, message (a part), items}}
  outputs                     exactly                 order        [[before, after], …]: the first has ended when the second begins
  inputs                      given with `-i`         plan         {id: action} before anything ran
  files                       {path: content} after   mistakes     [[rule, path], …]: the manifest is invalid, and why
  again                       expectations of a second apply (same keys)
"""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from runner.api.apply import apply
from runner.api.load import Loaded, load
from runner.api.planning import plan
from runner.api.request import Request
from runner.api.results import RunResult
from runner.api.settings import Settings, load_config
from runner.clock import SystemClock
from runner.ports import Store
from runner.store.memory import MemoryStore
from runner.store.sqlite import SqliteStore

HERE = Path(__file__).parent
CASES = sorted(path.parent.name for path in HERE.glob("*/expected.json"))
PATIENCE = 30.0
KNOWN = {
    "exit_code", "state", "reasons", "steps", "outputs", "order", "inputs", "plan", "files", "mistakes", "again",
}  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """A project with the files of the case."""
    shutil.copytree(HERE / request.getfixturevalue("case"), tmp_path / "project")
    return tmp_path / "project"


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    clock = SystemClock()
    path = tmp_path / "state.db"
    opened: Store = (
        MemoryStore(clock) if request.param == "memory" else SqliteStore.open(path, durability="process", clock=clock)
    )
    yield opened
    opened.close()


@pytest.mark.parametrize("case", CASES)
def test_the_case_ends_as_it_says(case: str, folder: Path, store: Store) -> None:
    expected = json.loads((folder / "expected.json").read_text())
    settings = load_config(None, start=folder, env={})
    assert settings.ok, settings.diagnostics
    loaded = load([folder / "manifest.yaml"], settings)
    if "mistakes" in expected:
        assert [[d.rule, d.path] for d in loaded.diagnostics] == expected["mistakes"]
        return
    assert not loaded.failed, loaded.diagnostics
    for wanted in [expected, *expected.get("again", [])]:
        assert set(wanted) <= KNOWN
        check(wanted, folder, loaded, settings, store)


def check(wanted: Mapping[str, Any], folder: Path, loaded: Loaded, settings: Settings, store: Store) -> None:
    request = Request(texts=wanted.get("inputs", {}))
    if "plan" in wanted:
        [planned] = plan(loaded, settings, store, request, SystemClock())
        assert {step.id: step.action for step in planned.plan.steps} == wanted["plan"]

    async def applied() -> Any:
        async with asyncio.timeout(PATIENCE):
            return await apply(loaded, settings, request, store=store)

    result = asyncio.run(applied())
    [run] = result.runs
    said = json.dumps(run.to_json(), indent=1)
    assert result.exit_code == wanted["exit_code"], said
    for key in ("state", "outputs"):
        if key in wanted:
            assert getattr(run, key) == wanted[key], said
    if "reasons" in wanted:
        assert list(run.reasons) == wanted["reasons"]
    check_steps(wanted.get("steps", {}), run.steps, said)
    check_order(wanted.get("order", []), run, store)
    for path, content in wanted.get("files", {}).items():
        assert ((folder / path).read_text() if (folder / path).exists() else None) == content


def check_steps(wanted: Mapping[str, Any], steps: Mapping[str, Any], said: str) -> None:
    for id, want in wanted.items():
        step = steps.get(id)
        if want == "pending" and step is None:
            continue
        assert step is not None, f"no step {id} in {said}"
        if isinstance(want, str):
            want = {"state": want}
        if want.get("state") == "reused":
            want = {**want, "state": "succeeded", "reused": True}
        error = step.error or {}
        for key, value in want.items():
            match key:
                case "items":
                    check_steps(value, step.items, said)
                    assert list(step.items) == list(value), said
                case "class":
                    assert error.get("class") == value, said
                case "message":
                    assert value in error.get("message", ""), said
                case _:
                    assert getattr(step, key) == value, f"{id}.{key}: {said}"


def check_order(pairs: list[list[str]], run: RunResult, store: Store) -> None:
    assert run.run is not None
    seqs: dict[str, list[int]] = {}
    for recorded in store.events(run.run):
        seqs.setdefault(recorded.event.node, []).append(recorded.seq)
    for before, after in pairs:
        assert max(seqs[before]) < min(seqs[after]), f"{after} began before {before} had ended"


def test_there_is_a_case_for_every_key_of_a_step_and_of_a_manifest() -> None:
    texts = "\n".join((HERE / case / "manifest.yaml").read_text() for case in CASES)
    missing = [key for key in [*STEP_KEYS, *TOP_KEYS] if f"{key}:" not in texts]
    assert missing == []


STEP_KEYS = (
    "tool", "agent", "model", "run", "call", "approve", "wait", "set", "fail", "needs", "when", "foreach", "matrix",
    "max_parallel", "join", "route", "fallback", "faults", "timeout", "checks", "repair", "returns", "effects", "reuse",
    "files", "save", "env", "cwd", "labels", "optional", "budget", "workspace",
)  # fmt: skip
TOP_KEYS = (
    "description", "extends", "inputs", "vars", "defaults", "concurrency", "steps", "finally", "outputs", "triggers",
)  # fmt: skip
