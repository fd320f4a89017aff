"""Reporters that write lines: one plain line a change, or one JSON object an event."""

from __future__ import annotations

import json
import time
from typing import Any, BinaryIO, TextIO

import click

from runner.core.events import Recorded, V
from runner.reporters.words import COLORS, SIGNS, json_bytes, one_line, place_of, seconds, told

PROGRESS_S = 1.0
_PLACE = 28
"""Columns for `manifest/step`: lines that come one by one cannot be aligned better."""


class PlainLines:
    """`manifest/step  sign state  what happened`, as it happens. When nobody reads any more it falls silent; the run goes on."""

    def __init__(self, stream: TextIO, *, color: bool = False) -> None:
        self._stream, self._color = stream, color
        self._started: dict[tuple[str, str], int] = {}
        self._names: dict[str, str] = {}
        self._progressed: dict[tuple[str, str], float] = {}
        self._gone = False

    def event(self, recorded: Recorded, name: str) -> None:
        event = recorded.event
        if "." not in recorded.run:
            self._names[recorded.run] = name
        if event.kind == "attempt_started":
            self._started[recorded.run, event.node] = recorded.at
        if (found := told(event)) is None:
            return
        state, text = found
        if event.kind in ("attempt_succeeded", "attempt_failed"):
            took = recorded.at - self._started.pop((recorded.run, event.node), recorded.at)
            text = f"{text} ({seconds(took)})".strip()
        if event.kind == "run_started":
            text = f"run {recorded.run}"
        self._write(place_of(recorded.run, event.node, self._names), state, text)
        if event.kind == "run_finished":
            self._forget(recorded.run)

    def _forget(self, ended: str) -> None:
        """A watch lives for months: nothing is kept of a run that is over."""
        self._names.pop(ended, None)
        known: dict[tuple[str, str], Any]
        for known in (self._started, self._progressed):
            for key in [key for key in known if f"{key[0]}.".startswith(f"{ended}.")]:
                del known[key]

    def progress(self, run: str, node: str, text: str) -> None:
        """At most a line a second for each step: it is there to be seen, not to be kept."""
        now = time.monotonic()
        if now - self._progressed.get((run, node), -PROGRESS_S) >= PROGRESS_S:
            self._progressed[run, node] = now
            self._write(place_of(run, node, self._names), "running", text)

    def _write(self, place: str, state: str, text: str) -> None:
        word = f"{SIGNS.get(state, '·')} {state}"
        padding = " " * (11 - len(word))
        word = click.style(word, fg=COLORS.get(state)) if self._color else word
        line = f"{place:<{_PLACE}}  {word}{padding}  {one_line(text)}".rstrip()
        if not self._gone:
            try:
                self._stream.write(f"{line}\n")
                self._stream.flush()
            except OSError:
                self._gone = True

    def close(self) -> None:
        """Nothing is held back."""


def event_line(recorded: Recorded, name: str) -> bytes:
    """One event as a JSON line: {"run", "manifest", "seq", "at", "kind", "node", "v", "data"}, as UTF-8."""
    kind, node, data = recorded.event
    line = {
        "run": recorded.run,
        "manifest": name,
        "seq": recorded.seq,
        "at": recorded.at,
        "kind": kind,
        "node": node,
        "v": V,
        "data": data,
    }
    return json_bytes(json.dumps(line, ensure_ascii=False)) + b"\n"


class JsonLines:
    """`event_line` for each event. Falls silent, too."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._gone = False

    def event(self, recorded: Recorded, name: str) -> None:
        if not self._gone:
            try:
                self._stream.write(event_line(recorded, name))
                self._stream.flush()
            except OSError:
                self._gone = True

    def progress(self, run: str, node: str, text: str) -> None:
        """No event, so no line."""

    def close(self) -> None:
        """Nothing is held back."""
