"""Where an attempt works, the shared workspace or a worktree of its own, and what it did there.

Not here: how files are compared (changes.py), git (worktree.py), who may use the workspace at the same time (the kernel's, by the claim
of each attempt), and what becomes of the attempt."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from runner.core.messages import StepTask
from runner.engine import begun, changes
from runner.engine.logs import log_path, private_folder, run_folder
from runner.engine.results import cut
from runner.engine.secrets import Unready
from runner.engine.worktree import Conflict, Diff, Git, GitFailed, State, Worktree, Worktrees
from runner.paths import write_atomic

__all__ = ["Conflict", "Git", "GitFailed", "Site", "Sites", "Touched"]


class Touched(NamedTuple):
    """What an attempt did: the files that it touched, relative to the workspace, and the diff of its worktree. `error_class` and
    `problem`: why neither may count."""

    paths: Sequence[str] = ()
    diff: str = ""
    error_class: str = ""
    problem: str = ""


@dataclass(slots=True, eq=False)
class Site:
    """One attempt's place. `root`: the folder of its `cwd`; what it and its checks see as the workspace."""

    task: StepTask
    root: Path
    area: changes.Area | None = None
    before: changes.Snapshot = field(default_factory=dict)
    tree: Worktree | None = None
    apply: bool = True
    conflict: bool = False
    watched: bool = False
    """The step has a `changed` check."""
    ours: set[str] = field(default_factory=set)
    """What other steps of this process wrote (`save`, a worktree's diff) while this one worked: no work of this one."""
    touched: Touched | None = None
    """None = nobody asked."""
    beat: begun.Beat | None = None
    """While its attempt is under way, when that may be repeated after a kill."""


