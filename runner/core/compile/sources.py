"""Which files a manifest names with `file:`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from runner.diagnostics.model import Loc
from runner.manifest.model import Manifest


def file_references(manifest: Manifest) -> list[tuple[Loc, str]]:
    """Every `file:` of the manifest, with its place, path as written (relative to the manifest)."""
    found: list[tuple[Loc, str]] = []
    sections: tuple[tuple[str, Mapping[str, Any]], ...] = (("steps", manifest.steps), ("finally", manifest.finally_))
    for section, steps in sections:
        for id, step in steps.items():
            _way(step, (section, id), found)
            for index, entry in enumerate(getattr(step, "fallback", ())):
                _way(entry, (section, id, "fallback", index), found)
    return found


def _way(way: Any, loc: Loc, found: list[tuple[Loc, str]]) -> None:
    if way.verb in ("run", "agent", "model"):
        _file(getattr(way, way.verb), (*loc, way.verb), found)
    for index, check in enumerate(getattr(way, "checks", ())):
        if hasattr(check, "run"):
            _file(check.run, (*loc, "checks", index, "run"), found)


def _file(body: Any, loc: Loc, found: list[tuple[Loc, str]]) -> None:
    if body.file is not None:
        found.append(((*loc, "file"), body.file))
