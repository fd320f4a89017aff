"""What may be spent, before anything is: from declared prices, and from what successes have cost so far. Never more certain than it is.

One try of each step is priced; retries, repair rounds and fallbacks come on top. Pure: what was learned is an argument.
"""

from collections.abc import Callable, Iterable
from typing import NamedTuple

from runner.core.assigning import ANSWER_TOKENS
from runner.core.roster import Entry

Typical = Callable[[Entry], int | None]
"""Micro-USD that a success has cost so far; None = not enough is known."""


class Price(NamedTuple):
    """A range in micro-USD. `high` None = nobody knows how much it may be, and `unknown` says why."""

    low: int = 0
    high: int | None = 0
    unknown: tuple[str, ...] = ()

    def times(self, count: int) -> "Price":
        """So many of them."""
        return Price(self.low * count, None if self.high is None else self.high * count, self.unknown)

    def at_most(self, cap: int | None) -> "Price":
        """No more than a cap lets through, whatever is unknown."""
        if cap is None or (self.high is not None and self.high <= cap):
            return self
        return Price(min(self.low, cap), cap, self.unknown)


NOTHING = Price()


def together(prices: Iterable[Price]) -> Price:
    """The sum."""
    low, high, unknown = 0, 0, dict[str, None]()
    open_ = False
    for price in prices:
        low, open_ = low + price.low, open_ or price.high is None
        high += price.high or 0
        unknown |= dict.fromkeys(price.unknown)
    return Price(low, None if open_ else high, tuple(unknown))


def one_of(prices: Iterable[Price]) -> Price:
    """One of these, nobody knows which: from the cheapest to the dearest. Nobody at all spends nothing."""
    all_ = list(prices)
    if not all_:
        return NOTHING
    highs = [price.high for price in all_ if price.high is not None]
    unknown = tuple(dict.fromkeys(why for price in all_ for why in price.unknown))
    return Price(min(price.low for price in all_), max(highs) if len(highs) == len(all_) else None, unknown)


def of_entry(entry: Entry, sent: int | None, most: int | None, typical: int | None) -> Price:
    """One try by this entry. `sent`: tokens of the prompt, None = not known yet. `most`: the longest answer, None = nobody limits it.
    What successes have cost widens a range, and stands in for one that cannot be computed."""
    if entry.tier in ("free", "local"):
        return NOTHING
    computed = None
    if sent is not None and entry.kind == "model" and entry.cost(sent, 1) is not None:
        computed = (entry.cost(sent, 1) or 0, entry.cost(sent, most or ANSWER_TOKENS) or 0)
    known = [value for value in (*(computed or ()), typical) if value is not None]
    if not known:
        return Price(0, None, (_why(entry, sent),))
    return Price(min(known), max(known))


def _why(entry: Entry, sent: int | None) -> str:
    if entry.kind == "agent":
        return f"what {entry.name} costs (too few attempts are known)"
    if entry.cost(1, 1) is None:
        return f"the price of {entry.name} (none is declared)"
    return "prompts that are not known yet"
