"""Drawings of any graph: nothing overlaps, nothing goes up, and the same graph is always drawn the same way."""

from __future__ import annotations

from itertools import combinations, pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from runner.core.layout import COLUMN_GAP, Layout, lay_out

SIZE = st.tuples(st.integers(20, 260).map(float), st.integers(20, 70).map(float))


@st.composite
def graphs(draw: st.DrawFn) -> tuple[dict[str, tuple[float, float]], list[tuple[str, str]], frozenset[str]]:
    """Up to 18 nodes in any order of names, edges from earlier to later ones, some of the last ones `below`."""
    sizes = draw(st.lists(SIZE, min_size=1, max_size=18))
    names = draw(st.permutations([f"n{at}" for at in range(len(sizes))]))
    final = draw(st.integers(0, len(names) // 3))
    pairs = list(combinations(range(len(names)), 2))
    chosen = draw(st.lists(st.sampled_from(pairs), max_size=40)) if pairs else []
    edges = [(names[a], names[b]) for a, b in chosen]
    listed = draw(st.permutations(names))
    return {name: sizes[names.index(name)] for name in listed}, edges, frozenset(names[len(names) - final :])


@settings(max_examples=150, deadline=None)
@given(graphs())
def test_no_two_boxes_overlap(
    drawn: tuple[dict[str, tuple[float, float]], list[tuple[str, str]], frozenset[str]],
) -> None:
    sizes, edges, below = drawn
    layout = lay_out(sizes, edges, below=below)
    assert set(layout.boxes) == set(sizes)
    for one, other in combinations(layout.boxes.values(), 2):
        beside = (
            one.x + one.width + COLUMN_GAP <= other.x + 0.001 or other.x + other.width + COLUMN_GAP <= one.x + 0.001
        )
        under = one.y + one.height < other.y or other.y + other.height < one.y
        assert beside or under
    for name, box in layout.boxes.items():
        assert (box.width, box.height) == sizes[name]
        assert box.x >= -0.001 and box.y >= -0.001
        assert box.x + box.width <= layout.width + 0.001 and box.y + box.height <= layout.height + 0.001


@settings(max_examples=150, deadline=None)
@given(graphs())
def test_every_edge_goes_down_from_the_foot_of_one_box_to_the_head_of_the_other(
    drawn: tuple[dict[str, tuple[float, float]], list[tuple[str, str]], frozenset[str]],
) -> None:
    sizes, edges, below = drawn
    layout = lay_out(sizes, edges, below=below)
    assert set(layout.paths) == set(edges)
    for (source, target), path in layout.paths.items():
        start, end = layout.boxes[source], layout.boxes[target]
        assert path[0][1] == start.y + start.height and start.x <= path[0][0] <= start.x + start.width
        assert path[-1][1] == end.y and end.x <= path[-1][0] <= end.x + end.width
        assert all(upper[1] <= lower[1] for upper, lower in pairwise(path))
        assert path[0][1] < path[-1][1]


@settings(max_examples=100, deadline=None)
@given(graphs())
def test_no_edge_passes_through_a_box(
    drawn: tuple[dict[str, tuple[float, float]], list[tuple[str, str]], frozenset[str]],
) -> None:
    sizes, edges, below = drawn
    layout = lay_out(sizes, edges, below=below)
    for (source, target), path in layout.paths.items():
        for name, box in layout.boxes.items():
            if name not in (source, target):
                assert not any(_through(a, b, box) for a, b in pairwise(path)), (source, target, name)


def _through(a: tuple[float, float], b: tuple[float, float], box: tuple[float, float, float, float]) -> bool:
    """Does the stretch that the line between two points may take (a bend stays between them) meet the box?"""
    x, y, width, height = box
    return a[1] < y + height and b[1] > y and min(a[0], b[0]) < x + width and max(a[0], b[0]) > x


@settings(max_examples=60, deadline=None)
@given(graphs())
def test_what_runs_at_the_end_lies_below_everything_else(
    drawn: tuple[dict[str, tuple[float, float]], list[tuple[str, str]], frozenset[str]],
) -> None:
    sizes, edges, below = drawn
    layout = lay_out(sizes, edges, below=below)
    main, final = set(sizes) - below, below
    if main and final:
        assert layout.split is not None
        assert max(layout.boxes[name].y + layout.boxes[name].height for name in main) < layout.split
        assert layout.split < min(layout.boxes[name].y for name in final)
    else:
        assert layout.split is None


@settings(max_examples=40, deadline=None)
@given(graphs())
def test_the_same_graph_is_drawn_the_same_way(
    drawn: tuple[dict[str, tuple[float, float]], list[tuple[str, str]], frozenset[str]],
) -> None:
    sizes, edges, below = drawn
    first: Layout = lay_out(sizes, edges, below=below)
    assert lay_out(dict(sizes), list(edges), below=frozenset(sorted(below))) == first
