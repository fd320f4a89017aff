"""The page of a run: nothing of a run becomes markup, it needs nothing from anywhere, and what happened when is drawn as it was."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.core.events import Event, Recorded
from runner.core.graph import Body, Edge, GraphStep, StepGraph
from runner.ports import AttemptRow, RunRow, Spending, StepRow
from runner.reporters.page import page
from runner.reporters.page.chart import Idle, Scale, Span, Track, joined, lanes, legs, tracks
from runner.reporters.page.markup import cut, dollars, plain, readable, text
from runner.reporters.page.model import Cut, Money, Page, Part, Step, Try
from runner.reporters.page.script import SCRIPT
from runner.reporters.page.style import STYLE
from runner.reporters.picture import picture
from runner.reporters.words import ODD

EVIL = "</pre></script><script>alert('x')</script> & \"q\" ' --> ]]> \x00\x1b[31m \u202e \ufffe \ud800 `${x}`"
START = 1_000_000
VOID = {"meta", "input", "br"}


class Parsed(HTMLParser):
    """Elements with their attributes; raises for one that is closed where another is open."""

    def __init__(self, document: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.data: list[str] = []
        self.open: list[str] = []
        self.pictures: list[dict[str, str]] = []
        self.feed(document)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag == "svg" and "svg" not in self.open:
            self.pictures.append(self.elements[-1][1])
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.data.append(data)

    @property
    def text(self) -> str:
        return "".join(self.data)


def run_row(**more: Any) -> RunRow:
    given_ = {
        "run": "r1", "root": "r1", "parent": None, "parent_node": None, "name": "demo", "manifest": "d", "task": "t", "inputs": {},
        "state": "failed", "verdict": None, "leg": 1, "reason": "", "fingerprint": "", "forked_from": None, "superseded_by": None,
        "created": START, "finished": START + 5_000, "cost": 0, "steps_done": 1, "steps_total": 2, "owner_alive": False,
    }  # fmt: skip
    return RunRow(**given_ | more)


def step_row(node: str = "a", state: str = "failed", **more: Any) -> StepRow:
    given_ = {
        "run": "r1", "node": node, "state": state, "attempt": 1, "tries": 0, "lost": 0, "key": None, "producer": None, "result": None,
        "reason": "", "until": None, "item_key": None, "cost": 0, "started": START, "ended": START + 2_000, "products": {},
    }  # fmt: skip
    return StepRow(**given_ | more)


def attempt_row(n: int = 1, state: str = "failed", **more: Any) -> AttemptRow:
    given_ = {
        "run": "r1", "node": "a", "n": n, "executor": "local", "model": "", "mode": "normal", "session": None, "effect_key": "",
        "started": START, "ended": START + 1_000, "state": state, "error_class": "timeout", "message": "too slow", "effect": "none",
        "cost": 0, "cost_source": "", "tokens": {}, "log": "", "reason": "ready",
    }  # fmt: skip
    return AttemptRow(**given_ | more)


def events(*told: tuple[int, str, str, dict[str, Any]]) -> list[Recorded]:
    return [
        Recorded("r1", seq, START + at, Event(kind, node, data)) for seq, (at, kind, node, data) in enumerate(told, 1)
    ]


RETRIED = events(
    (0, "run_started", "", {"mode": "normal"}),
    (0, "attempt_started", "a", {"n": 1, "label": "local"}),
    (1_000, "attempt_failed", "a", {"n": 1, "class": "timeout", "message": "too slow"}),
    (1_000, "step_waiting", "a", {"until": START + 2_000, "reason": "round 1 of 2: timeout"}),
    (2_000, "step_woken", "a", {"reason": "its time has come"}),
    (2_000, "attempt_started", "a", {"n": 2, "label": "local"}),
    (3_000, "attempt_lost", "a", {"n": 2}),
    (3_000, "step_suspended", "a", {"reason": "unknown"}),
    (4_000, "step_resolved", "a", {"state": "failed", "by": "Eve"}),
    (4_000, "step_blocked", "b", {"reason": "a failed"}),
)
GRAPH = StepGraph(
    "demo", "d", "demo.yaml",
    (GraphStep("a", (Body("run", {"argv": ["make"]}),)), GraphStep("b", (Body("run", {"argv": ["x"]}),), (Edge("a"),))),
    description="What it is for",
)  # fmt: skip


def shown(**more: Any) -> Page:
    steps = [
        Step(step_row(error={"class": "timeout", "message": "too slow"}, reason="no way is left"), "rs0", "run make", tries=[Try(attempt_row())]),
        Step(step_row("b", "blocked", reason="a failed", started=None, ended=None), "rs1", "run x"),
    ]  # fmt: skip
    part = Part(
        run_row(),
        "failed",
        "a failed",
        "r",
        START + 5_000,
        picture(GRAPH, [step.row for step in steps]),
        steps,
        RETRIED,
    )
    given_ = {"part": part, "money": Money(), "source": Cut("ares: v1"), "advice": ["next: try"], "made": START, "version": "1", "events": [("demo", each) for each in RETRIED]}  # fmt: skip
    return Page(**given_ | more)


# ---------------------------------------------------------------- what it needs, and what it is


def test_the_page_asks_nobody_for_anything() -> None:
    document = page(shown())
    for tag, attributes in Parsed(document).elements:
        assert not {"src", "srcset", "action", "data", "poster", "ping"} & set(attributes)
        assert attributes.get("href", "#").startswith("#")
        assert tag not in {"link", "img", "iframe", "object", "embed", "form", "use", "image", "base"}
    assert not re.search(r"https?:|url\(|@import|//[a-z]", document.replace("data:", ""))


def test_the_policy_allows_our_style_and_script_and_nothing_else() -> None:
    document = page(shown())
    [policy] = [
        found["content"]
        for tag, found in Parsed(document).elements
        if found.get("http-equiv") == "Content-Security-Policy"
    ]
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    for name, tag in (("style-src", "style"), ("script-src", "script")):
        [content] = re.findall(rf"<{tag}>(.*?)</{tag}>", document, re.DOTALL)
        assert rules[name] == f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"
    assert set(rules) == {"default-src", "style-src", "script-src", "base-uri", "form-action"}
    assert not any(
        "style" in found or any(name.startswith("on") for name in found) for _, found in Parsed(document).elements
    )


def test_it_knows_light_and_dark_and_paper() -> None:
    assert "prefers-color-scheme:dark" in STYLE and "@media print" in STYLE
    assert STYLE.count("{") == STYLE.count("}")
    light, dark = re.findall(r":root\{(--page[^}]*)\}", STYLE)
    assert [pair.partition(":")[0] for pair in light.split(";")] == [pair.partition(":")[0] for pair in dark.split(";")]
    used = set(re.findall(r"var\(--([a-z]+)\)", STYLE)) - {"who"}
    assert used <= {pair.partition(":")[0].removeprefix("--") for pair in light.split(";")}


def test_every_link_leads_somewhere_and_every_place_is_there_once() -> None:
    elements = Parsed(page(shown())).elements
    ids = [found["id"] for _, found in elements if "id" in found]
    assert len(ids) == len(set(ids))
    links = {found["href"].removeprefix("#") for tag, found in elements if tag == "a"}
    assert {"rs0", "rs1", "graph", "steps", "record"} <= links <= set(ids)
    assert {found["aria-labelledby"] for _, found in elements if "aria-labelledby" in found} <= set(ids)


def test_everything_is_said_in_words_too() -> None:
    said = Parsed(page(shown())).text
    assert "failed 1.0s, waits 1.0s, lost: nobody knows how it ended 1.0s, suspended 1.0s" in said
    for picture_ in Parsed(page(shown())).pictures:
        assert picture_.get("aria-hidden") == "true" or picture_.get("aria-label"), picture_


@pytest.mark.parametrize(
    "place",
    ["name", "reason", "description", "node", "what", "error", "message", "executor", "check", "denial", "then", "log", "asked", "output",
     "key", "fact", "ask", "remedy", "input", "source", "advice", "event", "spending", "run"],
)  # fmt: skip
def test_no_text_of_a_run_becomes_markup(place: str) -> None:
    evil = {place: EVIL}
    at = evil.get
    row = attempt_row(message=at("message", "m"), executor=at("executor", "e"))
    attempt = Try(
        row, asked=Cut(at("asked", "")), checks=[{"kind": "expr", "passed": False, "message": at("check", "c")}],
        denials=[at("denial", "d")], then=[at("then", "t")], log=Cut(at("log", "l"), 7, tail=True),
    )  # fmt: skip
    node = at("node", "a")
    items = [
        Step(step_row(f"{node}[{number}]", "suspended", item_key=at("key", "k")), f"rs{number + 2}")
        for number in range(9)
    ]
    step = Step(
        step_row(node, error={"class": at("error", "x"), "message": at("error", "x")}), "rs0", at("what", "w"), tries=[attempt],
        output=Cut(at("output", "o"), 3), facts=[(at("fact", "f"), at("fact", "f"))],
        asks={"message": at("ask", "?"), "show": [at("ask", "?")]}, remedy=at("remedy", ""), items=items,
    )  # fmt: skip
    graph = StepGraph(
        at("name", "n"),
        "d",
        "f",
        (GraphStep(node, (Body("run", {"argv": [at("what", "w")]}),)),),
        description=at("description", ""),
    )
    recorded = events(
        (0, "attempt_started", node, {"n": 1, "label": at("executor", "e")}),
        (5, "attempt_failed", node, {"n": 1, "message": at("event", "m")}),
        (5, "step_suspended", node, {"reason": at("event", "m")}),
    )
    part = Part(
        run_row(name=at("name", "n"), run=at("run", "r1")), "suspended", at("reason", ""), "r", START + 9, picture(graph, [step.row]),
        [step], recorded, [(at("output", "o"), Cut(at("output", "o")))], [(at("fact", "f"), at("fact", "f"))], [(at("input", "i"), Cut(at("input", "i")))],
    )  # fmt: skip
    money = Money([("step", [Spending(at("spending", "s"), 5, 5, 1)])], 5, tokens={at("spending", "in"): 3})
    document = page(
        replace(
            shown(), part=replace(part, children=[replace(part, place="rx", steps=[], children=())]), money=money,
            source=Cut(at("source", "")), advice=[at("advice", "")], events=[(at("name", "n"), each) for each in recorded],
        )
    )  # fmt: skip
    parsed = Parsed(document)
    assert [tag for tag, _ in parsed.elements].count("script") == 1
    assert SCRIPT in document and document.count("<script>") == 1
    assert not any(name.startswith("on") for _, found in parsed.elements for name in found)
    assert not re.search(ODD, document)
    assert "alert('x')" in parsed.text or place in ("error", "executor", "node", "key", "name", "run")


def test_odd_characters_are_marked_and_shown_by_their_names() -> None:
    assert text("a\x1bb") == 'a<span class="odd">\\x1b</span>b'
    assert text("\u202e\ud800\U000e0041") == "".join(
        f'<span class="odd">{name}</span>' for name in ("\\u202e", "\\ud800", "\\U000e0041")
    )
    assert plain('\x00"<') == "\\x00&quot;&lt;"
    assert text("é 日本 👩‍💻\tx\n") == "é 日本 👩‍💻\tx\n"


@given(st.text(st.characters(), max_size=60))
def test_text_comes_back_as_it_was(value: str) -> None:
    parsed = Parsed(f"<p>{text(value)}</p>")
    assert {tag for tag, _ in parsed.elements} <= {"p", "span"}
    expected = re.sub(ODD, lambda found: re.sub("<.*?>", "", text(found[0])), value)
    assert parsed.text == expected


def test_a_log_is_shown_without_the_colours_of_a_terminal() -> None:
    assert readable("\x1b[1;31mred\x1b[0m \x1b]0;title\x07x\r\ny") == "red x\ny"


def test_what_is_cut_is_marked_where_it_was_cut() -> None:
    assert cut("abcdef", 4) == Cut("abcd", 2)
    assert cut("abcdef", 4, tail=True) == Cut("cdef", 2, True)
    assert cut("abcd", 4) == Cut("abcd")
    step = Step(step_row(), "rs0", output=Cut("head", 12_345))
    document = page(replace(shown(), part=replace(shown().part, steps=[step])))
    assert re.search(r"head</pre>\s*<p class=\"cut\">12,345 characters more: cut after this", document)


def test_nothing_that_was_spent_looks_like_nothing() -> None:
    assert [dollars(0), dollars(1), dollars(49), dollars(50), dollars(1_234_567)] == [
        "$0",
        "$0.000001",
        "$0.000049",
        "$0.0001",
        "$1.2346",
    ]


def test_money_that_is_held_or_assumed_is_told_apart() -> None:
    money = Money(
        [("model", [Spending("smart", 300_000, 100_000, 2)])], 300_000, 50_000, 100_000, {"in": 1_204, "out": 88}, "$2"
    )
    said = Parsed(page(replace(shown(), money=money))).text
    assert "$0.3000 spent in 2 attempts" in said
    assert "$0.0500 held for attempts in flight" in said
    assert "$0.1000 of it assumed, because nobody said what it cost" in said
    assert "1,204 tokens in, 88 out" in said and "cap $2" in said


def test_steps_that_went_wrong_are_open_and_the_others_are_not() -> None:
    found = {
        found["id"]: "open" in found for tag, found in Parsed(page(shown())).elements if found.get("class") == "unit"
    }
    assert found == {"rs0": True, "rs1": False}


def test_the_same_run_is_the_same_page() -> None:
    assert page(shown()) == page(shown())


# ---------------------------------------------------------------- what happened when


def spans(track: Track) -> list[tuple[str, int, int | None, str]]:
    return [
        (span.kind, span.begin - START, None if span.end is None else span.end - START, span.state)
        for span in track.spans
    ]


def test_attempts_waits_and_suspensions_follow_each_other() -> None:
    found = tracks(RETRIED)
    assert spans(found["a"]) == [
        ("attempt", 0, 1_000, "failed"),
        ("waiting", 1_000, 2_000, "waiting"),
        ("attempt", 2_000, 3_000, "lost"),
        ("suspended", 3_000, 4_000, "suspended"),
    ]
    assert (found["b"].spans, found["b"].marks) == ([], [(START + 4_000, "blocked")])


def test_what_still_goes_on_has_no_end() -> None:
    going = events((0, "attempt_started", "a", {"n": 1}), (5, "step_suspended", "b", {"reason": "approval"}))
    found = tracks(going)
    assert spans(found["a"]) == [("attempt", 0, None, "running")]
    assert spans(found["b"]) == [("suspended", 5, None, "suspended")]


def test_a_cancelled_attempt_is_no_failure_and_a_new_leg_is_told() -> None:
    told = events(
        (0, "attempt_started", "a", {"n": 1}),
        (5, "attempt_failed", "a", {"n": 1, "class": "cancelled"}),
        (9, "leg_started", "", {"leg": 2, "reset": ["a"]}),
    )
    assert spans(tracks(told)["a"]) == [("attempt", 0, 5, "cancelled")]
    assert legs(told) == [(START + 9, 2)]


def test_days_in_which_nothing_ran_are_drawn_short() -> None:
    day = 86_400_000
    scale = Scale(0, day + 20_000, [(0, 10_000), (day + 10_000, day + 20_000)])
    [idle] = scale.idle
    assert idle.took == day
    assert 0 < idle.right - idle.left < 10
    assert scale(5_000) == pytest.approx(idle.left / 2)
    assert (scale(0), scale(day + 20_000)) == (0, 100)
    assert all(not idle.left < place < idle.right for place, _ in scale.ticks())


def test_times_on_the_scale_are_short() -> None:
    hours = events(
        (0, "attempt_started", "a", {"n": 1}), (500, "attempt_succeeded", "a", {"n": 1}),
        (3_032_000, "attempt_started", "b", {"n": 1}), (3_034_500, "attempt_succeeded", "b", {"n": 1}),
    )  # fmt: skip
    step = Step(step_row("b", "succeeded"), "rs1")
    document = page(replace(shown(), part=replace(shown().part, events=hours, end=START + 3_034_500, steps=[step])))
    axis = document.partition('<svg class="axis"')[2].partition("</svg>")[0]
    assert re.findall(r">([^<>]+)</text>", axis) == ["50m 31s", "0", "50m 32.5s", "50m 33s", "50m 33.5s", "50m 34s"]


def test_a_phone_hides_every_second_time_however_many_other_words_an_axis_has() -> None:
    waited = [*RETRIED, Recorded("r1", 99, START + 900_000, Event("run_suspended", "", {"reasons": ["approval"]}))]
    document = page(replace(shown(), part=replace(shown().part, events=waited, end=START + 900_000)))
    axis = document.partition('<svg class="axis"')[2].partition("</svg>")[0]
    kinds = [kind for kind in re.findall(r'class="([a-z ]+)">[^<>]+</text>', axis) if "short" not in kind]
    assert kinds[:4] == ["first", "second", "tick", "second"]
    assert "short" in axis and ".gantt text.second{display:none}" in STYLE


def test_a_step_that_failed_before_an_attempt_says_what_is_wrong_and_no_word_of_ours() -> None:
    row = step_row(reason="prepare", error={"class": "invalid", "message": "the key is too long"})
    for tries in ([], [Try(attempt_row())]):
        told = Parsed(
            page(replace(shown(), part=replace(shown().part, steps=[Step(row, "rs0", "run x", tries=tries)])))
        ).text
        assert "invalid: the key is too long" in told and "prepare" not in told


def test_a_short_pause_is_drawn_as_long_as_it_was() -> None:
    scale = Scale(0, 3_000, [(0, 1_000), (2_000, 3_000)])
    assert scale.idle == []
    assert scale(1_500) == pytest.approx(50)


def test_a_run_in_which_nothing_ran_has_a_scale_too() -> None:
    scale = Scale(5, 5, [])
    assert (scale.idle, scale(5), scale.ticks()[0]) == ([], 0, (0.0, 0))


STRETCHES = st.lists(st.tuples(st.integers(0, 10**9), st.integers(0, 10**6)), max_size=12)


@given(STRETCHES, st.integers(1, 2 * 10**9))
def test_later_is_never_further_left(stretches: list[tuple[int, int]], end: int) -> None:
    scale = Scale(0, end, [(a, a + length) for a, length in stretches])
    moments = sorted([0, end, *(moment for a, length in stretches for moment in (a, a + length))])
    places = [scale(moment) for moment in moments]
    assert all(-1e-6 <= place <= 100 + 1e-6 for place in places)
    assert all(a <= b + 1e-6 for a, b in pairwise(places))
    ticks = scale.ticks()
    assert len(ticks) <= 13
    assert all(isinstance(idle, Idle) and idle.left <= idle.right for idle in scale.idle)
    assert [place for place, _ in ticks] == sorted(place for place, _ in ticks)


@given(STRETCHES)
def test_items_in_one_line_are_never_at_the_same_time(stretches: list[tuple[int, int]]) -> None:
    items = [Track(f"a[{at}]", [Span("attempt", a, a + length)]) for at, (a, length) in enumerate(stretches)]
    lines = lanes(items, 0)
    assert sorted(track.node for line in lines for track in line) == sorted(track.node for track in items)
    for line in lines:
        for before, after in pairwise(line):
            assert (before.spans[-1].end or 0) <= after.begin


def fanned(count: int) -> Page:
    """A fan-out of `count` items, one after the other, of which the seventh failed."""
    told = [(0, "items_expanded", "f", {"items": [{"key": str(n), "value": n} for n in range(count)]})]
    for n in range(count):
        told.append((n * 10, "attempt_started", f"f[{n}]", {"n": 1}))
        told.append((n * 10 + 9, "attempt_failed" if n == 6 else "attempt_succeeded", f"f[{n}]", {"n": 1}))
    step = Step(step_row("f", "succeeded", ended=START + count * 10), "rs0", "run x")
    part = replace(shown().part, steps=[step], events=events(*told), end=START + count * 10)
    return replace(shown(), part=part)


def test_a_fan_out_of_many_items_is_one_row_of_the_timeline() -> None:
    """With lines of HTML counted for rows, 30 items took away the lines of the times, and 2,000 cut the page in two."""
    document = page(fanned(40))
    assert '<div class="gantt card"' in document and " tall" not in document.partition("</style>")[2]
    assert document.count('class="bar') - document.partition("</style>")[0].count('class="bar') >= 40


def test_of_a_fan_out_with_very_many_items_those_that_went_well_are_drawn_together() -> None:
    document = page(fanned(5_000))
    Parsed(document)
    drawn = document.partition('<svg class="track"')[2].partition("</svg>")[0]
    assert re.findall(r'bar b-([a-z]+)" x="([\d.]+)%" width="([\d.]+)%"', drawn) == [
        ("succeeded", "0.000", "0.118"), ("succeeded", "0.140", "99.858"), ("failed", "0.120", "0.400"),
    ]  # fmt: skip
    assert "6 items" in drawn and "4,993 items" in drawn


def test_what_failed_is_drawn_over_its_neighbours_and_never_too_narrow_to_be_seen() -> None:
    drawn = page(fanned(1_000)).partition('<svg class="track"')[2].partition("</svg>")[0]
    *_, last = re.findall(r'<rect class="bar b-([a-z]+)" x="[\d.]+%" width="([\d.]+)%"', drawn)
    assert last[0] == "failed" and float(last[1]) >= 0.4


@given(STRETCHES, st.integers(-1, 10**6))
def test_what_is_drawn_together_is_as_much_as_apart(stretches: list[tuple[int, int]], gap: int) -> None:
    items = [
        Track(f"a[{at}]", [Span("attempt", a, a + length, "succeeded")]) for at, (a, length) in enumerate(stretches)
    ]
    for line in lanes(items, 0):
        together = joined(line, gap)
        assert sum(count for _, count in together) == len(line)
        assert together[0][0].begin == line[0].begin and together[-1][0].spans[-1].end == line[-1].spans[-1].end
        assert all(after.begin - (before.spans[-1].end or 0) > gap for (before, _), (after, _) in pairwise(together))


def test_a_time_at_the_edge_of_an_axis_ends_there() -> None:
    axis = page(fanned(105)).partition('<svg class="axis"')[2].partition("</svg>")[0]
    places = [(float(x), kind) for x, kind in re.findall(r'<text x="([\d.]+)%"[^>]* class="([a-z ]+)">', axis)]
    assert [kind.endswith(" last") for _, kind in places] == [x > 93 for x, _ in places]
    assert places[-1][0] > 93
