"""`apply` and its family through `runner.api`, on real files, with real commands: it converges, resumes, refuses, and keeps secrets."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import signal
from pathlib import Path
from typing import Any
from urllib.parse import quote

import apsw
import pytest
from apply_project import PATIENCE, Gate, Project, states

from runner.api import apply as verbs
from runner.api.load import load
from runner.api.planning import plan
from runner.api.request import Control, Request
from runner.api.results import ApplyResult
from runner.clock import SystemClock
from runner.errors import InvalidInput, StoreFull, UsageError
from runner.ports import NewManifest, NewRun, OwnerId
from runner.store.owners import this_process
from runner.store.record import Record
from runner.store.sqlite import SqliteStore


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path / "project")


def bounded(work: Any) -> Any:
    async def within() -> Any:
        async with asyncio.timeout(PATIENCE):
            return await work

    return asyncio.run(within())


# ---------------------------------------------------------------- converging

CHAIN = """
description: Read, shorten, shout
steps:
  a: {run: 'echo a >> ledger; cat in.txt', effects: none, files: [in.txt]}
  b: {run: 'echo b >> ledger; echo "$TEXT" | cut -c 1-3', env: {TEXT: "{{ steps.a.text }}"}, effects: none}
  c: {run: 'echo c >> ledger; echo "$TEXT!"', env: {TEXT: "{{ steps.b.text }}"}, effects: none}
  d: {run: 'echo d >> ledger', effects: none}
