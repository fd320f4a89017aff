"""Reporters that write lines."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest

from runner.core.events import Event, Recorded
from runner.reporters.lines import JsonLines, PlainLines
from runner.reporters.words import one_line, seconds, told


def recorded(kind: str, node: str = "fetch", at: int = 1_000, seq: int = 1, **data: Any) -> Recorded:
    return Recorded("r1", seq, at, Event(kind, node, data))


class Gone(io.StringIO):
    """A pipe whose reader went away."""

    writes = 0

    def write(self, text: str) -> int:
        self.writes += 1
        raise BrokenPipeError


class GoneBytes(io.BytesIO):
    def write(self, data: Any) -> int:
        raise BrokenPipeError


def test_a_line_tells_place_state_and_how_long_it_took() -> None:
    stream = io.StringIO()
    lines = PlainLines(stream)
    lines.event(recorded("attempt_started", n=1, label="local", reason="ready"), "demo")
    lines.event(recorded("attempt_succeeded", at=2_500, n=1), "demo")
    assert [line.split() for line in stream.getvalue().splitlines()] == [
        ["demo/fetch", "●", "running", "local"],
        ["demo/fetch", "✓", "succeeded", "(1.5s)"],
    ]


def test_events_of_the_run_stand_under_the_manifests_name() -> None:
    stream = io.StringIO()
    PlainLines(stream).event(recorded("run_started", "", inputs={}), "demo")
    assert stream.getvalue().split() == ["demo", "●", "running", "run", "r1"]


def test_what_a_step_wrote_cannot_move_the_cursor_or_begin_a_line() -> None:
    stream = io.StringIO()
    message = "bad\x1b[2J\nFAKE ✓ succeeded\r\u202e"
    PlainLines(stream).event(recorded("attempt_failed", n=1, message=message, **{"class": "crash"}), "demo")
    assert stream.getvalue().count("\n") == 1
    assert "\x1b" not in stream.getvalue() and "\u202e" not in stream.getvalue()


def test_a_reporter_without_reader_falls_silent() -> None:
    stream = Gone()
    lines = PlainLines(stream)
    for _ in range(3):
        lines.event(recorded("attempt_succeeded", n=1), "demo")
    assert stream.writes == 1
    JsonLines(GoneBytes()).event(recorded("attempt_succeeded", n=1), "demo")


def test_json_lines_hold_all_of_an_event() -> None:
    stream = io.BytesIO()
    JsonLines(stream).event(recorded("step_skipped", reason="ü\udcff"), "demo")
    assert json.loads(stream.getvalue()) == {
        "run": "r1", "manifest": "demo", "seq": 1, "at": 1_000, "kind": "step_skipped", "node": "fetch", "v": 1,
        "data": {"reason": "ü\udcff"},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("millis", "text"),
    [
        (0, "0ms"),
        (999, "999ms"),
        (59_990, "59.9s"),
        (60_000, "1m 00s"),
        (3_600_000, "1h 00m"),
        (200_000_000, "2d 07h"),
        (-5, "0ms"),
    ],
)
def test_lengths_of_time_are_told_in_two_units_at_most(millis: int, text: str) -> None:
    assert seconds(millis) == text


def test_long_text_is_cut_and_marked() -> None:
    assert one_line("x" * 500, 10) == "x" * 9 + "…"


def test_events_without_a_word_for_people_are_not_told() -> None:
    assert told(Event("attempt_noted", "a", {"n": 1})) is None


def test_a_step_of_a_sub_run_is_told_with_the_way_to_it() -> None:
    stream = io.StringIO()
    lines = PlainLines(stream)
    lines.event(recorded("run_started", "", inputs={}), "parent")
    event = Event("step_skipped", "work", {"reason": "when"})
    lines.event(Recorded("r1.many[1].inner", 1, 0, event), "child")
    assert stream.getvalue().splitlines()[1].split()[0] == "parent/many[1]/inner/work"


def test_a_step_that_failed_before_any_attempt_says_why() -> None:
    event = Event("step_failed", "a", {"class": "invalid", "message": "needs MCP server x", "reason": "prepare"})
    assert told(event) == ("failed", "invalid: needs MCP server x")


def test_a_run_that_has_ended_leaves_nothing_behind() -> None:
    lines = PlainLines(io.StringIO())
    lines.event(recorded("run_started", "", inputs={}), "demo")
    lines.event(recorded("attempt_started", n=1, label="local", reason="ready"), "demo")
    lines.progress("r1", "fetch", "half way")
    lines.progress("r1.sub", "fetch", "half way")
    lines.event(recorded("run_finished", "", state="failed", reason="", outputs=None), "demo")
    assert not any(held for held in vars(lines).values() if isinstance(held, dict))
