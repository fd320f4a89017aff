"""The watched folder as it has settled: which files there are, which of them changed, and what a reading of them gives. Runs nothing."""

import asyncio
import os
from collections.abc import Iterable, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from runner.api.finding import SUFFIXES, find_now
from runner.api.load import Loaded, load_files
from runner.api.settings import Settings
from runner.api.watch_folder import Folder, News, take_in, take_in_part
from runner.clock import Millis
from runner.paths import HIDDEN, Matcher, PathEscape, below, glob_inside, matcher
from runner.watch.hints import Place, places
from runner.watch.names import is_temporary
from runner.watch.scan import GONE, Digests, Moved, read_still, stamps_of
from runner.watch.settle import Settler, Stamp

NOTHING = matcher([])


class Look(NamedTuple):
    """What a look has found. `news`: the manifests were read anew. `config`: the config file is another one now."""

    news: News | None = None
    config: bool = False


class Changes(NamedTuple):
    """Manifest files that are new or have another content; whether some are gone."""

    files: frozenset[str]
    removed: bool


@dataclass(slots=True)
class Reading:
    """Follows the files of one folder, and those that its manifests name."""

    root: Path
    settings: Settings
    settle: Millis
    folder: Folder = field(default_factory=Folder)
    globs: tuple[str, ...] = ()
    """Of all triggers."""
    files: dict[str, str] = field(default_factory=dict)
    """What these find: path below the workspace → digest of its content when it had settled."""
    version: int = 0
    """Counts the changes of `files`."""
    _digests: Digests = field(default_factory=Digests)
    _settler: Settler = field(init=False)
    _texts: dict[str, bytes] = field(default_factory=dict)
    """Manifest file → its content when it had settled."""
    _closed: set[str] = field(default_factory=set)
    """Manifest files that may not be read."""
    _parts: dict[str, str] = field(default_factory=dict)
    """File that a manifest names → its digest when it was read; "?" while it may still be being written."""
    _plain_parts: frozenset[Path] = frozenset()
    _triggers: Matcher = NOTHING
    _read: bool = False
    _config_digest: str = ""

    def __post_init__(self) -> None:
        self._settler = Settler(self.settle)
        self._config_changed()

    # ------------------------------------------------------------ looking

    @property
    def due(self) -> Millis | None:
        """When to look again, whatever happens; None = everything has settled."""
        return self._settler.due

    async def look(self, now: Millis, wall: Millis) -> Look:
        """See what there is; read it when it has settled. `now` never jumps, `wall` is what files are stamped with."""
        manifests, stamps = await asyncio.to_thread(self._scan)
        self._settler.see(stamps, now)
        settled = self._settler.take(now)
        if settled is None:
            return Look()
        changes = self._take_texts(settled.moved, manifests, now)
        parts = {name for name in settled.moved & self._parts.keys() if self._parts[name] != self._digests.of(name)}
        await asyncio.to_thread(self._take_files, [name for name in settled.moved if self.is_trigger(name)])
        news = None
        if changes.files or changes.removed or parts or not self._read:
            files = None if changes.removed or not self._read else self._related(changes.files, parts)
            news = await self._load(files, settled.restless, wall)
        return Look(news, self._config in settled.moved and self._config_changed())

    def _scan(self) -> tuple[frozenset[str], dict[str, Stamp]]:
        """The manifest files, and the stamps of all files that matter."""
        manifests = frozenset(str(path) for path in find_now(self.root) if not is_temporary(path.name))
        config = [self._config] if self._config else []
        return manifests, stamps_of({*manifests, *self._parts, *self._matches(), *config})

    def _matches(self) -> list[str]:
        """The files of the workspace that triggers mean."""
        try:
            found = glob_inside(self.settings.workspace, self.globs) if self.globs else []
        except (PathEscape, OSError):  # a folder went away just now, which is told: looked at again
            return []
        return [str(path) for path in found if not is_temporary(path.name)]

    def _take_texts(self, moved: Set[str], manifests: Set[str], now: Millis) -> Changes:
        """Read the manifest files that moved."""
        changed, removed = set(), False
        for name in moved:
            was_closed = name in self._closed
            self._closed.discard(name)
            if name not in manifests:
                removed |= self._texts.pop(name, None) is not None or was_closed
                continue
            try:
                text = read_still(name, self.settings.config.limits.file_bytes)
            except Moved:
                self._settler.doubt(name, now)
                continue
            except OSError:  # the reading says why; what is in force stays
                self._texts.pop(name, None)
                self._closed.add(name)
                changed.add(name)
                continue
            if text is not None and text != self._texts.get(name):
                self._texts[name] = text
                changed.add(name)
        return Changes(frozenset(changed), removed)

    # ------------------------------------------------------------ reading

    def _related(self, files: Set[str], parts: Set[str]) -> Set[str] | None:
        """What has to be read again when these manifest files, and these files that manifests name, have changed; None = all. In a
        large folder that is most of the time between a save and the run."""
        if not parts:
            return self.folder.related(files)
        places = {os.path.realpath(part) for part in parts}
        users = [
            (os.path.realpath(part), known.entry.file)
            for known in self.folder.manifests.values()
            for part in known.entry.parts
        ]
        if places - {part for part, _ in users}:
            return None
        return self.folder.related({*files, *(file for part, file in users if part in places)})

    async def _load(self, some: Set[str] | None, restless: Set[str], wall: Millis) -> News:
        """Read `some` of the manifest files, or all."""
        contents = {Path(name): text for name, text in self._texts.items()}
        there = self._texts.keys() | self._closed
        files = [(path, False) for path in sorted(map(Path, there)) if some is None or str(path) in some]
        loaded = await asyncio.to_thread(load_files, files, self.settings, contents)
        fresh = self._take_parts(loaded, wall, keep=some is not None)
        doubtful = restless | fresh
        if some is None:
            news = take_in(self.folder, loaded, there, doubtful)
        elif (part := take_in_part(self.folder, loaded, some, there, doubtful)) is None:
            return await self._load(None, restless, wall)
        else:
            news = part
        self.folder, self._read = news.folder, True
        self._take_globs()
        await asyncio.to_thread(self._take_old_files, wall)
        return news

    def _take_parts(self, loaded: Loaded, wall: Millis, *, keep: bool) -> Set[str]:
        """From now on the files that manifests name count as well (`keep`: those of others, too). Those that nobody has followed yet and may still be being written:
        the next look begins to, and they are read once more when they have settled."""
        named = {part for entry in loaded.manifests for part in entry.parts}
        named |= {str(Path(look.base, look.file)) for look in loaded.looks}
        named -= self._texts.keys() | self._closed
        kept = {name: content for name, content in self._parts.items() if keep and name not in named}
        new = stamps_of(named - self._parts.keys())
        old = {name: stamp for name, stamp in new.items() if self._is_old(stamp, wall)}
        self._settler.know(old)
        fresh = new.keys() - old.keys()
        self._parts = {**kept, **{name: "?" if name in fresh else self._digests.of(name) for name in sorted(named)}}
        self._plain_parts = frozenset(map(_plain, self._parts))
        return fresh

    def _is_old(self, stamp: Stamp, wall: Millis) -> bool:
        """Was it left alone for long enough, by what is stamped on it?"""
        return max(stamp.modified, stamp.changed) // 1_000_000 + self.settle <= wall

    # ------------------------------------------------------------ files of triggers

    def _take_globs(self) -> None:
        found = (known.graph.triggers.get("files") or () for known in self.folder.top_level().values())
        self.globs = tuple(sorted({str(glob) for globs in found for glob in globs}))
        self._triggers = matcher(self.globs)
        self.files = {path: content for path, content in self.files.items() if self._triggers(path)}

    def _take_old_files(self, wall: Millis) -> None:
        """Those that a trigger means from now on, and that have settled long ago; others when they will have."""
        new = stamps_of(name for name in self._matches() if self._below(name) not in self.files)
        old = {name: stamp for name, stamp in new.items() if self._is_old(stamp, wall)}
        self._settler.know(old)
        self._take_files(old)

    def _take_files(self, names: Iterable[str]) -> None:
        """These have settled."""
        for name in names:
            path, content = self._below(name), self._digests.of(name)
            if content == self.files.get(path, GONE):
                continue
            self.version += 1
            if content == GONE:
                del self.files[path]
            else:
                self.files[path] = content

    def _below(self, name: str) -> str:
        return Path(name).relative_to(self.settings.workspace).as_posix()

    def is_trigger(self, name: str) -> bool:
        """Does a trigger mean this file?"""
        if not Path(name).is_relative_to(self.settings.workspace):
            return False
        path = self._below(name)
        return self._triggers(path) and HIDDEN.isdisjoint(path.split("/"))

    # ------------------------------------------------------------ the config

    @property
    def _config(self) -> str:
        return "" if self.settings.file is None else str(self.settings.file.absolute())

    def _config_changed(self) -> bool:
        before, self._config_digest = self._config_digest, self._digests.of(self._config)
        return before not in ("", self._config_digest)

    # ------------------------------------------------------------ where to listen

    def places(self) -> frozenset[Place]:
        """The folders in which something may happen."""
        deep, flat = [self.root.absolute()], [_plain(name).parent for name in self._parts]
        if self.settings.file is not None:
            flat.append(self.settings.file.absolute().parent)
        for glob in self.globs:
            folder, deeper = below(glob)
            (deep if deeper else flat).append(self.settings.workspace / folder)
        return places(deep, flat)

    def is_relevant(self, path: str) -> bool:
        """May what happened at a path be worth a look?"""
        here = Path(path)
        if is_temporary(here.name):
            return False
        if self.is_trigger(path) or str(here) == self._config or here in self._plain_parts:
            return True
        root = self.root.absolute()
        if not here.is_relative_to(root):
            return root.is_relative_to(here)
        inside = here.relative_to(root)
        if any(part.startswith(".") for part in inside.parts):
            return False
        return here.suffix in SUFFIXES or here.is_dir() or not here.exists()


def _plain(name: str) -> Path:
    """A path as the operating system tells it: a manifest may name `../x`."""
    return Path(os.path.abspath(name))  # noqa: PTH100  resolve() would follow links
