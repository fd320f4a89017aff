"""Selections: the grammar, what a term means, and what a part of a manifest does to the next apply."""

from __future__ import annotations

from dataclasses import replace

import pytest
from compiling import graph_of

from runner.api.select import Part, Standing, Term, action, choose, closed, fingerprint, parse, whole
from runner.core.graph import StepGraph
from runner.core.plan import Earlier
from runner.errors import UsageError

CHAIN = """
labels: {team: core}
steps:
  a: {run: [echo, a]}
  b: {run: [echo, "{{ steps.a.text }}"], labels: {kind: late, slow: true, off: false}}
  c: {run: [echo, c], needs: [b]}
  d: {run: [echo, d]}
  e: {run: [echo, "{{ steps.d.text | default('') }} {{ steps.a.state }}"]}
finally:
  z: {run: [echo, "{{ steps.c.text }}"]}
"""


@pytest.fixture
def graphs() -> dict[str, StepGraph]:
    one = graph_of(CHAIN)
    other = graph_of("steps: {a: {run: [echo, a]}, x: {run: [echo, x]}}")
    caller = replace(graph_of("steps: {k: {run: [echo, k]}}"), callees={"part": "digest"})
    return {
        "one": replace(one, name="one"),
        "other": replace(other, name="other"),
        "caller": replace(caller, name="caller"),
        "part": replace(graph_of("steps: {p: {run: [echo, p]}}"), name="part"),
    }


def chosen(graphs: dict[str, StepGraph], *selections: str, **standing: Standing) -> dict[str, Part]:
    return choose(parse(selections), graphs, ["one", "other", "caller"], standing)


# ---------------------------------------------------------------- grammar


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("one", [Term("name", "one")]),
        ("+one", [Term("name", "one")]),
        ("one+", [Term("name", "one", None, True)]),
        ("fix-issue/b+", [Term("name", "fix-issue", "b", True)]),
        ("label:x", [Term("label", "x")]),
        ("label:team=core+", [Term("label", "team", "core", True)]),
        ("state:failed", [Term("state", "failed")]),
        ("changed+", [Term("changed", "", None, True)]),
        ("a, b", [Term("name", "a"), Term("name", "b")]),
    ],
)
def test_a_selection_is_terms(text: str, terms: list[Term]) -> None:
    assert list(parse([text])) == terms


@pytest.mark.parametrize(
    "text", ["", "a,,b", "a b", "++a", "a/b/c", "label:", "state:", "state:bad", "tag:x", "+", "é"]
)
def test_what_is_no_term_is_refused_with_what_there_is(text: str) -> None:
    with pytest.raises(UsageError) as raised:
        parse([text])
    assert raised.value.hint


# ---------------------------------------------------------------- what is meant


def test_a_manifests_name_means_all_of_it(graphs: dict[str, StepGraph]) -> None:
    assert chosen(graphs, "one") == {"one": None}


def test_a_steps_name_means_it_and_all_that_it_waits_for_in_every_manifest(graphs: dict[str, StepGraph]) -> None:
    assert chosen(graphs, "b") == {"one": {"a", "b"}}
    assert chosen(graphs, "a") == {"one": {"a"}, "other": {"a"}}
    assert chosen(graphs, "one/a") == {"one": {"a"}}


def test_every_kind_of_edge_is_something_to_wait_for(graphs: dict[str, StepGraph]) -> None:
    assert chosen(graphs, "e") == {"one": {"a", "d", "e"}}
    assert chosen(graphs, "c") == {"one": {"a", "b", "c"}}


def test_a_plus_behind_a_step_adds_its_readers_with_all_that_these_wait_for(graphs: dict[str, StepGraph]) -> None:
    assert chosen(graphs, "d+") == {"one": {"a", "d", "e"}}
    assert chosen(graphs, "b+") == {"one": {"a", "b", "c"}}


def test_terms_add_up_and_all_steps_are_the_whole_manifest(graphs: dict[str, StepGraph]) -> None:
    assert chosen(graphs, "one/b,one/d") == {"one": {"a", "b", "d"}}
    assert chosen(graphs, "one/c", "e") == {"one": None}
    assert chosen(graphs, "one/a", "one") == {"one": None}
    assert chosen(graphs, "one", "one/a") == {"one": None}


