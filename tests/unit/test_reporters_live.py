"""The live tree: its fold, its lines, and that it leaves the terminal as it was."""

from __future__ import annotations

import io
from typing import Any

from runner.clock import FakeClock
from runner.core.events import Event, Recorded
from runner.reporters.live import LiveTree
from runner.reporters.progress import Progress, Standing
from runner.reporters.tree_lines import tree_lines


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def events(*found: tuple[str, str, dict[str, Any]], run: str = "r1") -> list[Recorded]:
    return [Recorded(run, seq, 1_000 * seq, Event(kind, node, data)) for seq, (kind, node, data) in enumerate(found, 1)]


def told(*found: tuple[str, str, dict[str, Any]], total: int = 3) -> Progress:
    progress = Progress({"demo": total})
    for one in events(*found):
        progress.event(one, "demo")
    return progress


START = ("run_started", "", {"inputs": {}})


def attempt(node: str, n: int = 1) -> tuple[str, str, dict[str, Any]]:
    return ("attempt_started", node, {"n": n, "label": "local", "reason": "ready"})


def done(node: str, n: int = 1) -> tuple[str, str, dict[str, Any]]:
    return ("attempt_succeeded", node, {"n": n})


def failed(node: str, n: int = 1) -> tuple[str, str, dict[str, Any]]:
    return ("attempt_failed", node, {"n": n, "class": "tool_error", "message": "no"})


def test_steps_are_counted_once_whatever_happens_between() -> None:
    progress = told(
        START,
        attempt("a"),
        failed("a"),
        ("step_waiting", "a", {"until": 1, "reason": "retry"}),
        ("step_woken", "a", {"reason": "retry"}),
        attempt("a", 2),
        done("a", 2),
    )
    assert progress.runs["r1"].done == 1
    assert progress.runs["r1"].steps["a"].state == "succeeded"


def test_items_are_counted_by_state_and_only_those_that_go_on_are_kept() -> None:
    items = [{"key": str(n), "value": n} for n in range(1000)]
    found = [START, ("items_expanded", "fan", {"items": items, "max_parallel": None})]
    for n in range(1000):
        found += [attempt(f"fan[{n}]"), failed(f"fan[{n}]") if n % 10 == 0 else done(f"fan[{n}]")]
        if n % 10 == 0:
            found.append(("step_failed", f"fan[{n}]", {"class": "tool_error", "message": "no", "reason": "no way"}))
    found += [attempt("fan[999]", 2)]
    fan = told(*found).runs["r1"].steps["fan"]
    assert fan.states["failed"] == 100
    assert fan.total == 1000
    assert len(fan.active) == 1


def test_a_run_that_goes_on_does_not_pretend_to_know_its_total() -> None:
    progress = Progress({"demo": 3})
    progress.event(Recorded("r1", 7, 0, Event(*attempt("b"))), "demo")
    assert progress.runs["r1"].total is None
    assert "0 steps more" in tree_lines(progress, 0, 10)[0].text


def test_a_run_that_goes_on_counts_what_an_earlier_process_did() -> None:
    left = Standing(
        4,
        {
            "a": "succeeded",
            "b": "failed",
            "fan": "group",
            "fan[0]": "succeeded",
            "fan[1]": "failed",
            "fan[2]": "pending",
        },
    )
    progress = Progress({"demo": 4}, {"r1": left}.get)
    first = [
        ("step_woken", "b", {"reason": "next leg"}),
        attempt("b", 2),
        attempt("fan[1]", 2),
        done("fan[1]", 2),
        attempt("fan[2]"),
    ]
    for seq, (kind, node, data) in enumerate(first, 7):
        progress.event(Recorded("r1", seq, 0, Event(kind, node, data)), "demo")
    assert "1/4 steps" in tree_lines(progress, 0, 10)[0].text
    fan = progress.runs["r1"].steps["fan"]
    assert (fan.total, +fan.states) == (3, {"succeeded": 2, "running": 1})
    progress.event(Recorded("r1", 20, 0, Event(*done("b", 2))), "demo")
    assert "2/4 steps" in tree_lines(progress, 0, 10)[0].text


