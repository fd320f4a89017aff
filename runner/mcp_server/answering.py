"""The tools that answer or end: approve, reject, resolve, cancel."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from runner.api import apply as acts
from runner.api.results import ApplyResult
from runner.bridges.stdio import Call
from runner.errors import UsageError
from runner.mcp_server.desk import Desk, Reply
from runner.reporters.words import one_line

_NEXT: Mapping[str, str] = {
    "succeeded": "nothing: the run is over",
    "failed": "the run is over; `resume` tries again what has not succeeded",
    "cancelled": "the run is over; `resume` goes on with it",
    "suspended": "`resume` goes on with the run, unless a runner drives it, which then goes on by itself",
    "interrupted": "`resume` goes on with the run",
}


def approve(desk: Desk, given: Mapping[str, Any], call: Call) -> Reply:
    return _answer(desk, given, call, approve=True)


def reject(desk: Desk, given: Mapping[str, Any], call: Call) -> Reply:
    return _answer(desk, given, call, approve=False)


def _answer(desk: Desk, given: Mapping[str, Any], call: Call, *, approve: bool) -> Reply:
    by, comment = _by(desk, call), given.get("comment", "")
    work = acts.answer(given["run"], desk.settings, given["step"], approve=approve, by=by, comment=comment)
    return _said(asyncio.run(work))


def resolve(desk: Desk, given: Mapping[str, Any], call: Call) -> Reply:
    redo = given.get("redo", False)
    if redo == ("done" in given):
        raise UsageError("say either `done`, the step's output (it happened), or `redo: true` (run it again)")
    by, done = _by(desk, call), given.get("done")
    return _said(asyncio.run(acts.resolve(given["run"], desk.settings, given["step"], by=by, done=done, redo=redo)))


def cancel(desk: Desk, given: Mapping[str, Any], call: Call) -> Reply:
    return _said(asyncio.run(acts.cancel(given["run"], desk.settings, by=_by(desk, call))))


def _by(desk: Desk, call: Call) -> str:
    """Who acts, for the record. A client cannot pass for a person."""
    return f"{desk.user} through {one_line(call.client, 60) or 'a client'} (MCP)"


def _said(result: ApplyResult) -> Reply:
    """How the run stands now that the answer is recorded."""
    end = result.runs[0]
    return Reply(
        {
            "version": 1,
            "manifest": end.manifest,
            "run": end.run,
            "state": end.state,
            "reasons": list(end.reasons),
            "next": _NEXT.get(end.state, "the runner that drives it was told, and goes on by itself"),
        }
    )
