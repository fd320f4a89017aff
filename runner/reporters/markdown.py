"""What a run did, in Markdown: for the summary page of a CI job, or a comment. Pure: values in, text out."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Sequence
from typing import Final

from runner.reporters.junit import Case, Suite, legal
from runner.reporters.words import ODD, SIGNS, seconds

LIMIT: Final = 900_000
"""Bytes: a page of GitHub takes 1 MiB from a step."""
_MOST_SHOWN: Final = 300
_MOST_CASES: Final = 50
_PUNCTUATION: Final = re.compile(r"([\\`*_{}\[\]()#+\-.!|~:@$])")


def code(text: str, most: int = _MOST_SHOWN) -> str:
    """Data on one line, as code: nothing in it is Markdown, HTML, or the mention of a person."""
    line = " ".join(re.sub(ODD, " ", legal(text)).split())
    shown = line if len(line) <= most else f"{line[: most - 1]}…"
    # Markdown is read inside of HTML, too: so both are escaped.
    escaped = _PUNCTUATION.sub(r"\\\1", html.escape(shown, quote=False))
    return f"<code>{escaped}</code>" if shown else ""


def markdown(suites: Sequence[Suite], exit_code: int) -> str:
    """The page."""
    lines = [f"### runner apply: {_outcome(exit_code)}", ""]
    if suites:
        lines += ["| | manifest | state | steps | time | cost |", "|---|---|---|---|---|---|", *map(_row, suites)]
    for suite in suites:
        lines += _details(suite)
    text = "\n".join(lines) + "\n"
    data = text.encode()
    if len(data) <= LIMIT:
        return text
    return data[:LIMIT].decode("utf-8", "ignore").rpartition("\n")[0] + "\n\nThe rest was cut.\n"


def _outcome(exit_code: int) -> str:
    return "ok" if exit_code == 0 else f"exit code {exit_code}"


def _row(suite: Suite) -> str:
    state = "unchanged" if suite.action == "unchanged" else suite.state
    done = sum(case.verdict == "passed" for case in suite.cases)
    took = seconds(suite.took) if suite.took and state != "unchanged" else ""
    return f"| {SIGNS.get(state, '·')} | {code(suite.name)} | {state} | {done}/{len(suite.cases)} | {took} | {suite.cost} |"


def _details(suite: Suite) -> Iterator[str]:
    bad = [case for case in suite.cases if case.verdict in ("failed", "error")]
    if not bad and not suite.outputs:
        return
    yield from ("", f"#### {code(suite.name)}", "")
    yield from map(_trouble, bad[:_MOST_CASES])
    if len(bad) > _MOST_CASES:
        yield f"- and {len(bad) - _MOST_CASES} more"
    if suite.outputs:
        yield from ("", "| output | |", "|---|---|")
        yield from (f"| {code(name)} | {code(value)} |" for name, value in suite.outputs)


def _trouble(case: Case) -> str:
    return f"- {code(case.name)}: {code(case.kind)} {code(case.message)}".rstrip()
