"""docs/faults.md is what `python -m tests.faults` wrote: every row of it, no test that is gone, no failure."""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))  # `tests` is no package that is installed
from tests.faults import FAULTS, PAGE, Ended, _link, page  # noqa: E402


def test_every_test_of_the_table_exists() -> None:
    for fault in FAULTS:
        for test in fault.tests:
            file, _, name = test.partition("::")
            text = (ROOT / file).read_text()
            assert re.search(rf"^(async )?def {name or 'test_'}", text, re.MULTILINE), test


def test_the_page_has_every_row_with_its_tests_and_none_that_failed() -> None:
    rows = [line for line in PAGE.read_text().splitlines() if line.startswith("| ")][1:]
    assert [row.split(" | ")[0].removeprefix("| ") for row in rows] == [fault.name for fault in FAULTS]
    for row, fault in zip(rows, FAULTS, strict=True):
        assert [test for test in fault.tests if _link(test) not in row] == []
        assert "FAILED" not in row


def test_the_page_says_of_each_row_how_it_ended() -> None:
    ended = {fault.name: Ended() for fault in FAULTS}
    ended[FAULTS[0].name].results["passed"] = 3
    ended[FAULTS[0].name].figures["kills"] = 17
    ended[FAULTS[1].name].results["failed"] = 1
    ended[FAULTS[2].name].skipped.add("there is no strace here")
    rows = [line for line in page(FAULTS, ended).splitlines() if line.startswith("| ")][1:]
    assert rows[0].endswith("| ok | 3 | 0.0 | 17 kills |")
    assert "| FAILED (1) |" in rows[1]
    assert rows[2].endswith("| skipped | 0 | 0.0 | skipped: there is no strace here |")
