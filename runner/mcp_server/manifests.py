"""Which manifests a client means: files and folders of the project, or a text. Nothing outside of the project root is looked at."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from runner.api.load import Loaded, load
from runner.engine.logs import private_folder
from runner.errors import InvalidInput, UsageError
from runner.mcp_server.desk import Desk
from runner.paths import PathEscape, inside, write_atomic
from runner.syntax import read

SUBMITTED = Path(".ares") / "submitted"
"""Where a manifest that was given as text is kept, by its name, once it is applied."""
SUFFIXES = (".yaml", ".yml", ".json")
_NAME = re.compile(r"[a-z0-9](?:[a-z0-9_-]{0,80})", re.ASCII)


def loaded_of(desk: Desk, given: Mapping[str, Any]) -> Loaded:
    """What `paths` and `manifest` of a call mean, with all mistakes in it. Raises UsageError."""
    if not given.get("paths") and "manifest" not in given:
        raise UsageError("say which manifest is meant", hint="`paths` (files or folders), or `manifest` (its text)")
    paths = [_inside(desk, text) for text in given.get("paths", ())]
    texts = {place_of(text): text.encode() for text in [given["manifest"]]} if "manifest" in given else {}
    return load(paths, desk.settings, contents=texts)


def valid(loaded: Loaded) -> Loaded:
    """`loaded`, when it may be planned or run. Raises InvalidInput, UsageError."""
    if loaded.failed:
        raise InvalidInput("there are mistakes in the manifests; nothing ran", loaded.diagnostics)
    if not loaded.manifests:
        raise UsageError(
            "there is no manifest in what was given", hint="a manifest has the keys `ares`, `name` and `steps`"
        )
    return loaded


def place_of(text: str) -> Path:
    """The file of a manifest that was given as text: paths in it start from its folder."""
    documents, _ = read(text.encode(), "manifest")
    name = documents[0].data.get("name") if documents and isinstance(documents[0].data, dict) else None
    fits = isinstance(name, str) and _NAME.fullmatch(name)
    return SUBMITTED / f"{name if fits else 'manifest'}.yaml"


def keep(desk: Desk, text: str) -> None:
    """Write a text to its file. Raises UsageError."""
    try:
        private_folder(desk.root / SUBMITTED)
        write_atomic(desk.root, place_of(text), text.encode(), 0o600)
    except (OSError, PathEscape) as error:
        raise UsageError(f"the manifest cannot be kept in {SUBMITTED}: {error}") from error


def _inside(desk: Desk, text: str) -> Path:
    """A path as it is named from the project root, which is our working directory."""
    try:
        path = inside(desk.root, desk.root, text)
    except PathEscape as error:
        raise UsageError(f"{text!r} is outside of the project", hint="paths start from the project root") from error
    if path.is_dir() or (path.is_file() and path.suffix in SUFFIXES):
        return Path(os.path.relpath(path, desk.root))
    why = f"is no {', '.join(SUFFIXES)} file or folder" if path.exists() else "is not there"
    raise UsageError(f"{text!r} {why}", hint="give manifests, or folders that hold some, from the project root")
