"""The parts of record and replay: who asks, what of a request counts, answers there and back, and what hides."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runner.core.events import Event, Recorded
from runner.manifest.answers import Answer
from runner.ports import CallResult, Request
from runner.redact import Redactor
from runner.replay.answering import result_of, told
from runner.replay.asking import Items, Veil, asked, names_of, parts_of
from runner.replay.difference import difference


def request(key: str = "r/a/1", **more: Any) -> Request:
    given_ = {
        "label": "local",
        "verb": "run",
        "inputs": {"argv": ["x"]},
        "env": {},
        "cwd": "/w",
        "deadline_s": None,
        **more,
    }
    return Request(idempotency_key=key, **given_)


def items(**keys: list[str]) -> Items:
    known = Items()
    for place, names in keys.items():
        run, node = place.split("__")
        event = Event("items_expanded", node, {"items": [{"key": key, "value": key} for key in names]})
        known.event(Recorded(run.replace("_", "."), 1, 0, event), "m")
    return known


# ---------------------------------------------------------------- who asks


@pytest.mark.parametrize(
    ("key", "step", "part"),
    [
        ("r/a/1", "a", ""),
        ("r/each[1]/1", "each[a/b.py]", ""),
        ("r/a/2/check/0", "a", "check/0"),
        ("r/a/1/judge/smart/1", "a", "judge/smart/1"),
        ("r.sub/work/1", "sub/work", ""),
        ("r.sub~3/work/1", "sub/work", ""),
        ("r.each[0].inner/work[1]/1", "each[x]/inner/work[k]", ""),
    ],
)
def test_an_idempotency_key_says_which_step_asks(key: str, step: str, part: str) -> None:
    known = items(r__each=["x", "a/b.py"])
    known.event(
        Recorded("r.each[0].inner", 1, 0, Event("items_expanded", "work", {"items": [{"key": "j"}, {"key": "k"}]})), "m"
    )
    asker = known.asker(request(key))
    assert asker is not None
    assert (asker.step, asker.part) == (step, part)


def test_a_call_without_a_key_is_no_steps() -> None:
    assert items().asker(request("")) is None


def test_a_stub_may_name_an_item_or_all_of_them_at_each_depth() -> None:
    assert parts_of("review[a/b.py]/step") == [("review", "[a/b.py]"), ("step", "")]
    assert names_of("a") == ["a"]
    assert names_of("a[x]") == ["a[x]", "a"]
    assert names_of("s[1]/a[x]") == ["s[1]/a[x]", "s[1]/a", "s/a[x]", "s/a"]


# ---------------------------------------------------------------- what counts


def test_deadlines_keys_and_the_runs_own_folder_do_not_count_and_all_else_does() -> None:
    one = asked(request(env={"ARES_RUN_DIR": "/s/1", "A": "1"}, deadline_s=1.0, cwd="/w/sub"), Path("/w"))
    assert one == asked(
        request("q/a/7", env={"ARES_RUN_DIR": "/s/2", "A": "1"}, deadline_s=9.0, cwd="/w/sub"), Path("/w")
    )
    assert one == {"argv": ["x"], "env": {"A": "1"}, "cwd": "sub"}
    for more in (
        {"env": {"A": "2"}},
        {"cwd": "/w/other"},
        {"feedback": "no"},
        {"session": "s"},
        {"verb": "agent", "returns": {"type": "object"}},
        {"stdin": "text"},
        {"inputs": {"argv": ["y"]}},
    ):
        assert asked(request(**{"env": {"ARES_RUN_DIR": "/s/1", "A": "1"}, "cwd": "/w/sub", **more}), Path("/w")) != one


def test_secrets_paths_and_ids_are_hidden_and_paths_and_ids_come_back() -> None:
    veil = Veil(Redactor({"T": "secret-token"}), [("/tmp/w", "«workspace»")], Path("/tmp/s/runs"))
    value = {"a": ["in /tmp/w/x", "secret-token"], "/tmp/w": "/tmp/s/runs/r1.sub and r1.sub of r1"}
    hidden = veil.over(value, "r1.sub")
    assert hidden == {"a": ["in «workspace»/x", "***"], "«workspace»": "«run.dir» and «run.id» of «root.id»"}
    elsewhere = Veil(Redactor({}), [("/var/w", "«workspace»")], Path("/var/s/runs"))
    assert elsewhere.off(hidden, "q9.sub") == {
        "a": ["in /var/w/x", "***"],
        "/var/w": "/var/s/runs/q9.sub and q9.sub of q9",
    }


# ---------------------------------------------------------------- answers

TEXT = st.none() | st.text(max_size=8)
DATA = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


def _result(**given: Any) -> CallResult:
    """What is not given holds its default (of a named tuple, Hypothesis would make that up too)."""
    return CallResult(**given)


RESULTS = st.one_of(
    st.builds(_result, output=DATA, text=TEXT, structured=st.booleans(), cost=st.none() | st.integers(0, 10**9), tokens=st.dictionaries(st.sampled_from(["in", "out"]), st.integers(0, 9)), executor=st.sampled_from(["smart", "proxy"]), model=st.just("smart"), session=TEXT, denials=st.lists(st.text(max_size=3)).map(tuple)),
    st.builds(_result, output=st.none(), text=st.none(), error_class=st.sampled_from(["rate_limit", "crash"]), message=st.text(min_size=1, max_size=5), effect=st.sampled_from(["none", "maybe"]), status=st.none() | st.integers(0, 600), retry_after_ms=st.none() | st.integers(0, 10**6), executor=st.just("proxy"), model=st.just("smart"), cost_source=st.sampled_from(["", "billed"]), contact=st.sampled_from(["", "unreached", "answered"])),
)  # fmt: skip


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(RESULTS)
def test_a_result_told_and_read_again_means_the_same(result: CallResult) -> None:
    asks = request(label="smart", verb="model")
    again = result_of(Answer.model_validate(told(result, "smart", "proxy")), asks, "proxy")
    for name in (
        "output",
        "error_class",
        "message",
        "effect",
        "status",
        "retry_after_ms",
        "cost",
        "cost_source",
        "executor",
        "model",
        "session",
    ):
        assert getattr(again, name) == getattr(result, name) or name == "output", name
    assert meaning(again) == meaning(result)
    assert (dict(again.tokens), tuple(again.denials)) == (dict(result.tokens), tuple(result.denials))


def meaning(result: CallResult) -> Any:
    """What the engine makes of output and text: nothing else of them counts."""
    from runner.engine.results import result_of as recorded

    if result.output is None and result.text is not None and not result.structured:
        return {"text": result.text}  # text alone reads as output, too
    found = recorded(result.output, result.text)
    if (
        found["output"] == found.get("text", found["output"])
        and not result.structured
        and isinstance(found["output"], str)
    ):
        return {"text": found["output"]}
    return found, result.structured or not isinstance(result.output, str | None)


def test_only_what_an_answer_says_is_told() -> None:
    assert told(CallResult(output="hi", text="hi", executor="local"), "local", "local") == {"text": "hi"}
    assert told(CallResult(output={"a": 1}, text='{"a":1}', structured=True, executor="s"), "s", "s") == {
        "output": {"a": 1}
    }
    failed = CallResult(
        output="", text="", error_class="timeout", message="late", effect="maybe", retry_after_ms=90_000, cost=None
    )
    assert told(failed, "x", "x") == {
        "error": "timeout", "message": "late", "effect": "maybe", "retry_after": "1m30s", "cost_usd": "unknown",
    }  # fmt: skip


# ---------------------------------------------------------------- differences


def test_a_difference_names_the_keys_and_shows_lines_and_is_not_endless() -> None:
    keys, lines = difference({"a": 1, "b": "x\ny", "c": [1]}, {"a": 1, "b": "x\nz", "d": {"k": "v"}})
    assert keys == ["b", "c", "d"]
    assert lines[:2] == ["--- b (recorded)", "+++ b (now)"]
    assert {"-  y", "+  z", "-c: [1]", "+d: {k: v}"} <= set(lines)
    _, many = difference({"a": "\n".join(map(str, range(500)))}, {"a": "\n".join(map(str, range(500, 1000)))})
    assert len(many) == 61 and many[-1].endswith("lines more")
    _, odd = difference({"a": "\x1b"}, {"a": "\x00"})
    assert all(char.isprintable() for line in odd for char in line)
