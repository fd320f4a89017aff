"""`load`: paths → compiled manifests and every mistake of every file at once. Starts nothing, opens no socket, resolves no secret.

Here only the order of work lives: find the files, read them (syntax), merge `extends`, check (manifest), read `file:` parts, compile
callees before their callers (core/compile).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from runner import patterns, spelling
from runner.api.facts import facts_of
from runner.api.finding import Look, find
from runner.api.healing import further, heal
from runner.api.settings import Settings
from runner.core.compile import Callees, call_order, callee_names, compile_manifest, file_references, merge_partials
from runner.core.graph import StepGraph
from runner.diagnostics.model import Diagnostic, Loc, Problem
from runner.digest import is_utf8
from runner.errors import UsageError
from runner.manifest.checked import check
from runner.manifest.model import Manifest, Partial
from runner.paths import PathEscape, TooLarge, read_inside
from runner.syntax import Document, Limits, arrange, looks_like_manifest, place, read


class LoadedManifest(NamedTuple):
    """One compiled manifest. `named`: its file was given itself, not found in a folder. `source`: the file's text. `parts`: the partials
    and other files that it is made of besides, as diagnostics name them."""

    graph: StepGraph
    file: str
    source: str
    named: bool
    parts: tuple[str, ...] = ()


class Loaded(NamedTuple):
    """All that was found. `graphs` are the good manifests by name; `called` are the names that a `call` uses."""

    manifests: tuple[LoadedManifest, ...]
    diagnostics: tuple[Diagnostic, ...]
    sources: Mapping[str, str]
    files: int
    called: frozenset[str] = frozenset()
    looks: tuple[Look, ...] = ()
    """At the files that were named by those found, whether they are there or not."""

    @property
    def failed(self) -> bool:
        """Is there an error among the diagnostics?"""
        return any(diagnostic.severity == "error" for diagnostic in self.diagnostics)

    @property
    def graphs(self) -> dict[str, StepGraph]:
        return {entry.graph.name: entry.graph for entry in self.manifests}

    def top_level(self) -> tuple[LoadedManifest, ...]:
        """The manifests that an apply runs by themselves: those that no other one calls."""
        return tuple(entry for entry in self.manifests if entry.graph.name not in self.called)


PATTERNS_S, SPELLING_S = 1.0, 0.5
"""For all patterns of schemas together, and for what misspelt words may have meant: who only validates waits no longer."""


@dataclass(slots=True, eq=False)
class _Draft:
    """A manifest on its way from document to graph."""

    file: str
    path: Path
    documents: list[Document]
    manifest: Manifest
    data: Mapping[str, Any]
    origins: Mapping[Loc, str]
    sources: dict[str, str]
    named: bool
    calls: dict[str, str] = field(default_factory=dict)
    """`call` name → the name of the manifest that is meant."""
    healed: set[Loc] | None = None
    """Places that were changed so that the rest could be looked at; such a draft gives problems, never a graph."""
    misread: bool = False
    """Its text has mistakes, such as a key that is given twice: it gives problems, never a graph, either."""


@dataclass(slots=True, eq=False)
class _Reading:
    """The state of one `load`."""

    settings: Settings
    diagnostics: list[Diagnostic] = field(default_factory=list)
    sources: dict[str, str] = field(default_factory=dict)
    drafts: dict[str, _Draft] = field(default_factory=dict)
    broken: set[str] = field(default_factory=set)
    seen: set[Path] = field(default_factory=set)
    files: int = 0
    looks: list[Look] = field(default_factory=list)
    contents: Mapping[Path, bytes] = field(default_factory=dict)


def load(paths: Sequence[str | Path], settings: Settings, *, contents: Mapping[Path, bytes] | None = None) -> Loaded:
    """Read, check and compile everything under `paths`, and `contents`: files that are still to be written. Raises UsageError when
    a path does not exist."""
    contents = contents or {}
    return load_files([*((path, True) for path in contents), *find(paths)], settings, contents)


def validate(paths: Sequence[str | Path], settings: Settings) -> tuple[Diagnostic, ...]:
    """Every mistake of every file under `paths` at once, in the order of the files. Raises UsageError when a path does not exist."""
    return load(paths, settings).diagnostics


def load_files(
    files: Iterable[tuple[Path, bool]], settings: Settings, contents: Mapping[Path, bytes] | None = None
) -> Loaded:
    """Read, check and compile these files; the flag says whether a file was named itself. What is in `contents` is not read from
    the disk."""
    reading = _Reading(settings, contents=contents or {})
    with patterns.PATIENCE.within(PATTERNS_S), spelling.PATIENCE.within(SPELLING_S):
        for path, named in files:
            _read_file(reading, path, named)
        _read_callees(reading)
        graphs = _compile_all(reading)
    called = frozenset(name for draft in reading.drafts.values() for name in draft.calls.values())
    manifests = tuple(
        LoadedManifest(
            graphs[name],
            draft.file,
            reading.sources[draft.file],
            draft.named,
            _parts(draft),
        )
        for name, draft in reading.drafts.items()
        if name in graphs
    )
    return Loaded(
        manifests, tuple(arrange(reading.diagnostics)), reading.sources, reading.files, called, tuple(reading.looks)
    )


def _parts(draft: _Draft) -> tuple[str, ...]:
    texts = [*_texts(draft.documents[0].data.get("extends")), *draft.sources]
    return tuple(str(draft.path.parent / text) for text in texts)


# ---------------------------------------------------------------- files


def _read_file(reading: _Reading, path: Path, named: bool) -> None:
    resolved = path.resolve()
    if resolved in reading.seen:
        return
    reading.seen.add(resolved)
    file = str(path)
    limits = _limits(reading.settings)
    data = reading.contents.get(path)
    reading.files += 1
    if data is None:
        try:
            data = _bytes(path, limits.file_bytes + 1)  # one more than allowed: enough to say that it is too large
        except OSError as error:
            if named:
                raise UsageError(f"{path}: {error.strerror or error}") from error
            reading.diagnostics.append(_unreadable(file, error))
            return
    reading.sources[file] = data.decode("utf-8", "replace")
    documents, diagnostics = read(data, file, limits)
    reading.diagnostics += _softened(diagnostics, data, named)
    before = set(reading.drafts)
    for document in documents:
        _read_document(reading, document, path, named, alone=not diagnostics)
    for name in set(reading.drafts) - before:
        reading.drafts[name].misread = any(diagnostic.severity == "error" for diagnostic in diagnostics)


def _bytes(path: Path, most: int) -> bytes:
    with path.open("rb") as handle:
        return handle.read(most)


def _unreadable(file: str, error: OSError) -> Diagnostic:
    message, fix = f"cannot be read: {error.strerror or error}", "let the user who runs this read it"
    return Diagnostic(file, None, "error", "unreadable-file", "", message, fix)


def _limits(settings: Settings) -> Limits:
    limits = settings.config.limits
    return Limits(limits.file_bytes, limits.depth, limits.aliases, limits.nodes)


def _softened(diagnostics: Sequence[Diagnostic], data: bytes, named: bool) -> Iterable[Diagnostic]:
    """A file that does not parse is an error when it was named or a line starts with `ares:`; else it is somebody else's YAML."""
    if named or looks_like_manifest(data):
        return diagnostics
    return [
        Diagnostic(d.file, d.span, "warning", d.rule, d.path, d.message, d.fix, d.notes) if d.severity == "error" else d
        for d in diagnostics
    ]


