"""LangGraph with its SQLite checkpointer, `durability="sync"`: `python langgraph_bench.py CELL FOLDER` prints steps a second as JSON.

Runs in a venv of its own. The checkpointer sets WAL and leaves SQLite's `synchronous=FULL`. Graphs are built and compiled before the clock
starts, as the runner's are.
"""

from __future__ import annotations

import json
import operator
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated, Any, TypedDict

from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.graph import END, START, StateGraph
from langgraph.types import Send


class Last(TypedDict):
    """The state of a chain: what the last node said."""

    output: str


class All(TypedDict):
    """The state of a fan-out: what each of its nodes said, and the number of them."""

    outputs: Annotated[list[str], operator.add]
    count: int


def say(state: Any) -> dict[str, str]:
    """A node that does nothing."""
    return {"output": "x" * 40}


def chain(count: int) -> StateGraph[Any]:
    """Nodes that each follow the one before."""
    graph = StateGraph(Last)
    names = [f"s{i}" for i in range(count)]
    for name in names:
        graph.add_node(name, say)
    for one, next_ in zip([START, *names], [*names, END], strict=True):
        graph.add_edge(one, next_)
    return graph


def fan(count: int) -> StateGraph[Any]:
    """One node sent `count` items, and a node that joins them."""
    graph = StateGraph(All)
    graph.add_node("each", lambda item: {"outputs": ["x" * 40]})
    graph.add_node("join", lambda state: {"count": len(state["outputs"])})
    graph.add_conditional_edges(START, lambda state: [Send("each", {"item": i}) for i in range(count)], ["each"])
    graph.add_edge("each", "join")
    graph.add_edge("join", END)
    return graph


def one() -> StateGraph[Any]:
    """A node that runs a local command."""
    graph = StateGraph(Last)
    graph.add_node("a", lambda state: {"output": subprocess.run(["true"], capture_output=True, check=True).stdout})
    graph.add_edge(START, "a")
    graph.add_edge("a", END)
    return graph


def main() -> None:
    """`chain-N`, `fan-N`, `fan-N-M` (at most M at once) and `one`."""
    kind, *numbers = sys.argv[1].split("-")
    count = int(numbers[0]) if numbers else 1
    steps, graph = {
        "chain": lambda: (count, chain(count)),
        "fan": lambda: (count + 1, fan(count)),
        "one": lambda: (1, one()),
    }[kind]()
    saver = SqliteSaver(sqlite3.connect(Path(sys.argv[2]) / "langgraph.db", check_same_thread=False))
    saver.setup()
    app = graph.compile(checkpointer=saver)
    config: dict[str, Any] = {"recursion_limit": steps + 10, "configurable": {"thread_id": "run"}}
    if len(numbers) == 2:
        config["max_concurrency"] = int(numbers[1])
    start = {"outputs": [], "count": 0} if kind == "fan" else {"output": ""}
    begun = time.perf_counter()
    result = app.invoke(start, config, durability="sync")
    spent = time.perf_counter() - begun
    assert kind != "fan" or result["count"] == count, result["count"]
    print(json.dumps({"per_s": steps / spent}))


if __name__ == "__main__":
    main()
