"""May a step start, now that all that it waits for has ended?

Decided once, so the answer never depends on who ended first.
"""

from __future__ import annotations

from typing import Literal

from runner.core.node import Node
from runner.core.run_state import RunState

Gate = tuple[Literal["go", "skip", "block"], str]
GO: Gate = ("go", "")


def gate(k: RunState, n: Node) -> Gate:
    """Blocked wins over skipped wins over go. State and tolerant edges only wait; `finally` reads main steps
    tolerantly."""
    skip: Gate | None = None
    for edge in n.step.edges:
        if edge.kind not in ("data", "order"):
            continue
        source = k.nodes[edge.to]
        if n.step.final and not source.step.final:
            continue
        if source.bad:
            return "block", f"{edge.to} {source.state}"
        if skip is None and edge.kind == "data" and absent(source):
            skip = "skip", f"{edge.to} {source.state}"
    return skip or GO


def absent(source: Node) -> bool:
    """Nothing to read: skipped, or ended badly but optional."""
    return source.state not in ("succeeded", "reused")
