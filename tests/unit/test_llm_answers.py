"""Numbers in the answers of endpoints."""

from __future__ import annotations

import pytest

from runner.llms.answers import price, tokens_of


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
