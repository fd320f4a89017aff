"""The live tree on a terminal: redrawn a few times a second, with lasting lines above it for what failed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import TextIO

from rich.console import Console
from rich.live import Live
from rich.spinner import Spinner
from rich.text import Text

from runner.clock import Clock
from runner.core.events import Recorded
from runner.reporters.progress import Progress, Standing
from runner.reporters.tree_lines import Line, tree_lines
from runner.reporters.words import COLORS, SIGNS, one_line, place_of, told

_LASTING = frozenset({"attempt_failed", "step_failed", "step_suspended", "attempt_lost", "run_timed_out"})
"""Events whose line stays. A step's failure gets none when its attempt has one already."""
_PER_SECOND = 8


class LiveTree:
    """A `Sink`. Redraws in a thread of rich's, so all that it reads is behind one lock."""

    def __init__(
        self,
        stream: TextIO,
        totals: Mapping[str, int],
        clock: Clock,
        *,
        standing: Callable[[str], Standing | None] = lambda run: None,
        color: bool = True,
    ) -> None:
        """`totals`, `standing`: see `Progress`. Drawing begins with the first event."""
        self._progress = Progress(totals, standing)
        self._clock = clock
        self._lock = threading.Lock()
        self._console = Console(file=stream, no_color=not color, highlight=False, markup=False, emoji=False)
        self._spinner = Spinner("dots")
        self._live: Live | None = None
        self._told: set[tuple[str, str]] = set()
        """Steps whose failure stands above the tree."""

    def event(self, recorded: Recorded, name: str) -> None:
        """Take one event in; what failed gets a line that stays."""
        with self._lock:
            self._progress.event(recorded, name)
        if self._live is None:
            self._live = self._start()
        if recorded.event.kind in _LASTING:
            self._last(recorded)

    def progress(self, run: str, node: str, text: str) -> None:
        """Shown beside the step while it runs."""
        with self._lock:
            self._progress.progress(run, node, text)

    def _last(self, recorded: Recorded) -> None:
        event, key = recorded.event, (recorded.run, recorded.event.node)
        found = told(event)
        if found is None or (event.kind == "step_failed" and key in self._told):
            return
        self._told.add(key)
        state, text = found
        place = place_of(recorded.run, event.node, self._progress.names)
        line = Text(f"{SIGNS.get(state, '·')} {place}  ", COLORS.get(state, ""))
        self._console.print(line.append(one_line(text, 400), "default"))

    def close(self) -> None:
        """Remove the tree and give the cursor back. May be called twice."""
        if self._live is not None:
            self._live.stop()

    def _start(self) -> Live:
        live = Live(
            console=self._console,
            get_renderable=self._draw,
            refresh_per_second=_PER_SECOND,
            transient=True,
            redirect_stdout=False,  # stdout is the result, and may be a file
            vertical_overflow="crop",
        )
        live.start()
        return live

    def _draw(self) -> Text:
        height = max(3, self._console.height - 1)
        with self._lock:
            lines = tree_lines(self._progress, self._clock.now(), height)
        text = Text(no_wrap=True, overflow="ellipsis", end="")
        for line in lines:
            text.append_text(self._styled(line)).append("\n")
        return text

    def _styled(self, line: Line) -> Text:
        sign = str(self._frame()) if line.state in ("running", "group") else SIGNS.get(line.state, "·")
        text = Text("  " * line.depth)
        if line.name or line.depth == 0:
            text.append(f"{sign} ", style=COLORS.get(line.state, ""))
            text.append(line.name, style="bold" if line.depth == 0 else "")
            text.append("  ")
        return text.append(line.text, style="bright_black")

    def _frame(self) -> str:
        frame = self._spinner.render(self._console.get_time())
        return frame.plain if isinstance(frame, Text) else str(frame)
