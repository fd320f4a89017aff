"""Git worktrees of steps: made from the workspace as it is, compared with that base, brought back, cleaned up.

The base is HEAD *plus* what is not committed (but not what git ignores): steps leave their work uncommitted, so a later step that
started from HEAD alone would not see it, and its diff would not fit what is there. Neither the user's index, nor a branch, nor a
file of the workspace is touched before `apply`. Not here: when any of it is done (sites.py), and how a command is run (executors)."""

import asyncio
import json
import os
import re
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

from runner.engine.logs import log_path, private_folder, run_folder
from runner.ports import CallResult

State = Literal["running", "failed", "conflict", "done"]
Keep = Literal["never", "on_failure", "always"]
Git = Callable[[Sequence[str], Path, Mapping[str, str]], Awaitable[CallResult]]
"""Runs an argv in a folder with these variables, and with none of the environment's own `GIT_*`."""

_ENV: Final = {
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_ALLOW_PROTOCOL": "none",
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_AUTHOR_NAME": "ares",
    "GIT_AUTHOR_EMAIL": "ares@localhost",
    "GIT_COMMITTER_NAME": "ares",
    "GIT_COMMITTER_EMAIL": "ares@localhost",
    "LC_ALL": "C",
}
"""No questions, no network, no locks that others would meet; messages that can be told apart."""
_SETTINGS: Final = (
    "core.hooksPath=/dev/null", "core.fsmonitor=false", "gc.auto=0", "maintenance.auto=false", "advice.addEmbeddedRepo=false",
    "apply.whitespace=nowarn", "apply.ignoreWhitespace=no",
)  # fmt: skip
_ALL: Final = ("add", "-A", "--", ".", ":(exclude,glob)**/.ares/**")
_DIFF: Final = (
    "diff", "--cached", "--binary", "--full-index", "--no-renames", "--no-ext-diff", "--no-textconv", "--no-color",
    "--src-prefix=a/", "--dst-prefix=b/", "--submodule=short", "--ignore-submodules=none",
)  # fmt: skip
_ESCAPED: Final = re.compile(r"%([0-9a-f]+)%")
_NEW: Final = ("add", "--intent-to-add", "--", ".", ":(exclude,glob)**/.ares/**")
_READ: Final = ("diff", "--no-ext-diff", "--no-textconv", "--no-color", "--no-renames", "--relative")
NOT_APPLIED: Final = 1
"""git's exit code when a diff does not fit; then nothing was written."""


class GitFailed(Exception):
    """git cannot do what is needed; the text says what, in git's own words where it has some."""

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class Conflict(Exception):
    """The diff does not fit the workspace as it is by now. Nothing was written."""


class Worktree(NamedTuple):
    """A worktree, as the file beside it records it. `path`: the checkout; `prefix`: where the workspace is in it ("" or "sub/")."""

    path: str
    top: str
    prefix: str
    keep: Keep
    base: str = ""
    gitdir: str = ""
    state: State = "running"

    @property
    def root(self) -> Path:
        """The workspace in this worktree."""
        return Path(self.path, self.prefix)

    def beside(self, suffix: str) -> Path:
        """A file of ours that belongs to it."""
        return Path(f"{self.path}.{suffix}")


class Diff(NamedTuple):
    """What a step did in its worktree. `paths` are relative to the workspace; those of `outside` to the repository's top."""

    paths: tuple[str, ...] = ()
    outside: tuple[str, ...] = ()
    text: str = ""


