"""`triggers` of the manifests of a watched folder: what is due, what was served, and what is remembered of it between two lives.

What a run itself has saved starts no other one; and a manifest whose runs change files of its own trigger again and again comes to rest.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import tzinfo
from typing import Any, NamedTuple

from runner.api.queries import products_of
from runner.api.watch_reading import Reading
from runner.clock import Millis
from runner.core.graph import StepGraph
from runner.paths import matcher
from runner.ports import Store
from runner.watch.cron import Due, due, next_time
from runner.watch.memory import Memory, Served

MOST_ECHOES = 5
"""Runs in a row that change the same files of their own trigger: then it is no user who does that."""

MOST_TIMES = 10_000
WRONG: Millis = 3_600_000
"""What was served this much later than now was served by a clock that was wrong; less may be one that was put back a little, and a time
that was served must not come due again."""

Files = Mapping[str, str]
"""Path below the workspace → digest."""


class Change(NamedTuple):
    """`paths` of a trigger are not as the latest run knows them; `files` is how they all are."""

    files: Files
    paths: tuple[str, ...]


@dataclass(slots=True)
class Trigger:
    """Of one manifest. `saved`: files that its latest run has written. `ran`: from when to when that was driven. `echoes`: runs in a row
    that changed the same files (`echo`) and nobody else did. `seen`: the version of the files that was judged."""

    memory: Memory
    saved: Files = field(default_factory=dict)
    ran: tuple[Millis, Millis] = (0, 0)
    echoes: int = 0
    echo: tuple[str, ...] = ()
    seen: int = -1

    @property
    def served(self) -> Served:
        return self.memory.served

    def serve(self, **changes: Any) -> None:
        """What holds now holds as well once the run that is on its way has begun."""
        later = self.memory.next and replace(self.memory.next, **changes)
        self.memory = replace(self.memory, served=replace(self.memory.served, **changes), next=later)


@dataclass(slots=True)
class Triggers:
    """All of a folder. `kept`: what was remembered, by name. `rests` is told when a manifest comes to rest, and for which files."""

    reading: Reading
    zone: tzinfo
    kept: dict[str, Memory]
    rests: Callable[[str, tuple[str, ...]], None]
    _by_name: dict[str, Trigger] = field(default_factory=dict)
    _times: dict[tuple[str, Millis], Millis | None] = field(default_factory=dict)

    def __contains__(self, name: str) -> bool:
        return name in self._by_name

    # ------------------------------------------------------------ which there are

    def adopt(self, name: str, graph: StepGraph, store: Store, now: Millis) -> None:
        """A manifest as it is in force from now on. A trigger that was not known begins here: nothing was missed before."""
        schedule, globs = _of(graph)
        if not schedule and not globs:
            self.forget(name)
            return
        trigger = self._by_name.get(name)
        if trigger is None:
            trigger = self._by_name[name] = Trigger(self.kept.pop(name, Memory(Served())))
            newest = next(iter(store.runs(name=name, limit=1)), None)
            trigger.saved = _products(store, newest.run) if newest is not None else {}
        if trigger.served.schedule != schedule or trigger.served.since > now + WRONG:
            trigger.serve(schedule=schedule, since=now)
        if trigger.served.globs != globs:
            trigger.serve(globs=globs, files=self._files(globs))

    def forget(self, name: str) -> None:
        """The manifest is gone, or has no triggers any more."""
        self._by_name.pop(name, None)
        self.kept.pop(name, None)

    def memories(self) -> dict[str, Memory]:
        """What is to be remembered; of manifests that have had mistakes since the start, what was."""
        return {**self.kept, **{name: trigger.memory for name, trigger in self._by_name.items()}}

    def _files(self, globs: tuple[str, ...]) -> Files:
        if not globs:
            return {}
        matches = matcher(globs)
        return {path: content for path, content in self.reading.files.items() if matches(path)}

    # ------------------------------------------------------------ what is due

    def schedule_due(self, name: str, now: Millis) -> Due | None:
        """The schedule of a manifest came due, once for all times since it was served."""
        at, served = self.next_due(name), self._by_name[name].served
        return None if at is None or at > now else due(served.schedule, self.zone, served.since, now)

    def next_due(self, name: str) -> Millis | None:
        """When the schedule comes due next."""
        served = self._by_name[name].served
        return self._next(served.schedule, served.since) if served.schedule else None

    def _next(self, schedule: str, since: Millis) -> Millis | None:
        """Asked for again and again, so it is kept."""
        if (schedule, since) not in self._times:
            if len(self._times) >= MOST_TIMES:
                self._times.clear()
            self._times[schedule, since] = next_time(schedule, self.zone, since)
        return self._times[schedule, since]

    def files_due(self, name: str) -> Change | None:
        """The files of a manifest's trigger have changed since its latest run, by another hand than that of its runs."""
        trigger = self._by_name[name]
        if not trigger.served.globs or trigger.seen == self.reading.version:
            return None
        trigger.seen = self.reading.version
        before, files = trigger.served.files, self._files(trigger.served.globs)
        changed = {path for path in {*files, *before} if files.get(path) != before.get(path)}
        paths = tuple(sorted(path for path in changed if path not in files or files[path] != trigger.saved.get(path)))
        if not paths or self._is_echo(trigger, paths):
            trigger.serve(files=files)
            if paths:
                self.rests(name, paths)
            return None
        return Change(files, paths)

    def _is_echo(self, trigger: Trigger, paths: tuple[str, ...]) -> bool:
        """Did the run before change these files, as the one before that did, and so on?"""
        begin, end = trigger.ran
        own = all(begin <= self._changed_at(path) <= end for path in paths)
        trigger.echoes = (trigger.echoes if paths == trigger.echo else 0) + 1 if own else 0
        trigger.echo = paths
        return trigger.echoes >= MOST_ECHOES

    def _changed_at(self, path: str) -> Millis:
        try:
            return (self.reading.settings.workspace / path).stat().st_mtime_ns // 1_000_000
        except OSError:  # removed: by whom, nobody can tell
            return -1

    # ------------------------------------------------------------ what is done about it

    def intend(self, name: str, run: str, scheduled: Due | None, change: Change | None) -> None:
        """A run of the manifest is about to begin, for whatever cause: it knows the files as they are, and serves what was due."""
        trigger = self._by_name[name]
        files = change.files if change is not None else self._files(trigger.served.globs)
        since = trigger.served.since if scheduled is None else max(scheduled.at, trigger.served.since)
        trigger.memory = trigger.memory.intend(run, replace(trigger.served, since=since, files=files))

    def began(self, name: str, began: bool) -> None:
        """Whether that run has begun."""
        if (trigger := self._by_name.get(name)) is not None:
            trigger.memory = trigger.memory.settle(began)

    def ended(self, name: str, store: Store, run: str, begin: Millis, end: Millis) -> None:
        """A run was driven from `begin` to `end`."""
        if (trigger := self._by_name.get(name)) is not None:
            trigger.saved, trigger.ran, trigger.seen = _products(store, run), (begin, end), -1


def _of(graph: StepGraph) -> tuple[str, tuple[str, ...]]:
    found: Mapping[str, Any] = graph.triggers
    return str(found.get("schedule") or ""), tuple(map(str, found.get("files") or ()))


def _products(store: Store, run: str) -> dict[str, str]:
    found = products_of(store.steps(run))
    for child in store.children(run):
        found |= _products(store, child.run)
    return found
