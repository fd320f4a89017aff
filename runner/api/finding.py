"""Which files a command means: manifests given themselves, and those below the folders that were given. Nothing is read here."""

import os
from collections.abc import Callable, Iterator, Sequence
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


def find(paths: Sequence[str | Path], what: str = "manifests") -> Iterator[tuple[Path, bool]]:
    """Every file, and whether it was given itself. Raises UsageError when a path does not exist, or a folder cannot be looked into.
    `what`: the kind of files that a command wants, for its message."""
    hint = f"give {what}, or folders that hold some"
    for given in paths:
        path = Path(given)
        if given == "":  # not the folder that we are in: `runner apply "$DIR"` without a DIR would run all of that
            raise UsageError("no file or folder ''", hint=hint)
        if os.path.isdir(path):  # noqa: PTH112  Path.is_dir raises where nobody may look
            yield from ((found, False) for found in _walk(path, _refused))
        elif os.path.exists(path):  # noqa: PTH110
            yield path, True
        else:
            raise UsageError(f"no file or folder {str(path)!r}", hint=hint)


def find_now(folder: Path) -> Iterator[Path]:
    """The manifest files below a folder that others are changing: what goes away meanwhile, or cannot be looked into, holds none."""
    return _walk(folder, lambda folder, error: None)


def _refused(folder: Path, error: OSError) -> None:
    raise UsageError(
        f"{folder}: {error.strerror or error}",
        hint="let the user who runs this look into it, or name the manifests themselves",
    ) from error


def _walk(folder: Path, refused: Callable[[Path, OSError], None]) -> Iterator[Path]:
    """Manifest files below `folder` by path, without hidden ones and symlinks. `refused` is told of a folder that cannot be looked into."""
    try:
        with os.scandir(folder) as entries:
            listed = sorted(
                (entry.name, entry.is_dir(follow_symlinks=False), entry.is_file(follow_symlinks=False))
                for entry in entries
            )
    except OSError as error:
        refused(folder, error)
        return
    for name, is_folder, is_file in listed:
        path = folder / name
        if name.startswith("."):
            continue
        if is_folder:
            yield from _walk(path, refused)
        elif is_file and path.suffix in SUFFIXES:  # reading a pipe would never end
            yield path
