"""Loading for verbs that go on only when everything is valid."""

from __future__ import annotations

from collections.abc import Sequence

import click

from runner.api.load import Loaded, load
from runner.api.settings import Settings
from runner.cli.output import print_diagnostics
from runner.errors import InvalidInput


def load_all(ctx: click.Context, paths: Sequence[str], settings: Settings) -> Loaded:
    """Everything under `paths`. One invalid manifest stops everything: raises InvalidInput once all mistakes are printed."""
    loaded = load(paths, settings)
    shown = [d for d in loaded.diagnostics if d.severity != "note" or ctx.obj.get("verbose")]
    if shown and (loaded.failed or not ctx.obj.get("quiet")):
        print_diagnostics(shown, loaded.sources)
    if loaded.failed:
        count = sum(d.severity == "error" for d in loaded.diagnostics)
        raise InvalidInput(f"{count} mistake(s) in the manifests; nothing ran")
    return loaded
