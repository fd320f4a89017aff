"""Reading config.yaml: the file that `config_place.py` finds."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from runner.api.config_place import locate_config
from runner.diagnostics.model import Diagnostic
from runner.errors import UsageError
from runner.manifest.config import is_foreign
from runner.syntax import Document, Limits, read


class ConfigFile(NamedTuple):
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
    """The config file that `locate_config` finds, read."""
    found = locate_config(path, start, env)
    return _read(*found) if found else None


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
