"""Reporters that write lines: one plain line a change, or one JSON object an event."""

from __future__ import annotations

import json
from typing import TextIO

import click

from runner.core.events import Recorded
from runner.reporters.words import COLORS, SIGNS, one_line, seconds, told


class PlainLines:
    """`manifest/step  sign  what happened`, as it happens. A closed pipe ends the reporter, not the run."""

    def __init__(self, stream: TextIO, *, color: bool = False) -> None:
        self._stream, self._color = stream, color
        self._started: dict[tuple[str, str], int] = {}

    def event(self, recorded: Recorded, name: str) -> None:
        event = recorded.event
        if event.kind == "attempt_started":
            self._started[recorded.run, event.node] = recorded.at
        if (found := told(event)) is None:
            return
        state, text = found
        if event.kind in ("attempt_succeeded", "attempt_failed"):
            took = recorded.at - self._started.pop((recorded.run, event.node), recorded.at)
            text = f"{text} ({seconds(took)})".strip()
        self._write(f"{name}/{event.node}", state, text)

    def _write(self, place: str, state: str, text: str) -> None:
        sign = SIGNS.get(state, "·")
        word = click.style(f"{sign} {state}", fg=COLORS.get(state)) if self._color else f"{sign} {state}"
        try:
            self._stream.write(f"{place}  {word}  {one_line(text)}".rstrip() + "\n")
            self._stream.flush()
        except OSError:  # nobody reads any more
            self._write = lambda place, state, text: None  # type: ignore[method-assign]

    def close(self) -> None:
        """Nothing is held back."""


class JsonLines:
    """{"run", "manifest", "seq", "at", "kind", "node", "data"} for each event, one a line."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def event(self, recorded: Recorded, name: str) -> None:
        kind, node, data = recorded.event
        line = {
            "run": recorded.run,
            "manifest": name,
            "seq": recorded.seq,
            "at": recorded.at,
            "kind": kind,
            "node": node,
            "data": data,
        }
        self._stream.write(json.dumps(line, ensure_ascii=False) + "\n")

    def close(self) -> None:
        self._stream.flush()
