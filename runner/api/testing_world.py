"""The throw-away world of a test case: its settings, a copy of the workspace where one is needed, and an environment without keys."""

from __future__ import annotations

import asyncio
import base64
import os
import shutil
import stat
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from runner.api.settings import Settings
from runner.core.graph import StepGraph
from runner.engine import changes
from runner.errors import UsageError
from runner.manifest.answers import Binary
from runner.paths import HIDDEN, PathEscape, TooLarge, inside, matcher, read_inside, write_atomic
from runner.replay.asking import Asker, Items, parts_of

MOST_FILES: Final = 50_000
MOST_BYTES: Final = 1 << 30
_SAY_WHICH: Final = "say in the suite which files the cases use: workspace: [src/**, pyproject.toml]"
GIT: Final = ("git", "-c", "core.hooksPath=/dev/null", "-c", "user.name=ares", "-c", "user.email=ares@localhost")


class KeylessEnv(Mapping[str, str]):
    """An environment in which every variable that config names is set, to nothing real: a replay needs no keys, and routes as if
    all of them were there. The value is a URL, because some variables hold one."""

    def __getitem__(self, name: str) -> str:
        return f"https://replay.invalid/{name}"

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0

    def __contains__(self, name: object) -> bool:
        return True


def sandboxed(settings: Settings, folder: Path) -> Settings:
    """The same settings, with the workspace and the state in `folder`."""
    config = settings.config
    state = config.state.model_copy(update={"path": str(folder / "state" / "state.db")})
    moved = config.model_copy(update={"workspace": str(folder / "workspace"), "state": state})
    return replace(settings, config=moved)


# ---------------------------------------------------------------- the workspace


def copy_workspace(source: Path, target: Path, only: Sequence[str] | None) -> None:
    """Copy the files of a workspace: those of `only`, else all that git does not ignore. Where the world around `target` is in the
    workspace itself, it is no part of it. Raises UsageError when that is too much."""
    fits = matcher(only) if only is not None else None
    count = size = 0
    for path in _files(source):
        if (source / path).is_relative_to(target.parent) or (fits is not None and not fits(path)):
            continue
        try:
            about = (source / path).lstat()
            if not (stat.S_ISREG(about.st_mode) or stat.S_ISLNK(about.st_mode)):
                continue  # a pipe or a socket belongs to who listens at it
            count, size = count + 1, size + about.st_size
            if count > MOST_FILES or size > MOST_BYTES:
                raise UsageError(
                    f"{source}: a copy of the workspace would be more than {MOST_FILES} files or {MOST_BYTES >> 30} GiB",
                    hint=_SAY_WHICH,
                )
            to = target / path
            to.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source / path, to, follow_symlinks=False)
        except FileNotFoundError:  # deleted, but still in git's index
            continue
        except OSError as error:
            raise UsageError(f"{source / path} cannot be copied: {error.strerror or error}", hint=_SAY_WHICH) from error


def _files(source: Path) -> Iterator[str]:
    """Paths of the files, as git sees the folder; without git, all but hidden ones and those of tools."""
    listed = _git_files(source)
    for path in _walked(source) if listed is None else listed:
        folder = source / path
        if folder.is_dir() and not folder.is_symlink():  # a repository in the repository
            yield from (f"{path.rstrip('/')}/{inner}" for inner in _files(folder))
        else:
            yield path


def _walked(source: Path) -> Iterator[str]:
    for folder, folders, names in os.walk(source):
        below, links = Path(folder), [name for name in folders if Path(folder, name).is_symlink()]
        folders[:] = sorted(name for name in folders if name not in HIDDEN | changes.IGNORED)
        yield from ((below / name).relative_to(source).as_posix() for name in sorted([*names, *links]))


