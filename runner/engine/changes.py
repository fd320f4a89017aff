"""Which files of a folder an attempt touched, judged by what they hold, and the `changed` check over them.

Files are told apart by size, time of change, inode and mode; only where those differ is content compared, so that a file which was
rewritten as it was, or put back, counts as untouched. Not here: git (worktree.py), and who may work beside whom (the kernel)."""

import hashlib
import json
import os
import stat
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, NamedTuple

from runner.paths import HIDDEN, PathEscape, digest_inside, matcher

MAX_FILES: Final = 200_000
"""A workspace of more files is not watched: time and memory (some 500 bytes a file) stay bounded."""
MAX_TOUCHED: Final = 10_000
"""More touched files than this cannot be recorded as products."""
SHOWN: Final = 10
DIGEST_BYTES: Final = 1 << 20
"""Files up to this size are read when the step begins; a larger one counts as touched once anything about it differs."""
DIGESTED_TOTAL: Final = 512 << 20
RACY_NS: Final = 50_000_000
"""A file changed this shortly before we looked may change again within the same tick of the disk's clock (4 ms and more)."""
COARSE_RACY_NS: Final = 2_100_000_000
"""The same for file systems that keep whole seconds, or two."""
IGNORED: Final = frozenset({
    ".venv", ".tox", ".nox", ".pytest_cache", ".mypy_cache", ".ruff_cache", ".hypothesis", "__pycache__", "node_modules",
})  # fmt: skip
"""Folders of tools, which are no work of a step, unless its `only` names them. `.git` and `.ares` never count."""


class TooMany(Exception):
    """There are more files than can be watched; the text says how many are too many."""


class Sig(NamedTuple):
    """What the disk says of a file without reading it."""

    size: int
    mtime_ns: int
    inode: int
    mode: int


class Entry(NamedTuple):
    """A file as it was. `digest`: of its content, "" = not taken. `racy`: its times cannot be trusted, only its content."""

    sig: Sig
    digest: str
    racy: bool


Snapshot = dict[str, Entry]
"""Path (relative, with `/`) → entry."""


class Area(NamedTuple):
    """What is watched: the files below `root`, but none in folders of the names `ignored`, nor below `skipped` (relative paths)."""

    root: Path
    ignored: frozenset[str] = HIDDEN | IGNORED
    skipped: frozenset[str] = frozenset()


def area(root: Path, only: Sequence[str], own: Sequence[Path]) -> Area:
    """The area of a `changed` check in `root`. `own`: folders of ours, which may lie in it."""
    named = {part for pattern in only for part in pattern.split("/")}
    top = root.resolve()
    skipped = {path.resolve().relative_to(top).as_posix() for path in own if path.resolve().is_relative_to(top)}
    return Area(top, HIDDEN | (IGNORED - named), frozenset(skipped))


# ---------------------------------------------------------------- looking


def snapshot(area: Area, known: Mapping[str, Entry] | None = None) -> Snapshot:
    """The files as they are. `known`: an earlier snapshot, whose digests hold for what has not changed since. Raises TooMany."""
    found: Snapshot = {}
    left = DIGESTED_TOTAL
    for path, sig in _files(area):
        old = known.get(path) if known else None
        racy = _racy(sig)
        if old is not None and old.sig == sig and old.digest and not old.racy:
            found[path] = Entry(sig, old.digest, racy)
            continue
        readable = sig.size <= min(DIGEST_BYTES, left)
        left -= sig.size if readable else 0
        found[path] = Entry(sig, _digest(area.root / path, sig.mode) if readable else "", racy)
    return found


def touched(area: Area, before: Mapping[str, Entry]) -> dict[str, str]:
    """The files that are not as they were `before`, sorted: path → digest of what it holds now, "" = it is gone. Raises TooMany."""
    found: dict[str, str] = {}
    gone = set(before)
    for path, sig in _files(area):
        gone.discard(path)
        old = before.get(path)
        if old is not None and old.sig == sig and not (old.racy and old.digest):
            continue
        digest = _digest(area.root / path, sig.mode)
        if old is None or old.digest != digest or old.sig.mode != sig.mode:
            found[path] = digest
    found |= dict.fromkeys(gone, "")
    return dict(sorted(found.items()))


