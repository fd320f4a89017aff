"""Which files a command means: manifests given themselves, and those below the folders that were given. Nothing is read here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from runner.errors import UsageError

SUFFIXES = (".yaml", ".yml")


class Look(NamedTuple):
    """A look at a file that a manifest names: `file` as written, taken from the folder `base`, inside `root`. Without these two: at a
    callee's own file, which must be no link."""

    file: str
    base: str = ""
    root: str = ""


def find(paths: Sequence[str | Path]) -> Iterator[tuple[Path, bool]]:
    """Every file, and whether it was given itself. Raises UsageError when a path does not exist."""
    for given in paths:
        path = Path(given)
        if path.is_dir():
            yield from ((found, False) for found in _walk(path))
        elif path.exists():
            yield path, True
        else:
            raise UsageError(f"no file or folder {str(path)!r}", hint="give manifests, or folders that hold some")


def find_now(folder: Path) -> Iterator[Path]:
    """The manifest files below a folder that others are changing: what goes away meanwhile, or cannot be looked into, holds none."""
    return _walk(folder, _tolerant)


def _tolerant(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:
        return []


def _walk(folder: Path, inside: Callable[[Path], Iterable[Path]] = Path.iterdir) -> Iterator[Path]:
    """Manifest files below `folder` by path, without hidden ones and symlinks."""
    for entry in sorted(inside(folder)):
        if entry.name.startswith(".") or entry.is_symlink():
            continue
        if entry.is_dir():
            yield from _walk(entry, inside)
        elif entry.suffix in SUFFIXES and entry.is_file():  # reading a pipe would never end
            yield entry