outputs: {c: "{{ steps.c.text }}"}
"""


@pytest.fixture
def chain(project: Project) -> Project:
    project.write("in.txt", "hello world\n")
    project.manifest(CHAIN)
    first = project.run()
    assert (first.action, first.state, first.outputs) == ("create", "succeeded", {"c": "hel!"})
    assert sorted(project.ledger()) == ["a", "b", "c", "d"]
    return project


def test_a_second_apply_finds_everything_unchanged_and_runs_nothing(chain: Project) -> None:
    again = chain.run()
    assert (again.action, again.state, again.exit_code, again.outputs) == ("unchanged", "succeeded", 0, {"c": "hel!"})
    assert chain.ledger() == []


def test_after_an_edit_only_the_step_and_what_depends_on_its_changed_output_run(chain: Project) -> None:
    chain.manifest(CHAIN.replace("cut -c 1-3", "cut -c 2-5"))
    run = chain.run()
    assert (run.action, run.outputs) == ("update", {"c": "ello!"})
    assert states(run) == {"a": "reused", "b": "succeeded", "c": "succeeded", "d": "reused"}
    assert chain.ledger() == ["b", "c"]


def test_a_reader_is_reused_when_the_step_before_it_gives_what_it_gave_before(chain: Project) -> None:
    chain.write("in.txt", "hello moon\n")
    run = chain.run()
    assert run.action == "update"
    assert states(run) == {"a": "succeeded", "b": "succeeded", "c": "reused", "d": "reused"}
    assert chain.ledger() == ["a", "b"]


def test_a_step_that_needs_one_that_ran_again_runs_too(project: Project) -> None:
    text = """
        steps:
          a: {{run: 'echo a >> ledger; echo {word} > /dev/null', effects: none}}
          b: {{run: 'echo b >> ledger', effects: none, needs: [a]}}
        """
    project.manifest(text.format(word="one"))
    project.run()
    project.ledger()
    project.manifest(text.format(word="two"))
    assert states(project.run()) == {"a": "succeeded", "b": "succeeded"}
    assert project.ledger() == ["a", "b"]


@pytest.mark.parametrize(
    "edit",
    [
        lambda text: f"# a comment\n{text}\n\n# and another\n",
        lambda text: text.replace("effects: none}", "effects:   none }"),
    ],
    ids=["comments", "spaces"],
)
def test_an_edit_that_means_nothing_leaves_a_manifest_unchanged(chain: Project, edit: Any) -> None:
    chain.manifest(edit(CHAIN))
    assert chain.run().action == "unchanged"


def test_another_description_is_a_new_run_that_reuses_everything(chain: Project) -> None:
    chain.manifest(CHAIN.replace("Read, shorten, shout", "Something else"))
    run = chain.run()
    assert (run.action, run.outputs) == ("update", {"c": "hel!"})
    assert set(states(run).values()) == {"reused"}
    assert chain.ledger() == []


def test_what_was_put_back_is_reused_from_the_older_run(chain: Project) -> None:
    chain.write("in.txt", "bye\n")
    chain.run()
    chain.ledger()
    chain.write("in.txt", "hello world\n")
    assert set(states(chain.run()).values()) == {"reused"}
    assert chain.ledger() == []


def test_force_reuses_nothing(chain: Project) -> None:
    run = chain.run(force=True)
    assert (run.action, set(states(run).values())) == ("update", {"succeeded"})
    assert sorted(chain.ledger()) == ["a", "b", "c", "d"]


@pytest.mark.parametrize(
    "damage", [lambda p: p.unlink(), lambda p: p.write_text("edited\n")], ids=["removed", "edited"]
)
def test_a_saved_file_that_is_not_as_it_was_written_is_made_again(project: Project, damage: Any) -> None:
    project.manifest(
        """
        steps:
          a: {run: 'echo a >> ledger; echo report', effects: idempotent, save: out/report.txt}
          b: {run: 'echo b >> ledger', effects: none}
        """
    )
    project.run()
    assert project.run().action == "unchanged"
    project.ledger()
    damage(project.folder / "out" / "report.txt")
    run = project.run()
    assert run.action == "update"
    assert states(run) == {"a": "succeeded", "b": "reused"}
    assert project.read("out/report.txt") == "report\n"


def test_other_inputs_are_another_task(project: Project) -> None:
    project.manifest(
        """
        inputs: {n: {type: integer, default: 1}}
        steps: {a: {run: ["sh", "-c", "echo {{ inputs.n }} | tee -a ledger"], effects: none}}
        outputs: {n: "{{ steps.a.text }}"}
        """
    )
    one, two = project.run(), project.run(texts={"n": "2"})
    assert (one.action, two.action, two.outputs) == ("create", "create", {"n": "2"})
    assert [project.run().action, project.run(texts={"n": "2"}).action] == ["unchanged", "unchanged"]
    assert project.ledger() == ["1", "2"]


def test_an_edit_in_a_callee_makes_its_caller_changed(project: Project) -> None:
    project.manifest("steps: {a: {call: inner}}\noutputs: {x: '{{ steps.a.output.x }}'}")
    project.manifest("steps: {i: {set: {x: 1}}}\noutputs: {x: '{{ steps.i.output.x }}'}", "inner")
    assert project.run().outputs == {"x": 1}
    assert project.run().action == "unchanged"
    project.manifest("steps: {i: {set: {x: 2}}}\noutputs: {x: '{{ steps.i.output.x }}'}", "inner")
    run = project.run()
    assert (run.action, run.outputs) == ("update", {"x": 2})


def test_a_callable_manifest_is_passed_over_in_a_folder(project: Project) -> None:
    project.manifest("inputs: {x: string}\nsteps: {a: {set: {x: '{{ inputs.x }}'}}}")
    found = load([project.folder], project.settings)
    result: ApplyResult = bounded(verbs.apply(found, project.settings))
    assert [(run.action, run.run) for run in result.runs] == [("callable", None)]
    assert result.exit_code == 0


# ---------------------------------------------------------------- resuming

FLAKY = """
steps:
  a: {run: 'echo a >> ledger', effects: idempotent}
  b: {run: 'echo b >> ledger; test -e fixed', effects: idempotent, needs: [a]}
  c: {run: 'echo c >> ledger', effects: idempotent, needs: [b]}
  d: {run: 'echo d >> ledger', effects: idempotent}