def _files(area: Area) -> Iterator[tuple[str, Sig]]:
    """Everything but folders; what vanishes meanwhile, or may not be read, is not there."""
    count = 0
    folders = [""]
    while folders:
        below = folders.pop()
        for path, entry in _entries(area, below):
            with suppress(OSError):
                if entry.is_dir(follow_symlinks=False):
                    folders.append(path)
                    continue
                info = entry.stat(follow_symlinks=False)
                count += 1
                if count > MAX_FILES:
                    raise TooMany(f"more than {MAX_FILES} files in {area.root}, which is more than `changed` can watch")
                yield path, Sig(info.st_size, info.st_mtime_ns, info.st_ino, info.st_mode)


def _entries(area: Area, below: str) -> Iterator[tuple[str, os.DirEntry[str]]]:
    with suppress(OSError), os.scandir(f"{area.root}/{below}") as entries:
        for entry in entries:
            path = f"{below}/{entry.name}" if below else entry.name
            hidden = entry.name in area.ignored and (entry.name in HIDDEN or entry.is_dir(follow_symlinks=False))
            if not hidden and path not in area.skipped:
                yield path, entry


def _racy(sig: Sig) -> bool:
    window = COARSE_RACY_NS if sig.mtime_ns % 1_000_000_000 == 0 else RACY_NS
    return sig.mtime_ns > time.time_ns() - window


def _digest(path: Path, mode: int) -> str:
    """32 hex digits of a file's content, of where a link leads; what cannot be read has the digest of nothing, never ""."""
    total = hashlib.blake2b(digest_size=16)
    with suppress(OSError):
        if stat.S_ISLNK(mode):
            total.update(os.fsencode(path.readlink()))
        elif stat.S_ISREG(mode):
            descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
            with os.fdopen(descriptor, "rb", buffering=0) as file:
                while chunk := file.read(DIGEST_BYTES):
                    total.update(chunk)
    return total.hexdigest()


def content_digest(root: Path, path: str) -> str:
    """What a product holds now, as `Outcome.products` records it: the digest of the file at `path` in `root`, whatever links lead
    to it, "" when there is none (a pipe, a socket or a device is none)."""
    try:
        return digest_inside(root, root, path)
    except (OSError, PathEscape, ValueError):
        return ""


def products(root: Path, paths: Collection[str]) -> dict[str, str]:
    """`Outcome.products` of these files. One whose name is no text is recorded under a name that no file has: never reused."""
    return {_as_text(path): content_digest(root, path) for path in paths}


def _as_text(path: str) -> str:
    return os.fsencode(path).decode("utf-8", "replace")


# ---------------------------------------------------------------- judging


def judged(spec: Mapping[str, Any], paths: Collection[str]) -> tuple[bool, str]:
    """Whether a `changed` check ({"only", "min_files", "max_files"}) passes for these touched files, and why."""
    only = list(spec.get("only") or ("**",))
    try:
        fits = matcher(only)
    except PathEscape as error:
        return False, f"`only` cannot be evaluated: {error}"
    outside = [path for path in paths if not fits(path)]
    least, most, count = spec.get("min_files", 1), spec.get("max_files"), len(paths)
    if outside:
        return False, f"{_files_of(outside)} touched outside of {', '.join(only)}: {listed(outside)}"
    if count < least:
        return False, f"{_files_of(paths)} touched, at least {least} expected{': ' if count else ''}{listed(paths)}"
    if most is not None and count > most:
        return False, f"{_files_of(paths)} touched, at most {most} allowed: {listed(paths)}"
    if count > MAX_TOUCHED:
        return False, f"{count} files touched: more than {MAX_TOUCHED} cannot be recorded"
    return True, f"{_files_of(paths)} touched{': ' if count else ''}{listed(paths)}"


def _files_of(paths: Collection[str]) -> str:
    return "1 file" if len(paths) == 1 else f"{len(paths)} files"


def listed(paths: Collection[str]) -> str:
    """The first of these, for a message."""
    shown = ", ".join(_as_text(path) for path in sorted(paths)[:SHOWN])
    return shown if len(paths) <= SHOWN else f"{shown} and {len(paths) - SHOWN} more"


# ---------------------------------------------------------------- from one attempt of a step to the next


def carried(before: Mapping[str, Entry], paths: Collection[str]) -> bytes:
    """What an attempt that failed leaves to the next one of its step: how the files that it touched were when the step began."""
    kept = {path: [*before[path].sig, before[path].digest] if path in before else None for path in paths}
    return json.dumps(kept).encode()


def with_carried(before: Snapshot, data: bytes) -> Snapshot:
    """A new attempt's snapshot, with what earlier attempts touched as it was before them. Raises ValueError for other data."""
    result = dict(before)
    for path, old in json.loads(data).items():
        if old is None:
            result.pop(path, None)
        else:
            result[path] = Entry(Sig(*old[:4]), old[4], racy=True)
    return result
