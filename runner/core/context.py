"""What templates may read: the names of manifest-language.md ("Templates"), built from a run's nodes as plain JSON.

A value that does not exist (a skipped step's output) is simply not there; templating decides what that means.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from runner.core.graph import Json
from runner.core.messages import RunView, Stored
from runner.core.states import GOOD
from runner.digest import canonical_json

Fetch = Callable[[Stored], Mapping[str, Any]]
"""Reads a stored result, from memory or from the record."""

MICRO = 1_000_000


def text_of(result: Mapping[str, Any]) -> str:
    """A result's `text`: its own when it has one, else the output, as JSON unless it is text already."""
    if "text" in result:
        return str(result["text"])
    output = result.get("output")
    return output if isinstance(output, str) else canonical_json(output)


def shown_state(state: str) -> str:
    """A reused step reads as succeeded: results never depend on where a value came from."""
    return "succeeded" if state == "reused" else state


def step_view(run: RunView, id: str, fetch: Fetch) -> dict[str, Json]:
    """`steps.<id>` for a reader. Absent fields are left out."""
    node = run.nodes[id]
    view: dict[str, Json] = {
        "state": shown_state(node.state),
        "error": node.error if node.state in ("failed", "blocked", "cancelled", "group") else None,
        "executor": node.executor or node.label or None,
        "model": node.model or None,
        "cost_usd": node.cost / MICRO,
    }
    if node.items is not None:
        return view | _group_view(node, fetch)
    if node.state in GOOD and node.result is not None:
        result = fetch(node.result)
        view |= {"output": result.get("output"), "text": text_of(result), "checks": result.get("checks", [])}
    return view


def _group_view(node: Any, fetch: Fetch) -> dict[str, Json]:
    items = [_item_view(item, fetch) for item in node.items]
    failed = next((item["error"] for item in items if item["error"]), None)
    if node.state not in GOOD:
        return {"items": items, "error": failed}
    output = [item["output"] for item in items]
    return {"items": items, "output": output, "text": canonical_json(output), "checks": [], "error": failed}


def _item_view(node: Any, fetch: Fetch) -> dict[str, Json]:
    good = node.state in GOOD and node.result is not None
    return {
        "key": node.item.key,
        "state": shown_state(node.state),
        "output": fetch(node.result).get("output") if good else None,
        "error": node.error if node.state == "failed" else None,
    }


def run_view(run: RunView, directory: str, *, ended: bool = False) -> dict[str, Json]:
    """`run.*`. With `ended` (in `finally`, `show`, `outputs`) also what depends on timing: state, mode, cost, failed steps."""
    view: dict[str, Json] = {"id": run.run, "name": run.graph.name, "dir": directory}
    if ended:
        view |= {
            "state": run.verdict or run.state,
            "mode": run.mode,
            "cost_usd": run.spent / MICRO,
            "failed": [id for id, node in run.nodes.items() if node.group is None and node.state == "failed"],
        }
    return view


def steps_view(run: RunView, ids: Iterable[str], fetch: Fetch) -> dict[str, Json]:
    """`steps` with the settled steps among `ids`."""
    return {id: step_view(run, id, fetch) for id in ids if id in run.nodes}


def item_view(node: Any, *, matrix: bool) -> dict[str, Json]:
    """`item`, `index`, `key` (or `matrix`) of an item; nothing for a plain step."""
    if node.item is None:
        return {}
    if matrix:
        return {"matrix": node.item.value, "index": node.index, "key": node.item.key}
    return {"item": node.item.value, "index": node.index, "key": node.item.key}


def repair_view(node: Any, fetch: Fetch) -> dict[str, Json]:
    """`round`, and from round 2 `previous` and `feedback`; in a fallback body `error`."""
    view: dict[str, Json] = {"round": node.repair + 1}
    if node.repair and node.feedback is not None:
        view["feedback"] = node.feedback
    if node.repair and node.previous is not None:
        view["previous"] = fetch(node.previous).get("output")
    if node.level and node.error is not None:
        view["error"] = node.error
    return view
