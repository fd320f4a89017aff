"""The pass that completes the edges (`needs`), and finds steps that wait for each other."""

from __future__ import annotations

from runner.core.compile.state import Compiling, Draft, Where
from runner.core.graph import Edge
from runner.diagnostics.model import Loc

SHOWN = 12
"""Steps of a circle that are spelled out."""


def read_needs(c: Compiling) -> None:
    """`needs` makes order edges."""
    for draft in c.drafts.values():
        needs = draft.raw.get("needs")
        if not needs:
            continue
        listed = [needs] if isinstance(needs, str) else needs
        seen: set[str] = set()
        for index, id in enumerate(listed):
            loc: Loc = (*draft.loc, "needs") if isinstance(needs, str) else (*draft.loc, "needs", index)
            _need(c, draft, id, Where(loc), repeated=id in seen)
            seen.add(id)


def _need(c: Compiling, draft: Draft, id: str, where: Where, *, repeated: bool) -> None:
    target = c.drafts.get(id)
    if target is None:
        c.report("unknown-step", where, f"there is no step `{id}`", c.meant(id, c.drafts))
    elif id == draft.id:
        c.report("self-reference", where, f"`{id}` needs itself")
    elif target.final and not draft.final:
        c.report("final-reference", where, f"`{id}` is a `finally` step: it runs after all main steps")
    elif draft.final and not target.final:
        message = (
            f"`{id}` is a main step, and those have ended when `finally` begins; `needs` names `finally` steps here"
        )
        c.report("unknown-step", where, message, "leave it out")
    elif repeated:
        c.report("duplicate-need", where, f"`{id}` is needed already")
    else:
        draft.wait_for(id, "order", where)


def edges_of(draft: Draft) -> tuple[Edge, ...]:
    """A step's edges: at most one that reads (strict wins over tolerant, which wins over state), and the order edge."""
    edges: list[Edge] = []
    for to, kinds in draft.edges.items():
        for kind in ("data", "tolerant", "state"):
            if kind in kinds:
                edges.append(Edge(to, kind))
                break
        if "order" in kinds:
            edges.append(Edge(to, "order"))
    return tuple(edges)


def find_cycles(c: Compiling) -> None:
    """Steps that wait for each other, each circle spelled out once."""
    left = _unordered(c)
    position = {id: index for index, id in enumerate(c.drafts)}
    visited: set[str] = set()
    for start in left:
        path: list[str] = []
        at = start
        while at not in visited:
            visited.add(at)
            path.append(at)
            at = next(to for to in c.drafts[at].edges if to in left)
        if at in path:
            circle = path[path.index(at) :]
            first = circle.index(min(circle, key=position.__getitem__))
            _report(c, circle[first:] + circle[:first])


def _unordered(c: Compiling) -> dict[str, None]:
    """The steps that no order can hold: those on a circle, and those behind one."""
    waiting = {id: len(draft.edges) for id, draft in c.drafts.items()}
    readers: dict[str, list[str]] = {}
    for id, draft in c.drafts.items():
        for to in draft.edges:
            readers.setdefault(to, []).append(id)
    ready = [id for id, count in waiting.items() if count == 0]
    while ready:
        done = ready.pop()
        del waiting[done]
        for reader in readers.get(done, ()):
            waiting[reader] -= 1
            if waiting[reader] == 0:
                ready.append(reader)
    return dict.fromkeys(waiting)


def _report(c: Compiling, circle: list[str]) -> None:
    where = next(iter(c.drafts[circle[0]].edges[circle[1]].values()))
    if len(circle) > SHOWN:
        circle = [*circle[: SHOWN - 1], "…", circle[-1]]
    c.report("cycle", where, f"these steps wait for each other: {' → '.join([*circle, circle[0]])}")
