"""Suites: found, read, and checked against the manifests that they test, every mistake at once with its place. Runs nothing."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from runner.api.finding import find
from runner.api.load import Loaded, LoadedManifest, load
from runner.api.settings import Settings
from runner.core.graph import GraphStep, StepGraph
from runner.diagnostics.model import Diagnostic, Loc, Problem
from runner.errors import UsageError
from runner.manifest.answers import Answer
from runner.manifest.checked import check
from runner.manifest.suite import Case, Suite
from runner.manifest.vocabulary import WORK_VERBS, Mode
from runner.replay import tape
from runner.replay.asking import PART
from runner.spelling import did_you_mean
from runner.syntax import Document, Limits, arrange, place, read
from runner.templating import TemplateError, parse_expression

KEY: Final = "ares-test"
ROOTS: Final = ("steps", "outputs", "inputs", "run")
"""What the expressions of a case may read."""


@dataclass(frozen=True, slots=True)
class LoadedCase:
    """A case with all that its suite says for it."""

    name: str
    case: Case
    file: str
    loaded: Loaded
    entry: LoadedManifest
    settings: Settings
    inputs: Mapping[str, Any]
    stubs: Mapping[str, Sequence[Answer]]
    mode: Mode | None
    real_runs: bool


@dataclass(slots=True)
class LoadedSuite:
    """A suite, its recording, and its cases; no cases when it has mistakes."""

    file: str
    path: Path
    suite: Suite
    tape: tape.Tape
    cases: list[LoadedCase] = field(default_factory=list)

    @property
    def recording_file(self) -> str:
        return os.path.relpath(self.tape.path) if self.tape.path.is_absolute() else str(self.tape.path)


@dataclass(slots=True)
class Found:
    """All suites that were meant, and what is wrong with them, their recordings and their manifests."""

    suites: list[LoadedSuite] = field(default_factory=list)
    diagnostics: list[Diagnostic] = field(default_factory=list)
    sources: dict[str, str] = field(default_factory=dict)

    @property
    def failed(self) -> bool:
        return any(one.severity == "error" for one in self.diagnostics)


SettingsOf = Callable[[Path | None], Settings]
"""The settings with a config file of their own; None: those that every command has."""


def load_suites(paths: Sequence[str | Path], settings_of: SettingsOf) -> Found:
    """Every suite under `paths`. Raises UsageError for a path that is not there, or when there is no suite."""
    found, manifests = Found(), _Manifests()
    for path, named in find(paths, "suites (`--init MANIFEST` writes a first one)"):
        data = _bytes(path)
        if not named and not looks_like_suite(data):
            continue
        documents, diagnostics = read(data, str(path))
        suites = [one for one in documents if isinstance(one.data, dict) and KEY in one.data]
        found.sources[str(path)] = data.decode("utf-8", "replace")
        found.diagnostics += diagnostics
        if not suites and not diagnostics:
            raise UsageError(f"{path} is no suite: it has no top-level key `{KEY}`", hint=f"begin it with `{KEY}: v1`")
        for document in suites[:1]:
            _read_suite(document, path, settings_of, manifests, found)
        if len(suites) > 1:
            found.diagnostics.append(
                Diagnostic(
                    str(path),
                    suites[1].locate((KEY,), "key"),
                    "error",
                    "test-recording",
                    KEY,
                    "a second suite in one file",
                    "give it a file of its own",
                )
            )
    if not found.suites and not found.diagnostics:
        raise UsageError(
            f"no suites in {', '.join(map(str, paths))}: a suite has the top-level key `{KEY}`",
            hint="`runner test SUITE.yaml --init MANIFEST` writes a first one",
        )
    found.diagnostics = arrange(found.diagnostics)
    return found


def looks_like_suite(data: bytes) -> bool:
    """Whether a file was meant as a suite: a line starts with its key."""
    return f"\n{KEY}:".encode() in b"\n" + data.removeprefix(b"\xef\xbb\xbf").replace(b"\r", b"\n")


def _bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(Limits().file_bytes + 1)  # one more than allowed: enough to say that it is too large
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror or error}") from error


@dataclass(slots=True)
class _Manifests:
    """Manifests, each read once."""

    known: dict[tuple[str, Path | None], Loaded] = field(default_factory=dict)

    def get(self, path: str, settings: Settings, found: Found) -> Loaded:
        key = (path, settings.file)
        if key not in self.known:
            self.known[key] = load([path], settings)
            errors = [one for one in self.known[key].diagnostics if one.severity == "error"]
            found.diagnostics += errors
            found.sources |= self.known[key].sources
        return self.known[key]


def _read_suite(document: Document, path: Path, settings_of: SettingsOf, manifests: _Manifests, found: Found) -> None:
    suite, problems = check(Suite, document.data)
    if suite is None:
        found.diagnostics += place(problems, [document])
        return
    name = suite.recordings or f"{path.stem}.recording.yaml"
    recorded, diagnostics, text = tape.load(path.parent / name, str(path.parent / name))
    if diagnostics:
        found.diagnostics += diagnostics
        found.sources[str(path.parent / name)] = text
    settings = _settings(suite, path, settings_of, problems)
    made = LoadedSuite(str(path), path, suite, recorded)
    twin = next((other for other in found.suites if other.tape.path.resolve() == recorded.path.resolve()), None)
    if twin is not None:
        problems.append(
            Problem("test-recording", ("recordings",), f"{name} is also the recording of {twin.file}", "name another")
        )
    found.suites.append(made)
    if settings is not None:
        for word, case in suite.cases.items():
            if (loaded := _case(word, case, made, settings, manifests, found, problems)) is not None:
                made.cases.append(loaded)
    found.diagnostics += place(problems, [document])


def _settings(suite: Suite, path: Path, settings_of: SettingsOf, problems: list[Problem]) -> Settings | None:
    config = None if suite.config is None else path.parent / suite.config
    if config is not None and not config.is_file():
        problems.append(_missing("config", suite.config))
        return None
    return settings_of(config)


def _missing(key: str, file: str | None, case: str = "") -> Problem:
    loc: Loc = ("cases", case, key) if case else (key,)
    return Problem("test-file", loc, f"there is no file {file}", "the path is relative to the suite")


# ---------------------------------------------------------------- one case


def _case(
    name: str,
    case: Case,
    made: LoadedSuite,
    settings: Settings,
    manifests: _Manifests,
    found: Found,
    problems: list[Problem],
) -> LoadedCase | None:
    suite = made.suite
    file = case.manifest or suite.manifest
    own = "manifest" in case.model_fields_set
    if file is None:
        problems.append(
            Problem(
                "missing-key", ("cases", name), "`manifest` is missing", "name it here, or for the whole suite", "key"
            )
        )
        return None
    where = os.path.normpath(made.path.parent / file)
    if not Path(where).is_file():
        problems.append(_missing("manifest", file, name if own else ""))
        return None
    loaded = manifests.get(where, settings, found)
    entry = _entry(loaded, case.name or suite.name, ("cases", name) if own or case.name else (), problems)
    if loaded.failed or entry is None:
        return None
    said = _Said(loaded.graphs, entry.graph, case, suite)
    before = len(problems)
    problems += said.problems(name)
    if len(problems) > before:
        return None
    return LoadedCase(
        name=name,
        case=case,
        file=where,
        loaded=loaded,
        entry=entry,
        settings=settings,
        inputs={**suite.inputs, **case.inputs},
        stubs={**suite.stubs, **case.stubs},
        mode=case.mode or suite.mode,
        real_runs=(case.run or suite.run) == "real",
    )


def _entry(loaded: Loaded, name: str | None, loc: Loc, problems: list[Problem]) -> LoadedManifest | None:
    """The manifest that is meant: by its name, else the only one of the file that no other one calls."""
    top = loaded.top_level()
    if name is not None:
        chosen = [entry for entry in loaded.manifests if entry.graph.name == name]
    else:
        chosen = [entry for entry in top if entry.named] or list(top)
    if len(chosen) != 1 and not loaded.failed:
        names = [entry.graph.name for entry in loaded.manifests]
        what = f"there is no manifest {name!r}" if name else f"it holds {len(chosen)} manifests that may be meant"
        problems.append(
            Problem("test-manifest", (*loc, "name" if name else "manifest"), what, f"name: one of {', '.join(names)}")
        )
        return None
    return chosen[0] if len(chosen) == 1 else None


@dataclass(frozen=True, slots=True)
class _Said:
    """What a case names, held against its manifest."""

    graphs: Mapping[str, StepGraph]
    graph: StepGraph
    case: Case
    suite: Suite

    def problems(self, name: str) -> Iterator[Problem]:
        at: Loc = ("cases", name)
        yield from self._inputs(self.suite.inputs, ("inputs",), everybody=True)
        yield from self._inputs(self.case.inputs, (*at, "inputs"))
        for loc, stubs in ((("stubs",), self.suite.stubs), ((*at, "stubs"), self.case.stubs)):
            for path in stubs:
                yield from self._step(path, (*loc, path), stub=True)
        for key, paths in (("approvals", self.case.approvals), ("resolve", self.case.resolve)):
            for path in paths:
                yield from self._step(path, (*at, key, path))
        for path in self.case.expect.steps:
            yield from self._step(path, (*at, "expect", "steps", path))
        for number, each in enumerate(self.case.expect.checks):
            yield from self._expression(each.expr, (*at, "expect", "checks", number, "expr"))

    def _inputs(self, inputs: Iterable[str], loc: Loc, *, everybody: bool = False) -> Iterator[Problem]:
        known = self.graph.inputs
        if everybody and any(case.manifest or case.name for case in self.suite.cases.values()):
            return  # those of the suite may be for other manifests
        for name in inputs:
            if name not in known:
                fix = did_you_mean(name, known) or f"declared: {', '.join(known) or 'none'}"
                yield Problem(
                    "unknown-input", (*loc, name), f"{self.graph.name} declares no input {name!r}", fix, "key"
                )

    def _step(self, path: str, loc: Loc, *, stub: bool = False) -> Iterator[Problem]:
        if loc[0] == "stubs" and any(case.manifest or case.name for case in self.suite.cases.values()):
            return
        graph: StepGraph | None = self.graph
        step: GraphStep | None = None
        rest = path
        while rest:
            match = PART.match(rest)
            if match is None or graph is None:
                yield Problem(
                    "unknown-step", loc, f"{path!r} names no step", "write STEP, STEP[KEY] or STEP/INNER", "key"
                )
                return
            id, rest = match["step"], rest[match.end() :]
            step = graph.by_id.get(id)
            if step is None:
                fix = did_you_mean(id, graph.by_id) or f"steps: {', '.join(graph.by_id)}"
                yield Problem("unknown-step", loc, f"{graph.name} has no step {id!r}", fix, "key")
                return
            if match["key"] and step.fan is None:
                yield Problem("unknown-step", loc, f"{id} is no fan-out: it has no items", f"write `{id}`", "key")
                return
            graph = self._callee(step)
        if stub and step is not None:
            yield from self._stub(path, step, loc)

    def _callee(self, step: GraphStep) -> StepGraph | None:
        names = [str(body.call["manifest"]) for body in step.bodies if body.verb == "call"]
        return self.graphs.get(names[0]) if names else None

    def _stub(self, path: str, step: GraphStep, loc: Loc) -> Iterator[Problem]:
        if any(body.verb in WORK_VERBS for body in step.bodies):
            return
        fix = None
        if step.verb == "call" and (callee := self._callee(step)) is not None:
            fix = f"its steps can: {', '.join(f'{path}/{id}' for id in callee.by_id)}"
        elif step.verb == "approve":
            fix = f"approvals: {{{path}: approve}}"
        yield Problem("test-stub", loc, f"`{step.verb}` asks no executor, so {path} cannot be stubbed", fix, "key")

    def _expression(self, text: str, loc: Loc) -> Iterator[Problem]:
        try:
            refs = parse_expression(text).refs
        except TemplateError as error:
            within = (error.offset, error.length) if error.length else None
            yield Problem("template-syntax", loc, error.message, error.fix, within=within)
            return
        for ref in refs:
            within = (ref.offset, ref.length)
            if ref.root not in ROOTS:
                yield Problem(
                    "template-scope",
                    loc,
                    f"`{ref.root}` is not known here",
                    f"known: {', '.join(ROOTS)}",
                    within=within,
                )
            elif ref.root == "steps" and ref.path and PART.match(str(ref.path[0])):
                yield from self._step(str(ref.path[0]), loc)
