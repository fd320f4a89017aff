"""Finding and reading config.yaml, and the project root."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runner.diagnostics.model import Diagnostic
from runner.errors import UsageError
from runner.manifest.config import CONFIG_KEYS, is_foreign
from runner.syntax import Document, Limits, read

NAME = "config.yaml"
_OURS = re.compile(rf"^(?:{'|'.join(sorted(CONFIG_KEYS))})[ \t]*:", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class ConfigFile:
    """A config file. `name` is how messages call it; `unusable`: it has no data that could be checked."""

    path: Path
    name: str
    document: Document | None
    diagnostics: tuple[Diagnostic, ...]
    unusable: bool = False

    @property
    def data(self) -> Any:
        """Its data; an empty map when there is none."""
        return (self.document.data if self.document and not self.unusable else None) or {}


def find_config(path: Path | None, start: Path, env: Mapping[str, str]) -> ConfigFile | None:
    """`path`, else `RUNNER_CONFIG`, else config.yaml beside the nearest `.ares/`, in `start`, or in the project root."""
    named = path or (Path(env["RUNNER_CONFIG"]) if env.get("RUNNER_CONFIG") else None)
    if named is not None:
        file = start / named.expanduser()
        if not file.is_file():
            raise UsageError(
                f"no config file {named}", hint="name one with --config or RUNNER_CONFIG, or leave both out"
            )
        return _read(file, str(named))
    ares = _nearest(start, ".ares")
    folders = [ares, start] if ares else [start]
    found = next((folder / NAME for folder in folders if (folder / NAME).is_file()), None) or _above(start)
    return _read(found, NAME if found.parent == start else str(found)) if found else None


def project_root(start: Path) -> Path:
    """The folder of the nearest `.ares/`, else of the nearest config.yaml, else of the nearest `.git`, else `start`."""
    above = _above(start)
    return _nearest(start, ".ares") or (above.parent if above else None) or _nearest(start, ".git") or start


def _nearest(start: Path, name: str) -> Path | None:
    return next((folder for folder in (start, *start.parents) if (folder / name).exists()), None)


def _above(start: Path) -> Path | None:
    """The nearest config.yaml. Above `start` only one that looks like ours counts: other programs have a config.yaml too."""
    for folder in (start, *start.parents):
        file = folder / NAME
        if file.is_file() and (folder == start or _looks_ours(file)):
            return file
    return None


def _looks_ours(file: Path) -> bool:
    try:
        with file.open("rb") as opened:
            return bool(_OURS.search(opened.read(Limits().file_bytes).decode("utf-8", "replace")))
    except OSError:
        return False


def _read(path: Path, name: str) -> ConfigFile:
    try:
        with path.open("rb") as opened:  # one byte more than allowed shows that the file is too large
            content = opened.read(Limits().file_bytes + 1)
    except OSError as error:
        raise UsageError(f"cannot read {name}: {error.strerror}") from error
    documents, diagnostics = read(content, name)
    if any(one.severity == "error" for one in diagnostics):
        return ConfigFile(path, name, documents[0] if documents else None, tuple(diagnostics), unusable=True)
    kept = tuple(one for one in diagnostics if one.rule not in ("empty", "not-a-manifest"))
    if not documents:
        return ConfigFile(path, name, None, kept)
    wrong = _wrong(name, documents)
    return ConfigFile(path, name, documents[0], (*kept, *([wrong] if wrong else [])), unusable=wrong is not None)


def _wrong(name: str, documents: list[Document]) -> Diagnostic | None:
    """Why a file that parses is no config of ours."""
    first = documents[0]
    if len(documents) > 1:
        return Diagnostic(name, documents[1].locate(()), "error", "config-documents", "", "config holds one document")
    if first.is_manifest:
        span = first.locate(("ares",), "key")
        return Diagnostic(
            name, span, "error", "config-manifest", "ares", "this is a manifest, not a config", "runner apply FILE"
        )
    if first.data is not None and is_foreign(first.data):
        message, fix = "this config.yaml is not ours: it has none of our keys", "name ours with --config FILE"
        return Diagnostic(name, first.locate(()), "error", "config-foreign", "", message, fix)
    return None
