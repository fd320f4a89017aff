"""The table of faults: what can fail, the tests that make it fail, and how they ended. `python -m tests.faults` runs them and prints it
with figures; `--write` also writes docs/faults.md; `--slow` includes the slow ones; words choose rows (`power`, `disk`).

What is not here: how a fault is made. Each test says that itself."""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as xml
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "faults.md"
INTEGRATION = "tests/integration"


@dataclass(frozen=True)
class Fault:
    """`promises` are those of docs/promises.md; `tests` are `file::test`, a file alone stands for all of its tests."""

    name: str
    recipe: str
    promises: tuple[int, ...]
    tests: tuple[str, ...]


def _in(file: str, *tests: str) -> tuple[str, ...]:
    return tuple(f"{file}::{test}" for test in tests) or (file,)


POWER, DISK = f"{INTEGRATION}/test_faults_power.py", f"{INTEGRATION}/test_faults_disk.py"
FILES, PROCESSES = f"{INTEGRATION}/test_store_files.py", f"{INTEGRATION}/test_store_processes.py"

FAULTS = (
    Fault(
        "kill -9 before a write of the state database", "a VFS kills the process before its nth change of a file, for every n", (5,),
        _in(POWER, "test_whichever_write_is_the_last_of_a_killed_process_what_it_acknowledged_is_there"),
    ),
    Fault(
        "kill -9 of the program at a write", "strace kills it at the nth pwrite64 or fdatasync of a thread (every n: slow)", (1, 2, 5),
        _in(DISK, "test_a_run_that_is_killed_at_a_write_ends_as_if_nothing_had_happened",
            "test_a_run_that_is_killed_at_any_write_ends_as_if_nothing_had_happened"),
    ),
    Fault(
        "kill -9 at a random moment", "a loop of kills against executors that append to a ledger", (1, 2, 5),
        (*_in(PROCESSES, "test_kill_9_loses_nothing_that_was_acknowledged"), f"{INTEGRATION}/test_kill.py"),
    ),
    Fault(
        "kill -9 at a commit, any graph", "random manifests whose process dies at any commit, before or after it", (1, 2, 4),
        ("tests/properties/test_engine_crash.py", "tests/properties/test_kernel_crash.py"),
    ),
    Fault(
        "power cut", "a VFS notes all changes; each prefix is opened again with all, or any part, of what was not synced lost", (5,),
        _in(POWER, "test_whenever_the_power_fails_what_was_acknowledged_is_there",
            "test_with_durability_process_a_power_cut_loses_the_end_and_nothing_else"),
    ),
    Fault(
        "power cut in a checkpoint, or while the file is made", "the same, in the middle of those", (5, 7),
        _in(POWER, "test_a_power_cut_while_the_log_is_brought_into_the_file_loses_nothing",
            "test_a_file_whose_making_was_cut_short_reads_as_an_empty_record"),
    ),
    Fault(
        "disk full", "a tmpfs of 1 MiB in a mount namespace; RLIMIT_FSIZE", (7,),
        (*_in(DISK, "test_a_disk_that_fills_up_in_a_run_ends_it_with_a_named_error_and_it_goes_on_later", "test_on_a_full_disk_no_step_starts"),
         *_in(PROCESSES, "test_a_full_disk_stops_all_writing_and_loses_nothing_acknowledged"),
         *_in(f"{INTEGRATION}/test_apply.py", "test_a_full_disk_ends_the_apply_with_a_named_error_and_the_run_goes_on_later")),
    ),
    Fault(
        "I/O errors: writing, syncing, reading", "strace lets pwrite64, fdatasync or pread64 fail with EIO from the nth on", (7,),
        _in(DISK, "test_an_io_error_in_a_run_ends_it_with_a_named_error_and_it_goes_on_later",
            "test_a_disk_that_fails_from_the_first_write_on_starts_no_step", "test_a_file_that_cannot_be_read_is_a_named_error"),
    ),
    Fault(
        "read-only", "a bind mount that is read-only; a folder of somebody else's", (7,),
        (*_in(DISK, "test_on_a_file_system_that_was_mounted_read_only_no_step_starts_and_the_record_can_be_read"),
         *_in(FILES, "test_a_folder_that_cannot_be_written_is_refused_for_writing_and_can_be_read")),
    ),
    Fault(
        "damaged database", "single bits of header, pages and log flipped; pages overwritten; the file cut", (7,),
        (*_in(DISK, "test_a_flipped_bit_is_noticed_or_harmless_and_never_a_crash", "test_a_flipped_bit_in_the_log_loses_the_end_of_it_and_no_more"),
         *_in(FILES, "test_a_damaged_database_is_refused_and_left_alone", "test_damage_that_shows_only_later_is_an_error_of_ours")),
    ),
    Fault(
        "foreign or newer database, or no file at all", "other programs' files, a higher version; folders, devices, pipes, loops", (7,),
        (*_in(FILES, "test_a_foreign_file_is_refused_and_left_alone", "test_a_newer_database_is_refused_and_left_alone"),
         f"{INTEGRATION}/test_faults_places.py"),
    ),
    Fault(
        "two runners, a stale owner", "several processes; the owner stopped with SIGSTOP, taken over, and continued", (6,),
        (*_in(PROCESSES, "test_of_several_processes_that_begin_one_task_exactly_one_wins",
              "test_the_lease_of_a_killed_process_is_taken_over_at_once",
              "test_the_writes_of_a_stopped_owner_are_refused_after_it_was_taken_over"),
         *_in(f"{INTEGRATION}/test_cli_signals.py", "test_a_second_runner_is_told_busy_and_its_other_manifests_run")),
    ),
    Fault(
        "clock jumps", "a clock that goes an hour forward and back during retries and waits", (8,), _in(f"{INTEGRATION}/test_faults_clock.py")
    ),
    Fault(
        "bad executor", "a raw stdio server: crash, half line, hang, no handshake, garbage, floods, 100 MB; commands that do not end", (8, 9, 10),
        (f"{INTEGRATION}/test_mcp_faults.py",
         *_in(f"{INTEGRATION}/test_local_executor.py", "test_a_deadline_ends_the_whole_group_and_leaves_the_effect_unknown",
              "test_a_command_that_ignores_sigterm_is_killed", "test_stdout_over_the_cap_is_bad_output_and_ends_the_command"),
         *_in(f"{INTEGRATION}/test_mcp_executor.py", "test_a_defect_while_a_session_is_opened_is_a_failure_of_those_who_need_it")),
    ),
    Fault(
        "bad network", "a server on loopback: refused, reset, cut, dripping and broken answers, storms of 429", (8, 9),
        _in(f"{INTEGRATION}/test_mcp_http.py"),
    ),
    Fault(
        "signals in each phase", "SIGINT and SIGTERM while it imports, reads, opens, commits, runs, tidies up; by strace where only a system call tells", (12,),
        (f"{INTEGRATION}/test_faults_signals.py", f"{INTEGRATION}/test_cli_signals.py"),
    ),
    Fault(
        "orphans", "the runner is killed; (pid, start time) of all that it started are looked for", (11,),
        (*_in(f"{INTEGRATION}/test_local_executor.py", "test_no_command_outlives_the_runner", "test_what_hides_in_another_session_ends_with_the_runner"),
         *_in(f"{INTEGRATION}/test_mcp_executor.py", "test_no_server_nor_its_children_outlive_a_runner_that_is_killed")),
    ),
    Fault(
        "manifest edited in mid-run", "the file is another one while a step runs", (13,),
        _in(f"{INTEGRATION}/test_apply.py", "test_a_run_uses_the_manifest_as_it_was_when_it_began",
            "test_a_changed_manifest_supersedes_its_unfinished_older_run"),
    ),
    Fault(
        "database of an earlier release, stopped in mid-run", "a fixture for each schema; a migration killed at every write", (15,),
        (f"{INTEGRATION}/test_faults_migration.py",
         *_in(FILES, "test_an_older_database_is_migrated_with_a_copy_beside_it", "test_a_migration_that_fails_changes_nothing")),
    ),
    Fault(
        "watched files that are half written, swapped, renamed, deleted and made again",
        "editors' ways to save, written line by line; a thousand renames; the folder removed and made again; kill -9 and a restart", (16,),
        (*_in(f"{INTEGRATION}/test_watch.py", "test_a_file_that_is_written_in_pieces_runs_once_it_is_whole",
              "test_however_an_editor_saves_it_runs_once", "test_swap_files_and_backups_that_stay_run_nothing",
              "test_a_storm_of_a_thousand_renames_runs_each_content_once",
              "test_a_thousand_manifests_that_are_all_renamed_run_once_each",
              "test_a_folder_that_is_deleted_and_made_again_runs_nothing_again_and_is_still_watched"),
         *_in(f"{INTEGRATION}/test_watch_cli.py", "test_a_watch_that_was_killed_goes_on_and_runs_nothing_again")),
    ),
)  # fmt: skip


