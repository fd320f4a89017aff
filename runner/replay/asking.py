"""What identifies a call: the step that makes it, and what it asks, without what differs from run to run (secrets, paths, ids)."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from runner.core.events import Recorded
from runner.core.graph import Json
from runner.digest import digest_bytes
from runner.ports import Request
from runner.redact import Redactor

PART: Final = re.compile(r"(?P<step>[^\[/]+)(?P<key>\[.*?\](?=/|$))?/?")
"""A part of the path of a step: `review[a/b.py]/`."""


@dataclass(frozen=True, slots=True)
class Asker:
    """Who calls. `step`: `STEP`, `STEP[KEY]`, `CALLER/STEP`. `part`: "" for the step itself, else `check/N`, `judge/MODEL/N`."""

    step: str
    part: str
    run: str

    def __str__(self) -> str:
        return f"{self.step} ({self.part})" if self.part else self.step


class Items:
    """A `Sink` that remembers the keys of fan-outs: `STEP[0]` of the record is `STEP[KEY]` for people."""

    def __init__(self) -> None:
        self._keys: dict[tuple[str, str], list[str]] = {}

    def event(self, recorded: Recorded, name: str) -> None:
        if recorded.event.kind == "items_expanded":
            self._keys[recorded.run, recorded.event.node] = [item["key"] for item in recorded.event.data["items"]]

    def progress(self, run: str, node: str, text: str) -> None:
        """Nobody watches."""

    def close(self) -> None:
        """Nothing is held."""

    def path(self, run: str, node: str) -> str:
        """The node of a run, from the root run down: a sub-run is named after the node that made it (`ROOT.STEP`, `ROOT.STEP~N`)."""
        above, parts = "", []
        for part in [*run.split("."), node]:
            if above:
                parts.append(self._named(above, part.partition("~")[0]))
            above = f"{above}.{part}" if above else part
        return "/".join(parts)

    def _named(self, run: str, node: str) -> str:
        step, bracket, index = node.partition("[")
        keys = self._keys.get((run, step), [])
        return f"{step}[{keys[int(index.rstrip(']'))]}]" if bracket and keys else node

    def asker(self, request: Request) -> Asker | None:
        """Who makes this call; None when it is no step's (git, around worktrees). The idempotency key is `RUN/NODE/N`, and what
        belongs to an attempt appends to it."""
        run, _, rest = request.idempotency_key.partition("/")
        node, _, rest = rest.partition("/")
        return Asker(self.path(run, node), rest.partition("/")[2], run) if node else None


def parts_of(path: str) -> list[tuple[str, str]]:
    """`review[a/b.py]/step` → [("review", "[a/b.py]"), ("step", "")]. Keys may hold slashes."""
    return [(found["step"], found["key"] or "") for found in PART.finditer(path)]


def names_of(path: str) -> list[str]:
    """What a stub or an answer for this step may be called, the most exact name first: `STEP[KEY]` before `STEP`."""
    *above, (last, key) = parts_of(path)
    full = "".join(f"{step}{each}/" for step, each in above)
    bare = "".join(f"{step}/" for step, _ in above)
    return list(dict.fromkeys((f"{full}{last}{key}", f"{full}{last}", f"{bare}{last}{key}", f"{bare}{last}")))


@dataclass(frozen=True, slots=True)
class Veil:
    """Takes what differs from run to run out of texts, and puts it back. `paths`: (text, token) pairs that hold for the whole case."""

    redactor: Redactor
    paths: Sequence[tuple[str, str]] = ()
    run_dirs: Path = field(default_factory=Path)

    def _of(self, run: str) -> list[tuple[str, str]]:
        root = run.partition(".")[0]
        own = [(f"{self.run_dirs}/{run}", "«run.dir»"), *self.paths, (run, "«run.id»")]
        return own if root == run else [*own, (root, "«root.id»")]

    def over(self, value: Json, run: str) -> Any:
        """`value` with secrets, paths and ids hidden: the same in every run."""
        pairs = self._of(run)
        return _leaves(self.redactor.data(value), lambda text: _replaced(text, pairs))

    def off(self, value: Json, run: str) -> Any:
        """`value` with the paths and ids of this run. Secrets stay hidden."""
        pairs = [(token, text) for text, token in self._of(run)]
        return _leaves(value, lambda text: _replaced(text, pairs) if "«" in text else text)


def _replaced(text: str, pairs: Sequence[tuple[str, str]]) -> str:
    for old, new in pairs:
        text = text.replace(old, new)
    return text


def _leaves(value: Json, change: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, Mapping):
        return {change(key): _leaves(child, change) for key, child in value.items()}
    if isinstance(value, list | tuple):
        return [_leaves(child, change) for child in value]
    return value


def asked(request: Request, root: Path) -> dict[str, Json]:
    """All of a request that its answer depends on. `root`: the workspace that it works in. Deadlines and keys are not among it."""
    env = {name: value for name, value in request.env.items() if name != "ARES_RUN_DIR"}
    cwd = Path(request.cwd)
    found: dict[str, Json] = {
        **request.inputs,
        "env": env,
        "cwd": cwd.relative_to(root).as_posix() if cwd.is_relative_to(root) and cwd != root else None,
        "feedback": request.feedback,
        "session": request.session
        if request.verb != "model"
        else None,  # a conversation of calls that were matched before
        "returns": request.returns if request.verb in ("model", "agent") else None,  # others are not told of it
        "tried": [dict(each) for each in request.tried],
        "stdin": request.stdin,
    }
    return {key: value for key, value in found.items() if value not in (None, {}, [])}


def question(request: Request, root: Path, veil: Veil, run: str) -> dict[str, Json]:
    """`asked`, the same in every run. What a check gets on stdin is its step's text, which is told already: its digest will do."""
    found: dict[str, Json] = veil.over(asked(request, root), run)
    if "stdin" in found:
        found["stdin"] = f"digest {digest_bytes(found['stdin'].encode('utf-8', 'replace'))}"
    return found
