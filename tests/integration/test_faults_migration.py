"""Databases of earlier releases, stopped in mid-run (tests/fixtures, made by midrun.py there): this release goes on with each of them."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import apsw
import pytest
from cli_project import Ended, Project
from disk import forked, kill_at

from runner.api.apply import apply
from runner.api.load import load
from runner.api.settings import load_config
from runner.clock import SystemClock
from runner.errors import StoreError
from runner.store.migrations import MIGRATIONS
from runner.store.sqlite import SqliteStore

FIXTURES = Path(__file__).parents[1] / "fixtures"
RELEASES = sorted(FIXTURES.glob("state-v*-midrun.db"))
NEXT = "alter table runs add column colour text not null default 'grey'; create table later (a integer) strict;"
STATES = {
    "story": "interrupted", "caller": "interrupted", "once": "interrupted", "waits": "suspended", "fails": "failed", "done": "succeeded",
}  # fmt: skip


class Left(Project):
    """A project as an earlier release left it. Nothing of what that had done is in `ledger`."""

    def __init__(self, root: Path, capsys: pytest.CaptureFixture[str], database: Path) -> None:
        super().__init__(root, capsys)
        shutil.copytree(FIXTURES / "midrun", root, dirs_exist_ok=True)
        shutil.copyfile(database, self.state)

    @property
    def state(self) -> Path:
        return self.root / ".ares" / "state.db"

    def ledger(self) -> list[str]:
        path = self.root / "ledger"
        return path.read_text().splitlines() if path.exists() else []

    def ends(self, *argv: str, code: int = 0) -> Ended:
        done = self.cli(*argv)
        assert done.code == code, done.out + done.err
        return done


@pytest.fixture(params=RELEASES, ids=lambda path: path.stem)
def left(
    request: pytest.FixtureRequest, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Left:
    monkeypatch.chdir(tmp_path)
    return Left(tmp_path, capsys, request.param)


def test_there_is_one_for_every_version_of_the_schema() -> None:
    assert [path.name for path in RELEASES] == [
        f"state-v{version}-midrun.db" for version in range(1, len(MIGRATIONS) + 1)
    ]


def test_the_runs_are_told_as_they_were_left(left: Left) -> None:
    rows = left.ends("status", "--json").json["runs"]
    assert {row["manifest"]: row["state"] for row in rows} == STATES
    assert "waits for a person" in left.ends("show", "waits").out


def test_a_killed_run_goes_on_and_repeats_nothing_that_succeeded(left: Left) -> None:
    outputs = left.ends("resume", "story", "--json").json["runs"][0]["outputs"]
    assert outputs == {"said": "hello world open", "size": 6000, "sum": "1+2+3"}
    assert left.ledger() == ["gate", "last", "bye"]


def test_a_killed_sub_run_goes_on_with_its_caller(left: Left) -> None:
    left.ends("resume", "caller")
    assert left.ledger() == ["sub two", "after sub"]


def test_an_effect_that_may_have_happened_waits_for_a_person(left: Left) -> None:
    left.ends("resume", "once", code=3)
    left.ends("resolve", "once", "pay", "--done", '"paid"')
    left.ends("resume", "once")
    assert left.ledger() == []


def test_what_waited_for_an_approval_goes_on_once_it_is_given(left: Left) -> None:
    left.ends("approve", "waits", "ask")
    left.ends("resume", "waits")
    assert left.ledger() == ["then"]


def test_a_failed_run_tries_again_what_had_not_succeeded(left: Left) -> None:
    left.write("mended", "")
    left.ends("resume", "fails")
    assert left.ledger() == ["bad", "blocked"]


# ---------------------------------------------------------------- while the database is being brought up to date


def migrated(path: Path) -> SqliteStore:
    return SqliteStore.open(path, clock=SystemClock(), migrations=(*MIGRATIONS, NEXT))


async def test_a_run_in_flight_goes_on_after_a_migration(left: Left) -> None:
    settings = load_config(None, start=left.root, env={})
    loaded = load([left.root / "story.yaml"], settings)
    with closing(migrated(left.state)) as store:
        result = await apply(loaded, settings, store=store)
    assert [(run.action, run.state) for run in result.runs] == [("resume", "succeeded")]
    assert left.ledger() == ["gate", "last", "bye"]
    with closing(
        SqliteStore.open(left.state.with_name("state.db.v1.backup"), clock=SystemClock(), read_only=True)
    ) as old:
        assert {row.name: row.state for row in old.runs()}["story"] == "running"


def test_a_migration_that_is_killed_at_any_write_has_happened_or_not(
    left: Left, record_property: Callable[[str, object], None]
) -> None:
    before = events(left.state)
    version, seen, kept = 1, set(), left.state.read_bytes()
    for nth in range(1, 1_000):
        ended, _ = forked(lambda _, nth=nth: (kill_at(nth), migrated(left.state).close()))
        with closing(apsw.Connection(str(left.state))) as db:
            assert db.execute("pragma integrity_check").get == "ok", nth
            version = db.execute("pragma user_version").get
            names = [row[1] for row in db.execute("pragma table_info(runs)")]
            assert ("colour" in names) == (version == 2), nth
        assert events(left.state) == before, nth
        seen.add(version)
        if version == 2:
            copy = left.state.with_name("state.db.v1.backup")
            assert events(copy) == before, "the copy is complete before anything is changed"
        if ended is None:
            break
        assert ended == signal.SIGKILL
        for path in left.state.parent.glob("state.db*"):
            if not path.name.endswith(
                (".draft", ".backup")
            ):  # what a killed migration leaves is in the way of the next one
                path.unlink()
        left.state.write_bytes(kept)
    assert (ended, version, seen) == (None, 2, {1, 2})
    record_property("kills", nth - 1)
    with pytest.raises(StoreError, match="version 2"):
        SqliteStore.open(left.state, clock=SystemClock())


def events(path: Path) -> list[tuple[object, ...]]:
    with closing(apsw.Connection(str(path))) as db:
        return db.execute("select id, kind, node, data from events order by id").fetchall()
