"""Where the boxes and lines of a drawn graph go: layers from the top down (Sugiyama), in pure functions of sizes and edges.

Layers by the longest path; an edge over several layers passes each one in a place of its own; orders by barycentre and median
sweeps with swaps of neighbours; columns by least squares with the gaps as bounds, solved exactly for each layer. No randomness:
the same graph gives the same drawing. Not here: what a box shows, or any file format (`runner.reporters`).
"""

from bisect import bisect_right, insort
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import NamedTuple

Node = str | int
"""A node by its name, or the place that a long edge takes in a layer, by its number."""

COLUMN_GAP = 28.0
LAYER_GAP = 54.0
LANE = 12.0
"""The width of the place that a long edge takes."""
PORT_GAP = 14.0
"""Ends of edges at the same side of a box are this far apart, or less when the box is narrow."""
MOST_LANES = 6000
"""Places for long edges, over all of them: beyond that the longest ones are drawn straight, behind what lies between."""
SWEEPS = 9
SWAPS = 4
EFFORT = 60_000
"""Places of nodes that all sweeps together may look at, about: larger graphs get fewer sweeps, never less than three."""


class Box(NamedTuple):
    """A node's rectangle; `x`, `y` are its top left corner."""

    x: float
    y: float
    width: float
    height: float


Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Layout:
    """A drawing from (0, 0) to (`width`, `height`). `paths`: the points of each edge, from the bottom of its source to the top of
    its target, never going up; between two of them a line may bend. `lines`: how many edges cross, counted per pair of layers."""

    boxes: Mapping[str, Box]
    paths: Mapping[tuple[str, str], tuple[Point, ...]]
    width: float
    height: float
    crossings: int
    split: float | None = None
    """The height at which the nodes `below` begin; None without such nodes, or with nothing above them."""


def lay_out(
    sizes: Mapping[str, tuple[float, float]], edges: Iterable[tuple[str, str]], *, below: frozenset[str] = frozenset()
) -> Layout:
    """Place nodes of the given sizes (width, height) so that every edge (from, to) goes down. All nodes of `below` lie under all
    others; an edge from one of them to another node is a ValueError, as is a cycle."""
    if not sizes:
        return Layout({}, {}, 0.0, 0.0, 0)
    once = [edge for edge in dict.fromkeys(edges) if edge[0] != edge[1]]
    ranks = _ranks(list(sizes), once, below)
    net = _Net(sizes, once, ranks)
    crossings = _order(net)
    return _placed(net, sizes, crossings, ranks, below)


# ---------------------------------------------------------------- layers


def _ranks(nodes: Sequence[str], edges: Sequence[tuple[str, str]], below: frozenset[str]) -> dict[str, int]:
    """Each node's layer: under all that it waits for. What waits for nothing is at the top."""
    ranks = _longest([node for node in nodes if node not in below], edges, 0)
    floor = max(ranks.values(), default=-1) + 1
    ranks |= _longest([node for node in nodes if node in below], edges, floor)
    if any(ranks[a] >= ranks[b] for a, b in edges):
        raise ValueError("an edge goes up")
    return ranks


def _longest(nodes: Sequence[str], edges: Sequence[tuple[str, str]], floor: int) -> dict[str, int]:
    ranks = dict.fromkeys(nodes, floor)
    waits = dict.fromkeys(nodes, 0)
    readers: dict[str, list[str]] = {node: [] for node in nodes}
    for a, b in edges:
        if a in ranks and b in ranks:
            readers[a].append(b)
            waits[b] += 1
    into = dict(waits)
    ready = [node for node in nodes if not waits[node]]
    for node in ready:  # grows while it is read
        for reader in readers[node]:
            ranks[reader] = max(ranks[reader], ranks[node] + 1)
            waits[reader] -= 1
            if not waits[reader]:
                ready.append(reader)
    if len(ready) != len(nodes):
        raise ValueError("a cycle cannot be laid out in layers")
    for node in reversed(ready):  # down to its readers, where that shortens no fewer edges than it lengthens
        if 0 < into[node] <= len(readers[node]):
            ranks[node] = min(ranks[reader] for reader in readers[node]) - 1
    return ranks


