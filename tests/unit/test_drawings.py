"""Drawings for a browser (SVG) and for Graphviz (DOT): complete, self-contained, and nothing of a manifest becomes markup."""

from __future__ import annotations

import re
import shutil
import subprocess
from typing import Any
from xml.etree import ElementTree

import pytest

from runner.core.graph import Body, Edge, Fan, GraphStep, StepGraph
from runner.core.states import STEP_STATES
from runner.manifest.vocabulary import VERBS
from runner.ports import StepRow
from runner.reporters.dot import dot, quoted
from runner.reporters.picture import Picture, picture
from runner.reporters.svg import svg
from runner.reporters.svg_style import ICONS, STATE_ORDER, STYLE, VERB_ORDER

SVG = "{http://www.w3.org/2000/svg}"
EVIL = "</text><script>alert('x')</script> & \"q\" ]]> \x00\x1b[31m \u202e \ufffe \ud800"


def step(id: str, *edges: tuple[str, str], verb: Any = "run", call: Any = None, **more: Any) -> GraphStep:
    body = Body(verb, call or {"argv": ["make", id]})
    return GraphStep(id, (body,), tuple(Edge(to, kind) for to, kind in edges), **more)  # type: ignore[arg-type]


def graph(*steps: GraphStep, **more: Any) -> StepGraph:
    return StepGraph("demo", "d", "demo.yaml", steps, **more)


def row(node: str, state: str, **more: Any) -> StepRow:
    first = {
        "attempt": 1,
        "tries": 0,
        "lost": 0,
        "key": None,
        "producer": None,
        "result": None,
        "reason": "",
        "until": None,
    }
    last = {"item_key": None, "cost": 0, "started": 1_000, "ended": 3_100, "products": {}}
    return StepRow(**{"run": "r1", "node": node, "state": state, **first, **last, **more})


WORKFLOW = graph(
    step("fetch", verb="tool", call={"server": "github", "tool": "get_issue", "with": {}}),
    step("triage", ("fetch", "data"), ("fetch", "order"), verb="model", call={"prompt": "What is this?"}),
    step(
        "test", ("triage", "order"), fan=Fan("matrix", {"axes": {"os": ["a", "b"], "py": [1, 2, 3]}}), when="inputs.x"
    ),
    step("look", ("test", "state"), ("triage", "tolerant"), optional=True),
    step("report", ("look", "tolerant"), final=True),
    description="What it is for",
)


def parsed(pictures: list[Picture]) -> ElementTree.Element:
    return ElementTree.fromstring(svg(pictures))


def texts(root: ElementTree.Element) -> list[str]:
    return ["".join(element.itertext()) for element in root.iter(f"{SVG}text")]


def classes(root: ElementTree.Element) -> set[str]:
    return {word for element in root.iter() for word in element.get("class", "").split()}


def test_every_step_and_every_kind_of_edge_is_drawn() -> None:
    root = parsed([picture(WORKFLOW)])
    shown = texts(root)
    assert {
        "demo",
        "What it is for",
        "fetch",
        "triage",
        "test",
        "look",
        "report",
        "tool github.get_issue",
        "if inputs.x",
        "×6",
    } <= set(shown)
    edges = [element.get("class") for element in root.iter(f"{SVG}g") if element.get("class", "").startswith("edge")]
    drawn = edges[:-4]
    assert sorted(map(str, drawn)) == sorted(
        f"edge {kind}" for kind in ("data", "order", "state", "tolerant", "tolerant")
    )
    assert edges[-4:] == ["edge data", "edge order", "edge state", "edge tolerant"]  # the legend
    assert "finally" in shown


def test_the_strongest_of_several_edges_between_two_steps_is_drawn() -> None:
    assert [(arrow.source, arrow.kind) for arrow in picture(WORKFLOW).arrows if arrow.target == "triage"] == [
        ("fetch", "data")
    ]


def test_a_run_shows_states_counts_of_items_and_why() -> None:
    rows = [
        row("fetch", "reused"),
        row(
            "triage",
            "failed",
            error={"class": "timeout", "message": "too slow"},
            reason="exhausted",
            attempt=3,
            executor="smart",
        ),
        row("test", "group"),
        *(
            row(f"test[{at}]", state)
            for at, state in enumerate(["succeeded", "succeeded", "failed", "running", "pending"])
        ),
        row("look", "blocked"),
    ]
    root = parsed([picture(WORKFLOW, rows, "run 3f9a · failed")])
    assert {
        "s-reused",
        "s-failed",
        "s-group",
        "s-blocked",
        "p-succeeded",
        "p-failed",
        "p-running",
        "p-pending",
    } <= classes(root)
    assert "2/5" in texts(root) and "run 3f9a · failed" in texts(root)
    tips = {"".join(title.itertext()) for title in root.iter(f"{SVG}title")}
    told = next(tip for tip in tips if tip.startswith("triage"))
    assert told.split("\n")[1:] == ["failed: exhausted", "smart, 3 attempts, 2.1s", "timeout: too slow"]
    assert any("2 succeeded" in tip and "1 failed" in tip for tip in tips)


def test_the_legend_tells_of_what_occurs_and_of_nothing_else() -> None:
    shown = texts(parsed([picture(graph(step("a")), [row("a", "succeeded")])]))
    assert "succeeded" in shown
    assert "failed" not in shown and "reads its result" not in shown and "run" not in shown


