"""Which member of a union the user meant: told from the one key that names it (a step's verb, a check's kind)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema
from pydantic_core import core_schema as cs

from runner import spelling
from runner.manifest.base import mistake, mistakes

MEANT = {
    "command": "run",
    "cmd": "run",
    "script": "run",
    "shell": "run",
    "exec": "run",
    "uses": "tool",
    "sleep": "wait",
}
"""Other tools' words for our verbs."""


def chosen(value: Any, words: tuple[str, ...], known: frozenset[str]) -> str | None:
    """The word that `value` has as a key, or the one that a misspelt key is close to; None when there is neither.

    A misspelt verb is then refused as an unknown key of the right class, and its other mistakes are still found."""
    if not isinstance(value, dict):
        return None
    for word in words:
        if word in value:
            return word
    for key in value:
        if key not in known and (near := meant(key, words)):
            return near
    return None


def meant(key: object, words: tuple[str, ...]) -> str | None:
    """The word that a misspelt or foreign key stands for."""
    if MEANT.get(str(key)) in words:
        return MEANT[str(key)]
    return spelling.near(str(key), words)


@dataclass(slots=True, eq=False)
class Pick:
    """Refuses a map that has none, or several, of `words` as keys. `known`: every key that some member takes."""

    words: tuple[str, ...]
    known: frozenset[str]
    missing: str
    ambiguous: str
    noun: str

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return cs.no_info_before_validator_function(self.check, handler(source))

    def discriminator(self) -> Callable[[Any], str | None]:
        """For Pydantic's `Discriminator`. Tags are in angle brackets, so that no place in the data looks like one."""
        return lambda value: f"<{chosen(value, self.words, self.known)}>"

    def check(self, value: Any) -> Any:
        """`value`, when exactly one member is meant."""
        if not isinstance(value, dict):
            raise mistake("wrong-type", f"expected {self.noun}: a map with one of {', '.join(self.words)}")
        named = [word for word in self.words if word in value]
        if len(named) > 1:
            error = mistake(self.ambiguous, f"{self.noun} has exactly one of {' and '.join(named)}", key=True)
            raise mistakes(self.noun, [((next(key for key in value if key in named[1:]),), error)])
        if not named and chosen(value, self.words, self.known) is None:
            raise mistake(self.missing, f"expected one of {', '.join(self.words)}")
        return value
