"""Layouts of graphs that people draw: few crossings, straight long edges, and no graph takes much work."""

from __future__ import annotations

import random

import pytest
from counting import TooMuchWork, calls

from runner.core.layout import lay_out

PROTOTYPE = {
    (8, 2): (0, 0, 0, 3, 0, 0, 0, 0),
    (15, 2): (2, 3, 0, 3, 0, 1, 4, 0),
    (25, 3): (6, 14, 17, 17, 11, 12, 13, 8),
    (40, 2): (12, 8, 6, 10, 1, 5, 14, 8),
    (40, 3): (38, 25, 45, 45, 33, 36, 19, 31),
    (80, 2): (19, 34, 28, 24, 16, 22, 21, 37),
}
"""(nodes, most edges into one) → how many edges crossed in the drawings of the prototype (shared/prototypes), seeds 0 to 7."""


def size(names: list[str]) -> dict[str, tuple[float, float]]:
    return dict.fromkeys(names, (140.0, 40.0))


def workflow(seed: int, count: int, most: int) -> tuple[list[str], list[tuple[str, str]]]:
    """Steps that read a few of the twelve steps before them."""
    rng = random.Random(seed)
    names = [f"s{at}" for at in range(count)]
    edges = [
        (names[source], names[at])
        for at in range(1, count)
        for source in rng.sample(range(max(0, at - 12), at), min(at, rng.randint(0, most), 12))
    ]
    return names, edges


@pytest.mark.parametrize(("count", "most"), PROTOTYPE)
def test_no_more_edges_cross_than_in_the_prototype(count: int, most: int) -> None:
    known = PROTOTYPE[count, most]
    drawn = [
        lay_out(size(names), edges) for names, edges in (workflow(seed, count, most) for seed in range(len(known)))
    ]
    crossings = [layout.crossings for layout in drawn]
    assert sum(crossings) <= sum(known)
    if count <= 40:  # a workflow of usual size, each by itself
        assert all(found <= before for found, before in zip(crossings, known, strict=True)), crossings


def test_a_tree_and_a_diamond_have_no_crossings() -> None:
    diamond = [("a", "b"), ("a", "c"), ("b", "d"), ("c", "d")]
    assert lay_out(size([*"abcd"]), diamond).crossings == 0
    tree = [(f"n{(at - 1) // 3}", f"n{at}") for at in range(1, 121)]
    random.Random(7).shuffle(tree)
    assert lay_out(size([f"n{at}" for at in range(121)]), tree).crossings == 0


def test_the_middle_of_a_chain_is_a_straight_line() -> None:
    layout = lay_out(size([*"abc"]), [("a", "b"), ("b", "c")])
    assert {box.x for box in layout.boxes.values()} == {0.0}
    assert {x for path in layout.paths.values() for x, _ in path} == {70.0}


def test_a_long_edge_stands_in_one_line_beside_what_it_passes() -> None:
    chain = [("a", "b"), ("b", "c"), ("c", "d"), ("a", "d")]
    path = lay_out(size([*"abcd"]), chain).paths["a", "d"]
    assert len({round(x, 3) for x, _ in path[2:-2]}) == 1


def test_steps_without_edges_stand_beside_each_other_in_their_order() -> None:
    layout = lay_out(size([*"cab"]), [])
    assert sorted(layout.boxes, key=lambda name: layout.boxes[name].x) == ["c", "a", "b"]
    assert {box.y for box in layout.boxes.values()} == {0.0}


def test_nothing_is_a_drawing_of_nothing() -> None:
    assert lay_out({}, []).width == 0


@pytest.mark.parametrize(
    "edges", [[("a", "b"), ("b", "a")], [("z", "a")]], ids=["a circle", "a step below read by one above"]
)
def test_what_cannot_be_drawn_downwards_is_refused(edges: list[tuple[str, str]]) -> None:
    with pytest.raises(ValueError, match=r"cycle|goes up"):
        lay_out(size(["a", "b", "z"]), edges, below=frozenset({"z"}))


def test_an_edge_to_itself_is_left_out() -> None:
    assert lay_out(size(["a"]), [("a", "a")]).paths == {}


def chain_read_by_its_last(count: int) -> list[tuple[str, str]]:
    last = f"s{count - 1}"
    return [*((f"s{at}", f"s{at + 1}") for at in range(count - 1)), *((f"s{at}", last) for at in range(count - 2))]


def fan(count: int) -> list[tuple[str, str]]:
    inner = [f"s{at}" for at in range(1, count - 1)]
    return [*(("s0", name) for name in inner), *((name, f"s{count - 1}") for name in inner)]


LARGE = {
    "a sparse workflow": (500, workflow(1, 500, 2)[1], 6_000_000),
    "a dense workflow": (200, workflow(1, 200, 4)[1], 9_000_000),
    "a chain whose last step reads all": (1000, chain_read_by_its_last(1000), 8_000_000),
    "a fan of 998": (1000, fan(1000), 1_400_000),
}
"""(steps, edges, most calls): about twice of what each takes now."""


@pytest.mark.parametrize(("count", "edges", "most"), LARGE.values(), ids=LARGE)
def test_a_large_graph_is_laid_out_with_little_work(count: int, edges: list[tuple[str, str]], most: int) -> None:
    names = [f"s{at}" for at in range(count)]
    assert calls(lambda: lay_out(size(names), edges), most) > count


def test_the_count_of_work_ends_what_does_too_much() -> None:
    with pytest.raises(TooMuchWork):
        calls(lambda: lay_out(size([f"s{at}" for at in range(50)]), fan(50)), 100)
