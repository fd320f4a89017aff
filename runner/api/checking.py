"""What is known of files that nobody has changed since a command checked them: diagnostics, and the head of each manifest.

A hit needs no YAML parser, no Pydantic and no compiler. The question is named by everything that the answer depends on: our own code and
what is installed beside it, the working directory, the config that holds, and the bytes of every file meant. What those files name
(partials, `file:`, callees) is looked at again before an answer is believed. No graph comes from here: what runs was compiled now.
"""

import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from runner.api.cache import get, open_cache, put
from runner.api.config_place import locate_config, project_root
from runner.api.finding import Look, find
from runner.diagnostics.model import Diagnostic
from runner.digest import digest_bytes
from runner.errors import UsageError
from runner.paths import PathEscape, TooLarge, read_inside
from runner.source import Span

if TYPE_CHECKING:
    from runner.api.load import Loaded
    from runner.api.settings import Settings

MOST_BYTES = 16 * 1024 * 1024
"""A larger file is not looked at, and nothing about it is kept."""
_PACKAGE = Path(__file__).parents[1]


class Head(NamedTuple):
    """What converging must know of a manifest that did not change. `named`, `called`: as in `Loaded`. `files`: a step has `files`."""

    name: str
    digest: str
    file: str
    named: bool
    called: bool
    required: tuple[str, ...]
    files: bool


class Checked(NamedTuple):
    """The outcome of a check: of its config, which has no error, and of its manifests."""

    diagnostics: tuple[Diagnostic, ...]
    sources: Mapping[str, str]
    """Text by file name, of every file that a diagnostic is about."""
    files: int
    heads: tuple[Head, ...]
    config_diagnostics: tuple[Diagnostic, ...]
    workspace: Path
    state_path: Path

    @property
    def failed(self) -> bool:
        """Is there an error among the diagnostics?"""
        return any(diagnostic.severity == "error" for diagnostic in self.diagnostics)


def checked_of(loaded: "Loaded", settings: "Settings") -> Checked:
    """What a load found."""
    heads = (
        Head(
            name=entry.graph.name,
            digest=entry.graph.digest,
            file=entry.file,
            named=entry.named,
            called=entry.graph.name in loaded.called,
            required=tuple(name for name, spec in entry.graph.inputs.items() if spec.required),
            files=any(step.files for step in entry.graph.steps),
        )
        for entry in loaded.manifests
    )
    return Checked(
        diagnostics=loaded.diagnostics,
        sources=loaded.sources,
        files=loaded.files,
        heads=tuple(heads),
        config_diagnostics=settings.diagnostics,
        workspace=settings.workspace,
        state_path=settings.state_path,
    )


class Memory:
    """What is kept about one question: these paths, with the config that a command in `start` has. `config` is `--config`."""

    def __init__(self, paths: Sequence[str], config: str | None, start: Path, env: Mapping[str, str]) -> None:
        self._paths, self._config, self._start, self._env = paths, config, start, env
        self._folder = open_cache(env)
        self._code: list[Any] | None = None
        self._name = self._named() if self._folder else None

    def recall(self) -> Checked | None:
        """The answer that still holds, if any."""
        if self._folder is None or self._name is None:
            return None
        try:
            return _decoded(get(self._folder, self._name))
        except (
            TypeError,
            ValueError,
            KeyError,
            IndexError,
            OSError,
        ):  # not written by us, or a file went away just now
            return None

    def keep(self, checked: Checked, looks: Sequence[Look]) -> None:
        """Keep the answer, unless a file changed while it was found. `looks`: at what else it depends on."""
        if self._folder is not None and self._name is not None and self._name == self._named():
            put(self._folder, self._name, _encoded(checked, looks))

    def _named(self) -> str | None:
        """The digest of the question; None when it is about something that is no file, or too large."""
        try:
            found = locate_config(Path(self._config) if self._config else None, self._start, self._env)
            self._code = self._code or _code()  # of this process: what is installed meanwhile is not what answers
            question = [
                self._code,
                str(self._start),
                list(map(str, self._paths)),
                found and [str(found[0]), found[1], _digest_of(found[0])],
                str(project_root(self._start)),
                sorted(pair for pair in self._env.items() if pair[0].startswith("RUNNER_")),
                list(_files(self._paths)),
            ]
        except (UsageError, OSError, RuntimeError):  # whoever does the work says what is wrong
            return None
        return digest_bytes(json.dumps(question).encode())


