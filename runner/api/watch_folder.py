"""What a watched folder holds: of each manifest the last version without a mistake. Values only; nothing here reads or runs."""

import re
from collections.abc import Mapping, Set
from dataclasses import dataclass, field
from typing import NamedTuple

from runner.api.load import Loaded, LoadedManifest
from runner.core.graph import StepGraph
from runner.diagnostics.model import Diagnostic


def calls_of(graph: StepGraph) -> frozenset[str]:
    """Names that a manifest calls; `StepGraph.callees` has only those that are known and good."""
    bodies = (body for step in graph.steps for body in step.bodies if body.verb == "call")
    return frozenset(str(body.call["manifest"]) for body in bodies)


class Known(NamedTuple):
    """A good version of a manifest, and the reading that it comes from: its callees are there."""

    entry: LoadedManifest
    loaded: Loaded

    @property
    def graph(self) -> StepGraph:
        return self.entry.graph

    @property
    def calls(self) -> frozenset[str]:
        """Names of the manifests that it calls."""
        return calls_of(self.graph)

    @property
    def files(self) -> frozenset[str]:
        """The files that this manifest alone is made of."""
        return frozenset((self.entry.file, *self.entry.parts))


@dataclass(frozen=True, slots=True)
class Folder:
    """`manifests` by name. `bad`: files with errors. `unread`: names whose present version is not in force (mistakes, or still being
    written), but an earlier one is. `guessed`: names that a file with mistakes seems to call. `found`: what readings have said so far of
    the files as they are."""

    manifests: Mapping[str, Known] = field(default_factory=dict)
    guessed: frozenset[str] = frozenset()
    bad: frozenset[str] = frozenset()
    unread: frozenset[str] = frozenset()
    found: frozenset[Diagnostic] = frozenset()

    def top_level(self) -> Mapping[str, Known]:
        """The manifests that run by themselves: nobody calls them."""
        called = self.guessed.union(*(known.calls for known in self.manifests.values()))
        return {name: known for name, known in self.manifests.items() if name not in called}

    def related(self, files: Set[str]) -> frozenset[str] | None:
        """The files that have to be read to know what becomes of these, which have changed or are new: callers, and what all of them
        call. None when only a reading of everything can tell."""
        if self.bad or self.unread or self.guessed:
            return None
        changed = {name for name, known in self.manifests.items() if known.entry.file in files}
        while more := {name for name, known in self.manifests.items() if changed & known.calls} - changed:
            changed |= more
        while more := {callee for name in changed for callee in self.manifests[name].calls} - changed:
            changed |= more
        return frozenset(files).union(self.manifests[name].entry.file for name in changed)


class News(NamedTuple):
    """What a reading has brought. `diagnostics`: those that were not said before, `sources`: the texts that they are about; `mended`:
    files that were bad; `gone`: names that nothing stands for any more."""

    folder: Folder
    diagnostics: tuple[Diagnostic, ...]
    sources: Mapping[str, str]
    mended: tuple[str, ...]
    gone: tuple[str, ...]


def take_in(before: Folder, loaded: Loaded, files: Set[str], restless: Set[str]) -> News:
    """The folder after a reading. `files`: the manifest files that are there; `restless`: files that are still being written."""
    bad = frozenset(d.file for d in loaded.diagnostics if d.severity == "error")
    good = _good(loaded, bad | restless)
    manifests = {entry.graph.name: Known(entry, loaded) for entry in loaded.manifests if entry.graph.name in good}
    doubtful = bad | restless
    unread = {
        name: known
        for name, known in before.manifests.items()
        if name not in good and (known.entry.file in files) and _touched(name, known, doubtful, loaded)
    }
    folder = Folder(
        manifests={**unread, **manifests},
        guessed=_guessed(loaded, bad),
        bad=bad,
        unread=frozenset(unread),
        found=frozenset(loaded.diagnostics),
    )
    return _news(before, folder, loaded, files)


def take_in_part(before: Folder, loaded: Loaded, read: Set[str], files: Set[str], restless: Set[str]) -> News | None:
    """The folder after a reading of some of its files (`related`); None when it needs the others as well."""
    kept = {name: known for name, known in before.manifests.items() if known.entry.file not in read}
    names = {entry.graph.name for entry in loaded.manifests if entry.file in read}
    if loaded.failed or names & kept.keys() or _good(loaded, restless) != loaded.graphs.keys():
        return None
    manifests = {entry.graph.name: Known(entry, loaded) for entry in loaded.manifests if entry.file in read}
    others = frozenset(d for d in before.found if d.file not in read)
    folder = Folder(manifests={**kept, **manifests}, found=others.union(loaded.diagnostics))
    return _news(before, folder, loaded, files)


def _news(before: Folder, folder: Folder, loaded: Loaded, files: Set[str]) -> News:
    return News(
        folder,
        tuple(d for d in loaded.diagnostics if d not in before.found),
        loaded.sources,
        tuple(sorted(file for file in before.bad - folder.bad if file in files)),
        tuple(sorted(before.manifests.keys() - folder.manifests.keys())),
    )


def _good(loaded: Loaded, doubtful: Set[str]) -> frozenset[str]:
    """Names of manifests with no doubt about any file of theirs, or of what they call."""
    good = {e.graph.name: calls_of(e.graph) for e in loaded.manifests if not {e.file, *e.parts} & doubtful}
    while stale := [name for name, calls in good.items() if calls - good.keys()]:
        for name in stale:
            del good[name]
    return frozenset(good)


def _touched(name: str, known: Known, doubtful: Set[str], loaded: Loaded) -> bool:
    """Is it for a mistake that a name is not among the good ones? Else it was renamed or taken out of its file."""
    return bool(known.files & doubtful) or name in loaded.graphs


def _guessed(loaded: Loaded, bad: Set[str]) -> frozenset[str]:
    """Names that are left to callers with mistakes, as far as one can tell what these call."""
    texts = [loaded.sources[file] for file in bad if file in loaded.sources]
    if not texts:
        return frozenset()
    calls = {name: re.compile(rf"\bcall[\"']?\s*:\s*[\"']?{re.escape(name)}(?![\w-])") for name in loaded.graphs}
    return frozenset(name for name, call in calls.items() if any(call.search(text) for text in texts))
