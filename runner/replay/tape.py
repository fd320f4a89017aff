"""The file of a recording: read, written, merged. Texts that are long, or that no YAML of ours may hold, lie in files beside it.

`{$file: NAME}` stands for a text in such a file, `{$json: NAME}` for a value; names are relative to the recording and come from the call's
place, so that a changed answer is a changed file in git."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from runner.core.graph import Json
from runner.diagnostics.model import Diagnostic, Problem
from runner.manifest.checked import check
from runner.manifest.suite import Recording
from runner.paths import PathEscape, TooLarge, read_inside, write_atomic
from runner.replay.yaml_text import to_yaml
from runner.syntax import Limits, place, read
from runner.syntax.text import CONTROL

INLINE_CHARS: Final = 4_000
"""A longer text lies in a file of its own."""
LIMITS: Final = Limits(file_bytes=64 << 20, depth=200, nodes=2_000_000)
SIDE_BYTES: Final = 256 << 20
_UNSAFE: Final = re.compile(r"[^A-Za-z0-9._-]+")
_MARKS: Final = ("$file", "$json")
HEAD: Final = """\
# Answers of executors and models, recorded by `{command}`.
# Look at the diff before you commit it. A change of what is asked needs a new recording; an answer may be edited.
"""


@dataclass(frozen=True, slots=True)
class Tape:
    """A recording as it is on disk. `raw`: its cases as data, side files not read, for those that are not recorded anew."""

    path: Path
    recording: Recording
    raw: Mapping[str, Json] = field(default_factory=dict)
    there: bool = False


def load(path: Path, shown: str) -> tuple[Tape, list[Diagnostic], str]:
    """The recording at `path` (an empty one when there is none), what is wrong with it, and its text. `shown`: its name for people."""
    empty = Tape(path, Recording.model_validate({"ares-recording": "v1"}))
    try:
        with path.open("rb") as file:
            data = file.read(LIMITS.file_bytes + 1)
    except FileNotFoundError:
        return empty, [], ""
    except OSError as error:
        return empty, [Diagnostic(shown, None, "error", "test-recording", "", f"cannot be read: {error.strerror}")], ""
    text = data.decode("utf-8", "replace")
    documents, diagnostics = read(data, shown, LIMITS)
    if any(one.severity == "error" for one in diagnostics) or len(documents) != 1:
        return (
            empty,
            diagnostics or [Diagnostic(shown, None, "error", "test-recording", "", "expected one document")],
            text,
        )
    problems: list[Problem] = []
    whole = _resolved(documents[0].data, (), path.parent, problems)
    recording, found = check(Recording, whole)
    diagnostics += place([*problems, *found], documents)
    if recording is None or problems:
        return empty, diagnostics, text
    return Tape(path, recording, documents[0].data.get("cases") or {}, there=True), diagnostics, text


def _resolved(value: Json, loc: tuple[str | int, ...], folder: Path, problems: list[Problem]) -> Any:
    """`value` with what lies beside it in its place."""
    if isinstance(value, list):
        return [_resolved(child, (*loc, at), folder, problems) for at, child in enumerate(value)]
    if not isinstance(value, dict):
        return value
    if len(value) == 1 and (mark := next(iter(value))) in _MARKS:
        try:
            text = read_inside(folder, folder, str(value[mark]), SIDE_BYTES).decode("utf-8")
            return text if mark == "$file" else json.loads(text)
        except (OSError, PathEscape, TooLarge, ValueError, RecursionError) as error:
            why = getattr(error, "strerror", None) or error
            problems.append(Problem("test-recording", (*loc, mark), f"{value[mark]}: {why}", "record it again"))
            return None
    return {key: _resolved(child, (*loc, key), folder, problems) for key, child in value.items()}


# ---------------------------------------------------------------- writing


@dataclass(slots=True)
class _Side:
    """The files beside a recording that its new text names."""

    stem: str
    files: dict[str, str] = field(default_factory=dict)

    def keep(self, where: str, text: str, ending: str, mark: str) -> dict[str, str]:
        wanted = f"{self.stem}/{_UNSAFE.sub('-', where).strip('-.')[:120]}"
        name, at = f"{wanted}.{ending}", 1
        while self.files.get(name, text) != text:
            at += 1
            name = f"{wanted}-{at}.{ending}"
        self.files[name] = text
        return {mark: name}


def write(tape: Tape, made: Mapping[str, Mapping[str, Json]], order: Sequence[str], command: str) -> None:
    """Write `made` (case → data of a `RecordedCase`) over what the tape had of these cases. `order`: all cases of the suite; others
    are forgotten. Nothing is written when nothing changed. Raises OSError, PathEscape."""
    side = _Side(tape.path.stem)
    cases: dict[str, Json] = {}
    for name in order:
        if name in made and made[name]["calls"]:
            cases[name] = _beside(made[name], name, side)
        elif name not in made and name in tape.raw:
            cases[name] = tape.raw[name]
    if not cases and not tape.there:
        return
    tape.path.parent.mkdir(parents=True, exist_ok=True)
    folder = tape.path.parent.resolve()
    for name, text in side.files.items():
        _write(folder, folder / name, text)
    body = to_yaml({"ares-recording": "v1", "cases": cases})
    _write(folder, folder / tape.path.name, HEAD.format(command=command) + body)
    _sweep(folder, tape.path.stem, cases)


def _write(folder: Path, path: Path, text: str) -> None:
    data = text.encode("utf-8", "replace")
    if not path.is_file() or path.read_bytes() != data:
        write_atomic(folder, path, data)


def _beside(value: Json, case: str, side: _Side) -> Any:
    data = dict(value)
    data["calls"] = [_outside(call, _where(case, call), side) for call in data.get("calls", ())]
    return data


def _where(case: str, call: Mapping[str, Json]) -> str:
    return ".".join(str(part) for part in (case, call["step"], call.get("part"), call.get("call")) if part)


def _outside(value: Json, where: str, side: _Side) -> Any:
    """`value` with what cannot stand in the YAML, or is too long for it, in files."""
    if isinstance(value, str):
        if len(value) > INLINE_CHARS or CONTROL.search(value) or "\r" in value:
            return side.keep(where, value, "txt", "$file")
        return value
    if isinstance(value, list | tuple):
        return [_outside(child, where, side) for child in value]
    if not isinstance(value, Mapping):
        return value
    if any(CONTROL.search(key) or key in _MARKS for key in value):
        return side.keep(where, json.dumps(value, ensure_ascii=True, indent=1), "json", "$json")
    return {
        key: _outside(child, where if key in ("answer", "text") else f"{where}.{key}", side)
        for key, child in value.items()
    }


def _sweep(folder: Path, stem: str, cases: Json) -> None:
    """Remove the files beside the recording that nothing names any more."""
    named = set(_named(cases))
    beside = folder / stem
    if beside.is_dir() and not beside.is_symlink():
        for file in beside.iterdir():
            if file.suffix in (".txt", ".json") and f"{stem}/{file.name}" not in named:
                file.unlink()
        if not any(beside.iterdir()):
            beside.rmdir()


def _named(value: Json) -> list[str]:
    if isinstance(value, Mapping):
        if len(value) == 1 and next(iter(value)) in _MARKS:
            return [str(next(iter(value.values())))]
        return [name for child in value.values() for name in _named(child)]
    return [name for child in value for name in _named(child)] if isinstance(value, list | tuple) else []
