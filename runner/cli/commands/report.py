"""`runner report`."""

from __future__ import annotations

import click

from runner.cli.context import reading, settings_of
from runner.cli.output import err, options, out, safe
from runner.cli.reports import file_to_write
from runner.cli.shared import verb

EPILOG = """\b
Examples:
  runner report fix-issue --html report.html      the latest run of a manifest
  runner report 3f9a2c --html report.html         a run by the start of its id
  runner report fix-issue --html - > report.html

One file that needs nothing else: the graph with states, a timeline, every step and item with its attempts and why they were made,
checks, logs, outputs, costs, sub-runs, and all that is recorded. It loads nothing from anywhere, shows everything without a script,
and follows light and dark. Long texts are cut, and say so. Secrets are masked in the record already; outputs are not, so give the file
to those who may read them.

\b
Exit codes: 0 ok, 2 no such run, or the file cannot be written, 7 state database.
"""


@verb(EPILOG)
@click.argument("run", metavar="RUN")
@click.option("--html", "file", metavar="FILE", required=True, help="Write a page to FILE (`-`: stdout).")
def command(run: str, file: str) -> int:
    """Write one run as a page for a browser: graph, timeline, attempts, outputs, costs."""
    from runner.api.ci_report import write_report
    from runner.api.queries import find_run
    from runner.api.report import report
    from runner.clock import SystemClock
    from runner.reporters.page import page

    path = file_to_write("--html", None if file == "-" else file)
    settings = settings_of()
    with reading(settings) as store:
        text = page(report(store, find_run(store, run), settings.state_path.parent, SystemClock().now()))
    if path is None:
        out(text.rstrip("\n"))
        return 0
    write_report(path, text)
    if not options().get("quiet"):
        err(f"wrote {safe(file)}")
    return 0