class _Net:
    """The graph with a lane in every layer that a long edge passes. Only neighbouring layers are linked."""

    def __init__(
        self, sizes: Mapping[str, tuple[float, float]], edges: Sequence[tuple[str, str]], ranks: Mapping[str, int]
    ) -> None:
        self.layers: list[list[Node]] = [[] for _ in range(max(ranks.values()) + 1)]
        self.up: dict[Node, list[Node]] = {node: [] for node in sizes}
        self.down: dict[Node, list[Node]] = {node: [] for node in sizes}
        self.width: dict[Node, float] = {node: size[0] for node, size in sizes.items()}
        self.chains: dict[tuple[str, str], tuple[Node, ...]] = {}
        for node in sizes:
            self.layers[ranks[node]].append(node)
        lanes = 0
        for a, b in sorted(
            edges, key=lambda edge: ranks[edge[1]] - ranks[edge[0]]
        ):  # short ones first: they get their lanes
            span = ranks[b] - ranks[a] - 1
            straight = lanes + span > MOST_LANES
            between: list[Node] = [] if straight else list(range(lanes, lanes + span))
            lanes += len(between)
            self.chains[a, b] = (a, *between, b)
            for at, lane in enumerate(between, ranks[a] + 1):
                self.layers[at].append(lane)
                self.up[lane], self.down[lane], self.width[lane] = [], [], LANE
            if not (straight and span):
                self._link((a, *between, b))

    def _link(self, chain: Sequence[Node]) -> None:
        for x, y in pairwise(chain):
            self.down[x].append(y)
            self.up[y].append(x)


# ---------------------------------------------------------------- orders


