"""A task that a command does, telling of it in lines of JSON: started, listened to, and what its end means when it said no last word.

Not here: what the events of a command mean (`claude_result`, `codex`), and how its processes end (`child`)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from runner.bridges.child import CANNOT_RUN, Child
from runner.bridges.quoting import first
from runner.bridges.stdio import Call, Json
from runner.bridges.task import Answer, Problem, Task

SHOWN_CHARS = 160


@dataclass(frozen=True, slots=True)
class Launch:
    """How a task is started: `argv` (its first word is the command), `stdin` in full, and what to type when there is no such command."""

    argv: Sequence[str]
    env: Mapping[str, str]
    stdin: str
    install: str


class Teller(Protocol):
    """What was heard of one task, and what it means."""

    session: str | None
    """The conversation: what the task asked for, until the command says."""
    session_named: bool
    """It was told by the command."""

    def take(self, event: Json) -> str:
        """Hear an event; gives a line for who watches, "" for nothing new."""

    def hopeless(self) -> Problem | None:
        """Why it is not waited for any longer, although it would go on."""

    def last_word(self, tail: str) -> Answer | None:
        """The answer that its events hold. `tail` is the end of stderr."""

    def ended(self, problem: Problem) -> Answer:
        """The answer of a task that never said its last word."""

    def explained(self, code: int, tail: str) -> Problem | None:
        """What this exit status and end of stderr mean with this command, when they mean something of their own."""


def do(launch: Launch, task: Task, call: Call, teller: Teller) -> Answer:
    """Run the command to its end, its events as progress."""
    command = launch.argv[0]
    try:
        child = Child(launch.argv, launch.env, task.cwd, launch.stdin, task.timeout_s)
    except (OSError, ValueError) as error:
        return Answer(problem=Problem("unavailable", f"cannot start {command}: {error}", begun=False))
    call.on_cancel(child.stop)
    try:
        for line in child.lines():
            _hear(line, call, teller)
            if teller.hopeless() is not None:
                child.stop()
    finally:
        code = child.code()
    if call.cancelled:
        return teller.ended(Problem("cancelled", "the call was cancelled"))
    answer = teller.last_word(child.tail())
    if answer is not None:  # also when it was stopped for being late a moment after its last word
        return answer
    if child.late:
        return teller.ended(Problem("timeout", f"no result within {task.timeout_s:g} s"))
    return teller.ended(teller.hopeless() or _silent(launch, code, child.tail(), teller))


def _hear(line: bytes, call: Call, teller: Teller) -> None:
    event = _event(line)
    if event is None:
        return
    known = teller.session_named
    said = teller.take(event)
    if teller.session_named and not known:
        call.progress(f"session: {teller.session}", session=teller.session)
    if said:
        call.progress(said)


def _event(line: bytes) -> Json | None:
    """The event in a line; None for what is none (a warning that a wrapper prints)."""
    try:
        event: Any = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return event if isinstance(event, dict) else None


def _silent(launch: Launch, code: int, tail: str, teller: Teller) -> Problem:
    """Why there is no result, from the exit status and the end of stderr."""
    command, last = launch.argv[0], f"; its last output:\n{tail}" if tail else ""
    if code == CANNOT_RUN:
        hint = f"install it with `{launch.install}`, or name it with --command"
        return Problem("unavailable", f"cannot run {command}: {hint}{last}", begun=False)
    if (known := teller.explained(code, tail)) is not None:
        return Problem(
            known.kind, f"{command} {known.message}{last}", session_unknown=known.session_unknown, begun=False
        )
    if code > 128:
        return Problem("crash", f"{command} was ended by signal {code - 128}{last}")
    return Problem("crash", f"{command} ended with status {code} and no result{last}")


def one_line(text: str) -> str:
    """For who watches."""
    words = " ".join(first(text, 4 * SHOWN_CHARS).split())
    return words if len(words) <= SHOWN_CHARS else f"{words[:SHOWN_CHARS]}…"


def amount(value: Any) -> float | None:
    """A number; None for what is none, or none that JSON can hold."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if abs(value) < 1e300 else None


def counts(raw: Any, names: Mapping[str, str]) -> dict[str, int]:
    """The counts of tokens in `raw`: our name → its name for it."""
    usage = raw if isinstance(raw, dict) else {}
    return {ours: usage[theirs] for ours, theirs in names.items() if isinstance(usage.get(theirs), int)}
