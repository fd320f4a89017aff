"""`runner reject`."""

from __future__ import annotations

from runner.cli.answering import answer_options, give
from runner.cli.shared import verb

EPILOG = """\b
Examples:
  runner reject fix-issue gate --comment "not before Monday"
  runner reject 3f9a2c gate

The step fails (class `denied`), and what depends on it is blocked. `runner show RUN` tells what is asked.

\b
Exit codes: 0 ok, 2 no such run or step, or it waits for nobody, 7 state database.
"""


@verb(EPILOG)
@answer_options
def command(run: str, step: str, by: str | None, comment: str) -> int:
    """Say no to a step that waits for a person."""
    return give(run, step, approve=False, by=by, comment=comment)
