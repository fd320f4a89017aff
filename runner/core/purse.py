"""What the runs of a tree share: their budget, and how many steps they have. Of the budget: what was spent, what attempts in flight
have reserved; integer micro-USD, and tokens, which are counted when they are known and reserved by nobody. Decides nothing else."""

from __future__ import annotations

from typing import Literal

MORE = "micro-USD more"
"""How it ends when a raised budget of the run (`resume --add-usd`) is what is needed."""
OWN_BUDGET = "the step's own budget"
CALL_BUDGET = "the budget of the `call`"


class Purse:
    """One budget for a root run and all its sub-runs; or, with `above`, that of a `call` step, for the sub-runs that it makes: what is
    spent there counts in both. `cap` None = no cap. `reserve` is for `finally` steps alone."""

    __slots__ = (
        "above", "cap", "exceed", "final_held", "final_spent", "held", "nodes", "released", "reserve", "spent", "token_cap", "tokens",
        "waiting",
    )  # fmt: skip

    def __init__(self, above: Purse | None = None) -> None:
        self.above = above
        self.cap: int | None = None
        self.reserve = 0
        self.exceed: str = "suspend" if above is None else above.exceed
        """What happens to a step for which there is no room: suspend, free_only or fail."""
        self.spent = self.held = 0
        self.token_cap: int | None = None
        self.tokens = 0
        self.nodes = 0
        """Steps and items of all runs of the tree, those of sub-runs counted from the moment that their call begins."""
        self.final_spent = self.final_held = 0
        self.waiting: dict[str, None] = {} if above is None else above.waiting
        """Runs of the tree with a step that waits for a reservation to come back."""
        self.released = False
        """A reservation was settled since the driver last looked."""

    @property
    def room(self) -> int | None:
        """What nobody has spent or reserved; None = there is no cap."""
        own = None if self.cap is None else max(0, self.cap - self.spent - self.held)
        rooms = [room for room in (own, None if self.above is None else self.above.room) if room is not None]
        return min(rooms, default=None)

    @property
    def size(self) -> int:
        """Steps and items of the tree."""
        return self.nodes if self.above is None else self.above.size

    def grow(self, more: int) -> None:
        """So many steps or items more."""
        self.nodes += more
        if self.above is not None:
            self.above.grow(more)

    def fits(self, estimate: int, final: bool, tokens: int = 0) -> Literal["go", "wait", "over"]:
        """May an attempt reserve `estimate`, and use so many tokens? `wait`: reservations in flight may come back. What is free
        always fits, and `finally` steps are an affair of the root's budget alone."""
        if self.above is None:
            return self._fits(estimate, final, tokens)
        own = "go" if final else self._fits(estimate, final, tokens)
        return own if own == "over" else max(own, self.above.fits(estimate, final, tokens), key=_WORSE.index)

    def _fits(self, estimate: int, final: bool, tokens: int) -> Literal["go", "wait", "over"]:
        if self.token_cap is not None and tokens > 0 and self.tokens + tokens > self.token_cap:
            return "over"
        if self.cap is None or estimate <= 0:
            return "go"
        if final and self.final_spent + self.final_held + estimate <= self.reserve:
            return "go"
        if self.spent + estimate > self.cap:
            return "over"
        return "go" if self.spent + self.held + estimate <= self.cap else "wait"

    def lack(self, estimate: int, final: bool, tokens: int = 0) -> str:
        """What there is no room for, and whose budget says so."""
        whose = "the run's budget"
        if self.above is not None:
            if final or self._fits(estimate, final, tokens) != "over":
                return self.above.lack(estimate, final, tokens)
            whose = CALL_BUDGET
        if self.token_cap is not None and tokens > 0 and self.tokens + tokens > self.token_cap:
            return f"{whose} has {max(0, self.token_cap - self.tokens)} tokens left, it needs about {tokens}"
        if self.above is None:
            return f"needs {estimate} {MORE}"
        return f"{whose} has {max(0, (self.cap or 0) - self.spent)} micro-USD left, it needs {estimate}"

    def hold(self, amount: int, final: bool) -> None:
        """Reserve for an attempt."""
        self.held += amount
        if final:
            self.final_held += amount
        if self.above is not None:
            self.above.hold(amount, final)

    def settle(self, held: int, cost: int, final: bool, tokens: int = 0) -> None:
        """An attempt that had reserved `held` has cost `cost`."""
        self.held -= held
        self.spent += cost
        self.tokens += tokens
        if final:
            self.final_held -= held
            self.final_spent += cost
        self.released = True
        if self.above is not None:
            self.above.settle(held, cost, final, tokens)

    def judged(self, cost: int, tokens: int) -> None:
        """What the `call` step has cost itself: its judges. The budget above knows of it."""
        self.spent += cost
        self.tokens += tokens


_WORSE: tuple[Literal["go", "wait", "over"], ...] = ("go", "wait", "over")
