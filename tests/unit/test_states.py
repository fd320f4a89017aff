"""The tables of states, and what is made from them."""

from __future__ import annotations

from pathlib import Path

import pytest
from kernel_stage import Stage, graph, step

from runner.core.events import Event
from runner.core.fold import apply
from runner.core.states import (
    BAD,
    FINAL_LEG_MOVES,
    GOOD,
    LEG_MOVES,
    RUN_MOVES,
    RUN_STATES,
    SETTLED,
    STEP_MOVES,
    STEP_STATES,
    IllegalMove,
    check_move,
    document,
    mermaid,
    sql_list,
)

DOCS = Path(__file__).parents[2] / "docs" / "states.md"
HOW = """python -c "from runner.core.states import document; print(document(), end='')" > docs/states.md"""


def test_docs_show_the_tables_as_they_are() -> None:
    assert DOCS.read_text() == document(), f"write it with: {HOW}"


def test_every_move_leads_to_a_known_state() -> None:
    for table, states in ((STEP_MOVES, STEP_STATES), (RUN_MOVES, RUN_STATES)):
        assert {new for moves in table.values() for new in moves} <= set(states)


def test_settled_states_have_no_moves_within_a_leg() -> None:
    assert {"succeeded", "reused", "failed", "skipped", "blocked", "cancelled"} == SETTLED
    assert GOOD | BAD | {"skipped"} == SETTLED


def test_only_what_ended_badly_is_open_again_in_a_new_leg() -> None:
    assert set(LEG_MOVES) == BAD
    assert set(FINAL_LEG_MOVES) == SETTLED | {"pending"}


def test_a_succeeded_run_never_goes_on() -> None:
    assert not RUN_MOVES["succeeded"] and not RUN_MOVES["superseded"]


@pytest.mark.parametrize("old", STEP_STATES)
@pytest.mark.parametrize("new", STEP_STATES)
def test_a_move_is_legal_exactly_when_the_table_says_so(old: str, new: str) -> None:
    if new in STEP_MOVES[old]:
        check_move(STEP_MOVES, old, new, "x")
    else:
        with pytest.raises(IllegalMove, match=f"x: illegal move from {old} to {new}"):
            check_move(STEP_MOVES, old, new, "x")


@pytest.mark.parametrize(
    "event",
    [
        Event("attempt_succeeded", "a", {"n": 1, "result": {"value": {}}, "cost": 5}),
        Event("attempt_lost", "a", {"n": 1, "assumed_cost": 5}),
        Event("attempt_started", "b", {"n": 2, "effects": "none", "effect_key": "k", "reserved": 7}),
        Event("step_blocked", "b", {"reason": ""}),
        Event("group_joined", "a", {"state": "succeeded"}),
        Event("leg_started", "", {"leg": 2, "reset": ["a"]}),
        Event("run_started", "", {"inputs": {"other": 1}}),
        Event("step_failed", "nobody", {"class": "crash"}),
    ],
)
def test_an_illegal_event_raises_and_changes_nothing(event: Event) -> None:
    stage = Stage(graph(step("a"), step("b")))
    stage.start()
    stage.end("a")
    k = stage.kernel
    before = (
        k.state,
        stage.states(),
        k.spent,
        k.reserved,
        k.active,
        dict(k.inputs),
        k.leg,
        k.nodes["b"].attempt,
        k.purse.held,
    )
    with pytest.raises(IllegalMove):
        apply(k, event)
    after = (
        k.state,
        stage.states(),
        k.spent,
        k.reserved,
        k.active,
        dict(k.inputs),
        k.leg,
        k.nodes["b"].attempt,
        k.purse.held,
    )
    assert after == before


def test_the_diagram_names_start_moves_and_ends() -> None:
    text = mermaid({"pending": {"running": "go"}, "running": {"done": "end"}, "done": {}})
    assert text.splitlines() == [
        "stateDiagram-v2",
        "    [*] --> pending",
        "    pending --> running: go",
        "    running --> done: end",
        "    done --> [*]",
    ]


def test_sql_lists_quote_the_states() -> None:
    assert sql_list(("pending", "running")) == "'pending', 'running'"
