"""`generate`: a template and rows → manifests in a folder. Everything is rendered and validated before anything is written."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from runner.api.load import Loaded, load
from runner.api.settings import Settings
from runner.digest import digest, digest_bytes
from runner.errors import InvalidInput, UsageError
from runner.generate import index as indexing
from runner.generate.fill import fill
from runner.generate.index import Change, Source
from runner.generate.problem import GenerateError
from runner.generate.rows import ROWS_LIMIT, SUFFIXES, Form, Row, parse
from runner.generate.template import Template, path_of
from runner.paths import PathEscape, TooLarge, glob_inside, inside, read_inside, write_atomic
from runner.syntax import read

MOST_SHOWN = 10
TEMPLATE_LIMIT = 1024 * 1024
_INDEX_LIMIT = 64 * 1024 * 1024
_WILD = frozenset("*?[")


@dataclass(frozen=True, slots=True)
class Wish:
    """What is asked for. `path`: template of the path of each file below `out`; None: the manifest's name. `stdin`: its content."""

    template: Path
    rows: str
    out: Path
    path: str | None = None
    form: Form | None = None
    prune: bool = False
    force: bool = False
    stdin: Callable[[], bytes] = lambda: b""


@dataclass(frozen=True, slots=True)
class Generation:
    """What a generation would do. `loaded`: the result of validating all of it, with its sources."""

    changes: tuple[Change, ...]
    loaded: Loaded
    out: Path
    index_text: str | None
    """What is to stand in the index; None when it stands there already."""
    row_of: Mapping[str, int]
    """The file of each manifest, as diagnostics name it → the number of its row."""
    seen: Mapping[str, str]
    """Path → the digest of what stood there when that was decided; "" = nothing did."""

    def paths(self, *actions: str) -> list[str]:
        """The paths with one of these actions."""
        return [change.path for change in self.changes if change.action in actions]

    @property
    def pending(self) -> bool:
        """Whether anything would be written or removed."""
        refused = self.paths("edited", "foreign")
        return bool(refused or self.index_text is not None or self.paths("new", "changed", "removed", "gone"))


def generation(wish: Wish, settings: Settings) -> Generation:
    """Renders and validates; writes nothing. Raises UsageError for what cannot be read, InvalidInput for mistakes in template or rows.
    Mistakes of the manifests made are in `loaded.diagnostics`."""
    template_text, path_text = _read(wish.template, TEMPLATE_LIMIT).decode("utf-8", "strict"), wish.path
    try:
        template = Template(template_text)
    except GenerateError as error:
        raise InvalidInput(f"{wish.template}: {error.message}", hint=error.fix) from error
    rows = _rows(wish)
    root = settings.project_root
    source = Source(_portable(wish.template, root), _rows_name(wish, root))
    try:
        rows_digest = digest(rows)
        paths = Template(path_text) if path_text is not None else None
        known = indexing.parse(_content(wish.out, indexing.FILE, _INDEX_LIMIT))
        wanted = _wanted(template, paths, rows, source)
        disk = {
            path: _content(wish.out, path, TEMPLATE_LIMIT)
            for path in {*wanted, *known.get(source, indexing.Set()).files}
        }
        changes = indexing.decide(wanted, known, source, disk, prune=wish.prune, force=wish.force)
    except GenerateError as error:
        raise InvalidInput(error.message, hint=error.fix) from error
    except (UnicodeEncodeError, RecursionError) as error:
        raise InvalidInput(f"{wish.rows}: the rows hold what is no text, or are nested too deeply") from error
    loaded = load([], settings, contents={wish.out / path: text.encode() for path, text in wanted.items()})
    made_of = indexing.Set({}, digest_bytes(template_text.encode()), rows_digest)
    after = indexing.updated(known, source, made_of, changes)
    index_text = indexing.text_of(after) if after != known else None
    row_of = {str(wish.out / path): number for number, path in enumerate(wanted, 1)}
    seen = {path: _digest(there) for path, there in disk.items()}
    return Generation(tuple(changes), loaded, wish.out, index_text, row_of, seen)


def write(done: Generation) -> None:
    """Does it. Raises UsageError when a file was edited by hand (also since it was looked at), or is none of ours; nothing is written
    then."""
    _refuse(
        done.paths("edited", "foreign"), "not as `generate` left them", "--force writes over what was edited by hand"
    )
    touched = done.paths("new", "changed", "removed")
    moved = [path for path in touched if _digest(_content(done.out, path, TEMPLATE_LIMIT)) != done.seen[path]]
    _refuse(moved, "changed just now by somebody else", "the same command again looks at them anew")
    try:
        done.out.mkdir(parents=True, exist_ok=True)
        for change in done.changes:
            if change.action in ("new", "changed"):
                write_atomic(done.out, Path(change.path), change.text.encode())
            elif change.action == "removed":
                inside(done.out, done.out, change.path).unlink(missing_ok=True)
        if done.index_text is not None:
            write_atomic(done.out, Path(indexing.FILE), done.index_text.encode())
    except PathEscape as error:
        raise UsageError(str(error)) from error
    except OSError as error:
        raise UsageError(f"cannot write {error.filename or done.out}: {error.strerror}") from error


def _refuse(paths: Sequence[str], why: str, hint: str) -> None:
    if paths:
        shown = ", ".join(paths[:MOST_SHOWN]) + (", …" if len(paths) > MOST_SHOWN else "")
        raise UsageError(f"{why}, so nothing was written: {shown}", hint=hint)


def _digest(content: bytes | None) -> str:
    return "" if content is None else digest_bytes(content)