def _order(net: _Net) -> int:
    """Order every layer so that few edges cross; returns how many do."""
    count = sum(len(layer) for layer in net.layers)
    sweeps = max(3, min(SWEEPS, EFFORT // count))
    start = [list(layer) for layer in net.layers]
    best, kept = _crossings(net), start
    # Each of them is caught in a poor order now and then; all three, seldom. A mirrored start leads elsewhere.
    for centre, begin in ((_mean, start), (_mean, [layer[::-1] for layer in start]), (_middle, start)):
        if not best:
            break
        net.layers[:] = [list(layer) for layer in begin]
        for sweep in range(sweeps):
            _sweep(net, centre, downwards=sweep % 2 == 0)
            _swap(net)
            found = _crossings(net)
            if found < best:
                best, kept = found, [list(layer) for layer in net.layers]
            if not best:
                break
    net.layers[:] = kept
    return best


def _mean(places: Sequence[int]) -> float:
    return sum(places) / len(places)


def _middle(places: Sequence[int]) -> float:
    return median(places)


def _places(net: _Net) -> dict[Node, int]:
    return {node: at for layer in net.layers for at, node in enumerate(layer)}


def _sweep(net: _Net, centre: Callable[[Sequence[int]], float], *, downwards: bool) -> None:
    """Sort layer after layer by where the neighbours of the layer before it lie; a node without any keeps its place."""
    near = net.up if downwards else net.down
    place = _places(net)
    for layer in net.layers[1:] if downwards else net.layers[-2::-1]:
        wish = {node: centre([place[other] for other in near[node]]) if near[node] else place[node] for node in layer}
        layer.sort(key=wish.__getitem__)
        place.update((node, at) for at, node in enumerate(layer))


def _swap(net: _Net) -> None:
    """Exchange neighbours in a layer wherever their own edges cross less that way, until that helps no more (or long enough)."""
    place = _places(net)
    for layer in net.layers:
        for _ in range(SWAPS):
            if not _swap_layer(net, layer, place):
                break


def _swap_layer(net: _Net, layer: list[Node], place: dict[Node, int]) -> bool:
    better = False
    for at in range(len(layer) - 1):
        left, right = layer[at], layer[at + 1]
        if _gain(net.up, place, left, right) + _gain(net.down, place, left, right) > 0:
            layer[at], layer[at + 1] = right, left
            place[left], place[right] = at + 1, at
            better = True
    return better


def _gain(near: Mapping[Node, Sequence[Node]], place: Mapping[Node, int], left: Node, right: Node) -> int:
    lefts, rights = near[left], near[right]
    if not lefts or not rights:
        return 0
    return sum((place[x] > place[y]) - (place[x] < place[y]) for x in lefts for y in rights)


def _crossings(net: _Net) -> int:
    place = _places(net)
    total = 0
    for layer in net.layers:
        ends: list[int] = []
        for node in layer:
            lower = sorted(place[other] for other in net.down[node])
            total += sum(len(ends) - bisect_right(ends, end) for end in lower)
            for end in lower:
                insort(ends, end)
    return total


# ---------------------------------------------------------------- columns


def _columns(net: _Net) -> dict[Node, float]:
    """The middle of every node and lane, from left to right."""
    x: dict[Node, float] = {}
    for layer in net.layers:
        x.update(zip(layer, _offsets(net, layer), strict=True))
    rounds = max(4, min(30, EFFORT // len(x)))
    for turn in range(rounds):
        # First from one side, so that the rough shape comes down (or up) the graph at once; at last from both.
        sides = (net.up, net.down) if turn >= rounds - 4 else ((net.up,) if turn % 2 == 0 else (net.down,))
        for layer in net.layers if turn % 2 == 0 else net.layers[::-1]:
            wishes = [_wish(net, x, node, sides) for node in layer]
            x.update(zip(layer, _spread(wishes, _offsets(net, layer)), strict=True))
    for _ in range(3):
        _straighten(net, x)
    return x


def _straighten(net: _Net, x: dict[Node, float]) -> None:
    """Let the lanes of an edge stand in one line, where the boxes beside them leave room."""
    wish: dict[Node, float] = {}
    for chain in net.chains.values():
        lanes = chain[1:-1]
        for lane in lanes:
            wish[lane] = sum(x[each] for each in lanes) / len(lanes)
    for layer in net.layers:
        wishes = [(wish[node], 4.0) if node in wish else (x[node], 1.0) for node in layer]
        x.update(zip(layer, _spread(wishes, _offsets(net, layer)), strict=True))


def _offsets(net: _Net, layer: Sequence[Node]) -> list[float]:
    """Where nodes lie when they are packed to the left."""
    found, at = [], 0.0
    for node in layer:
        found.append(at + net.width[node] / 2)
        at += net.width[node] + COLUMN_GAP
    return found


def _wish(
    net: _Net, x: Mapping[Node, float], node: Node, sides: Sequence[Mapping[Node, Sequence[Node]]]
) -> tuple[float, float]:
    """Where a node wants to be, and how much: straight long edges are worth most."""
    total = weight = 0.0
    for near in sides:
        for other in near[node]:
            pull = (
                (8.0 if isinstance(other, int) else 2.0)
                if isinstance(node, int)
                else (2.0 if isinstance(other, int) else 1.0)
            )
            total += pull * x[other]
            weight += pull
    return (total / weight, weight) if weight else (x[node], 0.05)


def _spread(wishes: Sequence[tuple[float, float]], offsets: Sequence[float]) -> list[float]:
    """The places nearest to the wishes (least squares) that keep order and gaps: pool adjacent violators."""
    blocks: list[tuple[float, float, int]] = []  # (place less its offset, weight, how many nodes)
    for (wish, weight), offset in zip(wishes, offsets, strict=True):
        place, mass, count = wish - offset, weight, 1
        while blocks and blocks[-1][0] >= place:
            before, more, n = blocks.pop()
            place = (place * mass + before * more) / (mass + more)
            mass, count = mass + more, count + n
        blocks.append((place, mass, count))
    starts = [place for place, _, count in blocks for _ in range(count)]
    return [start + offset for start, offset in zip(starts, offsets, strict=True)]


# ---------------------------------------------------------------- the drawing


def _placed(
    net: _Net, sizes: Mapping[str, tuple[float, float]], crossings: int, ranks: Mapping[str, int], below: frozenset[str]
) -> Layout:
    x = _columns(net)
    left = min(x[node] - net.width[node] / 2 for node in x)
    tops, bottoms, y = [], [], 0.0
    for layer in net.layers:
        tops.append(y)
        y += max((sizes[node][1] for node in layer if isinstance(node, str)), default=0.0)
        bottoms.append(y)
        y += LAYER_GAP
    boxes = {
        node: Box(
            x[node] - width / 2 - left,
            tops[ranks[node]] + (bottoms[ranks[node]] - tops[ranks[node]] - height) / 2,
            width,
            height,
        )
        for node, (width, height) in sizes.items()
    }
    starts, ends = _ports(net, x)
    paths = {
        (a, b): (
            (starts[a, b] - left, boxes[a].y + boxes[a].height),
            (starts[a, b] - left, bottoms[ranks[a]]),  # a line bends between layers only: beside it may be higher boxes
            *(
                (x[lane] - left, edge[ranks[a] + step])
                for step, lane in enumerate(chain[1:-1], 1)
                for edge in (tops, bottoms)
            ),
            (ends[a, b] - left, tops[ranks[b]]),
            (ends[a, b] - left, boxes[b].y),
        )
        for (a, b), chain in net.chains.items()
    }
    width = max(x[node] + net.width[node] / 2 for node in x) - left
    first = min((ranks[node] for node in below if node in ranks), default=0)
    return Layout(boxes, paths, width, bottoms[-1], crossings, tops[first] - LAYER_GAP / 2 if first else None)


def _ports(net: _Net, x: Mapping[Node, float]) -> tuple[dict[tuple[str, str], float], dict[tuple[str, str], float]]:
    """Where on its side of the box each edge begins and ends: side by side, in the order of where they come from or go to."""
    out: dict[str, list[tuple[str, str]]] = {}
    into: dict[str, list[tuple[str, str]]] = {}
    for edge in net.chains:
        out.setdefault(edge[0], []).append(edge)
        into.setdefault(edge[1], []).append(edge)
    starts: dict[tuple[str, str], float] = {}
    ends: dict[tuple[str, str], float] = {}
    for sides, near, found in ((out, 1, starts), (into, -2, ends)):
        for node, edges in sides.items():
            edges.sort(key=lambda edge: x[net.chains[edge][near]])
            gap = min(PORT_GAP, 0.7 * net.width[node] / len(edges))
            for at, edge in enumerate(edges):
                found[edge] = x[node] + gap * (at - (len(edges) - 1) / 2)
    return starts, ends