class Worktrees:
    """The worktrees of the steps of one workspace, in `folder`/RUN/NODE.N. One task at a time touches git's list of worktrees, and the
    workspace: `git apply` is no transaction against another one."""

    def __init__(self, folder: Path, workspace: Path, git: Git) -> None:
        self._folder, self._workspace, self._run = folder.resolve(), workspace.resolve(), git
        self._one = asyncio.Lock()

    # ------------------------------------------------------------ making one

    async def make(self, run: str, node: str, attempt: int, keep: Keep, *, again: bool) -> Worktree:
        """A worktree for this attempt. `again`: a repair round, which goes on in the worktree of the round before if that stands.

        What earlier attempts of this step left is removed, unless `keep` is always. Raises GitFailed, OSError."""
        path = log_path(self._folder, run, node, attempt).with_suffix("")
        async with self._one:
            earlier = await asyncio.to_thread(self._earlier, path)
            if again and (tree := _last_to_repair(earlier)) is not None:
                return await asyncio.to_thread(_record, tree._replace(state="running", keep=keep))
            for tree in earlier:
                if tree.keep != "always" or tree.state == "running":
                    await self._remove(tree)
            return await self._make(path, keep)

    async def _make(self, path: Path, keep: Keep) -> Worktree:
        found = await self._git(
            self._workspace,
            "rev-parse",
            "--show-toplevel",
            "--show-prefix",
            "--path-format=absolute",
            "--git-path",
            "index",
        )
        top, prefix, index = [*found.split("\n"), "", ""][:3]
        tree = Worktree(str(path.resolve()), top, prefix, keep)
        await asyncio.to_thread(private_folder, path.parent)
        await asyncio.to_thread(
            _record, tree
        )  # first: a kill from here on leaves something that the next attempt finds
        own = tree.beside("index")
        await asyncio.to_thread(_copy, Path(index), own)
        base = await self._base(tree, own)
        await self._git(Path(top), "worktree", "add", "--quiet", "--detach", "--force", tree.path, base)
        gitdir = await self._git(Path(tree.path), "rev-parse", "--absolute-git-dir")
        await asyncio.to_thread(tree.root.mkdir, parents=True, exist_ok=True)  # git keeps no empty folders
        # the fresh index knows the files' times: the diff will read only what has changed
        await asyncio.to_thread(_copy, Path(gitdir, "index"), own)
        return await asyncio.to_thread(_record, tree._replace(base=base, gitdir=gitdir))

    async def _base(self, tree: Worktree, index: Path) -> str:
        """A commit of the workspace as it is: HEAD itself when nothing else is there. No branch names it."""
        top, env = Path(tree.top), {"GIT_INDEX_FILE": str(index)}
        await self._git(top, *_ALL, env=env)
        content = await self._git(top, "write-tree", env=env)
        try:
            head, committed = (await self._git(top, "rev-parse", "HEAD^{commit}", "HEAD^{tree}")).split("\n")
        except GitFailed:  # no commit yet
            return await self._git(top, "commit-tree", content, "-m", "The workspace as a step found it")
        if content == committed:
            return head
        return await self._git(top, "commit-tree", content, "-p", head, "-m", "The workspace as a step found it")

    # ------------------------------------------------------------ what was done in it

    async def diff(self, tree: Worktree, limit: int) -> Diff:
        """What differs from the base, ignored files aside, committed or not. Its bytes are in `beside("diff")` for `apply`; `text` is
        the same for reading, exact whenever git can say it in UTF-8. Raises GitFailed (also over `limit` bytes), OSError."""
        await self._inside(tree, *_ALL)
        names = await self._output(tree, limit, "--name-only", "-z")
        if not names:
            return Diff()
        paths = [os.fsdecode(name) for name in names.split(b"\0") if name]
        data = await self._output(tree, limit)
        await asyncio.to_thread(tree.beside("diff").write_bytes, data)
        return Diff(
            tuple(path.removeprefix(tree.prefix) for path in paths if path.startswith(tree.prefix)),
            tuple(path for path in paths if not path.startswith(tree.prefix)),
            await self._text(tree, limit, data),
        )

    async def uncommitted(self, limit: int) -> str:
        """What the workspace itself has that HEAD has not, new files included, as a diff for reading; "" outside of a repository. A file of
        more than `limit` bytes is only named. Raises GitFailed, OSError."""
        index = await self._git(self._workspace, "rev-parse", "--path-format=absolute", "--git-path", "index")
        await asyncio.to_thread(private_folder, self._folder)
        own = self._folder / f"reading.{uuid.uuid4().hex}.index"
        env = {"GIT_INDEX_FILE": str(own)}
        try:
            await asyncio.to_thread(_copy, Path(index), own)
            await self._git(self._workspace, *_NEW, env=env)
            settings = (f"core.bigFileThreshold={limit}",)
            return await self._git(self._workspace, *_READ, "HEAD", "--", ".", env=env, settings=settings)
        finally:
            await asyncio.to_thread(own.unlink, missing_ok=True)

    async def _text(self, tree: Worktree, limit: int, data: bytes) -> str:
        try:
            return data.decode()
        except UnicodeDecodeError:  # a text file in another encoding: then all of it in git's own ASCII form
            attributes = tree.beside("attributes")
            await asyncio.to_thread(attributes.write_text, "* -diff\n")
            data = await self._output(tree, limit, settings=(f"core.attributesFile={attributes}",))
            return data.decode("utf-8", "replace")

    async def _output(self, tree: Worktree, limit: int, *more: str, settings: Sequence[str] = ()) -> bytes:
        """What `git diff` says, as bytes: an executor's answer is text."""
        file = tree.beside("out")
        await self._inside(tree, *_DIFF, *more, f"--output={file}", tree.base, "--", settings=settings)
        try:
            size = (await asyncio.to_thread(file.stat)).st_size
            if size > limit:
                raise GitFailed(
                    f"the diff of the worktree has {size} bytes, over the limit of {limit} (limits.output_bytes)"
                )
            return await asyncio.to_thread(file.read_bytes)
        finally:
            await asyncio.to_thread(file.unlink, missing_ok=True)

    async def _inside(self, tree: Worktree, *argv: str, settings: Sequence[str] = ()) -> str:
        # named outright: a step may have removed or rewritten the `.git` file that git would look for
        env = {"GIT_DIR": tree.gitdir, "GIT_WORK_TREE": tree.path, "GIT_INDEX_FILE": str(tree.beside("index"))}
        return await self._git(Path(tree.path), *argv, env=env, settings=settings)

    async def apply(self, tree: Worktree) -> None:
        """Bring the last `diff` into the workspace: all of it, or Conflict. Raises GitFailed when writing broke off half-way."""
        top, file = Path(tree.top), str(tree.beside("diff"))
        async with self._one:
            try:
                await self._git(top, "apply", "--check", file)
                await self._git(top, "apply", file)
            except GitFailed as error:
                if error.status == NOT_APPLIED:
                    raise Conflict(str(error)) from error
                raise

    # ------------------------------------------------------------ leaving

    async def leave(self, tree: Worktree, state: State, *, repair: bool = False) -> None:
        """The attempt has ended. `repair`: another round may go on here, so even `keep: never` holds until the next attempt, or
        `forget`. Raises GitFailed, OSError."""
        stays = {"never": repair, "on_failure": state != "done", "always": True}[tree.keep] or state == "conflict"
        if stays:
            await asyncio.to_thread(_record, tree._replace(state=state))
            return
        async with self._one:
            await self._remove(tree)

    async def forget(self, run: str) -> None:
        """The run has ended: remove what was only kept for a next attempt, or was left by one that was killed or cancelled."""
        folder = run_folder(self._folder, run)
        if not folder.exists():  # a run without worktrees, as most are: no thread need look
            return
        async with self._one:
            for tree in await asyncio.to_thread(_recorded, folder):
                if tree.state == "running" or (tree.keep == "never" and tree.state == "failed"):
                    await self._remove(tree)

    async def prune(self) -> None:
        """Let git forget the worktrees of ours whose folders are gone; those of others are theirs. Raises GitFailed."""
        async with self._one:
            listed = await self._git(self._workspace, "worktree", "list", "--porcelain", "-z")
            paths = [
                Path(line.removeprefix("worktree ")) for line in listed.split("\0") if line.startswith("worktree ")
            ]
            for path in paths:
                if path.is_relative_to(self._folder) and not path.exists():
                    await self._git(self._workspace, "worktree", "remove", "--force", "--force", str(path))

    async def _remove(self, tree: Worktree) -> None:
        await asyncio.to_thread(_remove_folder, Path(tree.path))
        with suppress(GitFailed):  # the repository may be gone, or never have heard of it
            await self._git(Path(tree.top), "worktree", "remove", "--force", "--force", tree.path)
        for suffix in (
            "index",
            "index.lock",
            "diff",
            "out",
            "attributes",
            "json",
        ):  # the record last: else nobody knows of the rest
            await asyncio.to_thread(tree.beside(suffix).unlink, missing_ok=True)
        with suppress(OSError):  # others of this run are there
            Path(tree.path).parent.rmdir()

    def _earlier(self, path: Path) -> list[Worktree]:
        """The worktrees of earlier attempts of the same step, and a broken-off start of this one, in order."""
        stem = path.name.rpartition(".")[0]
        same = [tree for tree in _recorded(path.parent) if Path(tree.path).name.rpartition(".")[0] == stem]
        return sorted(same, key=lambda tree: int(tree.path.rpartition(".")[2]))

    # ------------------------------------------------------------ git itself

    async def _git(
        self, cwd: Path, *argv: str, env: Mapping[str, str] | None = None, settings: Sequence[str] = ()
    ) -> str:
        """What git says, without its last newline. Raises GitFailed."""
        # The operator chose the workspace, whoever owns it. Of any other folder that git may find above it, git's own opinion holds.
        safe = [self._workspace, cwd] if cwd.is_relative_to(self._folder) else [self._workspace]
        values = (*_SETTINGS, *settings, *(f"safe.directory={path}" for path in safe))
        options = [word for value in values for word in ("-c", value)]
        answer = await self._run(["git", *options, *argv], cwd, {**_ENV, **(env or {})})
        if not answer.error_class:
            return str(answer.output or "")
        if answer.error_class in ("unavailable", "invalid"):
            raise GitFailed(f"needs git: {answer.message}")
        if argv[0] == "rev-parse" and "not a git repository" in answer.message:
            raise GitFailed(f"needs a git repository, which {cwd} is not")
        told = answer.message.partition("\n")[2] or answer.message
        raise GitFailed(f"git {argv[0]}: {told}", answer.status)


