"""The tools that run something: apply, resume."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from runner.api.apply import apply as converge
from runner.api.apply import resume as go_on
from runner.api.planning import PlannedManifest
from runner.api.queries import find_run
from runner.api.request import Request
from runner.api.results import ApplyResult, RunResult
from runner.bridges.stdio import Call
from runner.errors import UsageError
from runner.mcp_server.border import unheard
from runner.mcp_server.desk import Desk, Reply
from runner.mcp_server.drive import Drive, Work
from runner.mcp_server.manifests import keep, loaded_of, valid
from runner.ports import Store

BEGUN_S = 10.0
"""The longest that a call which does not wait for the end waits for the beginning."""
WAITING = (3, 4, 5)
"""Exit codes of runs that wait for somebody or something: no failure, and no success."""


@dataclass(slots=True)
class Expected:
    """What is about to be driven, as the plan says it: (manifest, action, run or None, reason)."""

    rows: list[tuple[str, str, str | None, str]] = field(default_factory=list)
    known: bool = False

    def planned(self, entries: Sequence[PlannedManifest], store: Store) -> None:
        """Takes the plan of an apply; never objects."""
        self.rows = [(one.plan.name, one.plan.action, one.plan.run, one.plan.reason) for one in entries]
        self.known = True

    def begun(self, drive: Drive, most: int) -> bool:
        """Is there a run of everything that begins at once?"""
        new = [name for name, action, run, _ in self.rows if run is None and action != "callable"]
        return self.known and len([name for name in new if name in drive.begun]) >= min(len(new), most)


def apply(desk: Desk, given: Mapping[str, Any], call: Call) -> Reply:
    if "manifest" in given and desk.settings.config.policy.mcp.inline == "deny":
        raise UsageError(
            "the operator's policy does not allow manifests as text to be applied (config key policy.mcp.inline)",
            hint="give `paths` of manifests in the project; `validate` and `plan` take texts",
        )
    loaded = valid(loaded_of(desk, given))
    if "manifest" in given:
        keep(desk, given["manifest"])
    expected, waits = Expected(), given.get("wait", True)
    request = Request(values=given.get("inputs", {}), max_usd=given.get("max_usd"))
    confirm = None if waits else expected.planned
    work: Work = lambda sinks, control: converge(  # noqa: E731
        loaded, desk.settings, request, sinks=sinks, control=control, confirm=confirm
    )
    return _driven(desk, work, expected, call, waits=waits)


def resume(desk: Desk, given: Mapping[str, Any], call: Call) -> Reply:
    with desk.reading() as store:
        row = find_run(store, given["run"])
    forks = "from_step" in given
    expected = Expected([(row.name, "resume", None if forks else row.root, "asked for")], known=True)
    work: Work = lambda sinks, control: go_on(  # noqa: E731
        row.run, desk.settings, from_step=given.get("from_step"), sinks=sinks, control=control
    )
    return _driven(desk, work, expected, call, waits=given.get("wait", True))


def _driven(desk: Desk, work: Work, expected: Expected, call: Call, *, waits: bool) -> Reply:
    """A call that is cancelled lets the runs go where they are, as Ctrl-C does: running steps end, and the rest can be resumed."""
    drive = Drive(work, call.progress if waits else lambda text: None)
    desk.drives.begin(drive)
    call.on_cancel(drive.drain)
    if not waits:
        most = desk.settings.config.concurrency.runs
        drive.wait(lambda: expected.begun(drive, most), BEGUN_S)
        if not drive.over:
            threading.Thread(target=unheard, args=(desk, drive), name="ares-say").start()
            return _under_way(expected, drive)
    return ended(drive.result())


def ended(result: ApplyResult) -> Reply:
    """The document of `apply --json`. What failed is an error of the call, so that no client takes it for done."""
    return Reply(result.to_json(), is_error=result.exit_code not in (0, *WAITING))


def _under_way(expected: Expected, drive: Drive) -> Reply:
    begun = drive.begun
    runs = [
        RunResult(
            name,
            run or begun.get(name),
            action,
            _state(action, name, run, begun),
            reasons=(reason,) if reason else (),
        )
        for name, action, run, reason in expected.rows
    ]
    document = ApplyResult(tuple(runs), 0).to_json()
    return Reply(document | {"outcome": "running", "exit_code": None})


def _state(action: str, name: str, run: str | None, begun: Mapping[str, str]) -> str:
    if action == "unchanged":
        return "succeeded"
    if action == "callable":
        return "callable"
    return "running" if run or name in begun else "pending"
