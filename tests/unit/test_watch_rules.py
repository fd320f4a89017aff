"""What a watch decides by, with the time as an argument: settling, schedules, waiting runs, names, file systems, what is remembered."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
import watchfiles
from hypothesis import given
from hypothesis import strategies as st

from runner.clock import Millis
from runner.engine.changes import content_digest
from runner.errors import StoreBusy, StoreError
from runner.watch import hints, memory
from runner.watch.cron import MOST_COUNTED, due, next_time
from runner.watch.memory import Memory, Served
from runner.watch.mounts import is_silent, kind_of
from runner.watch.names import is_temporary
from runner.watch.scan import Digests
from runner.watch.settle import PATIENCE, Settler, Stamp
from runner.watch.waits import FIRST, LONGEST, LOOK, Wait, next_try, starts_over

SETTLE = 400


def stamps(**versions: int) -> dict[str, Stamp]:
    return {name: Stamp(1, 1, 1, version, version) for name, version in versions.items()}


# ---------------------------------------------------------------- settling


def test_a_file_settles_once_it_was_left_alone() -> None:
    settler = Settler(SETTLE)
    settler.see(stamps(a=1), 1000)
    assert settler.due == 1400
    assert settler.take(1399) is None
    settler.see(stamps(a=1), 1400)
    assert settler.take(1400) == ({"a"}, frozenset())
    assert settler.take(9000) is None and settler.due is None


def test_a_file_that_is_written_again_begins_anew() -> None:
    settler = Settler(SETTLE)
    settler.see(stamps(a=1), 1000)
    settler.see(stamps(a=2), 1300)
    assert settler.take(1400) is None
    assert settler.due == 1700
    assert settler.take(1700) == ({"a"}, frozenset())


def test_files_settle_together() -> None:
    settler = Settler(SETTLE)
    settler.see(stamps(a=1), 1000)
    settler.see(stamps(a=1, b=1), 1200)
    assert settler.take(1400) is None
    assert settler.take(1600) == ({"a", "b"}, frozenset())


def test_a_removed_file_settles_too() -> None:
    settler = Settler(SETTLE)
    settler.see(stamps(a=1), 1000)
    assert settler.take(1400) is not None
    settler.see({}, 2000)
    assert settler.take(2400) == ({"a"}, frozenset())


def test_a_file_that_came_and_went_before_it_settled_is_told_of_once() -> None:
    settler = Settler(SETTLE)
    settler.see(stamps(a=1, b=1), 1000)
    assert settler.take(1400) is not None
    settler.see(stamps(a=1, b=1, swap=1), 2000)
    settler.see(stamps(a=1, b=1), 2100)
    assert settler.take(2500) == ({"swap"}, frozenset())
    assert settler.due is None


def test_one_file_that_never_rests_does_not_hold_up_the_others_for_ever() -> None:
    settler = Settler(SETTLE)
    settler.see(stamps(a=1, log=1), 0)
    for turn in range(1, 100):
        settler.see(stamps(a=1, log=turn), turn * 200)
        if taken := settler.take(turn * 200):
            assert turn * 200 == PATIENCE * SETTLE
            assert taken == ({"a"}, {"log"})
            break
    else:
        pytest.fail("never settled")
    last = PATIENCE * SETTLE
    assert settler.due is not None and settler.due > last
    assert settler.take(last + SETTLE) == ({"log"}, frozenset())


def test_a_file_that_changed_while_it_was_read_is_read_again() -> None:
    settler = Settler(SETTLE)
    settler.see(stamps(a=1), 0)
    assert settler.take(SETTLE) is not None
    settler.doubt("a", SETTLE)
    settler.see(stamps(a=2), SETTLE + 10)
    assert settler.take(2 * SETTLE) is None
    assert settler.take(2 * SETTLE + 10) == ({"a"}, frozenset())


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 3), st.integers(0, 700)), max_size=40))
def test_every_change_is_told_once_and_never_before_it_was_left_alone(moves: list[tuple[str, int, int]]) -> None:
    settler, now = Settler(SETTLE), 0
    files: dict[str, int] = {}
    changed_at: dict[str, Millis] = {}
    for name, version, pause in moves:
        now += pause
        if version != files.get(name, 0):
            changed_at[name] = now
        files[name] = version
        settler.see(stamps(**{n: v for n, v in files.items() if v}), now)
        for told in (settler.take(now) or ((), ()))[0]:
            assert now - changed_at.pop(told) >= SETTLE
    told = (settler.take(now + (PATIENCE + 2) * SETTLE) or (frozenset(), ()))[0]
    assert set(changed_at) <= set(told)
    assert settler.due is None


# ---------------------------------------------------------------- schedules

BERLIN = ZoneInfo("Europe/Berlin")


def at(text: str) -> Millis:
    """`2026-03-29T00:30Z` in milliseconds."""
    return round(datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp() * 1000)


def times(schedule: str, where: object, begin: str, count: int) -> list[str]:
    """The next `count` times, in UTC."""
    found, now = [], at(begin)
    for _ in range(count):
        now_ = next_time(schedule, where, now)  # type: ignore[arg-type]
        assert now_ is not None and now_ > now
        now = now_
        found.append(datetime.fromtimestamp(now / 1000, UTC).strftime("%d %H:%M"))
    return found


def test_a_schedule_is_read_in_its_time_zone() -> None:
    assert times("0 6 * * 1-5", BERLIN, "2026-11-27T12:00Z", 2) == ["30 05:00", "01 05:00"]
    assert times("0 6 * * 1-5", UTC, "2026-11-27T12:00Z", 1) == ["30 06:00"]


def test_a_time_that_the_day_does_not_have_is_taken_at_the_end_of_the_gap() -> None:
    # clocks go from 02:00 to 03:00 at 01:00 UTC
    assert times("30 2 * * *", BERLIN, "2026-03-28T00:00Z", 3) == ["28 01:30", "29 01:00", "30 00:30"]


def test_two_times_in_one_gap_are_one() -> None:
    assert times("10,40 2 * * *", BERLIN, "2026-03-28T23:00Z", 2) == ["29 01:00", "30 00:10"]


def test_a_time_that_the_day_has_twice_is_taken_once() -> None:
    # clocks go from 03:00 to 02:00 at 01:00 UTC
    assert times("30 2 * * *", BERLIN, "2026-10-24T12:00Z", 3) == ["25 00:30", "26 01:30", "27 01:30"]


def test_every_quarter_of_an_hour_goes_on_evenly_through_both_changes() -> None:
    forward = ["29 00:30", "29 00:45", "29 01:00", "29 01:15", "29 01:30"]
    assert times("*/15 * * * *", BERLIN, "2026-03-29T00:20Z", 5) == forward
    back = ["25 00:45", "25 01:00", "25 01:15"]
    assert times("*/15 * * * *", BERLIN, "2026-10-25T00:30Z", 3) == back


def test_every_hour_runs_twice_in_the_hour_that_comes_twice() -> None:
    assert times("0 * * * *", BERLIN, "2026-10-24T23:30Z", 4) == ["25 00:00", "25 01:00", "25 02:00", "25 03:00"]


def test_a_gap_of_half_an_hour_is_a_gap() -> None:
    assert times("15 2 * * *", ZoneInfo("Australia/Lord_Howe"), "2026-10-03T00:00Z", 2) == ["03 15:30", "04 15:15"]


def test_a_schedule_that_never_comes_has_no_next_time() -> None:
    assert next_time("0 0 31 2 *", UTC, 0) is None
    assert next_time("0 * 31 2 *", UTC, 0) is None


def test_the_29th_of_february_is_found() -> None:
    assert next_time("0 * 29 2 *", BERLIN, at("2026-11-27T00:00Z")) == at("2028-02-28T23:00Z")


def test_a_schedule_is_due_once_and_the_missed_times_are_counted() -> None:
    since = at("2026-11-24T06:00Z")
    assert due("0 6 * * *", UTC, since, at("2026-11-25T05:59Z")) is None
    assert due("0 6 * * *", UTC, since, at("2026-11-25T06:00Z")) == (at("2026-11-25T06:00Z"), 0)
    assert due("0 6 * * *", UTC, since, at("2026-11-27T12:00Z")) == (at("2026-11-27T06:00Z"), 2)
    assert due("0 6 * * *", UTC, at("2026-11-27T06:00Z"), at("2026-11-27T12:00Z")) is None


def test_years_of_missed_minutes_are_counted_up_to_a_hundred_and_the_rest_is_served_too() -> None:
    since, now = at("2024-01-01T00:00Z"), at("2026-01-01T00:00Z")
    found = due("* * * * *", UTC, since, now)
    assert found is not None and found.missed == MOST_COUNTED
    assert due("* * * * *", UTC, found.at, now) is None


# ---------------------------------------------------------------- runs that wait


def wait(*reasons: str, until: Millis | None = None, tries: int = 0) -> Wait:
    return Wait("r", reasons, until, since=1000, looked=1000, tries=tries)


@pytest.mark.parametrize(
    ("waiting", "expected"),
    [
        (wait("approval"), None),
        (wait("unknown"), None),
        (wait("approval", until=9_000), 9_000),
        (wait("quota", until=9_000), 9_000),
        (wait("quota"), 1000 + FIRST),
        (wait("exhausted"), 1000 + FIRST),
        (wait("exhausted", tries=3), 1000 + 8 * FIRST),
        (wait("exhausted", tries=99), 1000 + LONGEST),
        (wait("mode"), 1000 + LOOK),
        (wait("budget", until=5_000), 5_000),
        (wait("mode", "approval"), 1000 + LOOK),
    ],
)  # fmt: skip
def test_a_reason_says_when_to_try_again(waiting: Wait, expected: Millis | None) -> None:
    assert next_try(waiting) == expected


def test_a_look_at_the_mode_does_not_start_over_what_is_exhausted() -> None:
    both = wait("mode", "exhausted")
    assert not starts_over(both, 1000 + LOOK)
    later = both.after_try(1000 + LOOK, both.reasons, None)
    assert (later.tries, next_try(later)) == (0, 1000 + 2 * LOOK)
    assert starts_over(later, 1000 + FIRST)
    assert later.after_try(1000 + FIRST, both.reasons, None).tries == 1


def test_a_moment_that_has_come_and_changed_nothing_is_not_tried_for_ever() -> None:
    tried = wait("approval", until=9_000).after_try(9_000, ("approval",), 9_000)
    assert next_try(tried) is None


# ---------------------------------------------------------------- names and file systems


@pytest.mark.parametrize(
    "name",
    [".a.yaml.swp", ".a.yaml.swo", "4913", "a.yaml~", ".#a.yaml", "#a.yaml#", "a.yaml___jb_tmp___", "flycheck_a.yaml",
     "a_flymake.yaml", ".goutputstream-X1", "a.yaml.tmp", "a.yaml.part", ".nfs0000000001", ".~lock.a.yaml#"],
)  # fmt: skip
def test_files_that_editors_make_for_a_moment_are_known(name: str) -> None:
    assert is_temporary(name)


@pytest.mark.parametrize("name", ["a.yaml", "49130", "swap.yaml", "tmp.yaml", "part.yml", "c#.yaml", ".github"])
def test_other_names_are_not_temporary(name: str) -> None:
    assert not is_temporary(name)


MOUNTS = [
    "22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw",
    "30 22 0:40 / /mnt/share rw - nfs4 host:/share rw",
    "31 22 0:41 / /mnt/with\\040blank rw - fuse.sshfs me@host: rw",
    "32 30 0:42 / /mnt/share/local rw - tmpfs tmpfs rw",
    "33 22 0:43 / /data rw - ext4 /dev/sdb1 rw",
    "34 22 0:44 / /data rw - cifs //host/data rw",
    "garbage",
]


@pytest.mark.parametrize(
    ("path", "kind"),
    [("/home/me", "ext4"), ("/mnt/share/a/b", "nfs4"), ("/mnt/shared", "ext4"), ("/mnt/with blank/x", "fuse.sshfs"),
     ("/mnt/share/local/x", "tmpfs"), ("/data/x", "cifs")],
)  # fmt: skip
def test_the_file_system_of_a_path_is_that_of_the_nearest_mount(path: str, kind: str) -> None:
    assert kind_of(Path(path), MOUNTS) == kind


def test_network_file_systems_tell_of_nothing() -> None:
    assert all(map(is_silent, ["nfs", "nfs4", "cifs", "9p", "fuse.sshfs", "virtiofs"]))
    assert not any(map(is_silent, ["ext4", "fuseblk", "overlay", "tmpfs", "btrfs", "xfs", ""]))


# ---------------------------------------------------------------- what is remembered


def test_what_is_remembered_is_read_back(tmp_path: Path) -> None:
    served = Served("0 6 * * *", 5, ("src/**",), {"src/ä": "d"})
    kept = {"a": Memory(served), "b": Memory(Served(), "r1", served)}
    memory.write(tmp_path / "m.json", tmp_path, kept)
    assert memory.read(tmp_path / "m.json") == kept
    assert (tmp_path / "m.json").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", '{"version": 2, "manifests": {}}', '{"version": 1, "manifests": {"a": 1}}']
)
def test_what_makes_no_sense_is_as_if_nothing_was_remembered(text: str, tmp_path: Path) -> None:
    (tmp_path / "m.json").write_text(text)
    assert memory.read(tmp_path / "m.json") == {}
    assert memory.read(tmp_path / "none.json") == {}


def test_the_record_says_whether_a_run_that_was_intended_has_begun() -> None:
    before, after = Served("* * * * *", 1), Served("* * * * *", 2)
    kept = {"a": Memory(before).intend("r1", after), "b": Memory(before).intend("r2", after), "c": Memory(before)}
    assert memory.settled(kept, {"r1"}.__contains__) == {"a": Memory(after), "b": Memory(before), "c": Memory(before)}


@pytest.mark.parametrize("other", ["a", "a/b", "."])
def test_a_folder_is_watched_by_one(other: str, tmp_path: Path) -> None:
    state, folder = tmp_path / "state", tmp_path / "a"
    with (
        memory.claimed(memory.place_of(state, folder), folder),
        pytest.raises(StoreBusy, match="is being watched by another runner"),
        memory.claimed(memory.place_of(state, tmp_path / other), tmp_path / other),
    ):
        pytest.fail("claimed twice")
    with memory.claimed(memory.place_of(state, tmp_path / other), tmp_path / other):
        pass


def test_a_folder_that_cannot_be_claimed_is_an_error_of_the_state(tmp_path: Path) -> None:
    (tmp_path / "watch").write_text("a file where the folder should be")
    with (
        pytest.raises(
            StoreError, match=f"the watch of {tmp_path} cannot be noted in {tmp_path / 'watch'}: File exists"
        ),
        memory.claimed(memory.place_of(tmp_path, tmp_path), tmp_path),
    ):
        pytest.fail("claimed")


def test_folders_beside_each_other_are_watched_by_two(tmp_path: Path) -> None:
    one, two = tmp_path / "a", tmp_path / "ab"
    with (
        memory.claimed(memory.place_of(tmp_path, one), one),
        memory.claimed(memory.place_of(tmp_path, two), two),
    ):
        pass


def test_a_watch_says_which_folder_it_takes_before_it_looks_at_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own, other = memory.place_of(tmp_path, tmp_path / "a"), memory.place_of(tmp_path, tmp_path)
    with memory.claimed(other, tmp_path):
        pass
    said: list[str] = []
    monkeypatch.setattr(memory, "_is_locked", lambda file: said.append(own.with_suffix(".lock").read_text()))
    with memory.claimed(own, tmp_path / "a"):
        pass
    assert [json.loads(text)["folder"] for text in said] == [str(tmp_path / "a")]


# ---------------------------------------------------------------- word from the operating system


def test_a_folder_that_goes_away_while_it_is_looked_for_is_not_listened_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Path, "is_dir", lambda path: True)  # as it was a moment ago
    assert {place.path for place in hints.places([tmp_path / "gone"], [])} == {str(tmp_path)}


@pytest.mark.parametrize("error", [OSError("OS file watch limit reached"), RuntimeError("error in underlying watcher")])
async def test_when_nobody_tells_of_changes_any_more_that_is_said(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def breaks(*paths: str, **options: object) -> AsyncIterator[set[tuple[int, str]]]:
        raise error
        yield set()

    monkeypatch.setattr(watchfiles, "awatch", breaks)
    troubles: list[str] = []
    listening = hints.Hints(lambda: None, lambda path: True, troubles.append)
    await listening.arm(hints.places([tmp_path], []))
    await listening.close()
    assert set(troubles) == {str(error)}


def test_a_file_is_digested_without_being_held_in_memory(tmp_path: Path) -> None:
    with (tmp_path / "big").open("wb") as file:
        file.truncate(64 << 20)
    tracemalloc.start()
    found = Digests().of(str(tmp_path / "big"))
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found == content_digest(tmp_path, "big")
    assert most < 8 << 20
