"""Loading for verbs that go on only when everything is valid."""

from __future__ import annotations

from collections.abc import Sequence

from runner.api.load import Loaded, load
from runner.api.settings import Settings
from runner.cli.output import err, options, print_diagnostics
from runner.errors import InvalidInput


def load_all(paths: Sequence[str], settings: Settings) -> Loaded:
    """Everything under `paths`. One invalid manifest stops everything: raises InvalidInput once all mistakes are printed."""
    loaded = load(paths, settings)
    shown = [d for d in loaded.diagnostics if d.severity != "note" or options().get("verbose")]
    if shown and (loaded.failed or not options().get("quiet")):
        print_diagnostics(shown, loaded.sources)
    if loaded.failed:
        count = sum(d.severity == "error" for d in loaded.diagnostics)
        raise InvalidInput(f"{'one mistake' if count == 1 else f'{count} mistakes'} in the manifests; nothing ran")
    if not loaded.manifests:
        say_empty(paths, loaded)
    return loaded


def say_empty(paths: Sequence[str], loaded: Loaded) -> None:
    """A folder without manifests is no mistake, but never silent."""
    what = (
        f"{loaded.files} YAML file(s), none with a top-level key `ares`" if loaded.files else "no .yaml or .yml files"
    )
    err(f"no manifests in {', '.join(paths)} ({what})\n  help: `runner init` makes a first one")
