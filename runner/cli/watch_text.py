"""What a watch says on a terminal: a line with the time for each thing that it does, mistakes as they are made, and how runs ended."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import Literal

from runner.api.results import ApplyResult, RunResult
from runner.api.settings import Settings
from runner.api.watch_folder import News
from runner.cli.context import reading
from runner.cli.loading import print_found
from runner.cli.output import err, options, out, painter, safe
from runner.cli.summary import summary
from runner.cli.trouble import advice
from runner.ports import Store

COLORS = {"note": "bright_black", "run": "blue", "trouble": "yellow"}


class Screen:
    """Says it on stderr; how runs ended goes to stdout, unless that is `busy` with a document."""

    def __init__(self, settings: Settings, *, busy: bool) -> None:
        self._settings, self._busy = settings, busy
        self._open = ExitStack()
        self._store: Store | None = None

    def say(self, text: str, *, manifest: str = "", kind: Literal["note", "run", "trouble"] = "note") -> None:
        """One line."""
        if options().get("quiet") and kind != "trouble":
            return
        where = f"{manifest}: " if manifest else ""
        paint = painter(sys.stderr)
        err(f"{paint(time.strftime('%H:%M:%S'), COLORS[kind])} {safe(where + text)}")

    def found(self, news: News) -> None:
        """Mistakes that are new, and what they mean for what is in force."""
        print_found(news.diagnostics, news.sources, even_quiet=True)
        folder = news.folder
        for file in sorted({d.file for d in news.diagnostics if d.severity == "error"}):
            earlier = sorted(name for name in folder.unread if file in folder.manifests[name].files)
            left = f"the version of {', '.join(earlier)} before stays in force" if earlier else "nothing of it runs"
            self.say(f"{file} has mistakes: {left} until that is mended", kind="trouble")
        for file in news.mended:
            self.say(f"{file} is mended")
        for name in news.gone:
            self.say("is gone: nothing starts it any more", manifest=name)

    def ended(self, result: RunResult) -> None:
        """A run was driven as far as it goes."""
        if not self._busy and result.state != "interrupted":  # those are told in the end
            out(self._told(result))

    def last(self, result: ApplyResult) -> None:
        """The watch has ended: what is left to go on."""
        left = tuple(run for run in result.runs if run.state in ("interrupted", "pending"))
        for run in left:
            out(self._told(run))

    def close(self) -> None:
        """Let go of the record."""
        self._open.close()

    def _told(self, result: RunResult) -> str:
        if self._store is None:
            self._store = self._open.enter_context(reading(self._settings))
        state = self._settings.state_path.parent
        return summary(ApplyResult((result,), 0), self._store, state, painter(), advise=advise)


def advise(run: str, state: str, reasons: Sequence[str]) -> Iterator[str]:
    """What to do about a run, while a watch looks after it."""
    if state == "suspended":
        yield "next: goes on by itself " + (
            "once that is answered" if {"approval", "unknown"} & set(reasons) else "when that is over"
        )
    else:
        yield from advice(run, state, reasons)
