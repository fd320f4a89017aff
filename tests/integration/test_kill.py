"""kill -9 at random instants, with the real command line in real processes: nothing that succeeded is repeated, nothing that must
happen once happens twice, and the end is that of a run which nobody killed."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
from apply_project import Gate, Project

from runner.store.sqlite import SqliteStore

PATIENCE = 60.0
ORPHANS_S = 5.0
"""A command may outlive its runner by this much."""

APPEND = 'echo "$0 $ARES_IDEMPOTENCY_KEY" >> ledger && sync ledger && echo > tick && echo "$0 done"'
"""One line a time it really happened, on the disk before the command ends; `tick` tells the test at once."""

MANIFEST = f"""
vars: {{append: '{APPEND}'}}
concurrency: 3
steps:
  idem: {{run: [sh, -c, "{{{{ vars.append }}}}", idem], effects: idempotent}}
  none: {{run: [sh, -c, "{{{{ vars.append }}}}", none], effects: none, needs: [idem]}}
  once1: {{run: [sh, -c, "{{{{ vars.append }}}}", once1], effects: once}}
  once2: {{run: [sh, -c, "{{{{ vars.append }}}}", once2], effects: once, needs: [once1, idem]}}
  each: {{foreach: [0, 1, 2, 3], max_parallel: 2, run: [sh, -c, "{{{{ vars.append }}}}", "each[{{{{ item }}}}]"], effects: idempotent, needs: [idem]}}
  sum: {{set: {{all: "{{{{ steps.each.output }}}}", once: "{{{{ steps.once2.text }}}}"}}}}
  once3: {{run: [sh, -c, "{{{{ vars.append }}}}", once3], effects: once, needs: [sum]}}
finally:
  last: {{run: [sh, -c, "{{{{ vars.append }}}}", last], effects: idempotent}}
outputs: {{all: "{{{{ steps.sum.output }}}}", last: "{{{{ steps.once3.text }}}}", none: "{{{{ steps.none.text }}}}"}}
"""


class Victim:
    """A project whose runner is killed again and again."""

    def __init__(self, folder: Path, rng: Random) -> None:
        self.project, self.rng = Project(folder), rng
        self.project.manifest(MANIFEST)
        self.kills = 0
        os.mkfifo(folder / "tick")
        self.tick = os.open(folder / "tick", os.O_RDWR | os.O_NONBLOCK)

    def runner(self, *words: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "runner", "--quiet", *words], cwd=self.project.folder, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ, "CI": "1"},
        )  # fmt: skip

    def finish(self) -> Any:
        """Apply without a kill, and what it said at its end."""
        child = self.runner("apply", "--events", "m.yaml")
        out, err = child.communicate(timeout=PATIENCE)
        assert child.returncode in (0, 1, 3), err
        return json.loads(out.splitlines()[-1])

    def strike(self) -> Any:
        """Apply, and kill it after some event, or right after something happened; None when killed, else what it said at its end."""
        child = self.runner("apply", "--events", "m.yaml")
        assert child.stdout is not None and child.stderr is not None
        with child.stdout, child.stderr:
            said = self._watch(
                child.stdout.fileno(), *self.rng.choice([(self.rng.randint(0, 9), 99), (99, 1), (99, 2)])
            )
            if said is not None:
                child.wait(PATIENCE)
                return said
            child.send_signal(signal.SIGKILL)
            child.wait(PATIENCE)
        self.kills += 1
        self.wait_for_orphans()
        return None

    def _watch(self, out: int, events: int, effects: int) -> Any:
        """Until so many events were told (None), or effects happened (None), or the runner ends (its last word)."""
        told, ticks = b"", 0
        while told.count(b"\n") < events and ticks < effects:
            ready, _, _ = select.select([out, self.tick], [], [], PATIENCE)
            assert ready, "the runner hangs"
            if out in ready:
                data = os.read(out, 1 << 16)
                if not data:
                    return json.loads(told.splitlines()[-1])
                told += data
            if self.tick in ready:
                ticks += os.read(self.tick, 1 << 16).count(b"\n")
        return None

    def wait_for_orphans(self) -> None:
        """Whatever the dead runner has started ends soon. Waits on the processes themselves."""
        for pid in commands_in(self.project.folder):
            try:
                handle = os.pidfd_open(pid)
            except ProcessLookupError:
                continue
            try:
                ended, _, _ = select.select([handle], [], [], ORPHANS_S)
            finally:
                os.close(handle)
            assert ended, f"process {pid} outlives its runner"

    def ledger(self) -> list[tuple[str, str]]:
        """(step, idempotency key) of everything that really happened."""
        path = self.project.folder / "ledger"
        lines = path.read_text().splitlines() if path.exists() else []
        return [(line.split()[0], line.split()[1]) for line in lines]

    def resolve(self, said: Any) -> None:
        """As a careful person does: look whether it happened, then say so."""
        [run] = said["runs"]
        happened = Counter(step for step, _ in self.ledger())
        for id in suspended(run["steps"]):
            how = ["--done", json.dumps(f"{id} done")] if happened[id] else ["--redo"]
            child = self.runner("resolve", run["run"], id, *how)
            _, err = child.communicate(timeout=PATIENCE)
            assert child.returncode == 0, err

    def survive(self, kills: int) -> Any:
        """Be killed so many times (or until the run has ended), then end. Returns the last word."""
        for _ in range(4 * kills + 20):
            said = self.strike() if self.kills < kills else self.finish()
            if said is None:
                continue
            if said["exit_code"] == 3:
                self.resolve(said)
            elif not lost_for_good(said):
                return said
        raise AssertionError("does not end")

    def check(self, said: Any, outputs: Any) -> None:
        """The promises, by ledger and record."""
        assert said["exit_code"] == 0, said
        run = max(said["runs"], key=lambda entry: entry["manifest"] == "m")
        assert run["outputs"] == outputs
        happened = Counter(step for step, _ in self.ledger())
        assert {id: happened[id] for id in ("once1", "once2", "once3")} == dict.fromkeys(("once1", "once2", "once3"), 1)
        record = self.project.record()
        try:
            self._check_record(record, run["run"])
        finally:
            record.close()
        assert commands_in(self.project.folder) == []
        os.close(self.tick)

    def _check_record(self, record: SqliteStore, run: str) -> None:
        started: Counter[str] = Counter()
        keys: dict[str, set[str]] = {}
        succeeded: set[str] = set()
        for recorded in record.events(run):
            kind, node, data = recorded.event
            if kind == "attempt_started":
                assert node not in succeeded, f"{node} ran again although its success is recorded"
                started[node] += 1
                keys.setdefault(node, set()).add(data["effect_key"])
            if kind in ("attempt_succeeded", "step_resolved"):
                succeeded.add(node)
        for step, count in Counter(step for step, _ in self.ledger()).items():
            assert count <= started[step], f"{step} happened {count} times in {started[step]} attempts"
        for step, key in self.ledger():
            assert key in keys[step], f"{step} got a key that was not recorded"
        for node, found in keys.items():
            assert len(found) == 1, f"{node} was repeated under another key: {found}"


def suspended(steps: Any) -> Iterator[str]:
    """Steps and items whose outcome nobody knows: `once` ones, and others whose runner died under them five times."""
    for id, step in steps.items():
        if step["state"] == "suspended":
            yield id
        yield from (f"{id}[{key}]" for key, item in step.get("items", {}).items() if item["state"] == "suspended")


def lost_for_good(said: Any) -> bool:
    """Has the step of `finally` been lost as often as it is tried? It waits for nobody, so it has failed, and the next apply does it again."""
    last = said["runs"][0]["steps"]["last"]
    return bool(last["state"] == "failed" and last["error"]["message"] == "lost")


def commands_in(folder: Path) -> list[int]:
    """Processes whose working directory is the project: what its runners have started."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and Path(os.readlink(entry / "cwd")) == folder:
                state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
                found += [int(entry.name)] if state not in "ZX" else []
        except OSError:
            continue
    return found


