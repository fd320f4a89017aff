"""Numbers and words in the answers of endpoints."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from runner.llms.answers import completion, no_json, price, refusal, tokens_of, told
from runner.llms.exchange import Answer, Fault
from runner.redact import Redactor

KEY = "sk-abcdefghijklmnopqrstuvwxyz"
MASKED = Redactor({"key": KEY}).text


@pytest.mark.parametrize(
    ("text", "usd"),
    [("0.25", 0.25), (0, 0.0), ("-1", None), ("nan", None), ("inf", None), ("1e15", None), (10**400, None)],
)
def test_a_price_is_an_amount_that_somebody_might_pay(text: object, usd: float | None) -> None:
    assert price(text) == usd


def test_tokens_beyond_all_counting_are_not_counted() -> None:
    assert tokens_of({"prompt_tokens": 3, "completion_tokens": 4}) == {"in": 3, "out": 4}
    assert tokens_of({"prompt_tokens": 10**30, "completion_tokens": 4}) == {}
    assert tokens_of({"prompt_tokens": 3, "completion_tokens": 10**30}) == {}


@pytest.mark.parametrize(
    ("said", "most"),
    [
        (lambda text: refusal(400, {}, text), 2_000),
        (lambda text: no_json(text), 200),
        (lambda text: completion({"error": {"message": text}}, None), 2_000),
        (lambda text: completion({"choices": [{"message": {"refusal": text}}]}, None), 2_000),
    ],
)
def test_no_cut_goes_through_a_secret(said: Callable[[str], Answer | Fault], most: int) -> None:
    for before in range(most - len(KEY), most + 1):
        found = said("." * before + KEY + "." * 100)
        assert isinstance(found, Fault)
        assert KEY[:4] not in told(found, MASKED)
        assert "… [cut: " in told(found, MASKED)
