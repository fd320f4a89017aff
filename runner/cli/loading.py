"""Loading for verbs that go on only when everything is valid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from runner.cli.output import err, options, print_diagnostics
from runner.diagnostics.model import Diagnostic
from runner.errors import InvalidInput

if TYPE_CHECKING:
    from runner.api.load import Loaded
    from runner.api.settings import Settings


def load_all(paths: Sequence[str], settings: Settings) -> Loaded:
    """Everything under `paths`. One invalid manifest stops everything: raises InvalidInput once all mistakes are printed."""
    from runner.api.load import load

    loaded = load(paths, settings)
    print_found(loaded.diagnostics, loaded.sources, even_quiet=loaded.failed)
    if loaded.failed:
        count = sum(d.severity == "error" for d in loaded.diagnostics)
        raise InvalidInput(f"{'one mistake' if count == 1 else f'{count} mistakes'} in the manifests; nothing ran")
    if not loaded.manifests:
        say_empty(paths, loaded.files)
    return loaded


def print_found(diagnostics: Sequence[Diagnostic], sources: Mapping[str, str], *, even_quiet: bool) -> None:
    """What was found in manifests, on stderr."""
    shown = worth_showing(diagnostics)
    if shown and (even_quiet or not options().get("quiet")):
        print_diagnostics(shown, sources)


def worth_showing(diagnostics: Sequence[Diagnostic]) -> list[Diagnostic]:
    """All but the notes, which are for `--verbose`; that there is more than what is shown is always said."""
    return [d for d in diagnostics if d.severity != "note" or d.rule == "too-many" or options().get("verbose")]


def say_empty(paths: Sequence[str], files: int) -> None:
    """A folder without manifests is no mistake, but never silent."""
    what = "no .yaml or .yml files"
    if files:
        what = f"YAML files: {files}; a manifest has the keys `ares`, `name` and `steps`"
    err(f"no manifests in {', '.join(paths)} ({what})\n  help: `runner init` makes a first one")