finally:
  z: {run: 'echo z-$STATE >> ledger', effects: idempotent, env: {STATE: "{{ run.state }}"}}
"""


def test_a_failed_run_is_resumed_and_runs_only_what_failed_or_was_blocked(project: Project) -> None:
    project.manifest(FLAKY)
    first = project.run()
    assert (first.state, first.exit_code, first.steps["c"].state) == ("failed", 1, "blocked")
    project.ledger()
    project.write("fixed", "")
    again = project.run()
    assert (again.action, again.state, again.run) == ("resume", "succeeded", first.run)
    assert project.ledger() == ["b", "c", "z-succeeded"]
    assert project.run().action == "unchanged"


def test_resume_by_name_goes_on_with_the_latest_run(project: Project) -> None:
    project.manifest(FLAKY)
    project.run()
    project.write("fixed", "")
    result = bounded(verbs.resume("m", project.settings))
    assert (result.exit_code, result.runs[0].state) == (0, "succeeded")
    assert bounded(verbs.resume("m", project.settings)).runs[0].action == "unchanged"


def test_resume_from_a_step_is_a_new_run_that_reuses_what_is_before_it(project: Project) -> None:
    project.write("fixed", "")
    project.manifest(FLAKY)
    first = project.run()
    project.ledger()
    [run] = bounded(verbs.resume("m", project.settings, from_step="b")).runs
    assert run.run != first.run
    assert states(run) == {"a": "reused", "b": "succeeded", "c": "succeeded", "d": "reused", "z": "succeeded"}
    assert project.ledger() == ["b", "c", "z-succeeded"]
    record = project.record()
    row = record.run(str(run.run))
    record.close()
    assert row is not None
    assert row.forked_from == first.run
    with pytest.raises(UsageError, match="has no step 'x'"):
        bounded(verbs.resume("m", project.settings, from_step="x"))


def test_a_drained_run_exits_with_the_signal_and_goes_on_later(project: Project) -> None:
    gate = Gate(project.folder)
    project.manifest(
        f"""
        steps:
          a: {{run: 'echo a >> ledger; {gate.script}', effects: idempotent}}
          b: {{run: 'echo b >> ledger', effects: idempotent, needs: [a]}}
        """
    )

    async def scene() -> ApplyResult:
        control = Control()
        work = asyncio.create_task(project.applied(control=control))
        await gate.begun()
        control.interrupt(signal.SIGINT)
        gate.let_through()
        return await work

    first = bounded(scene())
    assert (first.exit_code, first.runs[0].steps["a"].state) == (130, "succeeded")
    assert project.ledger() == ["a"]
    run = project.run()
    assert (run.action, run.state) == ("resume", "succeeded")
    assert project.ledger() == ["b"]


def test_a_second_signal_stops_and_the_run_goes_on_later(project: Project) -> None:
    gate = Gate(project.folder)
    project.manifest(
        f"steps: {{a: {{run: 'echo a >> ledger; test -e fixed || {{ {gate.script}; }}', effects: idempotent}}}}"
    )

    async def scene() -> ApplyResult:
        control = Control()
        work = asyncio.create_task(project.applied(control=control))
        await gate.begun()
        control.interrupt(signal.SIGTERM)
        control.interrupt(signal.SIGTERM)
        return await work

    assert bounded(scene()).exit_code == 143
    project.write("fixed", "")
    run = project.run()
    assert (run.action, run.state, project.ledger()) == ("resume", "succeeded", ["a", "a"])


def test_a_run_uses_the_manifest_as_it_was_when_it_began(project: Project) -> None:
    gate = Gate(project.folder)
    text = f"""
        steps:
          a: {{run: '{gate.script}', effects: idempotent}}
          b: {{run: 'echo WORD | tee -a ledger', effects: idempotent, needs: [a]}}
        outputs: {{b: "{{{{ steps.b.text }}}}"}}
        """
    project.manifest(text.replace("WORD", "old"))

    async def scene() -> ApplyResult:
        work = asyncio.create_task(project.applied())
        await gate.begun()
        project.manifest(text.replace("WORD", "new"))
        gate.let_through()
        return await work

    [run] = bounded(scene()).runs
    assert (run.state, run.outputs, project.ledger()) == ("succeeded", {"b": "old"}, ["old"])


def test_a_changed_manifest_supersedes_its_unfinished_older_run(project: Project) -> None:
    text = """
        steps:
          a: {run: 'echo a >> ledger', effects: idempotent}
          b: {run: 'test -e fixed', effects: idempotent, needs: [a], faults: {exhausted: suspend}}
        """
    project.manifest(text)
    old = project.run()
    assert (old.state, old.exit_code) == ("suspended", 5)
    project.manifest(text.replace("test -e fixed", "true"))
    new = project.run()
    assert (new.action, new.state, states(new)) == ("update", "succeeded", {"a": "reused", "b": "succeeded"})
    record = project.record()
    row = record.run(str(old.run))
    record.close()
    assert row is not None
    assert (row.state, row.superseded_by) == ("superseded", new.run)
    with pytest.raises(UsageError, match="superseded"):
        bounded(verbs.cancel(str(old.run), project.settings, by="me"))


def test_a_run_that_never_began_is_begun_anew(project: Project) -> None:
    project.manifest("steps: {a: {call: inner}}")
    project.manifest("steps: {i: {set: {x: 1}}}", "inner")
    dead = leave_pending(project)
    with pytest.raises(UsageError, match="never began"):
        bounded(verbs.resume(dead, project.settings))
    run = project.run()
    assert (run.action, run.state) == ("create", "succeeded")
    record = project.record()
    row = record.run(dead)
    record.close()
    assert row is not None
    assert row.state == "superseded"


def leave_pending(project: Project) -> str:
    """As a runner does that dies between the row of a run and its first event."""
    me = this_process()
    store = SqliteStore.open(project.folder / ".ares" / "state.db", clock=SystemClock())
    [entry] = plan(project.loaded(), project.settings, store, Request(), SystemClock(), steps=False)
    graph = entry.graph
    run = NewRun("dead000000", "dead000000", graph.name, graph.digest, entry.task, dict(entry.inputs), 1)
    gone = OwnerId("gone", me.host, me.pid, me.pid_start + 1)
    store.begin(run, NewManifest(graph.digest, graph.name, "{}", ""), gone).result()  # type: ignore[attr-defined]
    store.close()
    return run.run


# ---------------------------------------------------------------- people

UNKNOWN = """
steps:
  pay: {run: 'echo paid >> ledger; test -e fixed || kill -9 $$; echo receipt', effects: once}
  tell: {run: 'echo "told $WHAT" >> told', env: {WHAT: "{{ steps.pay.output }}"}, effects: idempotent}
