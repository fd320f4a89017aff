"""What a kernel knows of one step or fan-out item: the fold of its events, plus its place in the queues. Decides
nothing."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

from runner.core.graph import Body, GraphStep, Json
from runner.core.messages import Claim, Item, Stored
from runner.core.purse import Purse
from runner.core.states import BAD
from runner.manifest.vocabulary import WORK_VERBS


class Node:
    """A step (`group` None) or an item of one. Implements `messages.NodeView`."""

    __slots__ = (
        "approved", "ask", "attempt", "busy", "cap", "child", "claim", "cost", "day", "effect_key", "effects", "error", "estimate", "executor",
        "failed", "feedback", "former", "free_only", "group", "holding", "id", "index", "item", "items",
        "items_bad", "key", "label", "lane", "level", "limit", "lost", "model", "open", "placed", "previous",
        "producer", "products", "purse", "queue", "queued", "reason", "repair", "reserved", "result", "rounds",
        "session", "spec", "state", "step", "token_cap", "tokens", "tried", "until", "used", "waits", "wants",
    )  # fmt: skip

    def __init__(
        self, id: str, step: GraphStep, group: Node | None = None, index: int = 0, item: Item | None = None
    ) -> None:
        self.id, self.step, self.group, self.index, self.item = id, step, group, index, item
        self.state = "pending"
        self.waits = 0
        """Dependencies that have not ended, plus one for `finally` while main steps run."""
        self.queued = False
        """In a queue of the kernel (ready, a lane, money, its group's)."""
        # the attempt
        self.attempt = 0
        self.holding = ""
        """What a running attempt occupies: "slot" (run, process and lane), "call" (nothing but its child), or ""."""
        self.label = self.lane = self.model = self.executor = ""
        self.claim: Claim = ""
        """What it holds of the workspace; before that, what it waits for."""
        self.effects = ""
        self.effect_key: str | None = None
        """Idempotency key to repeat with, while the last outcome is unknown."""
        self.key: str | None = None
        self.reserved = self.estimate = self.cost = 0
        self.tokens = self.wants = 0
        """Tokens used by all attempts, and about how many the next one uses."""
        self.cap: int | None = None
        self.token_cap: int | None = None
        """The step's own budget, as far as the last preparing told."""
        self.purse: Purse | None = None
        """Of a `call` with a budget: what its sub-runs may spend."""
        self.day = ""
        """The day that pays for the attempt."""
        self.session: str | None = None
        self.child: str | None = None
        self.spec: Mapping[str, Json] = {}
        # the way so far
        self.level = self.rounds = self.repair = self.lost = 0
        self.used = 0
        """Attempts in this leg."""
        self.failed: set[str] = set()
        self.tried: tuple[Mapping[str, Json], ...] = ()
        """What agents came to, the last attempt of each: for the next one."""
        self.free_only = False
        """The budget has no room for a paid entry: the host is asked for a free one."""
        # the result
        self.result: Stored | None = None
        self.previous: Stored | None = None
        self.feedback: str | None = None
        self.error: Mapping[str, Json] | None = None
        self.producer = self.reason = ""
        self.products: Mapping[str, str] = {}
        self.until: int | None = None
        self.ask: Mapping[str, Json] | None = None
        self.approved = False
        """In this leg a person has let it go where the operator's policy asks for one."""
        # a fan-out
        self.items: list[Node] | None = None
        self.former: dict[str, Node] = {}
        """Items of an earlier leg of a `finally` fan-out: their attempt numbers go on."""
        self.open = self.busy = self.items_bad = 0
        self.limit: int | None = None
        self.queue: deque[Node]
        """Items that wait for a place; there is one once the group is expanded."""
        self.placed = False

    @property
    def body(self) -> Body:
        """The way that is tried now."""
        return self.step.bodies[self.level]

    @property
    def verb(self) -> str:
        return self.step.bodies[self.level].verb

    @property
    def works(self) -> bool:
        """Needs a slot to be prepared and to run."""
        return self.step.bodies[self.level].verb in WORK_VERBS and (self.group is not None or self.step.fan is None)

    @property
    def sequence(self) -> bool:
        """A group whose items run one after the other."""
        return self.limit == 1

    @property
    def bad(self) -> bool:
        """Ended badly, as a reader sees it (`optional` makes it a skip)."""
        return self.state in BAD and not self.step.optional

    def restart(self) -> None:
        """Every way is untried again. The numbering of attempts, and a key of an unknown outcome, go on."""
        self.rounds = self.repair = self.lost = self.used = 0
        self.failed = set()
        self.tried = ()
        if self.level:
            self.child = self.effect_key = None  # of another body
        self.level = 0
        self.free_only = self.approved = False
        self.until = self.previous = self.feedback = self.session = self.key = None
        self.reason = ""
