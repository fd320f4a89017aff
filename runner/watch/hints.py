"""Word from the operating system that something moved. A hint says only that a look is worth while: what moved, the look finds out. So a
hint too many costs little, and one that is lost comes with the next look.
"""

import asyncio
import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

DEBOUNCE_MS: Final = 50
STEP_MS: Final = 10
"""watchfiles gathers changes for this long; its defaults (1,600 and 50) would be most of the time from a save to the run."""
LISTEN_MS: Final = 1_000
"""How long the thread that listens is deaf to being told to end."""


class Place(NamedTuple):
    """A folder to listen at; `deep`: with all below it. `inode` tells a folder from another one that has taken its name, as long as the
    first one is held open: else the number may be given to the second."""

    path: str
    deep: bool
    inode: int


def places(deep: Iterable[Path], flat: Iterable[Path]) -> frozenset[Place]:
    """The folders as they stand: of one that is missing, the nearest that is there; of each its own folder as well, where it may be
    removed and come back."""
    found: dict[Path, bool] = {}
    for path, wanted in [*((path, True) for path in deep), *((path, False) for path in flat)]:
        here = _nearest(path)
        found[here] = found.get(here, False) or (wanted and here == path)
        if wanted:
            found.setdefault(_nearest(path.parent), False)
    tops = [path for path, is_deep in found.items() if is_deep]
    outside = {path for path in found if not any(path != top and path.is_relative_to(top) for top in tops)}
    return frozenset(place for path in outside if (place := _place(path, found[path])) is not None)


def _place(path: Path, is_deep: bool) -> Place | None:
    try:
        return Place(str(path), is_deep, path.stat().st_ino)
    except OSError:  # removed just now: the next look finds where to listen instead
        return None


def _nearest(path: Path) -> Path:
    while not path.is_dir() and path != path.parent:
        path = path.parent
    return path


@dataclass(slots=True)
class Hints:
    """Listens, and calls `on_hint`. `relevant` is asked about each path, in the loop's thread. `on_trouble` is told, once, when the
    operating system will tell no more: it has limits."""

    on_hint: Callable[[], None]
    relevant: Callable[[str], bool]
    on_trouble: Callable[[str], None]
    _armed: frozenset[Place] = frozenset()
    _held: list[int] = field(default_factory=list)
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)
    _stop: asyncio.Event = field(default_factory=asyncio.Event)

    async def arm(self, wanted: frozenset[Place]) -> bool:
        """Listen at these places from now on; whether that is a change, after which a look is worth while."""
        if wanted == self._armed:
            return False
        await self.close()
        self._armed, self._stop = wanted, asyncio.Event()
        self._hold()
        for deep in (True, False):
            paths = [place.path for place in wanted if place.deep is deep]
            if paths:
                self._tasks.append(asyncio.create_task(self._listen(paths, deep), name="ares-watch"))
        await asyncio.sleep(0)  # each task has begun to listen when it first gives way
        return True

    async def close(self) -> None:
        """Listen no more."""
        self._stop.set()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []
        while self._held:
            os.close(self._held.pop())

    def _hold(self) -> None:
        for place in self._armed:
            with suppress(OSError):  # removed just now
                self._held.append(os.open(place.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))

    async def _listen(self, paths: list[str], deep: bool) -> None:
        from watchfiles import awatch

        try:
            async for _ in awatch(
                *paths,
                watch_filter=lambda _, path: self.relevant(path),
                debounce=DEBOUNCE_MS,
                step=STEP_MS,
                rust_timeout=LISTEN_MS,
                stop_event=self._stop,
                recursive=deep,
                force_polling=False,  # where that is necessary we look by ourselves, at the same files and no others
                ignore_permission_denied=True,
            ):
                self.on_hint()
        except FileNotFoundError:  # removed just now: the next look finds where to listen instead
            self.on_hint()
        except (OSError, RuntimeError) as error:  # RuntimeError: what watchfiles has no better name for
            self.on_trouble(str(error))