@dataclass
class Ended:
    """How the tests of a row ended: cases by result, seconds, figures that tests gave, why cases were skipped."""

    results: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    figures: Counter[str] = field(default_factory=Counter)
    skipped: set[str] = field(default_factory=set)

    @property
    def result(self) -> str:
        if self.results["failed"]:
            return f"FAILED ({self.results['failed']})"
        return "ok" if self.results["passed"] else "skipped"

    @property
    def told(self) -> str:
        words = [f"{count} {name}" for name, count in self.figures.items()]
        words += [f"skipped: {why}" for why in sorted(self.skipped)]
        return ", ".join(words)


def run(faults: Sequence[Fault], *, slow: bool) -> dict[str, Ended]:
    """Run the tests of these rows; how each row ended, by name."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        wanted = dict.fromkeys(test for fault in faults for test in fault.tests)
        marks = ["-m", "slow or not slow"] if slow else []
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-p",
            "no:cacheprovider",
            f"--junitxml={report}",
            "-o",
            "junit_family=xunit1",
            *marks,
            *wanted,
        ]
        subprocess.run(command, cwd=ROOT, stdout=sys.stderr, check=False)
        cases = list(xml.parse(report).iter("testcase"))
    return {fault.name: _ended(fault, cases) for fault in faults}


def _ended(fault: Fault, cases: Sequence[xml.Element]) -> Ended:
    ended = Ended()
    for case in cases:
        name = f"{case.get('file')}::{(case.get('name') or '').partition('[')[0]}"
        if name not in fault.tests and case.get("file") not in fault.tests:
            continue
        skipped = case.find("skipped")
        bad = case.find("failure") is not None or case.find("error") is not None
        ended.results["failed" if bad else "skipped" if skipped is not None else "passed"] += 1
        ended.seconds += float(case.get("time") or 0)
        if skipped is not None:
            ended.skipped.add(skipped.get("message") or "")
        for one in case.iter("property"):
            ended.figures[one.get("name") or ""] += int(one.get("value") or 0)
    return ended


def table(faults: Sequence[Fault], ended: Mapping[str, Ended]) -> Iterator[str]:
    """Lines for a terminal."""
    yield f"{'fault':<58} {'result':<10} {'cases':>5} {'seconds':>8}  figures"
    for fault in faults:
        one = ended[fault.name]
        yield f"{fault.name:<58} {one.result:<10} {one.results['passed']:>5} {one.seconds:>8.1f}  {one.told}".rstrip()


def page(faults: Sequence[Fault], ended: Mapping[str, Ended]) -> str:
    """docs/faults.md."""
    lines = [
        "# Faults",
        "",
        "What can fail under the runner, and the tests that make it fail. Written by `python -m tests.faults --slow --write`, which runs them; the",
        f"figures are of a machine with {os.cpu_count()} cores that did other things besides, {platform.system()}, Python {platform.python_version()}.",
        "The numbers of promises are those of [promises.md](promises.md).",
        "",
        "| fault | how it is made | promises | tests | result | cases | seconds | figures |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for fault in faults:
        one = ended[fault.name]
        promises = ", ".join(map(str, fault.promises))
        cells = [
            fault.name,
            fault.recipe,
            promises,
            ", ".join(map(_link, fault.tests)),
            one.result,
            str(one.results["passed"]),
        ]
        lines.append(f"| {' | '.join([*cells, f'{one.seconds:.1f}', one.told])} |")
    lines += [
        "",
        "Not in this table: 429, refusals and flapping endpoints of model providers, and the mode that they lead to. [Promise 14](promises.md) and",
        "[`test_models_story.py`](../tests/integration/test_models_story.py) show those.",
    ]
    return "\n".join(lines) + "\n"


def _link(test: str) -> str:
    file, _, name = test.partition("::")
    return f"[`{name or Path(file).name}`](../{file})"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("words", nargs="*", help="only rows whose name holds one of these")
    parser.add_argument("--slow", action="store_true", help="the slow tests, too")
    parser.add_argument("--write", action="store_true", help="write docs/faults.md")
    options = parser.parse_args()
    if options.write and (options.words or not options.slow):
        parser.error("--write needs all rows: --slow and no words")
    faults = [fault for fault in FAULTS if not options.words or any(word in fault.name for word in options.words)]
    ended = run(faults, slow=options.slow)
    print("\n".join(table(faults, ended)))
    if options.write:
        PAGE.write_text(page(faults, ended))
    return 1 if any(one.results["failed"] for one in ended.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
