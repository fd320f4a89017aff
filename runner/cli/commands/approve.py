"""`runner approve`."""

from __future__ import annotations

from runner.cli.answering import answer_options, give
from runner.cli.shared import verb

EPILOG = """\b
Examples:
  runner approve fix-issue gate                       the latest run of a manifest
  runner approve 3f9a2c gate --comment "looks good"
  runner approve 3f9a2c 'gate[2]' --as "release team"
  runner approve 3f9a2c.review gate                   a step of a sub-run

`runner show RUN` tells what is asked, and what there is to look at. A runner that drives the run right now goes on by itself;
else `runner resume RUN` (or `runner apply`) does.

\b
Exit codes: 0 ok, 2 no such run or step, or it waits for nobody, 7 state database.
"""


@verb(EPILOG)
@answer_options
def command(run: str, step: str, by: str | None, comment: str) -> int:
    """Say yes to a step that waits for a person."""
    return give(run, step, approve=True, by=by, comment=comment)