class Sites:
    """The places of a process's attempts. `state`: a folder of ours for worktrees and notes; `own`: folders of ours in which any file may
    change at any time; `limit`: bytes of a diff."""

    def __init__(self, workspace: Path, state: Path, own: Sequence[Path], git: Git, limit: int) -> None:
        self._workspace, self._notes, self._limit = workspace.resolve(), state / "touched", limit
        self._own = (*own, state / "touched", state / "worktrees")
        self._trees = Worktrees(state / "worktrees", workspace, git)
        self._watching: set[Site] = set()
        self._known: changes.Snapshot = {}
        """The last snapshot: what has not changed since is not read again."""

    # ------------------------------------------------------------ before the call

    async def enter(self, task: StepTask) -> Site:
        """A place to work in. Nothing of the step has happened by then. Raises Unready."""
        spec = task.spec
        if spec.get("workspace"):
            return await self._own_worktree(task, spec["workspace"])
        only = _watched(task)
        site = Site(task, self._workspace, watched=only is not None)
        if only is not None:
            try:
                await self._watch(site, only)
            except BaseException:  # cancelled while it waited: its place is another one's
                self.release(site)
                raise
        return site

    async def _own_worktree(self, task: StepTask, spec: Mapping[str, Any]) -> Site:
        keep, again = spec.get("keep", "on_failure"), task.feedback is not None or task.session is not None
        try:
            tree = await self._trees.make(task.run, task.node, task.attempt, keep, again=again)
        except (GitFailed, OSError) as error:
            raise Unready(f"workspace: {error}") from error
        watched = _watched(task) is not None
        return Site(task, tree.root, tree=tree, apply=bool(spec.get("apply", True)), watched=watched)

    async def _watch(self, site: Site, only: Sequence[str]) -> None:
        site.area = changes.area(self._workspace, only, self._own)
        self._watching.add(site)
        try:
            self._known = await asyncio.to_thread(changes.snapshot, site.area, self._known)
            site.before = await asyncio.to_thread(self._since, site.task, site.area, self._known)
        except changes.TooMany as error:
            raise Unready(str(error)) from error
        if site.task.effects != "once":
            with suppress(OSError):  # a kill then leaves its work unseen, as if there were no watch
                await asyncio.to_thread(self._begin, site)
                site.beat = begun.Beat(self._begun(site.task))

    def _since(self, task: StepTask, area: changes.Area, now: changes.Snapshot) -> changes.Snapshot:
        """The files as they were when the step began, which may have been attempts ago. Raises TooMany."""
        if lost := begun.read(self._begun(task), area):
            return begun.resumed(area, now, lost)
        with suppress(OSError, ValueError, TypeError):  # there is none, or no use in it
            return changes.with_carried(now, self._note(task).read_bytes())
        return now

    def _begin(self, site: Site) -> None:
        assert site.area is not None
        path = self._begun(site.task)
        private_folder(path.parent)
        begun.write(path, site.area, site.before)

    # ------------------------------------------------------------ after it

    async def look(self, site: Site) -> Touched | None:
        """What the call did, before any check leaves traces of its own. None when nobody asks. Also sets `site.touched`."""
        if site.tree is not None:
            site.touched = await self._diff(site.tree)
        elif site.area is not None:
            try:
                found = await asyncio.to_thread(changes.touched, site.area, site.before)
                site.touched = Touched([path for path in found if path not in site.ours])
            except changes.TooMany as error:
                site.touched = Touched(error_class="check_failed", problem=str(error))
        return site.touched

    async def _diff(self, tree: Worktree) -> Touched:
        try:
            diff: Diff = await self._trees.diff(tree, self._limit)
        except (GitFailed, OSError) as error:
            return Touched(error_class="tool_error", problem=f"the diff of the worktree cannot be taken: {error}")
        if diff.outside:
            problem = f"files outside of the workspace were touched: {changes.listed(diff.outside)}"
            return Touched(diff.paths, diff.text, "check_failed", problem)
        return Touched(diff.paths, diff.text)

    async def bring_back(self, site: Site) -> None:
        """Apply the diff of a worktree to the workspace. Raises Conflict, GitFailed when it was written half-way."""
        if site.tree is not None and site.apply and site.touched is not None and site.touched.paths:
            self.wrote(site.touched.paths)
            try:
                await self._trees.apply(site.tree)
            except Conflict:
                site.conflict = True
                raise

    async def products(self, site: Site) -> dict[str, str]:
        """`Outcome.products` of what a step with a `changed` check did to the workspace."""
        if not site.watched or site.touched is None or not site.apply:
            return {}
        return await asyncio.to_thread(changes.products, self._workspace, site.touched.paths)

    def wrote(self, paths: Sequence[str]) -> None:
        """We are about to write these files of the workspace for another step than those that are being watched."""
        for site in self._watching:
            site.ours.update(paths)

    async def changes(self, site: Site, limit: int, masked: Callable[[str], str]) -> tuple[str, bool]:
        """What is changed where the attempt worked, as a diff for reading, masked and then cut at about `limit` characters; and is it in
        the files of the workspace? Of a shared one, all that is not committed. "" when nobody can tell."""
        if site.tree is not None:
            return cut(site.touched.diff if site.touched is not None else "", limit, masked), False
        with suppress(OSError, GitFailed):
            return cut(await self._trees.uncommitted(limit), limit, masked), True
        return "", True

    # ------------------------------------------------------------ leaving

    async def settle(self, site: Site, *, failed: bool, repair: bool = False) -> None:
        """The attempt has ended by itself. `repair`: with a failure that another round may mend. Never fails: what cannot be tidied
        up now is found by the next attempt."""
        with suppress(OSError, GitFailed):
            if site.tree is not None:
                state: State = "conflict" if site.conflict else "failed" if failed else "done"
                await self._trees.leave(site.tree, state, repair=repair)
            elif site.area is not None:
                await asyncio.to_thread(self._leave_note, site, failed)
                self._begun(site.task).unlink(missing_ok=True)

    def release(self, site: Site) -> None:
        """The attempt is over; whatever it left is found by the next one. At once, so that cancellation may call it."""
        self._watching.discard(site)
        if site.beat is not None:
            site.beat.stop()

    async def forget(self, run: str) -> None:
        """The run's leg has ended: what was kept only for a next attempt is removed."""
        with suppress(OSError, GitFailed):
            await self._trees.forget(run)
        with suppress(OSError):
            folder = run_folder(self._notes, run)
            for left in folder.glob("*.begun") if folder.exists() else ():
                left.unlink(missing_ok=True)

    def _note(self, task: StepTask) -> Path:
        return log_path(self._notes, task.run, task.node, 0).with_suffix(".json")

    def _begun(self, task: StepTask) -> Path:
        return self._note(task).with_suffix(".begun")

    def _leave_note(self, site: Site, failed: bool) -> None:
        """What the next attempt of this step must know: the step began before this one."""
        note = self._note(site.task)
        if not failed:
            note.unlink(missing_ok=True)
        elif site.touched is not None and site.touched.paths:
            private_folder(note.parent)
            write_atomic(note.parent, note, changes.carried(site.before, site.touched.paths), 0o600)


def _watched(task: StepTask) -> list[str] | None:
    """The globs of the step's `changed` checks, None when it has none. A `call` works in steps of its own."""
    found = [check["changed"] for check in task.spec.get("checks") or () if check["kind"] == "changed"]
    if not found or task.verb == "call":
        return None
    return [pattern for spec in found for pattern in spec.get("only") or ()]
