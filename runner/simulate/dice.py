"""Chance that is a function of where it is asked: the same seed and place give the same, in whatever order, before and after a death."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from typing import TypeVar

T = TypeVar("T")


class Dice:
    """Chances of one seed. `Dice(None)` has none: the first of everything."""

    def __init__(self, seed: int | None) -> None:
        self.seed = seed
        self._salt = str(seed).encode()

    def number(self, *place: object) -> int:
        """64 bits."""
        text = "\0".join(map(str, place)).encode("utf-8", "surrogatepass")
        return int.from_bytes(blake2b(text, digest_size=8, key=self._salt).digest(), "big")

    def pick(self, place: str, count: int) -> int:
        """Which of so many."""
        return 0 if self.seed is None or count < 2 else self.number("pick", place) % count

    def one_of(self, options: Sequence[T], *place: object) -> T:
        return options[0] if self.seed is None else options[self.number(*place) % len(options)]

    def chance(self, share: float, *place: object) -> bool:
        """True with this probability; never without a seed."""
        return self.seed is not None and self.number(*place) < share * (1 << 64)
