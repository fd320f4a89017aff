"""What the public calls return: plain values, and their JSON as cli.md fixes it."""

from collections.abc import Mapping
from typing import Any, NamedTuple

MICRO = 1_000_000

EXIT_OF_OUTCOME = {
    "succeeded": 0, "failed": 1, "cancelled": 1, "superseded": 1, "invalid": 2, "busy": 7, "error": 8,
    # Only a signal makes us leave a run that is not over.
    "pending": 130, "running": 130, "interrupted": 130,
}  # fmt: skip
EXIT_OF_REASON = {"approval": 3, "unknown": 3, "budget": 4, "mode": 5, "quota": 5, "exhausted": 5}
EXITS_OF_PAUSES = (3, 4, 5)
"""Those that `--on-pause ok` turns into 0."""
GRAVEST_FIRST = (8, 143, 129, 130, 7, 2, 1, 3, 4, 5, 0)
OUTCOME_OF_EXIT = {
    0: "succeeded", 1: "failed", 2: "invalid", 3: "suspended", 4: "suspended", 5: "suspended", 7: "busy", 8: "error",
    129: "cancelled", 130: "cancelled", 143: "cancelled",
}  # fmt: skip


class StepResult(NamedTuple):
    """One step (or item) of a run as it stands."""

    state: str
    attempts: int = 0
    reused: bool = False
    executor: str = ""
    model: str = ""
    reason: str = ""
    error: Mapping[str, Any] | None = None
    items: Mapping[str, "StepResult"] = {}

    def to_json(self) -> dict[str, Any]:
        error = self.error and {"class": self.error.get("class"), "message": self.error.get("message")}
        data: dict[str, Any] = {
            "state": self.state,
            "attempts": self.attempts,
            "reused": self.reused,
            "executor": self.executor or None,
            "model": self.model or None,
            "error": error or None,
        }
        if self.items:
            data["items"] = {key: item.to_json() for key, item in self.items.items()}
        return data


class RunResult(NamedTuple):
    """One manifest of an apply: what was done with it and how it ended. `error` when it could not be driven at all."""

    manifest: str
    run: str | None
    action: str
    state: str
    reasons: tuple[str, ...] = ()
    steps: Mapping[str, StepResult] = {}
    outputs: Any = None
    cost: int = 0
    error: str | None = None
    hint: str | None = None
    exit_code: int = 0

    def to_json(self) -> dict[str, Any]:
        data: dict[str, Any] = {
            "manifest": self.manifest,
            "run": self.run,
            "action": self.action,
            "state": self.state,
            "reasons": list(self.reasons),
            "steps": {id: step.to_json() for id, step in self.steps.items()},
            "outputs": self.outputs,
            "cost_usd": self.cost / MICRO,
        }
        return data | ({"error": self.error} if self.error else {})


class ApplyResult(NamedTuple):
    """All runs of an apply, and the exit code that says it all."""

    runs: tuple[RunResult, ...]
    exit_code: int

    @property
    def outcome(self) -> str:
        return OUTCOME_OF_EXIT[self.exit_code]

    def to_json(self) -> dict[str, Any]:
        return {
            "version": 1,
            "outcome": self.outcome,
            "exit_code": self.exit_code,
            "runs": [run.to_json() for run in self.runs],
        }


def exit_code_of(state: str, reasons: tuple[str, ...]) -> int:
    """The exit code of one run's end (cli.md, "Exit codes")."""
    if state == "suspended":
        return gravest(EXIT_OF_REASON.get(reason, 5) for reason in reasons) if reasons else 5
    return EXIT_OF_OUTCOME.get(state, 8)


def gravest(codes: Any) -> int:
    """The gravest of several exit codes; 0 for none."""
    found = set(codes)
    return next((code for code in GRAVEST_FIRST if code in found), 0)
