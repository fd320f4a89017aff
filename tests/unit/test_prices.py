"""What a plan says that may be spent: never more certain than it is."""

from __future__ import annotations

import pytest

from runner.core.prices import NOTHING, Price, of_entry, one_of, together
from runner.core.roster import Entry

PRICED = Entry("smart", "model", endpoint="proxy", tier="paid", price_in=3.0, price_out=15.0)
UNPRICED = Entry("dark", "model", endpoint="proxy", tier="paid")
FREE = Entry("fast", "model", endpoint="proxy", tier="free")
LOCAL = Entry("llama", "model", endpoint="local", tier="local", local=True)
AGENT = Entry("claude-code", "agent", tier="paid")


@pytest.mark.parametrize(
    ("entry", "sent", "most", "typical", "price"),
    [
        (PRICED, 100, 200, None, Price(315, 3_300)),
        (PRICED, 100, None, None, Price(315, 15_300)),  # an answer that nobody limits: a thousand tokens
        (PRICED, 100, 200, 9_000, Price(315, 9_000)),  # what was seen widens what was computed
        (PRICED, None, 200, 9_000, Price(9_000, 9_000)),
        (PRICED, None, 200, None, Price(0, None, ("prompts that are not known yet",))),
        (UNPRICED, 100, 200, None, Price(0, None, ("the price of dark (none is declared)",))),
        (UNPRICED, 100, 200, 50, Price(50, 50)),
        (AGENT, 100, None, None, Price(0, None, ("what claude-code costs (too few attempts are known)",))),
        (AGENT, None, None, 250_000, Price(250_000, 250_000)),
        (FREE, None, None, 10, NOTHING),
        (LOCAL, None, None, None, NOTHING),
    ],
)
def test_one_try_costs_what_prices_and_history_say(
    entry: Entry, sent: int | None, most: int | None, typical: int | None, price: Price
) -> None:
    assert of_entry(entry, sent, most, typical) == price


def test_of_a_chain_the_cheapest_and_the_dearest_count() -> None:
    assert one_of([Price(10, 20), NOTHING, Price(5, 90)]) == Price(0, 90)
    assert one_of([Price(10, 20), Price(0, None, ("x",))]) == Price(0, None, ("x",))
    assert one_of([]) == NOTHING


def test_sums_are_open_as_soon_as_a_part_is() -> None:
    assert together([Price(1, 2), Price(10, 20)]) == Price(11, 22)
    assert together([Price(1, 2), Price(3, None, ("x",)), Price(0, None, ("x", "y"))]) == Price(4, None, ("x", "y"))
    assert together([]) == NOTHING


def test_items_multiply_and_a_cap_closes_what_is_open() -> None:
    assert Price(2, 5).times(3) == Price(6, 15)
    assert Price(2, None, ("x",)).times(3) == Price(6, None, ("x",))
    assert Price(2, None, ("x",)).at_most(100) == Price(2, 100, ("x",))
    assert Price(200, 500).at_most(100) == Price(100, 100)
    assert Price(2, 5).at_most(100) == Price(2, 5)
    assert Price(2, None).at_most(None) == Price(2, None)
