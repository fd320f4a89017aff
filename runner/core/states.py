"""Every state of a step and of a run, and every legal move between them, as tables.

The SQL CHECK lists and the diagram in docs/states.md are made from these tables. What *causes* a move is decided
elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from runner.errors import RunnerError

STEP_MOVES: Mapping[str, Mapping[str, str]] = {
    "pending": {
        "running": "attempt_started",
        "group": "items_expanded",
        "reused": "step_reused",
        "succeeded": "step_resolved (set)",
        "waiting": "step_waiting (wait)",
        "suspended": "step_suspended (approval, mode, budget)",
        "failed": "step_failed (fail, invalid)",
        "skipped": "step_skipped",
        "blocked": "step_blocked",
        "cancelled": "step_cancelled",
    },
    "running": {
        "succeeded": "attempt_succeeded",
        "pending": "step_woken (lost, next entry, repair)",
        "waiting": "step_waiting (retry)",
        "suspended": "step_suspended (unknown, quota, mode, exhausted)",
        "failed": "step_failed",
        "skipped": "step_skipped (exhausted: skip)",
        "cancelled": "step_cancelled",
    },
    "group": {"succeeded": "group_joined", "failed": "group_joined", "cancelled": "group_joined"},
    "waiting": {
        "pending": "step_woken (retry)",
        "succeeded": "step_resolved (wait)",
        "cancelled": "step_cancelled",
    },
    "suspended": {
        "pending": "step_woken",
        "succeeded": "step_resolved",
        "failed": "step_resolved, step_failed (unknown)",
        "skipped": "step_resolved",
        "cancelled": "step_cancelled",
    },
    "succeeded": {},
    "reused": {},
    "failed": {},
    "skipped": {},
    "blocked": {},
    "cancelled": {},
}
"""Moves within a leg: from → to → the event that records it."""

STEP_STATES: tuple[str, ...] = tuple(STEP_MOVES)
SETTLED: frozenset[str] = frozenset(state for state, moves in STEP_MOVES.items() if not moves)
GOOD: frozenset[str] = frozenset({"succeeded", "reused"})
BAD: frozenset[str] = frozenset({"failed", "blocked", "cancelled"})

LEG_MOVES: Mapping[str, frozenset[str]] = {state: frozenset({"pending", "group", "suspended"}) for state in sorted(BAD)}
"""What `leg_started` may do with a main step (or item)."""

FINAL_LEG_MOVES: Mapping[str, frozenset[str]] = {
    state: frozenset({"pending"}) for state in STEP_STATES if state in SETTLED or state == "pending"
}
"""What `leg_started` does with a `finally` step, whatever its state."""

RUN_MOVES: Mapping[str, Mapping[str, str]] = {
    "pending": {"running": "run_started", "cancelled": "run_finished"},
    "running": {
        "suspended": "run_suspended",
        "succeeded": "run_finished",
        "failed": "run_finished",
        "cancelled": "run_finished",
        "superseded": "run_finished",
    },
    "suspended": {
        "running": "run_woken",
        "succeeded": "run_finished",
        "failed": "run_finished",
        "cancelled": "run_finished",
        "superseded": "run_finished",
    },
    "failed": {"running": "leg_started"},
    "cancelled": {"running": "leg_started"},
    "succeeded": {},
    "superseded": {},
}

RUN_STATES: tuple[str, ...] = tuple(RUN_MOVES)
WAS: frozenset[str] = frozenset({"cancelled", "superseded", "skipped", "reused"})
"""States that somebody or something brought about, in a sentence."""
OPEN_RUN: frozenset[str] = frozenset({"running", "suspended"})
SETTLED_RUN: frozenset[str] = frozenset({"succeeded", "failed", "cancelled", "superseded"})


class IllegalMove(RunnerError):
    """A record or a decision that the tables do not allow: a defect of ours. Nothing was changed."""


def check_move(table: Mapping[str, Iterable[str]], old: str, new: str, what: str) -> None:
    """Raise IllegalMove unless `table` allows `old` → `new`; `what` names the step or run."""
    if new not in table.get(old, ()):
        raise IllegalMove(
            f"{what}: illegal move from {old} to {new}",
            hint="the record was written by another release, or this is a defect",
        )


def stands(state: str) -> str:
    """A state as the end of a sentence about a run or step: `has succeeded`, `is suspended`."""
    return f"{'has' if state in ('succeeded', 'failed') else 'was' if state in WAS else 'is'} {state}"


def sql_list(states: Iterable[str]) -> str:
    """`'a', 'b'`: the states as the inside of an SQL `IN (…)`."""
    return ", ".join(f"'{state}'" for state in states)


def mermaid(moves: Mapping[str, Mapping[str, str]], start: str = "pending") -> str:
    """The table as a Mermaid state diagram."""
    lines = ["stateDiagram-v2", f"    [*] --> {start}"]
    for old, targets in moves.items():
        lines += [f"    {old} --> {new}: {event}" for new, event in targets.items()]
        if not targets:
            lines.append(f"    {old} --> [*]")
    return "\n".join(lines)


def document() -> str:
    """The text of docs/states.md. Write it with:
    python -c "from runner.core.states import document; print(document(), end='')" > docs/states.md"""
    legs = "\n".join(f"| `{old}` | {_words(sorted(new))} |" for old, new in LEG_MOVES.items())
    return f"""# States

Generated from `runner/core/states.py` (`document()`); a test keeps it fresh.

## Steps and fan-out items

```mermaid
{mermaid(STEP_MOVES)}
```

`ready` is derived: a pending step whose dependencies have all ended. `group` is a fan-out that waits for its items.
Every other move raises and changes nothing.

A new leg (`leg_started`: a failed or cancelled run goes on) moves main steps and their items:

| from | to |
|---|---|
{legs}

A `finally` step goes back to `pending` in a new leg, whatever its state ({_words(sorted(FINAL_LEG_MOVES))}).

## Runs

```mermaid
{mermaid(RUN_MOVES)}
```

A `running` run whose owner's heartbeat is dead is shown as `interrupted`; that is derived, never recorded.
"""


def _words(states: Iterable[str]) -> str:
    return ", ".join(f"`{state}`" for state in states)
