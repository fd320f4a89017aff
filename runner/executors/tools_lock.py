"""What servers said of their tools when they were first seen, in `.ares/tools.lock`: a tool that changes under us is told of.

The file is JSON, sorted: {server: {tool: digest of its name, description, schemas, annotations}}. First sight pins, a change warns and
blocks nothing, and the pin stays until a person takes the new one (`accept`) or edits the file. The judging is pure; `ToolsLock` reads
and writes. Not here: where the digests come from (`mcp_session`), and who shows the warnings."""

import fcntl
import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from runner.paths import PathEscape, TooLarge, read_inside, write_atomic
from runner.ports import ToolInfo

FILE: Final = "tools.lock"
FILE_BYTES: Final = 16 * 1024 * 1024
SHOWN: Final = 5
"""Tools that one warning names."""

Pins = Mapping[str, Mapping[str, str]]
"""{server: {tool: digest}}."""


class Judged(NamedTuple):
    """What a listing of tools means: `pins` is what is known from now on, `changed` the tools that are not what they were."""

    pins: Pins
    changed: tuple[str, ...]


def judge(pins: Pins, server: str, found: Mapping[str, str]) -> Judged:
    """`found`: {tool: digest}. A tool that is gone keeps its pin: it may come back as another."""
    known = pins.get(server, {})
    changed = tuple(sorted(name for name, digest in found.items() if known.get(name, digest) != digest))
    merged = {**found, **known}
    return Judged({**pins, server: merged} if merged != known else pins, changed)


def warning(server: str, changed: tuple[str, ...], path: Path) -> str:
    """One line for a person."""
    names = ", ".join(changed[:SHOWN]) + (f" and {len(changed) - SHOWN} more" if len(changed) > SHOWN else "")
    several = len(changed) > 1
    return (
        f"the MCP server {server} describes {names} otherwise than when {'they were' if several else 'it was'} first seen: "
        f"look at what changed, then remove {'their entries' if several else 'its entry'} from {path}"
    )


class ToolsLock:
    """The file `tools.lock` in `folder`. One for all servers of a process; other processes may use the same file."""

    def __init__(self, folder: Path, on_warning: Callable[[str], None] = lambda text: None) -> None:
        self._folder = folder
        self._path = folder / FILE
        self._on_warning = on_warning
        self._told: set[str] = set()

    def seen(self, server: str, tools: Mapping[str, ToolInfo]) -> None:
        """Pin what is new, warn of what changed; each warning once. Never raises for what is wrong with the file."""
        found = {name: tool.digest for name, tool in tools.items() if tool.digest}
        if not found:
            return
        try:
            judged = judge(pins := self._read(), server, found)
            if judged.pins is not pins:
                self._pin(server, found)
        except (OSError, ValueError, PathEscape, TooLarge) as error:
            self._warn(f"tools are not compared with {self._path}: {_said(error)}")
            return
        if judged.changed:
            self._warn(warning(server, judged.changed, self._path))

    def _pin(self, server: str, found: Mapping[str, str]) -> None:
        try:
            with self._locked(fcntl.LOCK_EX | fcntl.LOCK_NB):
                self._write(judge(self._read(), server, found).pins)
        except BlockingIOError:
            return  # another process pins at this moment: nothing here may wait for it, and the next session looks again

    def accept(self, server: str) -> bool:
        """Forget the pins of a server: what it says next is pinned. True when there were any. Raises OSError, ValueError."""
        with self._locked(fcntl.LOCK_EX):
            pins = dict(self._read())
            if pins.pop(server, None) is None:
                return False
            self._write(pins)
            return True

    def _warn(self, text: str) -> None:
        if text not in self._told:
            self._told.add(text)
            self._on_warning(text)

    # ------------------------------------------------ the file

    @contextmanager
    def _locked(self, how: int) -> Iterator[None]:
        """Alone with the file among the processes that use it. The folder is locked, not the file: that one is replaced."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, how)
            yield
        finally:
            os.close(descriptor)

    def _read(self) -> Pins:
        """Raises ValueError when it is not a file of ours."""
        try:
            data = read_inside(self._folder, self._folder, FILE, FILE_BYTES)
        except FileNotFoundError:
            return {}
        try:
            pins = json.loads(data)
        except (ValueError, RecursionError) as error:
            raise ValueError("it is not JSON") from error
        if not isinstance(pins, dict) or not all(map(_is_tools, pins.values())):
            raise ValueError("it is not {server: {tool: digest}}")
        return pins

    def _write(self, pins: Pins) -> None:
        data = json.dumps(pins, indent=2, sort_keys=True, ensure_ascii=False).encode("utf-8", "replace") + b"\n"
        write_atomic(self._folder, self._path, data, 0o600)


def _is_tools(value: object) -> bool:
    return isinstance(value, dict) and all(isinstance(digest, str) for digest in value.values())


def _said(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
