"""The parts of the simulator: how faults are written, what is invented, what a manifest expects, which promises are watched."""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest
from kernel_stage import graph, step

from runner.core.events import Event
from runner.core.graph import Body, Fan
from runner.core.slots import Slots
from runner.core.tree import Tree
from runner.errors import UsageError
from runner.simulate.dice import Dice
from runner.simulate.faults import SCRIPTED, Fault, Place, failing, parse
from runner.simulate.invent import invent
from runner.simulate.promises import PROMISES, BrokenPromise, Promises
from runner.simulate.reading import Expected, reading

# ---------------------------------------------------------------- faults


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("claude-code@fix:rate_limit", Fault("", "claude-code", "fix", "rate_limit", None)),
        ("proxy@*:unavailable*3", Fault("", "proxy", "*", "unavailable", 3)),
        ("*@fetch", Fault("", "*", "fetch", "unavailable", None)),
        ("*@**2", Fault("", "*", "*", "unavailable", 2)),
        ("github@review[3]:timeout*1", Fault("", "github", "review[3]", "timeout", 1)),
        ("local@inner.lint:crash", Fault("", "local", "inner.lint", "crash", None)),
    ],
)
def test_a_fault_is_read_as_it_is_written(text: str, fault: Fault) -> None:
    read = parse(text)
    assert (read.target, read.step, read.error_class, read.times) == (
        fault.target, fault.step, fault.error_class, fault.times,
    )  # fmt: skip


