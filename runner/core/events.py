"""What is recorded: decisions and facts, append-only. Folding them needs no policy, clock, mode or template.

Every decision carries its `reason`. `V` is the version of the kinds' shapes: a newer runner folds older records.

    run:      run_started(inputs, mode, timeout_ms?, refresh?, select?) run_timed_out() leg_started(leg, reset, suspend) run_suspended(reasons)
              run_woken() cancel_requested(by, reason) budget_raised(usd) main_finished(verdict, reason) run_finished(state, reason, outputs?)
    fan-out:  items_expanded(items: [{key, value}], max_parallel) group_joined(state, reason)
    step:     step_skipped(reason) step_blocked(reason) step_cancelled(reason) step_failed(class, message, reason) step_reused(key, producer,
              result, products, reason) step_waiting(until, reason) step_suspended(reason, detail, until?, ask?) step_woken(reason)
              step_resolved(state, result, by, comment?, class?, message?) choice_advanced(level, failed, round, repair, reason)
    attempt:  attempt_started(n, label, level, lane, claim?, effects, effect_key, key, inputs, reserved, mode, timeout_ms, reason,
              day?; of a call: child, spec?, cap?, token_cap?)
              attempt_noted(n, session, pid, pid_start) attempt_succeeded(n, result, cost, cost_source, tokens, executor, model, session, checks,
              products, log) attempt_failed(n, class, message, effect, status, cost, cost_source, tokens, mode, retry_after_ms, checks, feedback,
              result?, session, executor, model, log) attempt_lost(n, assumed_cost)
"""

from typing import Any, NamedTuple

V = 1

RUN_EVENTS = frozenset(
    {
        "run_started", "run_timed_out", "leg_started", "run_suspended", "run_woken", "cancel_requested", "budget_raised",
        "main_finished", "run_finished",
    }
)  # fmt: skip
STEP_EVENTS = frozenset(
    {
        "items_expanded", "group_joined", "step_skipped", "step_blocked", "step_cancelled", "step_failed", "step_reused",
        "step_waiting", "step_suspended", "step_woken", "step_resolved", "choice_advanced", "attempt_started", "attempt_noted",
        "attempt_succeeded", "attempt_failed", "attempt_lost",
    }
)  # fmt: skip
KINDS = RUN_EVENTS | STEP_EVENTS


class Event(NamedTuple):
    """One recorded decision or fact. `node` is "" for events of the run, a step id, or `STEP[n]` for an item."""

    kind: str
    node: str
    data: dict[str, Any]


class Recorded(NamedTuple):
    """An event in its place: `seq` counts from 1 in each run; `at` is Unix milliseconds."""

    run: str
    seq: int
    at: int
    event: Event
