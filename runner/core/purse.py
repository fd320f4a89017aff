"""What the runs of a tree share: their budget, and how many steps they have. Of the budget: what was spent, what attempts in flight
have reserved; integer micro-USD, and tokens, which are counted when they are known and reserved by nobody. Decides nothing else."""

from __future__ import annotations

from typing import Literal


class Purse:
    """One budget for a root run and all its sub-runs. `cap` None = no cap. `reserve` is for `finally` steps alone."""

    __slots__ = (
        "cap", "exceed", "final_held", "final_spent", "held", "nodes", "released", "reserve", "spent", "token_cap", "tokens", "waiting",
    )  # fmt: skip

    def __init__(self) -> None:
        self.cap: int | None = None
        self.reserve = 0
        self.exceed = "suspend"
        """What happens to a step for which there is no room: suspend, free_only or fail."""
        self.spent = self.held = 0
        self.token_cap: int | None = None
        self.tokens = 0
        self.nodes = 0
        """Steps and items of all runs of the tree, those of sub-runs counted from the moment that their call begins."""
        self.final_spent = self.final_held = 0
        self.waiting: dict[str, None] = {}
        """Runs with a step that waits for a reservation to come back."""
        self.released = False
        """A reservation was settled since the driver last looked."""

    @property
    def room(self) -> int | None:
        """What nobody has spent or reserved; None = there is no cap."""
        return None if self.cap is None else max(0, self.cap - self.spent - self.held)

    def fits(self, estimate: int, final: bool, tokens: int = 0) -> Literal["go", "wait", "over"]:
        """May an attempt reserve `estimate`, and use so many tokens? `wait`: reservations in flight may come back. What is free
        always fits."""
        if self.token_cap is not None and tokens > 0 and self.tokens + tokens > self.token_cap:
            return "over"
        if self.cap is None or estimate <= 0:
            return "go"
        if final and self.final_spent + self.final_held + estimate <= self.reserve:
            return "go"
        if self.spent + estimate > self.cap:
            return "over"
        return "go" if self.spent + self.held + estimate <= self.cap else "wait"

    def hold(self, amount: int, final: bool) -> None:
        """Reserve for an attempt."""
        self.held += amount
        if final:
            self.final_held += amount

    def settle(self, held: int, cost: int, final: bool) -> None:
        """An attempt that had reserved `held` has cost `cost`."""
        self.held -= held
        self.spent += cost
        if final:
            self.final_held -= held
            self.final_spent += cost
        self.released = True