def _code() -> list[Any]:
    """Stands for all code that has a say: ours by file, the rest by when something was last installed."""
    installed = [path for path in sys.path if path.endswith("-packages")]
    return [sys.version, sorted(_stamps(_PACKAGE)), [Path(path).stat().st_mtime_ns for path in installed]]


def _stamps(folder: str | Path) -> Iterator[tuple[str, int, int]]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name == "__pycache__":
                continue
            if entry.is_dir():
                yield from _stamps(entry.path)
            else:
                about = entry.stat()
                yield entry.path, about.st_mtime_ns, about.st_size


def _files(paths: Sequence[str]) -> Iterator[tuple[str, bool, str, str]]:
    """Every file meant: its path, whether it was given itself, where it really is, and what is in it."""
    folders: dict[Path, str] = {}
    for path, named in find(paths):
        if named:
            place = str(path.resolve())
        elif (place := folders.get(path.parent, "")) == "":
            place = folders[path.parent] = str(path.parent.resolve())
        yield str(path), named, place, _digest_of(path)


def _digest_of(path: Path) -> str:
    """Raises OSError, also for what is no regular file: reading a pipe would take its content away from who needs it."""
    if not path.is_file():
        raise OSError(f"{path} is no regular file")
    with path.open("rb") as file:
        data = file.read(MOST_BYTES + 1)
    if len(data) > MOST_BYTES:
        raise OSError(f"{path} is too large")
    return digest_bytes(data)


def _sight(look: Look) -> str:
    """The digest of what a look finds, else why it finds nothing."""
    try:
        if look.root:
            return digest_bytes(read_inside(Path(look.root), Path(look.base), look.file, MOST_BYTES))
        return "a link" if Path(look.file).is_symlink() else _digest_of(Path(look.file))
    except (PathEscape, TooLarge, OSError) as error:
        return type(error).__name__


# ---------------------------------------------------------------- as JSON


def _encoded(checked: Checked, looks: Sequence[Look]) -> dict[str, Any]:
    return {
        "looks": [[*look, _sight(look)] for look in dict.fromkeys(looks)],
        "diagnostics": list(map(_diagnostic_json, checked.diagnostics)),
        "config": list(map(_diagnostic_json, checked.config_diagnostics)),
        "files": checked.files,
        "heads": checked.heads,
        "workspace": str(checked.workspace),
        "state_path": str(checked.state_path),
    }


def _decoded(entry: Any) -> Checked | None:
    """None when something that the answer depends on looks different now. Raises for a value of another shape."""
    if any(_sight(Look(*look)) != seen for *look, seen in entry["looks"]):
        return None
    diagnostics = tuple(map(_diagnostic, entry["diagnostics"]))
    return Checked(
        diagnostics=diagnostics,
        sources={file: _text(Path(file)) for file in dict.fromkeys(d.file for d in diagnostics if d.span)},
        files=int(entry["files"]),
        heads=tuple(_head(*head) for head in entry["heads"]),
        config_diagnostics=tuple(map(_diagnostic, entry["config"])),
        workspace=Path(entry["workspace"]),
        state_path=Path(entry["state_path"]),
    )


def _head(name: str, digest: str, file: str, named: bool, called: bool, required: list[str], files: bool) -> Head:
    return Head(name, digest, file, named, called, tuple(required), files)


def _text(path: Path) -> str:
    with path.open("rb") as file:
        return file.read(MOST_BYTES).decode("utf-8", "replace")


def _diagnostic_json(d: Diagnostic) -> list[Any]:
    return [d.file, d.span, d.severity, d.rule, d.path, d.message, d.fix, d.notes]


def _diagnostic(data: Any) -> Diagnostic:
    file, span, severity, rule, path, message, fix, notes = data
    places = tuple((Span(*at), text) for at, text in notes)
    return Diagnostic(file, span and Span(*span), severity, rule, path, message, fix, places)