def undisturbed(folder: Path) -> Any:
    victim = Victim(folder, Random(0))
    said = victim.finish()
    os.close(victim.tick)
    assert said["exit_code"] == 0, said
    return said["runs"][0]["outputs"]


def killed(folder: Path, kills: int, seed: int) -> int:
    """Projects until so many kills have happened; returns how many projects."""
    outputs, rng, done, projects = undisturbed(folder / "undisturbed"), Random(seed), 0, 0
    while done < kills:
        projects += 1
        victim = Victim(folder / f"p{projects}", rng)
        victim.check(victim.survive(kills - done), outputs)
        done += victim.kills
        assert victim.kills > 0 or projects < kills, "nothing is ever killed"
    return projects


def test_a_run_that_is_killed_six_times_ends_as_if_nobody_had_killed_it(tmp_path: Path) -> None:
    killed(tmp_path, 6, seed=1)


@pytest.mark.slow
def test_fifty_kills_at_random_instants_repeat_nothing_and_lose_nothing(tmp_path: Path) -> None:
    killed(tmp_path, 50, seed=2)


def test_a_second_process_is_told_busy_within_two_seconds_and_runs_its_other_manifests(tmp_path: Path) -> None:
    victim = Victim(tmp_path / "p", Random(0))
    os.close(victim.tick)
    project, gate = victim.project, Gate(tmp_path)
    project.manifest(f"steps: {{a: {{run: 'echo a >> ledger; {gate.script}', effects: idempotent}}}}")
    project.manifest("steps: {b: {run: 'echo b >> ledger', effects: idempotent}}", "other")
    first = victim.runner("apply", "m.yaml")
    gate._begun.read_text()  # blocks until the step has begun
    second = victim.runner("apply", "--json", ".")
    out, err = second.communicate(timeout=PATIENCE)
    gate.let_through()
    assert first.communicate(timeout=PATIENCE) and first.returncode == 0
    assert second.returncode == 7, err
    said = json.loads(out)
    assert said["outcome"] == "busy"
    assert {run["manifest"]: run["state"] for run in said["runs"]} == {"m": "busy", "other": "succeeded"}
    assert project.ledger() == ["a", "b"]
