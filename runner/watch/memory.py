"""What a watch remembers between its lives, for manifests with triggers: how far each schedule was served, and the files as they were.
Also that only one watch at a time looks after a folder.

All else is in the record of runs. A run that a trigger starts is written down here before it begins: when the watch is killed in between,
the record says whether it began.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from runner.clock import Millis
from runner.digest import digest_bytes
from runner.errors import StoreBusy, StoreError
from runner.paths import write_atomic

VERSION = 1


@dataclass(frozen=True, slots=True)
class Served:
    """`schedule` was served up to `since`. `files`: path → digest of what `globs` find, as the latest run knows it."""

    schedule: str = ""
    since: Millis = 0
    globs: tuple[str, ...] = ()
    files: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Memory:
    """Of one manifest. `next`: what holds once the run `run` has begun."""

    served: Served
    run: str = ""
    next: Served | None = None

    def intend(self, run: str, served: Served) -> Memory:
        """A trigger is about to start `run`."""
        return replace(self, run=run, next=served)

    def settle(self, began: bool) -> Memory:
        """Whether that run has begun is known."""
        return Memory(self.next if began and self.next is not None else self.served)


def settled(memories: Mapping[str, Memory], exists: Callable[[str], bool]) -> dict[str, Memory]:
    """After a restart: `exists` tells whether the record has a run."""
    return {name: memory.settle(exists(memory.run)) if memory.run else memory for name, memory in memories.items()}


def read(file: Path) -> dict[str, Memory]:
    """What was kept; nothing when there is nothing, or none of it makes sense."""
    try:
        data = json.loads(file.read_bytes())
        if data["version"] != VERSION:
            return {}
        return {name: _memory(kept) for name, kept in data["manifests"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def _memory(kept: Mapping[str, Any]) -> Memory:
    later = kept.get("next")
    return Memory(_served(kept["served"]), str(kept.get("run", "")), _served(later) if later else None)


def _served(kept: Mapping[str, Any]) -> Served:
    return Served(str(kept["schedule"]), int(kept["since"]), tuple(map(str, kept["globs"])), dict(kept["files"]))


def write(file: Path, folder: Path, memories: Mapping[str, Memory]) -> None:
    """Raises OSError."""
    data = {
        "version": VERSION,
        "folder": str(folder),
        "manifests": {name: asdict(memory) for name, memory in memories.items()},
    }
    write_atomic(file.parent, file, json.dumps(data, ensure_ascii=True).encode(), mode=0o600)


def place_of(state: Path, folder: Path) -> Path:
    """Where a watched folder is remembered; `state` is the folder of the state database."""
    return state / "watch" / f"{digest_bytes(os.fsencode(folder))[:16]}.json"


@contextmanager
def claimed(file: Path, folder: Path) -> Iterator[None]:
    """Nobody else watches this folder, one above it, or one below it, while this lasts. Raises StoreBusy, StoreError. The lock ends
    with the process, however that ends."""
    own = file.with_suffix(".lock")
    with ExitStack() as stack:
        try:
            _claim(stack, own, folder)
        except OSError as error:
            what = f"the watch of {folder} cannot be noted in {own.parent}: {error.strerror}"
            raise StoreError(
                what, hint="the folder of the state database has to be a folder that can be written"
            ) from error
        yield


def _claim(stack: ExitStack, own: Path, folder: Path) -> None:
    """Hold the lock until `stack` is left. Raises StoreBusy, OSError."""
    own.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = stack.enter_context(own.open("a+", encoding="utf-8"))
    if not _lock(lock.fileno()):
        raise _watched(folder, own)
    lock.truncate(0)
    lock.write(json.dumps({"folder": str(folder), "pid": os.getpid()}))
    lock.flush()  # before looking at others: of two that begin at once, one at least has to see the other
    for other in sorted(own.parent.glob("*.lock")):
        place = _told(other)
        if other != own and place is not None and _overlap(place, folder) and _is_locked(other):
            raise _watched(place, other)


def _lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_locked(file: Path) -> bool:
    with suppress(OSError), file.open("a+", encoding="utf-8") as lock:
        return not _lock(lock.fileno())
    return False


def _told(file: Path) -> Path | None:
    with suppress(OSError, ValueError, KeyError, TypeError):
        return Path(json.loads(file.read_text(encoding="utf-8"))["folder"])
    return None


def _overlap(one: Path, other: Path) -> bool:
    return one.is_relative_to(other) or other.is_relative_to(one)


def _watched(folder: Path, lock: Path) -> StoreBusy:
    pid = "?"
    with suppress(OSError, ValueError, KeyError, TypeError):
        pid = json.loads(lock.read_text(encoding="utf-8"))["pid"]
    return StoreBusy(
        f"{folder} is being watched by another runner (process {pid})",
        hint="one watch looks after a folder and all below it; stop that one first, or watch another folder",
    )
