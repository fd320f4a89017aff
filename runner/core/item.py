"""`Item` alone: of all messages it is the one that compiling needs, and the others take 9 ms to import."""

from typing import NamedTuple

from runner.core.graph import Json


class Item(NamedTuple):
    """One element of a fan-out. `key` is data (text, at most 200 characters, unique)."""

    key: str
    value: Json
