"""The tool `logs`: the end of what the attempts of a run wrote, or what came after an earlier answer.

An answer ends with a cursor: when the newest attempt that it has seen began, and how far it has read those that may still grow (and that
it has read all of others which began in the same moment: more of these may come)."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runner.api.follow import goes_on
from runner.api.queries import find_run, shown_state
from runner.bridges.stdio import Call
from runner.engine.logs import log_path
from runner.errors import UsageError
from runner.mcp_server.desk import Desk, Reply
from runner.mcp_server.harmless import visible
from runner.mcp_server.reading import meant_steps
from runner.ports import AttemptRow

MOST_BYTES = 48_000
"""What one answer holds at most."""
LINES = 200
"""The lines at the end that are given when nobody says how many."""
_CURSOR = re.compile(r"(\d{1,15})((?:,\w+(?:\[\d+\])?\.\d+:(?:\d{1,12}|-))*)", re.ASCII)
_DONE = -1


@dataclass(frozen=True, slots=True)
class Growing:
    """An attempt's log. `grows`: more may come."""

    attempt: AttemptRow
    path: Path
    grows: bool

    @property
    def name(self) -> str:
        return f"{self.attempt.node}.{self.attempt.n}"


def logs(desk: Desk, given: Mapping[str, Any], call: Call) -> Reply:
    step = given.get("step")
    with desk.reading() as store:
        row = find_run(store, given["run"])
        nodes = {one.node for one in meant_steps(store, row, step)} if step else None
        alive = goes_on(row)
        found = [one for one in store.attempts(row.run) if nodes is None or one.node in nodes]
    found.sort(key=lambda one: (one.started, one.node, one.n))
    every = [Growing(one, log_path(desk.logs, one.run, one.node, one.n), alive and one.ended is None) for one in found]
    if "after" in given:
        entries, places = since(every, parsed(given["after"], every))
    else:
        entries, places = last(every, given.get("tail", LINES))
    waits = any(place != _DONE and not log.grows for log, place in zip(every, places, strict=True))
    told = [f"── {one['step']}, attempt {one['attempt']}\n{visible(one['text'])}" for one in entries]
    data = {
        "run": row.run,
        "state": shown_state(row),
        "entries": entries,
        "next": cursor(every, places),
        "more": alive or waits,
    }
    return Reply(data, "\n".join(told) or "nothing was written")


def cursor(every: Sequence[Growing], places: Sequence[int]) -> str:
    """Where we are, as a client hands it back."""
    newest = max((log.attempt.started for log in every), default=0)
    words = [str(newest)]
    for log, place in zip(every, places, strict=True):
        if place != _DONE or log.attempt.started == newest:
            words.append(f"{log.name}:{'-' if place == _DONE else place}")
    return ",".join(words)


def parsed(text: str, every: Sequence[Growing]) -> list[int]:
    """Where to go on in each log. Raises UsageError."""
    match = _CURSOR.fullmatch(text)
    if match is None:
        raise UsageError("`after` is no end of an earlier answer", hint="give `next` of one about the same run")
    newest, words = int(match[1]), (word.rpartition(":") for word in match[2].split(",")[1:])
    known = {name: _DONE if place == "-" else int(place) for name, _, place in words}
    return [known.get(log.name, _DONE if log.attempt.started < newest else 0) for log in every]


def since(every: Sequence[Growing], places: list[int]) -> tuple[list[dict[str, Any]], list[int]]:
    """What came after `places`, as much as fits, and the new places."""
    entries, after, left = [], [], MOST_BYTES
    for log, place in zip(every, places, strict=True):
        data, size = (b"", 0) if place == _DONE else _read(log.path, place, left)
        data = _lines(data, whole=log.grows or place + len(data) < size, room=left)
        left -= len(data)
        if data:
            entries.append(_entry(log, data))
        over = place == _DONE or (not log.grows and place + len(data) >= size)
        after.append(_DONE if over else place + len(data))
    return entries, after


def last(every: Sequence[Growing], lines: int) -> tuple[list[dict[str, Any]], list[int]]:
    """The last `lines` of all logs together, and the places behind them."""
    entries, after, left = [], [], MOST_BYTES
    for log in reversed(every):
        size = _size(log.path)
        data, _ = _read(log.path, max(0, size - left), left) if lines > 0 else (b"", 0)
        data = _lines(data, whole=log.grows, room=left)
        end = max(0, size - left) + len(data)
        kept = b"".join(data.splitlines(keepends=True)[-lines:]) if lines > 0 else b""
        lines, left = lines - kept.count(b"\n"), left - len(kept)
        if kept:
            entries.append(_entry(log, kept))
        after.append(end if log.grows else _DONE)
    return entries[::-1], after[::-1]


def _lines(data: bytes, *, whole: bool, room: int) -> bytes:
    """`data`, without a last line whose end is not there yet, unless that alone fills the room."""
    if not whole or data.endswith(b"\n"):
        return data
    head, newline, _ = data.rpartition(b"\n")
    return head + newline if newline else data if len(data) >= room else b""


def _entry(log: Growing, data: bytes) -> dict[str, Any]:
    return {"step": log.attempt.node, "attempt": log.attempt.n, "text": data.decode("utf-8", "replace").rstrip("\n")}


def _size(path: Path) -> int:
    try:
        return path.stat(follow_symlinks=False).st_size
    except OSError:
        return 0  # it has written nothing, or the log was removed


def _read(path: Path, start: int, most: int) -> tuple[bytes, int]:
    """At most `most` bytes from `start`, and the size of the whole."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return b"", 0
    with os.fdopen(descriptor, "rb") as file:
        file.seek(start)
        return file.read(max(0, most)), os.fstat(descriptor).st_size