def _git_files(source: Path) -> list[str] | None:
    try:
        done = subprocess.run(
            [*GIT, "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", "."],
            cwd=source,
            env={"PATH": os.environ.get("PATH", ""), "LC_ALL": "C", "GIT_OPTIONAL_LOCKS": "0"},
            capture_output=True,
            check=True,
            timeout=60,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    paths = done.stdout.decode("utf-8", "surrogateescape").split("\0")
    return [
        path for path in dict.fromkeys(paths) if path not in ("", "./") and not HIDDEN.intersection(path.split("/"))
    ]


def make_repository(folder: Path) -> None:
    """The copy as a git repository with one commit, for steps with a worktree of their own. Raises UsageError."""
    try:
        for words in (
            ("init", "-q"),
            ("add", "-A"),
            ("commit", "-q", "--allow-empty", "-m", "the workspace as it was"),
        ):
            subprocess.run([*GIT, *words], cwd=folder, capture_output=True, check=True, timeout=120)
    except (OSError, subprocess.SubprocessError) as error:
        raise UsageError(
            f"a step has a worktree of its own, and git does not work here: {error}",
            hint="install git, or put it on PATH",
        ) from error


def has_worktrees(graphs: Mapping[str, StepGraph]) -> bool:
    return any(step.workspace for graph in graphs.values() for step in graph.steps)


def asks_somebody(graphs: Mapping[str, StepGraph], stubs: Iterable[str]) -> bool:
    """May a step that has no stub use the files of the workspace?"""
    stubbed = {inner(path) for path in stubs if not path.endswith("]")}
    return any(
        any(check.kind == "run" for check in body.checks)
        or (step.id not in stubbed and body.verb in ("run", "tool", "agent"))
        for graph in graphs.values()
        for step in graph.steps
        for body in step.bodies
    )


def is_watched(graphs: Mapping[str, StepGraph]) -> bool:
    """Does anything look at what steps do to files?"""
    return has_worktrees(graphs) or bool(_watched_steps(graphs))


def _watched_steps(graphs: Mapping[str, StepGraph]) -> frozenset[str]:
    return frozenset(
        step.id
        for graph in graphs.values()
        for step in graph.steps
        if step.workspace or any(check.kind == "changed" for body in step.bodies for check in body.checks)
    )


# ---------------------------------------------------------------- what calls do to files


@dataclass(frozen=True, slots=True)
class WorldFiles:
    """`replay.seam.Files` over the throw-away workspace and the worktrees in the throw-away state."""

    workspace: Path
    worktrees: Path
    own: tuple[Path, ...]
    watched: frozenset[str]
    items: Items

    @classmethod
    def of(cls, workspace: Path, state: Path, graphs: Mapping[str, StepGraph], items: Items) -> WorldFiles:
        own = tuple(state / name for name in ("runs", "logs", "touched", "worktrees"))
        return cls(workspace.resolve(), (state / "worktrees").resolve(), own, _watched_steps(graphs), items)

    def root(self, cwd: str) -> Path:
        path = Path(cwd).resolve()
        if path.is_relative_to(self.worktrees):
            return self.worktrees.joinpath(*path.relative_to(self.worktrees).parts[:2])
        return self.workspace

    def watches(self, asker: Asker, verb: str) -> bool:
        """Agents are there to change files; of other steps it matters when the manifest looks."""
        return verb == "agent" or inner(asker.step) in self.watched

    async def look(self, root: Path) -> Any:
        return await asyncio.to_thread(changes.snapshot, changes.area(root, (), self.own))

    async def written(self, root: Path, before: Any) -> dict[str, str | Binary | None]:
        found = await asyncio.to_thread(changes.touched, changes.area(root, (), self.own), before)
        return {path: _content(root, path) for path in found if not _leads_out(root, path)}

    async def write(self, root: Path, files: Mapping[str, str | Binary | None]) -> None:
        await asyncio.to_thread(_write_all, root, files)


def inner(path: str) -> str:
    """The id of a step in its own manifest."""
    return parts_of(path)[-1][0]


def _leads_out(root: Path, path: str) -> bool:
    """A link out of the workspace: what it leads to is no work of the call, and nobody else's to read."""
    try:
        inside(root, root, path)
    except PathEscape:
        return True
    return False


def _content(root: Path, path: str) -> str | Binary | None:
    try:
        data = read_inside(root, root, path, MOST_BYTES)
    except (OSError, PathEscape, TooLarge):
        return None
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return Binary(base64=base64.b64encode(data).decode())


def _write_all(root: Path, files: Mapping[str, str | Binary | None]) -> None:
    for name, content in files.items():
        with suppress(PathEscape):
            path = inside(root, root, name)
            if content is None:
                path.unlink(missing_ok=True)
            else:
                data = content.encode("utf-8") if isinstance(content, str) else base64.b64decode(content.base64)
                write_atomic(root, path, data)