@pytest.mark.parametrize(
    "text", ["", "fix", "@fix", "x@", "x@fix:", "x@fix:nonsense", "x@fix:cancelled", "x@fix*", "x@fix*-1", "x@a:b:c"]
)
def test_what_is_no_fault_is_refused_with_the_form_of_one(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(text)
    assert caught.value.exit_code == 2 and caught.value.hint


def test_faults_take_turns_in_the_order_in_which_they_are_written() -> None:
    faults = [parse("a@fix:rate_limit*2"), parse("b@fix:crash"), parse("*@fix:timeout*1")]
    place = Place("m", "fix", "fix", ("a",))
    classes = [found[1].error_class if (found := failing(faults, place, known)) else None for known in range(5)]
    assert classes == ["rate_limit", "rate_limit", "timeout", None, None]
    assert failing(faults, Place("m", "fix", "fix", ("b",)), 100) is not None, "without *N for ever"
    assert failing(faults, Place("m", "other", "other", ("b",)), 0) is None


@pytest.mark.parametrize("name", SCRIPTED)
def test_only_an_answer_that_never_came_may_have_changed_the_world(name: str) -> None:
    found = failing([parse(f"*@*:{name}")], Place("m", "a", "a", ()), 0)
    assert found is not None and found[1].effect == ("maybe" if name in ("timeout", "crash") else "none")


# ---------------------------------------------------------------- dice


def test_the_same_seed_and_place_give_the_same_and_others_something_else() -> None:
    assert [Dice(7).number("a", n) for n in range(5)] == [Dice(7).number("a", n) for n in range(5)]
    assert len({Dice(seed).number("a") for seed in range(100)}) == 100
    share = sum(Dice(seed).chance(0.3, "x") for seed in range(2_000)) / 2_000
    assert 0.25 < share < 0.35
    assert not Dice(None).chance(1.0, "x") and Dice(None).pick("x", 9) == 0


# ---------------------------------------------------------------- invented outputs


def returns(**fields: Any) -> dict[str, Any]:
    return {"type": "object", "properties": fields, "required": list(fields)}


SCHEMAS = [
    returns(type={"enum": ["bug", "feature"]}, risk={"type": "string"}),
    returns(n={"type": "integer", "minimum": 3, "maximum": 3}, m={"type": "number", "exclusiveMinimum": 0}),
    returns(files={"type": "array", "items": {"type": "string", "minLength": 3}, "minItems": 1, "maxItems": 2}),
    returns(
        files={"type": "array", "items": {"type": "object", "properties": {"a": {"type": "boolean"}}}, "maxItems": 0}
    ),
    returns(x={"anyOf": [{"type": "null"}, {"const": 4}]}, y={"type": ["null", "string"], "maxLength": 4}),
    returns(z={"allOf": [{"type": "object"}, {"properties": {"q": {"type": "integer"}}, "required": ["q"]}]}),
    returns(
        at={"type": "string", "format": "date-time"},
        u={"type": "array", "uniqueItems": True, "items": {"enum": [1, 2]}},
    ),
    returns(low={"type": "integer", "maximum": -5}),
]


@pytest.mark.parametrize("schema", SCHEMAS, ids=range(len(SCHEMAS)))
def test_what_is_invented_is_what_returns_allows(schema: dict[str, Any]) -> None:
    for seed in (None, *range(20)):
        jsonschema.validate(invent(step("a", returns=schema), Expected(), "a", Dice(seed).pick), schema)


def made(*steps: Any, **more: Any) -> Any:
    """What the first of these steps gives when nobody knows."""
    g = graph(*steps, **more)
    found = reading(g)
    return invent(steps[0], found.expected[steps[0].id], steps[0].id, Dice(None).pick)


def test_readers_find_the_fields_that_they_read() -> None:
    uses = step("b", "a", call={"with": {"x": "{{ steps.a.output.url }}", "y": ["{{ steps.a.output.user.name }}"]}})
    assert made(step("a"), uses) == {"url": "a.url (simulated)", "user": {"name": "a.user.name (simulated)"}}


def test_a_fan_out_finds_a_list_with_items_that_its_step_can_read() -> None:
    fan = Fan("foreach", {"in": "{{ steps.a.output.files }}"})
    each = step("b", "a", fan=fan, call={"with": {"x": "{{ item.path }}"}})
    value = made(step("a"), each)
    assert [set(item) for item in value["files"]] == [{"path"}, {"path"}]


@pytest.mark.parametrize(
    ("when", "output"),
    [
        ("steps.a.output.type == 'bug'", {"type": "bug"}),
        ("steps.a.output.count > 3", {"count": 4}),
        ("steps.a.output.ok", {"ok": True}),
        ("not steps.a.output.ok and inputs.x", {"ok": True}),
        ("steps.a.text == 'yes'", "yes"),
    ],
)
def test_a_condition_finds_what_it_compares(when: str, output: Any) -> None:
    assert made(step("a"), step("b", "a", when=when)) == output


def test_a_command_without_returns_says_text_whatever_its_readers_wish() -> None:
    assert made(step("a", verb="run"), step("b", "a", when="steps.a.text == 'yes'")) == "yes"
    assert isinstance(made(step("a", verb="run"), step("b", "a", when="steps.a.output.x == 1")), str)


def test_branches_and_what_they_read_are_known() -> None:
    found = reading(graph(step("a"), step("b", "a", when="steps.a.output.n > 1 and steps.a.state == 'failed'")))
    assert found.branches == {"b": ("when: steps.a.output.n > 1 and steps.a.state == 'failed'", ("a",))}
    assert not found.volatile


@pytest.mark.parametrize("text", ["{{ steps.a.cost_usd }}", "{{ run.cost_usd }}", "{{ steps.a.output.at }}"])
def test_what_a_death_may_change_is_noticed(text: str) -> None:
    body = Body("set", {"values": {"x": text}})
    assert reading(graph(step("a"), step("b", "a", bodies=(body,)))).volatile


# ---------------------------------------------------------------- promises


class Nobody:
    """A host that nobody asks."""


def watched() -> tuple[Promises, Tree]:
    g = graph(step("a"), step("f", final=True))
    return Promises(4), Tree("r", "m", {"m": g}, Nobody(), Slots(4))  # type: ignore[arg-type]


def started(n: int, key: str = "", **more: Any) -> Event:
    return Event("attempt_started", "a", {"n": n, "effect_key": key or f"r/a/{n}", **more})


def ended(kind: str, n: int, **more: Any) -> Event:
    return Event(kind, "a", {"n": n, "cost": 0, **more})


BREACHES: dict[str, list[Event]] = {
    "succeeded-stays": [started(1), ended("attempt_succeeded", 1), started(2)],
    "effect-key": [started(1), ended("attempt_lost", 1, assumed_cost=0), started(2)],
    "ledger": [started(1, reserved=5), ended("attempt_succeeded", 1, cost=5)],
    "one-outcome": [Event("run_finished", "", {"state": "failed"}), Event("run_finished", "", {"state": "failed"})],
    "final": [Event("step_suspended", "f", {"reason": "mode"})],
}  # fmt: skip


@pytest.mark.parametrize("promise", BREACHES)
def test_a_record_that_breaks_a_promise_is_noticed_at_once(promise: str) -> None:
    promises, tree = watched()
    *before, last = BREACHES[promise]
    for event in before:
        promises.event(tree, "r", event)
    with pytest.raises(BrokenPromise) as caught:
        promises.event(tree, "r", last)
    assert caught.value.promise == promise in PROMISES


def test_the_same_key_after_a_known_outcome_is_noticed_too() -> None:
    promises, tree = watched()
    for event in (started(1), ended("attempt_failed", 1, effect="none")):
        promises.event(tree, "r", event)
    with pytest.raises(BrokenPromise, match="same key after a known outcome"):
        promises.event(tree, "r", started(2, "r/a/1"))


def test_a_second_effect_of_a_once_step_is_noticed() -> None:
    promises, _ = watched()
    promises.effect("r", "a", recorded=False)
    with pytest.raises(BrokenPromise, match="happened twice"):
        promises.effect("r", "a", recorded=True)


def test_what_was_billed_is_what_must_be_recorded() -> None:
    promises, tree = watched()
    promises.billed("r/a/1", None)
    promises.event(tree, "r", started(1, reserved=7))
    promises.event(tree, "r", ended("attempt_succeeded", 1, cost=7))
    with pytest.raises(BrokenPromise, match="the bills say 7"):
        promises.money(tree)  # the kernel of this tree has spent nothing