"""


def test_an_unknown_once_step_is_not_repeated_until_a_person_says_what_became_of_it(project: Project) -> None:
    project.manifest(UNKNOWN)
    first = project.run()
    assert (first.state, first.exit_code, first.reasons) == ("suspended", 3, ("unknown",))
    assert project.run().exit_code == 3
    assert project.ledger() == ["paid"]
    result = bounded(verbs.resolve("m", project.settings, "pay", by="me", done="by hand"))
    assert result.runs[0].steps["pay"].state == "succeeded"
    assert project.run().state == "succeeded"
    assert (project.ledger(), project.read("told")) == ([], "told by hand\n")


def test_redo_runs_an_unknown_step_again(project: Project) -> None:
    project.manifest(UNKNOWN)
    project.run()
    project.write("fixed", "")
    bounded(verbs.resolve("m", project.settings, "pay", by="me", redo=True))
    assert project.ledger() == ["paid"]  # nothing starts before the next apply
    assert project.run().state == "succeeded"
    assert (project.ledger(), project.read("told")) == (["paid"], "told receipt\n")


def test_a_changed_manifest_is_refused_while_an_older_run_holds_an_unknown_step(project: Project) -> None:
    project.manifest(UNKNOWN)
    first = project.run()
    project.manifest(UNKNOWN.replace("echo receipt", "echo other"))
    refused = project.run()
    assert (refused.state, refused.exit_code) == ("refused", 3)
    assert first.run is not None
    assert first.run in str(refused.error) and "pay" in str(refused.error)
    assert project.ledger() == ["paid"]
    assert project.run(force=True).exit_code == 3
    bounded(verbs.resolve(first.run, project.settings, "pay", by="me", done=1))
    project.write("fixed", "")
    assert project.run().state == "succeeded"


def test_an_unknown_step_of_a_sub_run_is_resolved_there(project: Project) -> None:
    project.manifest("steps: {a: {call: inner}}\noutputs: {x: '{{ steps.a.output.x }}'}")
    project.manifest(
        "steps: {pay: {run: 'echo paid >> ledger; kill -9 $$', effects: once}}\noutputs: {x: '{{ steps.pay.output }}'}",
        "inner",
    )
    first = project.run()
    assert (first.state, first.exit_code) == ("suspended", 3)
    bounded(verbs.resolve(f"{first.run}.a", project.settings, "pay", by="me", done={"receipt": 7}))
    again = project.run()
    assert (again.state, again.outputs) == ("succeeded", {"x": {"receipt": 7}})
    assert project.ledger() == ["paid"]


def test_an_unknown_step_of_a_run_that_has_ended_is_resolved_and_the_run_is_open_again(project: Project) -> None:
    project.manifest(UNKNOWN)
    first = project.run()
    assert first.run is not None
    bounded(verbs.cancel(first.run, project.settings, by="me"))
    assert state_of(project, first.run, "pay") == ("cancelled", "failed", "unknown")
    result = bounded(verbs.resolve(first.run, project.settings, "pay", by="me", done="by hand")).runs[0]
    assert (result.state, result.steps["pay"].state, result.steps["tell"].attempts) == ("interrupted", "succeeded", 0)
    assert project.run().state == "succeeded"
    assert (project.ledger(), project.read("told")) == (["paid"], "told by hand\n")


def test_an_unknown_step_of_a_sub_run_that_has_ended_is_resolved_through_its_root(project: Project) -> None:
    project.manifest("steps: {a: {call: inner}}\noutputs: {x: '{{ steps.a.output.x }}'}")
    project.manifest(
        "steps: {pay: {run: 'echo paid >> ledger; kill -9 $$', effects: once}}\noutputs: {x: '{{ steps.pay.output }}'}",
        "inner",
    )
    first = project.run()
    assert first.run is not None
    bounded(verbs.cancel(first.run, project.settings, by="me"))
    bounded(verbs.resolve(first.run, project.settings, "pay", by="me", done={"receipt": 7}))
    again = project.run()
    assert (again.state, again.outputs, project.ledger()) == ("succeeded", {"x": {"receipt": 7}}, ["paid"])


def test_a_lost_clean_up_is_not_resolved_but_starts_over_with_its_run(project: Project) -> None:
    project.manifest(
        "steps: {a: {run: [echo, ok], effects: none}}\n"
        "finally: {tidy: {run: 'echo tidied >> ledger; test -e fixed || kill -9 $$', effects: once}}"
    )
    first = project.run()
    assert (first.state, first.steps["tidy"].reason) == ("failed", "unknown")
    with pytest.raises(UsageError, match=r"tidy .* starts over with the next leg"):
        bounded(verbs.resolve("m", project.settings, "tidy", by="me", done="by hand"))
    assert first.run is not None
    assert state_of(project, first.run, "tidy") == ("failed", "failed", "unknown")


def state_of(project: Project, run: str, node: str) -> tuple[str, str, str]:
    """The state of a run, and state and reason of a step of it."""
    record = project.record()
    row, [step] = record.run(run), [one for one in record.steps(run) if one.node == node]
    record.close()
    assert row is not None
    return row.state, step.state, step.reason


def test_there_is_nothing_to_resolve_in_a_step_that_ended(project: Project) -> None:
    project.manifest(FLAKY)
    project.run()
    with pytest.raises(UsageError, match="succeeded"):
        bounded(verbs.resolve("m", project.settings, "a", by="me", done=1))
    with pytest.raises(UsageError, match="no step 'x'"):
        bounded(verbs.resolve("m", project.settings, "x", by="me", done=1))
    with pytest.raises(UsageError, match="no run 'nobody'"):
        bounded(verbs.resolve("nobody", project.settings, "a", by="me", done=1))


def test_what_cannot_be_recorded_is_no_answer(project: Project) -> None:
    project.manifest(UNKNOWN)
    project.run()
    with pytest.raises(UsageError, match="cannot be recorded"):
        bounded(verbs.resolve("m", project.settings, "pay", by="me", done=json.loads('"\\ud800"')))


def test_an_input_that_cannot_be_recorded_is_invalid(project: Project) -> None:
    project.manifest("inputs: {x: string}\nsteps: {a: {set: {x: '{{ inputs.x }}'}}}")
    with pytest.raises(InvalidInput, match="cannot be recorded"):
        project.run(texts={"x": "\udcff"})  # what Python makes of a byte on the command line that is not UTF-8


def test_a_cancelled_run_runs_its_finally_steps_and_may_go_on_in_another_leg(project: Project) -> None:
    project.manifest(
        """
        steps:
          a: {run: 'echo a >> ledger', effects: idempotent}
          b: {run: 'echo b >> ledger; test -e fixed', effects: idempotent, needs: [a], faults: {exhausted: suspend}}
        finally:
          z: {run: 'echo z-$STATE >> ledger', effects: idempotent, env: {STATE: "{{ run.state }}"}}
        """
    )
    project.run()
    result = bounded(verbs.cancel("m", project.settings, by="me"))
    assert result.runs[0].state == "cancelled"
    assert project.ledger() == ["a", "b", "z-cancelled"]
    project.write("fixed", "")
    run = project.run()
    assert (run.action, run.state, project.ledger()) == ("resume", "succeeded", ["b", "z-succeeded"])


def test_a_cancel_reaches_the_runner_that_drives_the_run(project: Project) -> None:
    gate = Gate(project.folder)
    project.manifest(f"steps: {{a: {{run: '{gate.script}', effects: idempotent}}, b: {{run: ['true'], needs: [a]}}}}")

    async def scene() -> tuple[ApplyResult, ApplyResult]:
        work = asyncio.create_task(project.applied())
        await gate.begun()
        told = await verbs.cancel("m", project.settings, by="me")
        return told, await work

    told, result = bounded(scene())
    assert told.runs[0].state in ("running", "cancelled")
    assert (result.runs[0].state, result.exit_code) == ("cancelled", 1)
    assert result.runs[0].steps["a"].state == "cancelled"


# ---------------------------------------------------------------- two runners


def test_a_second_runner_is_told_busy_and_runs_its_other_manifests(project: Project) -> None:
    gate = Gate(project.folder)
    project.manifest(f"steps: {{a: {{run: 'echo a >> ledger; {gate.script}', effects: idempotent}}}}")
    project.manifest("steps: {b: {run: 'echo b >> ledger', effects: idempotent}}", "other")

    async def scene() -> tuple[ApplyResult, ApplyResult]:
        first = asyncio.create_task(project.applied("m"))
        await gate.begun()
        async with asyncio.timeout(2):
            second = await project.applied("m", "other")
        gate.let_through()
        return await first, second

    first, second = bounded(scene())
    assert (first.exit_code, second.exit_code) == (0, 7)
    assert {run.manifest: run.state for run in second.runs} == {"m": "busy", "other": "succeeded"}
    assert "another runner" in str(second.runs[0].error)
    assert project.ledger() == ["a", "b"]


def test_a_runner_whose_run_was_taken_over_says_busy_and_goes_on_with_its_others(project: Project) -> None:
    gate = Gate(project.folder)
    project.manifest(f"steps: {{a: {{run: '{gate.script}', effects: idempotent}}}}")
    other = Gate(project.folder, "other")
    project.manifest(f"steps: {{b: {{run: '{other.script}', effects: idempotent}}}}", "other")

    async def scene() -> ApplyResult:
        work = asyncio.create_task(project.applied("m", "other"))
        await gate.begun()
        await other.begun()
        take_over(project, "m")
        gate.let_through()
        other.let_through()
        return await work

    result = bounded(scene())
    assert {run.manifest: run.state for run in result.runs} == {"m": "busy", "other": "succeeded"}
    assert result.exit_code == 7


def take_over(project: Project, name: str) -> None:
    """Another owner takes the lease, as after the death of the first."""
    db = apsw.Connection(str(project.folder / ".ares" / "state.db"))
    db.execute("update roots set epoch = epoch + 1 where root in (select run from runs where name = ?)", (name,))
    db.close()


# ---------------------------------------------------------------- secrets

SECRET = "hunter2/+=&<>\"' ünï"
CONFIG = """
state: {durability: process}
secrets: {TOKEN: "${MY_TOKEN}", UNSET: "${NOT_SET_ANYWHERE}"}
"""


@pytest.fixture
def guarded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.setenv("MY_TOKEN", SECRET)
    return Project(tmp_path / "project", CONFIG)


def forms(secret: str) -> list[bytes]:
    """How a secret may look when it has leaked."""
    data = secret.encode()
    return [
        data,
        base64.b64encode(data),
        base64.urlsafe_b64encode(data),
        quote(secret).encode(),
        quote(secret, safe="").encode(),
        json.dumps(secret)[1:-1].encode(),
        json.dumps(secret, ensure_ascii=False)[1:-1].encode(),
    ]


def test_a_secret_reaches_its_command_and_its_tool_and_is_found_nowhere_else(guarded: Project) -> None:
    seen: list[str] = []

    class Listener:
        def event(self, recorded: Any, name: str) -> None:
            seen.append(repr(recorded))

        def close(self) -> None: ...

    guarded.manifest(
        r"""
        steps:
          given: {run: 'printf %s "$TOKEN" | sha256sum | cut -c 1-12', env: {TOKEN: "{{ secrets.TOKEN }}"}, effects: none}
          argv: {run: 'tr "\0" " " < /proc/$$/cmdline', env: {TOKEN: "{{ secrets.TOKEN }}"}, effects: none}
          prints: {run: 'echo "it is $TOKEN"; echo "$TOKEN" >&2', env: {TOKEN: "{{ secrets.TOKEN }}"}, effects: none, save: out.txt}
          encoded: {run: 'printf %s "$TOKEN" | base64 -w0', env: {TOKEN: "{{ secrets.TOKEN }}"}, effects: none}
          asjson: {run: ["python3", "-c", "import os, json, urllib.parse; t = os.environ['TOKEN']; print(json.dumps(t), urllib.parse.quote(t))"], env: {TOKEN: "{{ secrets.TOKEN }}"}, effects: none}
          fails: {run: 'echo "no: $TOKEN" >&2; exit 1', env: {TOKEN: "{{ secrets.TOKEN }}"}, effects: none, optional: true}
          checked: {run: 'echo "$TOKEN"', env: {TOKEN: "{{ secrets.TOKEN }}"}, effects: none, checks: [{expr: text == 'x'}], optional: true}
          written: {tool: workspace.write_file, with: {path: given.txt, content: "{{ secrets.TOKEN }}"}, effects: idempotent}
          length: {run: 'wc -c < given.txt; rm given.txt', effects: none, needs: [written]}
          reads: {run: [echo, "{{ steps.prints.text }}"], effects: none}
        outputs: {given: "{{ steps.given.text }}", prints: "{{ steps.prints.text }}", length: "{{ steps.length.text | int }}"}
        """
    )
    result = bounded(guarded.applied(sinks=[Listener()]))
    [run] = result.runs
    assert run.state == "succeeded", run.to_json()
    assert run.outputs["given"] == hashlib.sha256(SECRET.encode()).hexdigest()[:12]
    assert run.outputs["length"] == len(SECRET.encode())
    assert run.outputs["prints"].startswith("it is ") and "hunter2" not in run.outputs["prints"]
    told = {"result": json.dumps(run.to_json(), ensure_ascii=False).encode(), "events": "\n".join(seen).encode()}
    files = {str(path): path.read_bytes() for path in guarded.folder.rglob("*") if path.is_file()}
    assert any("state.db" in path for path in files) and any(".log" in path for path in files)
    leaks = [
        (place, form) for place, data in {**told, **files}.items() for form in forms(SECRET) if form in data
    ]  # fmt: skip
    assert leaks == []


def test_a_secret_whose_variable_is_not_set_is_named_and_nothing_runs(guarded: Project) -> None:
    guarded.manifest(
        """
        steps:
          a: {run: 'echo a >> ledger', env: {T: "{{ secrets.UNSET }}"}, effects: none}
        """
    )
    run = guarded.run()
    error = run.steps["a"].error
    assert error is not None
    assert (run.exit_code, error["class"]) == (1, "invalid")
    assert "UNSET" in error["message"] and "NOT_SET_ANYWHERE" in error["message"]
    assert guarded.ledger() == []


def test_another_value_of_a_secret_changes_no_key(guarded: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    guarded.manifest("steps: {a: {run: 'echo a >> ledger', env: {T: '{{ secrets.TOKEN }}'}, effects: none}}")
    guarded.run()
    monkeypatch.setenv("MY_TOKEN", "another-secret")
    assert guarded.run().action == "unchanged"


# ---------------------------------------------------------------- the state cannot be written


def test_a_full_disk_ends_the_apply_with_a_named_error_and_the_run_goes_on_later(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.manifest(FLAKY)
    project.write("fixed", "")
    real, count = Record.add, 0

    def full(self: Any, packed: Any) -> None:
        nonlocal count
        count += 1
        if count >= 3:
            raise StoreFull("no space left")
        real(self, packed)

    monkeypatch.setattr(Record, "add", full)
    with pytest.raises(StoreFull):
        project.apply()
    monkeypatch.undo()
    done = project.ledger()
    run = project.run()
    assert (run.action, run.state) == ("resume", "succeeded")
    assert set(done) | set(project.ledger()) == {"a", "b", "c", "d", "z-succeeded"}


def test_on_pause_ok_turns_waiting_into_success(project: Project) -> None:
    project.manifest(UNKNOWN)
    assert project.apply(on_pause="ok").exit_code == 0
    assert project.apply()._replace(runs=()).exit_code == 3


async def test_the_operator_says_how_many_attempts_a_step_may_have(tmp_path: Path) -> None:
    project = Project(tmp_path, "limits: {attempts: 2}\nstate: {durability: process}\n")
    retry = "{max: 9, delay: 1ms, errors: [tool_error]}"
    project.manifest(f"steps: {{a: {{run: ['false'], effects: none, faults: {{retry: {retry}}}}}}}")
    [run] = (await project.applied()).runs
    assert (run.state, run.steps["a"].attempts) == ("failed", 2)
