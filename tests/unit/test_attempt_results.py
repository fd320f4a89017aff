"""Results as the record holds them."""

from __future__ import annotations

import json

import pytest

from runner.digest import digest_bytes
from runner.engine.results import LARGE, MAX_DEPTH, Unfit, fit, result_of, stored, text_of


def test_a_small_result_is_inline() -> None:
    assert stored({"output": "hi"}) == ({"value": {"output": "hi"}}, None)


def test_a_large_result_is_held_by_the_digest_of_its_canonical_json() -> None:
    result = {"output": {"b": "ö" * 3000, "a": 1}}
    kept, blob = stored(result)
    assert blob is not None
    assert kept == {"ref": digest_bytes(blob), "size": len(blob)}
    assert json.loads(blob) == result


def test_the_border_between_inline_and_by_reference_is_in_bytes() -> None:
    overhead = len('{"output":""}')
    assert stored({"output": "x" * (100 - overhead)}, 100)[1] is None
    assert stored({"output": "x" * (101 - overhead)}, 100)[1] is not None


@pytest.mark.parametrize(
    ("output", "text", "kept"),
    [("a", "a", False), ({"a": 1}, '{"a":1}', False), ({"a": 1}, "one", True), ("a", None, False)],
)
def test_text_is_kept_only_when_it_says_more_than_the_output(output: object, text: str | None, kept: bool) -> None:
    result = result_of(output, text)
    assert ("text" in result) is kept
    if text is not None:
        assert text_of(result) == text


def test_lone_surrogates_are_replaced_everywhere() -> None:
    assert fit({"a\ud800": ["b\udfff", {"c": "\ud83d\ude00"}]}, 1000) == {"a?": ["b?", {"c": "??"}]}


def test_what_is_fit_is_not_copied() -> None:
    value = {"a": ["b"]}
    assert fit(value, 1000) is value


def test_levels_are_counted_not_brackets() -> None:
    wide = [[] for _ in range(500)]
    assert fit(wide, 10_000) is wide
    assert fit([["[" * 500]], 10_000) == [["[" * 500]]
    levels: list[object] = []
    for _ in range(MAX_DEPTH - 1):
        levels = [levels]
    assert fit(levels, 10_000) is levels
    with pytest.raises(Unfit, match="100 levels"):
        fit([[levels]], 10_000)


deep: list[object] = []
for _ in range(100_000):
    deep = [deep]
circle: list[object] = []
circle.append(circle)


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (float("nan"), "NaN"),
        ([float("inf")], "Infinity"),
        (b"x", "not JSON"),
        ({1: 2, "a": 3}, "not JSON"),
        (deep, "too deep"),
        (circle, "itself"),
        ("x" * 200, "limit of 100 bytes"),
        (["ö" * 60], "limit of 100 bytes"),
    ],
)
def test_what_the_record_cannot_hold_is_refused_in_words(value: object, says: str) -> None:
    with pytest.raises(Unfit, match=says):
        fit(value, 100)


@pytest.mark.parametrize("unit", ["x", "\n", '"', "\0", "ö", "x\ud800", "\\"])
def test_a_long_text_is_measured_as_its_json_would_be(unit: str) -> None:
    text = unit * (LARGE + 1)
    clean = text.encode("utf-8", "replace").decode()
    size = len(json.dumps(clean, ensure_ascii=False).encode())
    assert fit(text, size) == clean
    with pytest.raises(Unfit, match="over the limit"):
        fit(text, size - 1)
