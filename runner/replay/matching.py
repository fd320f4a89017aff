"""A unified diff in roughly linear time. `difflib` alone takes squared time for many changes: two minutes for 64,000 lines.

Small texts are left to `difflib`. Of larger ones, lines that occur once on both sides are taken for the same, in order; what lies between
two of them is compared in the same way. What is too much even so counts as replaced: right, but no longer the shortest way to say it.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher
from typing import Final, NamedTuple

WORK: Final = 10_000_000
"""Comparisons that `difflib` may make for two texts, at the worst: about a second."""
LEVELS: Final = 8
"""How often what lies between two lines is looked at in the same way."""


class Block(NamedTuple):
    """`size` lines from `old` on the one side are those from `new` on the other."""

    old: int
    new: int
    size: int


class Change(NamedTuple):
    """Lines `a` to `b` of the old text are lines `c` to `d` of the new one."""

    a: int
    b: int
    c: int
    d: int


def unified(old: Sequence[str], new: Sequence[str], was: str, is_: str, context: int = 3) -> list[str]:
    """The lines of a unified diff with so many lines of context; none when both are the same."""
    changes = list(_changes(_blocks(old, new, [WORK], LEVELS), len(old), len(new)))
    lines = [f"--- {was}", f"+++ {is_}"] if changes else []
    for group in _groups(changes, context):
        before, after = min(context, group[0].a, group[0].c), min(context, len(old) - group[-1].b)
        rows = (group[0].a - before, group[-1].b + after), (group[0].c - before, group[-1].d + after)
        lines.append(f"@@ -{_range(*rows[0])} +{_range(*rows[1])} @@")
        at = rows[0][0]
        for change in group:
            lines += [f" {line}" for line in old[at : change.a]]
            lines += [f"-{line}" for line in old[change.a : change.b]]
            lines += [f"+{line}" for line in new[change.c : change.d]]
            at = change.b
        lines += [f" {line}" for line in old[at : at + after]]
    return lines


def _range(start: int, stop: int) -> str:
    length = stop - start
    if length == 1:
        return str(start + 1)
    return f"{start + 1 if length else start},{length}"


def _changes(blocks: Iterator[Block], old: int, new: int) -> Iterator[Change]:
    a = c = 0
    for block in (*blocks, Block(old, new, 0)):
        if (a, c) != (block.old, block.new):
            yield Change(a, block.old, c, block.new)
        a, c = block.old + block.size, block.new + block.size


def _groups(changes: Sequence[Change], context: int) -> Iterator[list[Change]]:
    """Changes whose context would touch stand together."""
    group: list[Change] = []
    for change in changes:
        if group and change.a - group[-1].b > 2 * context:
            yield group
            group = []
        group.append(change)
    if group:
        yield group


# ---------------------------------------------------------------- which lines are the same


def _blocks(
    old: Sequence[str], new: Sequence[str], budget: list[int], levels: int, i: int = 0, j: int = 0
) -> Iterator[Block]:
    """In order, none over another. `budget`: the comparisons that are left, in its only place. `i`, `j`: where the two begin."""
    cost = _cost(old, new)
    if cost <= budget[0]:
        budget[0] -= cost
        found = SequenceMatcher(None, old, new).get_matching_blocks() if cost else ()
        yield from (Block(i + a, j + c, size) for a, c, size in found if size)
        return
    head, tail = _ends(old, new)
    if head:
        yield Block(i, j, head)
    b, d = len(old) - tail, len(new) - tail
    once = _once(old[head:b], new[head:d]) if levels else []
    if levels and (once or head or tail):
        a = c = head
        for x, y in (*((head + x, head + y) for x, y in once), (b, d)):
            yield from _blocks(old[a:x], new[c:y], budget, levels - 1, i + a, j + c)
            if x < b:
                yield Block(i + x, j + y, 1)
            a, c = x + 1, y + 1
    if tail:
        yield Block(i + b, j + d, tail)


def _cost(old: Sequence[str], new: Sequence[str]) -> int:
    """About how many comparisons `difflib` makes at the worst; 0 = no line is on both sides."""
    counts = Counter(old)
    pairs = sum(counts[line] for line in new if line in counts)
    return min(len(old), len(new), pairs) * (len(old) + pairs)


def _ends(old: Sequence[str], new: Sequence[str]) -> tuple[int, int]:
    """How many lines are the same at the beginning, and at the end of what is left."""
    most = min(len(old), len(new))
    head = next((at for at in range(most) if old[at] != new[at]), most)
    tail = next((at for at in range(most - head) if old[-1 - at] != new[-1 - at]), most - head)
    return head, tail


def _once(old: Sequence[str], new: Sequence[str]) -> list[tuple[int, int]]:
    """Lines that occur once on both sides: as many of them as stand in the same order, with their places."""
    counts, place = Counter(old), {line: at for at, line in enumerate(new)}
    twice = {line for line, count in Counter(new).items() if count > 1}
    pairs = [
        (x, place[line]) for x, line in enumerate(old) if counts[line] == 1 and line in place and line not in twice
    ]
    ends: list[int] = []
    chain: list[int] = []
    before: list[int] = []
    for at, (_, y) in enumerate(pairs):
        length = bisect_left(ends, y)
        before.append(chain[length - 1] if length else -1)
        ends[length : length + 1] = [y]
        chain[length : length + 1] = [at]
    kept = []
    at = chain[-1] if chain else -1
    while at >= 0:
        kept.append(pairs[at])
        at = before[at]
    return kept[::-1]
