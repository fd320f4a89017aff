"""What a call cost, in micro-USD. An unknown price is None and never 0."""

from __future__ import annotations

from collections.abc import Mapping

from runner.llms.exchange import Bill
from runner.llms.spec import ModelSpec

MICRO = 1_000_000


def cost(model: ModelSpec, bill: Bill) -> tuple[int | None, str]:
    """(micro-USD, where the figure comes from: `free`, `endpoint`, `declared`, `price_map`), or (None, "") when nobody knows.

    The declared tier comes first: an endpoint computes its price from a map of names, which cannot tell free from paid. For the
    same reason its 0 for a paid model means that the map does not know the model."""
    if model.tier != "paid":
        return 0, "free"
    if bill.usd is not None and bill.usd > 0:
        return round(bill.usd * MICRO), "endpoint"
    estimate = declared(model, bill.tokens)
    if estimate is not None:
        return estimate, "declared"
    return (round(bill.guess * MICRO), "price_map") if bill.guess else (None, "")


def declared(model: ModelSpec, tokens: Mapping[str, int]) -> int | None:
    """The cost of these tokens at the model's declared price; None without both."""
    if model.price is None or not {"in", "out"} <= tokens.keys():
        return None
    return round(tokens["in"] * model.price.prompt + tokens["out"] * model.price.answer)