def _last_to_repair(trees: Sequence[Worktree]) -> Worktree | None:
    """The worktree of the round before, when it stands. One in conflict is of no use: what it grew from is no longer there."""
    if not trees or trees[-1].state not in ("running", "failed") or not trees[-1].gitdir:
        return None
    tree = trees[-1]
    return tree if tree.root.is_dir() and Path(tree.gitdir).is_dir() and tree.beside("index").is_file() else None


def _record(tree: Worktree) -> Worktree:
    file, draft = tree.beside("json"), tree.beside("json.tmp")
    draft.write_text(json.dumps(tree._asdict()))
    draft.replace(file)
    return tree


def _recorded(folder: Path) -> list[Worktree]:
    """The worktrees that a run left. A record that cannot be read names nothing that could be removed."""
    found = []
    for file in sorted(folder.glob("*.json")):
        with suppress(OSError, ValueError, TypeError):
            fields: dict[str, Any] = json.loads(file.read_text())
            tree = Worktree(**fields)
            if tree.beside("json") == file.resolve():
                found.append(tree)
    return found


def kept_worktrees(folder: Path, run: str) -> dict[str, list[str]]:
    """Node → the worktrees that its attempts left, oldest first. Asks the files beside them, and nobody else."""
    own = run_folder(folder.resolve(), run)
    found: dict[str, list[str]] = {}
    for tree in sorted(_recorded(own), key=lambda tree: int(tree.path.rpartition(".")[2])):
        if Path(tree.path).is_dir():
            node = _ESCAPED.sub(lambda match: chr(int(match[1], 16)), Path(tree.path).name.rpartition(".")[0])
            found.setdefault(node, []).append(tree.path)
    return found


def _copy(source: Path, target: Path) -> None:
    """Copy an index, with its time: git looks into files that are not older than it, because it tells files apart by whole seconds."""
    import shutil  # here, as below: it loads four compressions, and hardly a run has worktrees

    with suppress(FileNotFoundError):  # a repository without any file has no index
        shutil.copy2(source, target)
        target.chmod(0o600)


def _remove_folder(path: Path) -> None:
    """Folders that a step made read-only included. Raises OSError."""
    import shutil

    def retry(function: Callable[[str], Any], name: str, _error: Any) -> None:
        with suppress(FileNotFoundError):
            Path(name).parent.chmod(0o700)
            if not Path(name).is_symlink() and Path(name).is_dir():
                Path(name).chmod(0o700)
                shutil.rmtree(name)
            else:
                function(name)

    if path.is_dir():
        shutil.rmtree(path, onerror=retry)
