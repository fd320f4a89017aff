"""What a person can do about a run that has not succeeded, in words: for terminals and pages alike."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from runner.core.purse import MORE
from runner.ports import StepRow

LARGER = "goes on once the manifest has a larger `budget`, and is applied again"


def raised_by_person(detail: str) -> bool:
    """Is it the run's budget in dollars that has no room? No other one is raised by `--add-usd`."""
    return not detail or detail.endswith(MORE)


def remedy(step: StepRow, detail: str = "") -> str:
    """What lets a suspended step go on. `detail`: what it waits for, as recorded."""
    run, node = shlex.quote(step.run), shlex.quote(step.node)
    if step.reason.startswith("unknown"):
        return f"nobody knows whether it happened; look, then: runner resolve {run} {node} --done JSON | --redo"
    if step.reason.startswith("approval"):
        late = f" (until {moment(step.until)})" if step.until else ""
        return f"waits for a person{late}: runner approve {run} {node}, or runner reject {run} {node}"
    if step.reason.startswith("budget") and not step.until:
        return f"its budget is used up: runner resume {run} --add-usd N" if raised_by_person(detail) else LARGER
    if step.until:
        return f"may go on at {moment(step.until)}: runner resume {run}"
    return f"goes on with: runner resume {run}"


def advice(run: str, state: str, reasons: Sequence[str]) -> Iterator[str]:
    """What to do about a run that has not succeeded."""
    if state in ("failed", "cancelled"):
        yield f"next: runner resume {run} tries again what has not succeeded"
    elif state == "interrupted":
        yield f"next: the same command, or runner resume {run}, goes on where it was"
    elif state in ("running", "pending"):
        yield f"next: its runner is at work; runner logs {run} -f follows it, runner cancel {run} ends it"
    elif state == "suspended" and {"approval", "unknown"} <= set(reasons):
        yield f"next: once all of that is answered, runner resume {run} goes on"
    elif state == "suspended" and "approval" in reasons:
        yield f"next: once that is approved, runner resume {run} goes on"
    elif state == "suspended" and "unknown" in reasons:
        yield f"next: once that is resolved, runner resume {run} goes on"


def moment(millis: int) -> str:
    """A point in time, as the clock on the wall shows it."""
    return datetime.fromtimestamp(millis / 1000, UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S")