def _read_document(reading: _Reading, document: Document, path: Path, named: bool, *, alone: bool) -> None:
    if not document.is_manifest:
        if alone:
            reading.diagnostics.append(
                Diagnostic(
                    document.file, None, "note", "not-a-manifest", "", "has no top-level key `ares`: passed over"
                )
            )
        return
    if not is_utf8(document.file):  # neither the record nor a report can hold such a name
        message, fix = "its path is not UTF-8 text", "rename it"
        reading.diagnostics.append(Diagnostic(document.file, None, "error", "encoding", "", message, fix))
        return
    if "name" not in document.data and "steps" not in document.data:
        _, problems = check(Partial, document.data)
        reading.diagnostics += place(problems, [document])
        return
    draft, problems, documents = _draft(reading, document, path, named)
    reading.diagnostics += place(problems, documents)
    name = document.data.get("name")
    if draft is None:
        if isinstance(name, str):
            reading.broken.add(name)
        return
    if (other := reading.drafts.get(draft.manifest.name)) is not None:
        twice = Problem("duplicate-name", ("name",), f"{draft.manifest.name!r} is also the name of {other.file}")
        reading.diagnostics += place([twice], documents)
        return
    reading.drafts[draft.manifest.name] = draft


def _draft(
    reading: _Reading, document: Document, path: Path, named: bool
) -> tuple[_Draft | None, list[Problem], list[Document]]:
    problems: list[Problem] = []
    documents = [document]
    partials: list[tuple[str, Mapping[str, Any]]] = []
    for index, text in enumerate(_texts(document.data.get("extends"))):
        partial = _partial(reading, path, text, ("extends", index), problems)
        if partial is not None:
            partials.append((text, partial.data))
            documents.insert(1, partial)  # later entries win, so they are looked up first
    merged, origins = merge_partials(document.data, partials)
    manifest, found = check(Manifest, merged)
    problems += found
    healed = None
    if manifest is None:
        if (rest := heal(merged, found)) is None:
            return None, problems, documents
        manifest, merged, healed = rest
    sources: dict[str, str] = {}
    for loc, text in file_references(manifest):
        content = _file_text(reading, path, text, loc, problems)
        if content is not None:
            sources[text] = content
    draft = _Draft(document.file, path, documents, manifest, merged, origins, sources, named, healed=healed)
    return draft, problems, documents


