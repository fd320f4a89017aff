"""The state that the passes share: the steps as they are being compiled, and the mistakes found so far."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from runner.core.compile.facts import Callees, Facts
from runner.core.graph import EdgeKind, Json
from runner.diagnostics.model import Loc, Problem
from runner.diagnostics.rules import RULES
from runner.digest import canonical_json
from runner.manifest.model import Manifest
from runner.manifest.vocabulary import VERBS, Verb
from runner.spelling import did_you_mean

MOST_LOOKED_AT = 200_000
"""Words that are compared for one manifest, at some microseconds each."""


class Where(NamedTuple):
    """A place in the manifest's data; `within` is (offset, length) in the text there. `file`, `line`: in a file that it names."""

    loc: Loc
    within: tuple[int, int] | None = None
    file: str = ""
    line: int = 0


@dataclass(slots=True, eq=False)
class Draft:
    """One step on its way to the graph. `raw` is its data as written, `step` its validated model."""

    id: str
    step: Any
    raw: Mapping[str, Json]
    loc: Loc
    verb: Verb
    final: bool
    fan: str
    """foreach, matrix, or nothing."""
    edges: dict[str, dict[EdgeKind, Where]] = field(default_factory=dict)
    """What the step waits for, and where it says so."""
    axes: set[str] = field(default_factory=set)
    """The axes that its templates name; `*` stands for all of them."""
    volatile: bool = False

    def wait_for(self, to: str, kind: EdgeKind, where: Where) -> None:
        """Note an edge; the first place that makes it is kept."""
        self.edges.setdefault(to, {}).setdefault(kind, where)


@dataclass(slots=True, eq=False)
class Compiling:
    """One manifest on its way to a graph."""

    manifest: Manifest
    data: Mapping[str, Json]
    sources: Mapping[str, str]
    origins: Mapping[Loc, str]
    facts: Facts
    callees: Callees
    drafts: dict[str, Draft] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    looked: int = 0
    """Words that were compared to find what was meant."""
    text: str = field(init=False)
    """All of the data but the names of partials (what they say is in it already), as canonical JSON."""

    def __post_init__(self) -> None:
        data = self.data
        self.text = canonical_json({key: data[key] for key in data if key != "extends"} if "extends" in data else data)

    def report(self, rule: str, where: Where, message: str, fix: str | None = None, *, key: bool = False) -> None:
        """Note a mistake. `key` underlines the key instead of its value."""
        if where.file:
            message = f"{where.file}:{where.line}: {message}"
        self.problems.append(Problem(rule, where.loc, message, fix, "key" if key else "value", where.within))

    def meant(self, word: str, known: Collection[str], *, listed: bool = False) -> str | None:
        """The known word that is near, as a fix; with `listed` else all of them, if few. None once the manifest has had so many
        mistakes that nobody will see this one's."""
        self.looked += len(known)
        if self.looked > MOST_LOOKED_AT:
            return None
        names = sorted(known)
        return did_you_mean(word, names) or (f"there are {', '.join(names[:12])}" if listed and names else None)

    @property
    def failed(self) -> bool:
        """Whether anything found so far is an error."""
        return any(RULES[problem.rule].severity == "error" for problem in self.problems)


def collect(c: Compiling) -> None:
    """The first pass: a draft for each step, main steps first, in the order of the file."""
    _collect(c, "steps", c.manifest.steps, final=False)
    _collect(c, "finally", c.manifest.finally_, final=True)
    count, limit = len(c.manifest.steps) + len(c.manifest.finally_), c.facts.max_steps
    if count > limit:
        c.report("limit", Where(("steps",)), f"{count} steps are more than the limit `steps`: {limit}", key=True)


def _collect(c: Compiling, section: str, steps: Mapping[str, Any], *, final: bool) -> None:
    for id, step in steps.items():
        loc = (section, id)
        raw = c.data[section][id]
        if id in c.drafts:
            message = f"`{id}` is the id of a main step already; templates could not tell them apart"
            c.report("duplicate-key", Where(loc), message, key=True)
            continue
        c.drafts[id] = Draft(id, step, raw, loc, verb_of(raw), final, fan_of(raw))


def verb_of(raw: Mapping[str, Json]) -> Verb:
    """The verb of a step, fallback entry or check as written."""
    return next(verb for verb in VERBS if verb in raw)


def fan_of(raw: Mapping[str, Json]) -> str:
    """foreach, matrix, or nothing."""
    return next((key for key in ("foreach", "matrix") if key in raw), "")