def test_labels_are_those_of_steps_which_inherit_their_manifests(graphs: dict[str, StepGraph]) -> None:
    assert chosen(graphs, "label:kind") == {"one": {"a", "b"}}
    assert chosen(graphs, "label:kind=late") == {"one": {"a", "b"}}
    assert chosen(graphs, "label:slow=true") == {"one": {"a", "b"}}
    assert chosen(graphs, "label:team=core") == {"one": None}
    assert chosen(graphs, "label:kind=early") == chosen(graphs, "label:off") == chosen(graphs, "label:none") == {}


def test_states_and_changes_mean_manifests(graphs: dict[str, StepGraph]) -> None:
    standing = {"one": Standing("failed", False), "other": Standing("new", True)}
    assert chosen(graphs, "state:failed", **standing) == {"one": None}
    assert chosen(graphs, "changed", **standing) == {"other": None}
    assert chosen(graphs, "state:succeeded", **standing) == {}


def test_a_called_manifest_is_selected_through_those_that_call_it(graphs: dict[str, StepGraph]) -> None:
    assert chosen(graphs, "part+") == {"caller": None}
    with pytest.raises(UsageError, match="caller"):
        chosen(graphs, "part")


@pytest.mark.parametrize("text", ["nope", "nope/a", "one/nope"])
def test_a_name_that_nothing_has_is_refused_with_the_names_that_there_are(
    graphs: dict[str, StepGraph], text: str
) -> None:
    with pytest.raises(UsageError) as raised:
        chosen(graphs, text)
    assert "other" in str(raised.value.hint) or "b" in str(raised.value.hint)


def test_finally_steps_are_no_part_of_a_selection(graphs: dict[str, StepGraph]) -> None:
    with pytest.raises(UsageError, match="in any case"):
        chosen(graphs, "z")
    assert closed(graphs["one"], ["c"]) == {"a", "b", "c"}
    assert whole(graphs["one"], frozenset("abcde")) is None


# ---------------------------------------------------------------- what was done before


def earlier(graph: StepGraph, state: str, part: Part = None, files: str = "f", **changes: object) -> Earlier:
    return Earlier("r1", state, graph.digest, fingerprint(files, part))._replace(**changes)  # type: ignore[arg-type]


@pytest.fixture
def graph(graphs: dict[str, StepGraph]) -> StepGraph:
    return graphs["one"]


AB = frozenset("ab")


def test_the_same_part_again_is_unchanged_or_resumed(graph: StepGraph) -> None:
    assert action(graph, "f", AB, earlier(graph, "succeeded", AB), force=False).action == "unchanged"
    assert action(graph, "f", AB, earlier(graph, "failed", AB), force=False).action == "resume"
    assert action(graph, "g", AB, earlier(graph, "succeeded", AB), force=False).action == "update"


def test_a_part_of_what_was_done_already_is_unchanged(graph: StepGraph) -> None:
    assert action(graph, "f", AB, earlier(graph, "succeeded"), force=False).action == "unchanged"
    assert action(graph, "f", AB, earlier(graph, "succeeded"), force=True).action == "update"
    edited = earlier(graph, "succeeded", manifest="other")
    assert action(graph, "f", AB, edited, force=False).action == "update"


def test_all_of_it_after_a_part_is_a_new_run(graph: StepGraph) -> None:
    plan = action(graph, "f", None, earlier(graph, "succeeded", AB), force=False)
    assert (plan.action, plan.supersedes) == ("update", ())
    assert action(graph, "f", None, earlier(graph, "suspended", AB), force=False).supersedes == ("r1",)


@pytest.mark.parametrize("before", [None, frozenset("d")])
@pytest.mark.parametrize("state", ["running", "suspended"])
def test_a_part_never_ends_an_unfinished_run_about_other_steps(graph: StepGraph, state: str, before: Part) -> None:
    with pytest.raises(UsageError) as raised:
        action(graph, "f", AB, earlier(graph, state, before), force=False)
    assert "runner resume r1" in str(raised.value.hint)


def test_a_part_after_a_failure_is_a_new_run_that_says_what_it_is_about(graph: StepGraph) -> None:
    plan = action(graph, "f", AB, earlier(graph, "failed"), force=False)
    assert (plan.action, plan.reason) == ("update", "only a, b")
    assert action(graph, "f", AB, None, force=False).reason == "no earlier run of this task; only a, b"