def _texts(value: Any) -> list[str]:
    return [text for text in value if isinstance(text, str)] if isinstance(value, list) else []


def _partial(reading: _Reading, path: Path, text: str, loc: Loc, problems: list[Problem]) -> Document | None:
    content = _file_text(reading, path, text, loc, problems, rule="extends-missing")
    if content is None:
        return None
    file = str(path.parent / text)
    reading.sources.setdefault(file, content)
    documents, diagnostics = read(content.encode(), file, _limits(reading.settings))
    reading.diagnostics += [d for d in diagnostics if d not in reading.diagnostics]
    if len(documents) != 1 or not documents[0].is_manifest:
        problems.append(
            Problem("extends-not-partial", loc, f"{text} is not a partial manifest (`ares: v1` and no steps)")
        )
        return None
    model, found = check(Partial, documents[0].data)
    reading.diagnostics += [d for d in place(found, documents) if d not in reading.diagnostics]
    return documents[0] if model is not None else None


def _file_text(
    reading: _Reading, path: Path, text: str, loc: Loc, problems: list[Problem], rule: str = "file-missing"
) -> str | None:
    """The content of a file that a manifest names, relative to the manifest and inside the project (or its own folder)."""
    base = path.parent.resolve()
    root = reading.settings.project_root
    root = root if base.is_relative_to(root) else base
    reading.looks.append(Look(text, str(base), str(root)))
    try:
        return read_inside(root, base, text, reading.settings.config.limits.file_bytes).decode("utf-8")
    except PathEscape:
        problems.append(Problem("path-escape", loc, f"{text} is outside the project ({root})"))
    except TooLarge as error:
        problems.append(Problem("file-too-large", loc, str(error)))
    except UnicodeDecodeError:
        problems.append(Problem(rule, loc, f"{text} is not UTF-8 text"))
    except OSError as error:
        problems.append(
            Problem(rule, loc, f"cannot read {text}: {error.strerror or error}", "the path is relative to the manifest")
        )
    return None


# ---------------------------------------------------------------- callees


def _read_callees(reading: _Reading) -> None:
    """Resolve every `call`: a manifest of this apply, else NAME.yaml beside the caller, which is read now."""
    todo = list(reading.drafts.values())
    while todo:
        draft = todo.pop()
        for _, name in callee_names(draft.manifest):
            if name not in reading.drafts and name not in reading.broken:
                beside = draft.path.parent / f"{name}.yaml"
                before = set(reading.drafts)
                reading.looks.append(Look(str(beside)))
                if beside.is_file() and not beside.is_symlink():
                    _read_file(reading, beside, named=False)
                todo += [reading.drafts[new] for new in set(reading.drafts) - before]
            if name in reading.drafts:
                draft.calls[name] = name


def _compile_all(reading: _Reading) -> dict[str, StepGraph]:
    graphs: dict[str, StepGraph] = {}
    facts = facts_of(reading.settings.config)
    order, cycles = call_order({name: list(draft.calls) for name, draft in reading.drafts.items()})
    for name in order:
        draft = reading.drafts[name]
        callees = Callees(
            graphs={called: graphs[called] for called in draft.calls if called in graphs},
            cycles=cycles,
            broken=frozenset(reading.broken),
            known=frozenset(reading.drafts),
        )
        graph, problems = compile_manifest(
            draft.manifest,
            draft.data,
            file=draft.file,
            sources=draft.sources,
            origins=draft.origins,
            facts=facts,
            callees=callees,
            lines=_lines(draft),
        )
        if draft.healed is not None:
            problems = further(problems, draft.healed)
        reading.diagnostics += place(problems, draft.documents)
        if graph is None or draft.healed is not None or draft.misread:
            reading.broken.add(name)
        else:
            graphs[name] = graph
    return graphs


def _lines(draft: _Draft) -> dict[str, int]:
    """Step id → its line in the manifest's file."""
    document = draft.documents[0]
    places = [(section, id) for section in ("steps", "finally") for id in document.data.get(section) or {}]
    return {id: document.locate((section, id), on="key").line for section, id in places}
