"""Where config.yaml and the project root are. What the file says is for `config_file.py`: here nothing is parsed."""

from __future__ import annotations

import re
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path

from runner.errors import UsageError
from runner.manifest.vocabulary import CONFIG_KEYS

NAME = "config.yaml"
_OURS = rf"(?m)^(?:{'|'.join(sorted(CONFIG_KEYS))})[ \t]*:"
_LOOKED_AT = 1024 * 1024
"""Bytes of a file that are searched for a key of ours."""


def locate_config(path: Path | None, start: Path, env: Mapping[str, str]) -> tuple[Path, str] | None:
    """The config file, and what messages call it: `path`, else `RUNNER_CONFIG`, else config.yaml beside the nearest `.ares/`, in
    `start`, or in the project root. Raises UsageError for a named one that is not there."""
    named = path or (Path(env["RUNNER_CONFIG"]) if env.get("RUNNER_CONFIG") else None)
    if named is not None:
        file = start / at_home(named)
        if not file.is_file():
            raise UsageError(
                f"no config file {named}", hint="name one with --config or RUNNER_CONFIG, or leave both out"
            )
        return file, str(named)
    ares = _nearest(start, ".ares")
    folders = [ares, start] if ares else [start]
    found = next((folder / NAME for folder in folders if (folder / NAME).is_file()), None) or _above(start)
    return (found, NAME if found.parent == start else str(found)) if found else None


def at_home(path: Path) -> Path:
    """`~/x` and `~somebody/x` as they are meant; the home of nobody stays as it was typed, for it may be the name of a file."""
    try:
        return path.expanduser()
    except RuntimeError:
        return path


def project_root(start: Path) -> Path:
    """The folder of the nearest `.ares/`, else of the nearest config.yaml, else of the nearest `.git`, else `start`."""
    above = _above(start)
    return _nearest(start, ".ares") or (above.parent if above else None) or _repository(start) or start


def _up(start: Path) -> Iterator[Path]:
    """`start` and the folders above it, but those that are there for everybody's files, such as /tmp: a stranger's config.yaml there
    would name the commands that we run."""
    yield start
    for folder in start.parents:
        try:
            mode = folder.stat().st_mode
        except OSError:
            continue
        if not (mode & stat.S_ISVTX and mode & stat.S_IWOTH):
            yield folder


def _nearest(start: Path, name: str) -> Path | None:
    return next((folder for folder in _up(start) if (folder / name).exists()), None)


def _repository(start: Path) -> Path | None:
    """The nearest git repository or worktree. An empty `.git` is none: sandboxes leave such folders behind, even in /tmp."""
    places = ((folder, folder / ".git") for folder in _up(start))
    return next((folder for folder, git in places if git.is_file() or (git / "HEAD").is_file()), None)


def _above(start: Path) -> Path | None:
    """The nearest config.yaml. Above `start` only one that looks like ours counts: other programs have a config.yaml too."""
    for folder in _up(start):
        file = folder / NAME
        if file.is_file() and (folder == start or _looks_ours(file)):
            return file
    return None


def _looks_ours(file: Path) -> bool:
    try:
        with file.open("rb") as opened:
            return bool(re.search(_OURS, opened.read(_LOOKED_AT).decode("utf-8", "replace")))
    except OSError:
        return False