@pytest.mark.parametrize("place", ["id", "message", "when", "name", "description", "head", "reason", "error", "item"])
def test_no_text_of_a_manifest_or_a_run_becomes_markup(place: str) -> None:
    id = EVIL if place == "id" else "a"
    call = {"message": EVIL if place == "message" else "Go?"}
    one = step(id, verb="approve", call=call, when=EVIL if place == "when" else None)
    drawn = StepGraph(
        EVIL if place == "name" else "n", "d", "f", (one,), description=EVIL if place == "description" else ""
    )
    rows = [
        row(
            id,
            "failed",
            reason=EVIL if place == "reason" else "",
            error={"class": "invalid", "message": EVIL if place == "error" else ""},
        ),
        row(f"{id}[0]", "failed", item_key=EVIL if place == "item" else None),
    ]
    root = parsed([picture(drawn, rows, EVIL if place == "head" else "")])
    allowed = {"svg", "title", "style", "rect", "g", "path", "text", "tspan", "circle"}
    assert {element.tag.removeprefix(SVG) for element in root.iter()} <= allowed
    for element in root.iter():
        assert not any(name.startswith("on") or "href" in name for name in element.attrib)
    assert len(list(root.iter(f"{SVG}style"))) == 1


def test_the_file_needs_nothing_from_anywhere_and_knows_light_and_dark() -> None:
    text = svg([picture(WORKFLOW)])
    assert "prefers-color-scheme:dark" in text
    without_namespace = text.replace('xmlns="http://www.w3.org/2000/svg"', "")
    assert not re.search(r"https?:|url\(|@import|<script|<foreignObject|<image|<use|<a ", without_namespace)


def test_every_state_and_verb_has_a_colour_and_every_state_a_sign() -> None:
    assert set(STATE_ORDER) == set(STEP_STATES) == set(ICONS)
    assert set(VERB_ORDER) == set(VERBS)
    for name in (*(f"s-{state} " for state in STEP_STATES), *(f"v-{verb} " for verb in VERBS)):
        assert STYLE.count(f".{name}") >= 2, "in light and in dark"


def test_text_that_is_too_long_is_cut_and_stays_whole_in_the_tip() -> None:
    id = "a" * 63
    root = parsed([picture(graph(step(id)))])
    cut = next(text for text in texts(root) if text.startswith("aaaa"))
    assert cut.endswith("…") and len(cut) < 40
    assert any(id in "".join(title.itertext()) for title in root.iter(f"{SVG}title"))


def test_several_manifests_stand_under_each_other_in_one_file() -> None:
    root = parsed([picture(graph(step("a"))), picture(graph(step("b")))])
    names = [element for element in root.iter(f"{SVG}text") if element.get("class") == "name"]
    assert len(names) == 2 and float(names[0].get("y", 0)) < float(names[1].get("y", 0))


def test_the_same_picture_is_the_same_file() -> None:
    assert svg([picture(WORKFLOW)]) == svg([picture(WORKFLOW)])


@pytest.mark.parametrize(
    ("fan", "badge"),
    [
        (Fan("foreach", {"in": [1, 2, 3], "key": None}), "×3"),
        (Fan("foreach", {"in": "{{ steps.a.output }}", "key": None}), "×n"),
        (Fan("matrix", {"axes": {"a": [1, 2], "b": "{{ vars.b }}"}}), "×n"),
        (Fan("matrix", {"axes": {"a": [1, 2]}, "exclude": [{"a": 1}]}), "×n"),
    ],
)
def test_a_fan_out_says_how_many_items_it_has_where_the_manifest_tells(fan: Fan, badge: str) -> None:
    assert picture(graph(step("a", fan=fan))).boxes[0].fan == badge


# ---------------------------------------------------------------- Graphviz


def test_dot_has_every_step_and_edge_and_the_last_steps_apart() -> None:
    lines = dot([picture(WORKFLOW, [row("fetch", "succeeded")])]).splitlines()
    assert lines[0] == 'digraph "demo" {' and lines[-1] == "}"
    assert sum("->" in line for line in lines) == 5
    assert any('"test" -> "look" [style=dotted' in line for line in lines)
    assert any('"triage" -> "test" [style=dashed' in line for line in lines)
    inside = "\n".join(lines).partition("subgraph cluster_finally")[2].partition("\n  }")[0]
    assert '"report" [' in inside and '"look" [' not in inside
    assert any(line.strip().startswith('"fetch" [label="✓ fetch') and "#c9ecd1" in line for line in lines)


@pytest.mark.parametrize("text", ['"', "\\", '\\"', "\\N", '"]; evil [label="', "a\nb", EVIL])
def test_nothing_ends_a_quoted_string_of_dot(text: str) -> None:
    inside = quoted(text)[1:-1]
    assert re.fullmatch(r'(?:[^"\\\n]|\\\\|\\")*', inside)


@pytest.mark.skipif(shutil.which("dot") is None, reason="Graphviz is not installed")
def test_graphviz_reads_it() -> None:
    text = dot([picture(graph(step("a"), step('x"\\', ("a", "data"))), [row("a", "failed", reason=EVIL)])])
    done = subprocess.run(["dot", "-Tplain"], input=text.encode("utf-8", "replace"), capture_output=True, timeout=20)
    assert done.returncode == 0, done.stderr
