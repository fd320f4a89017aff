"""`gc`: removes ended runs that are older than config's `state.keep`, their logs and folders, and large results that nobody names any more.

Which runs nobody needs is the store's to judge, in the transaction that removes them (store/leases.py, `may_forget`); here is their age,
and what lies beside the database. See docs/gc.md.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from runner.api.settings import Settings
from runner.api.wiring import open_store
from runner.clock import Clock, Millis, SystemClock
from runner.core.plan import UNFINISHED
from runner.engine.attempt import GIT_S
from runner.engine.logs import run_folder
from runner.engine.worktree import GitFailed, Worktrees
from runner.executors.local import LocalCommands
from runner.ports import CallResult, Request, RunRow, Store

BATCH = 20
"""Trees in one transaction: others wait for it."""

ESCAPED = ("logs", "worktrees", "touched")
PLAIN = "runs"
"""Folders with one folder for each run; of ESCAPED its name is as `run_folder` writes it."""

_EVERYTHING = 1 << 31
_MAGIC = b"SQLite format 3\0"
_OUR_RUN = re.compile(r"[0-9a-f]{10}(\..*)?")
_ESCAPED = re.compile(r"%([0-9a-f]{1,5}|10[0-9a-f]{4})%")


@dataclass(frozen=True, slots=True)
class Candidate:
    """An old run: removed, or why not ("" = removed)."""

    row: RunRow
    kept: str


@dataclass(frozen=True, slots=True)
class Cleared:
    """What was removed (or would be). `freed`: bytes given back to the disk; `left`: folders that could not be removed."""

    candidates: tuple[Candidate, ...] = ()
    runs: tuple[str, ...] = ()
    freed: int = 0
    left: tuple[str, ...] = ()
    dry: bool = False
    recent: int = 0
    """Runs that are not old enough to be looked at."""

    @property
    def removed(self) -> tuple[RunRow, ...]:
        return tuple(each.row for each in self.candidates if not each.kept)

    def to_json(self) -> dict[str, Any]:
        """The document of `gc --json`."""
        return {
            "version": 1,
            "dry_run": self.dry,
            "removed": [_row_json(each.row) for each in self.candidates if not each.kept],
            "kept": [_row_json(each.row) | {"reason": each.kept} for each in self.candidates if each.kept],
            "freed_bytes": self.freed,
            "left": list(self.left),
        }


def _row_json(row: RunRow) -> dict[str, Any]:
    return {"run": row.run, "manifest": row.name, "state": row.state, "ended": row.finished}


def judged(rows: Sequence[RunRow], before: Millis) -> list[Candidate]:
    """The root runs among `rows` (newest first) that ended before a moment, each with why it stays. The store has the last word."""
    newest: set[str] = set()
    found: list[Candidate] = []
    for row in rows:
        first = row.state != "superseded" and row.task not in newest
        if row.state != "superseded":
            newest.add(row.task)
        if (row.finished or row.created) < before:
            found.append(Candidate(row, _reason(row, newest=first)))
    return found


def _reason(row: RunRow, *, newest: bool) -> str:
    if row.state in UNFINISHED:
        return "it is not finished: `runner apply` or `runner resume` goes on with it"
    if not newest:
        return ""
    if row.state == "succeeded":
        return "the newest run of its task: without it, `runner apply` would do everything again"
    return "the newest run of its task: `runner apply` goes on with it"


async def gc(
    settings: Settings, *, keep: Millis | None = None, dry_run: bool = False, clock: Clock | None = None
) -> Cleared:
    """Remove what ended more than `keep` milliseconds ago (None: config's `state.keep`). Raises the StoreError family."""
    clock = clock or SystemClock()
    if not settings.state_path.exists():
        return Cleared(dry=dry_run)
    before = clock.now() - (settings.config.state.keep if keep is None else keep)
    store = open_store(settings, clock, read_only=dry_run)
    try:
        rows = store.runs(limit=_EVERYTHING)
        candidates = judged(rows, before)
        recent = len(rows) - len(candidates)
        if dry_run:
            return Cleared(tuple(candidates), dry=True, recent=recent)
        cleared = await _clear(store, candidates, settings.state_path)
        await _prune(settings)
        driven = any(row.owner_alive for row in rows)
        freed = cleared.freed + (0 if driven else store.compact())  # a rewrite makes others wait
        return Cleared(cleared.candidates, cleared.runs, freed, cleared.left, recent=recent)
    finally:
        store.close()


@dataclass(slots=True)
class _Work:
    gone: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    freed: int = 0


async def _clear(store: Store, candidates: Sequence[Candidate], database: Path) -> Cleared:
    work, folder = _Work(), database.parent
    roots = [each.row.run for each in candidates if not each.kept]
    for start in range(0, len(roots), BATCH):
        gone = await store.forget(roots[start : start + BATCH])
        work.gone += gone
        _remove(work, (path for run in gone for path in folders(folder, run)))
    await store.sweep()
    _remove(work, forsaken(database, store))
    gone_now = frozenset(work.gone)
    final = [_settled(each, gone_now) for each in candidates]
    return Cleared(tuple(final), tuple(work.gone), work.freed, tuple(work.left))


async def _prune(settings: Settings) -> None:
    """Git keeps a list of worktrees: it forgets those that are gone. Where there is no git, there is no list."""
    folder = settings.state_path.parent / "worktrees"
    if not folder.is_dir():
        return
    commands = LocalCommands()

    async def git(argv: Sequence[str], cwd: Path, env: Mapping[str, str]) -> CallResult:
        return await commands.call(Request("local", "run", {"argv": list(argv)}, env, str(cwd), "", GIT_S))

    try:
        await Worktrees(folder, settings.workspace, git).prune()
    except GitFailed:
        pass  # the repository is gone, or never was one: then nothing is listed that could be in the way
    finally:
        await commands.close()


def _settled(each: Candidate, gone: frozenset[str]) -> Candidate:
    if each.kept or each.row.run in gone:
        return each
    return Candidate(each.row, "somebody may need it right now: a run that goes on, or a step whose outcome is unknown")


def folders(state: Path, run: str) -> list[Path]:
    """What a run has beside the database: its logs, worktrees that were kept, notes on what it touched, its own folder (`run.dir`)."""
    return [*(run_folder(state / kind, run) for kind in ESCAPED), state / PLAIN / run]


def forsaken(database: Path, store: Store) -> Iterator[Path]:
    """Folders of runs that the record does not know: those of a gc that was killed. Only where the whole folder is ours by name, and no
    other database's, whose runs we would take for forsaken ones."""
    state = database.parent
    if state.name != ".ares" or any(True for _ in _other_databases(database)):
        return
    for kind in (*ESCAPED, PLAIN):
        parent = state / kind
        for path in sorted(parent.iterdir()) if parent.is_dir() else ():
            run = _ESCAPED.sub(lambda match: chr(int(match[1], 16)), path.name) if kind in ESCAPED else path.name
            if _OUR_RUN.fullmatch(run) and store.run(run) is None:
                yield path


def _other_databases(own: Path) -> Iterator[Path]:
    """SQLite databases beside ours, but for the copies that are made before a migration. Ours is not opened: closing it again would
    take the locks from SQLite, which are the process's, not the descriptor's."""
    for path in own.parent.iterdir():
        if path.suffix in (".backup", ".draft") or not path.is_file() or path.samefile(own):
            continue
        try:
            with path.open("rb") as file:
                if file.read(len(_MAGIC)) == _MAGIC:
                    yield path
        except OSError:
            yield path  # not ours to read, so perhaps somebody's record


def _remove(work: _Work, paths: Iterable[Path]) -> None:
    for path in paths:
        if not path.is_dir() or path.is_symlink():
            continue
        size = _size(path)
        try:
            shutil.rmtree(path)
            work.freed += size
        except OSError as error:
            work.left.append(f"{error.filename or path}: {error.strerror or error}")


def _size(folder: Path) -> int:
    """Bytes of the files in a folder, without following links."""
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.lstat().st_size if not path.is_dir() else 0
        except OSError:
            continue  # gone meanwhile, or not ours to read
    return total
