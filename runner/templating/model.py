"""The values of the template language: what a template names (`Ref`, `Parsed`), its error, and its limits. No parsing here."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

Json = Any
"""A JSON value: None, bool, int, float, str, list, dict with string keys."""
Context = Mapping[str, Any]
"""Root name → plain JSON. An absent value is a missing key. Never changed, never copied."""

ROOTS: Final = (
    "inputs", "vars", "steps", "run", "matrix", "item", "index", "key", "output", "text",
    "previous", "feedback", "round", "error", "secrets", "outputs",
)  # fmt: skip
"""Every name that a template may start with. Which of them hold where is for the compiler of manifests to say."""

SOURCE_LIMIT: Final = 64 * 1024
"""Bytes of one template."""
RESULT_LIMIT: Final = 1024 * 1024
"""Bytes of a text that a template makes. A value that it only passes on, whole and unchanged, is not made by it."""

_SHOWN: Final = 60


class TemplateError(Exception):
    """A template that cannot be read or rendered. `offset`, `length`: characters of the template's text; `fix`: what to write instead."""

    def __init__(self, message: str, offset: int = 0, length: int = 0, fix: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.offset = offset
        self.length = length
        self.fix = fix


class Ref(NamedTuple):
    """A name that a template reads: `steps.a.output.items[0]` is root "steps", path ("a", "output", "items", 0).

    `tolerant`: it stands left of `| default(…)` or under `is defined`, so its absence is no error. A subscript that is
    computed ends the path. `offset`, `length`: the place in the template's text.
    """

    root: str
    path: tuple[str | int, ...]
    tolerant: bool = False
    offset: int = 0
    length: int = 0

    @property
    def state_only(self) -> bool:
        """It reads how a step ended (`.state`, `.error`), which is known however the step ended."""
        return self.root == "steps" and len(self.path) > 1 and self.path[1] in ("state", "error")


@dataclass(frozen=True, slots=True)
class SecretRef:
    """`{{ secrets.NAME }}`: resolved at the moment of the call, never rendered here."""

    name: str


class Parsed(NamedTuple):
    """What is known of a template without any data.

    `literal`: it has no expression at all. `whole`: it is one `{{ expr }}` apart from outer white space, so it keeps the type
    of its value. `always`: the expression is true, or false, whatever the data (None: it depends, or it is no expression).
    `comparisons`: each reference that is compared with a text literal (`==`, `!=`, `in [...]`), and that literal.
    """

    text: str
    literal: bool
    whole: bool
    refs: tuple[Ref, ...] = ()
    secrets: tuple[str, ...] = ()
    always: bool | None = None
    comparisons: tuple[tuple[Ref, str], ...] = ()


def show(root: str, path: Iterable[str | int]) -> str:
    """A path as it is written in a template: `steps.a.output[0]`, `inputs['a-b']`."""
    parts = [root]
    for key in path:
        if isinstance(key, str):
            parts.append(f".{brief(key)}" if key.isidentifier() and key[0] != "_" else f"['{brief(key)}']")
        else:
            parts.append(f"[{key}]")
    return "".join(parts)


def brief(text: str) -> str:
    """A name for a message, cut when it is absurdly long."""
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"


def exceeds(text: str, limit: int) -> bool:
    """Whether `text` takes more than `limit` bytes of UTF-8."""
    count = len(text)
    if count > limit:
        return True
    return count * 4 > limit and not text.isascii() and len(text.encode("utf-8", "surrogatepass")) > limit