def test_events_that_the_record_has_already_are_not_counted_twice() -> None:
    progress = Progress({}, {"r1": Standing(2, {"a": "succeeded", "f": "group", "f[0]": "succeeded"})}.get)
    for seq, found in enumerate([attempt("a"), done("a"), attempt("f[0]"), done("f[0]")], 7):
        progress.event(Recorded("r1", seq, 0, Event(*found)), "demo")
    run = progress.runs["r1"]
    assert (run.done, +run.steps["f"].states) == (1, {"succeeded": 1})


def test_the_tree_never_has_more_lines_than_the_terminal() -> None:
    progress = Progress({})
    for run in range(50):
        for one in events(START, *(attempt(f"s{n}") for n in range(100)), run=f"r{run}"):
            progress.event(one, f"m{run}")
    for height in (1, 3, 10, 40, 2000):
        assert len(tree_lines(progress, 60_000, height)) <= height


def test_what_runs_is_shown_although_much_has_ended() -> None:
    found = [START]
    for n in range(200):
        found += [attempt(f"s{n}"), done(f"s{n}")]
    lines = tree_lines(told(*found, attempt("slow"), total=201), 1_000_000, 10)
    assert "slow" in [line.name for line in lines]
    assert any("succeeded" in line.text for line in lines if not line.name)


def test_ended_runs_collapse_to_a_count_but_failed_ones_stay() -> None:
    progress = Progress({})
    for run in range(40):
        state = "failed" if run == 5 else "succeeded"
        for one in events(START, ("run_finished", "", {"state": state, "reason": ""}), run=f"r{run}"):
            progress.event(one, f"m{run}")
    lines = tree_lines(progress, 5_000, 12)
    assert len(lines) <= 12
    assert "m5" in [line.name for line in lines]
    assert any("succeeded (runs)" in line.text for line in lines)


def test_a_terminal_gets_its_cursor_back_and_keeps_the_lines_of_failures() -> None:
    stream = Terminal()
    live = LiveTree(stream, {"demo": 2}, FakeClock())
    step_failed = ("step_failed", "a", {"class": "tool_error", "message": "no", "reason": "tool_error: no way is left"})
    for one in events(START, attempt("a"), failed("a"), step_failed):
        live.event(one, "demo")
    live.close()
    live.close()
    text = stream.getvalue()
    assert text.count("demo/a  ") == 1, "the attempt's line is enough"
    assert "\x1b[?25l" in text
    assert text.rstrip().endswith("\x1b[?25h") or text.rindex("\x1b[?25h") > text.rindex("\x1b[?25l")


def test_markup_in_names_and_messages_is_plain_text() -> None:
    stream = Terminal()
    live = LiveTree(stream, {}, FakeClock())
    for one in events(
        START, ("attempt_failed", "a", {"n": 1, "class": "crash", "message": "[red]x[/nothing] :smile:"})
    ):
        live.event(one, "demo")
    live.close()
    assert "[red]x[/nothing] :smile:" in stream.getvalue()


def test_without_events_nothing_is_drawn() -> None:
    stream = Terminal()
    LiveTree(stream, {}, FakeClock()).close()
    assert stream.getvalue() == ""


def test_sub_runs_are_shown_while_they_go_on_and_forgotten_then() -> None:
    progress = Progress({"demo": 1, "child": 1})
    for one in events(START, attempt("many")):
        progress.event(one, "demo")
    for one in events(START, attempt("work"), run="r1.many[1]"):
        progress.event(one, "child")
    assert [line.name for line in tree_lines(progress, 0, 20) if line.depth == 0] == ["demo", "demo/many[1]"]
    progress.event(
        Recorded("r1.many[1]", 3, 0, Event("run_finished", "", {"state": "succeeded", "reason": ""})), "child"
    )
    assert [line.name for line in tree_lines(progress, 0, 20) if line.depth == 0] == ["demo"]