def _read(path: Path, limit: int) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(limit + 1)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror or error}") from error
    if len(data) > limit:
        raise UsageError(f"{path} is larger than {limit // 1024} KiB, the limit")
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not UTF-8 text", hint="save it as UTF-8") from error
    return data


def _portable(path: Path, root: Path) -> str:
    """The name of a file that is the same on every machine, as text."""
    full = path.resolve()
    name = full.relative_to(root).as_posix() if full.is_relative_to(root) else full.name
    return _as_text(name)


def _as_text(name: str) -> str:
    return os.fsencode(name).decode("utf-8", "replace")


def _rows_name(wish: Wish, root: Path) -> str:
    if wish.rows == "-":
        return "stdin"
    return _as_text(wish.rows) if _is_glob(wish.rows) else _portable(Path(wish.rows), root)


def _is_glob(rows: str) -> bool:
    return bool(_WILD.intersection(rows)) and not Path(rows).exists()


def _rows(wish: Wish) -> Sequence[Row]:
    if _is_glob(wish.rows):
        return _file_rows(wish.rows)
    form = wish.form or SUFFIXES.get(PurePosixPath(wish.rows).suffix.lower())
    try:
        return parse(wish.stdin() if wish.rows == "-" else _rows_data(wish.rows), form)
    except GenerateError as error:
        raise InvalidInput(f"{wish.rows}: {error.message}", hint=error.fix) from error


def _rows_data(rows: str) -> bytes:
    try:
        with Path(rows).open("rb") as file:
            return file.read(ROWS_LIMIT + 1)
    except (OSError, ValueError) as error:
        raise UsageError(f"{rows}: {getattr(error, 'strerror', None) or error}") from error


def _file_rows(pattern: str) -> list[Row]:
    """A row for each file: its path, name and stem, and the data of one that is JSON or YAML."""
    here = Path.cwd()
    try:
        found = glob_inside(here, [pattern])
        return [_file_row(here, path) for path in found]
    except (PathEscape, TooLarge) as error:
        raise UsageError(f"--rows {pattern}: {error}", hint="a pattern below the working directory") from error
    except OSError as error:
        raise UsageError(f"--rows {pattern}: {error.strerror}") from error


def _file_row(here: Path, path: Path) -> dict[str, Any]:
    name = path.relative_to(here).as_posix()
    row: dict[str, Any] = {"path": name, "name": path.name, "stem": path.stem}
    form = SUFFIXES.get(path.suffix.lower())
    if form not in ("json", "yaml"):
        return row
    try:
        found = parse(read_inside(here, here, name, TEMPLATE_LIMIT), form)
    except GenerateError as error:
        raise InvalidInput(f"{name}: {error.message}", hint=error.fix) from error
    if len(found) != 1:
        raise InvalidInput(f"{name}: expected one map", hint="a file that holds many rows is given by its name")
    return row | {"data": dict(found[0])}


def _wanted(template: Template, paths: Template | None, rows: Sequence[Row], source: Source) -> dict[str, str]:
    """Path → text of every file. Raises GenerateError with the mistakes of all rows."""
    wanted: dict[str, str] = {}
    owners: dict[str, int] = {}
    mistakes: list[tuple[int, GenerateError]] = []
    for number, row in enumerate(rows, 1):
        try:
            text = fill(template.render(row, number))
            path = path_of(paths, row, number) if paths is not None else f"{_name(text)}.yaml"
            indexing.refuse_path(path)
            # Some file systems take names that differ in capitals only for one.
            if (other := owners.setdefault(path.casefold(), number)) != number:
                raise GenerateError(
                    f"{path} is the file of row {other} already", "--path, with what tells the rows apart"
                )
            wanted[path] = indexing.with_header(text, source, number, row)
        except GenerateError as error:
            mistakes.append((number, error))
    if mistakes:
        raise _all(mistakes, source)
    return wanted


def _name(text: str) -> str:
    documents, _ = read(text.encode(), "result")
    data = documents[0].data if documents else None
    name = data.get("name") if isinstance(data, dict) else None
    if not isinstance(name, str) or "/" in name:
        raise GenerateError("the manifest has no name to call its file by", "--path '[[ row.name ]].yaml'")
    return name


def _all(mistakes: Sequence[tuple[int, GenerateError]], source: Source) -> GenerateError:
    shown = [f"row {number} of {source.rows}: {error.message}" for number, error in mistakes[:MOST_SHOWN]]
    more = len(mistakes) - len(shown)
    lines = [f"{source.template}: nothing was written", *shown, *([f"and {more} rows more"] if more else [])]
    fixes = dict.fromkeys(error.fix for _, error in mistakes[:MOST_SHOWN] if error.fix)
    return GenerateError("\n  ".join(lines), "; ".join(fixes) or None)


def _content(out: Path, path: str, limit: int) -> bytes | None:
    """What stands at a path below the folder; None when nothing does."""
    if not os.path.lexists(out / path):
        return None
    try:
        if inside(out, out, path) != out.resolve() / path:
            raise UsageError(f"{out / path} is, or is behind, a link", hint="remove the link")
        return read_inside(out, out, path, limit)
    except (PathEscape, TooLarge) as error:
        raise UsageError(str(error)) from error
    except OSError as error:
        raise UsageError(f"{out / path}: {error.strerror}") from error


def counts(done: Generation) -> Mapping[str, int]:
    """How many paths each action has."""
    found: dict[str, int] = {}
    for change in done.changes:
        found[change.action] = found.get(change.action, 0) + 1
    return found
