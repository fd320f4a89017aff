"""The state database as a file: permissions, foreign and broken files, migrations, read-only use."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import apsw
import pytest
from store_child import MANIFEST, line, new_run, step, wait

from runner.clock import FakeClock
from runner.errors import StoreBusy, StoreCorrupt, StoreError, StoreForeign, StoreNewer, StoreReadOnly
from runner.ports import Unit
from runner.store.migrations import APPLICATION_ID, MIGRATIONS
from runner.store.owners import this_process
from runner.store.sqlite import SqliteStore

CHILD = Path(__file__).with_name("store_child.py")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / ".ares" / "state.db"


@pytest.fixture
def loose_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


def open_store(path: Path, **more: object) -> SqliteStore:
    return SqliteStore.open(path, clock=FakeClock(), **more)  # type: ignore[arg-type]  # passed on as they are


def fill(path: Path, steps: int = 1) -> None:
    with closing(open_store(path)) as store:
        epoch = wait(store.begin(new_run("r1"), MANIFEST, this_process()))
        wait(store.commit(Unit("r1", epoch, [line("r1", 1, "run_started")])))
        for index in range(steps):
            wait(store.commit(Unit("r1", epoch, step("r1", 2 + 2 * index, index, "x" * 500))))
        wait(store.release("r1", epoch))


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_folder_and_files_are_private_whatever_the_umask(path: Path, loose_umask: None) -> None:
    with closing(open_store(path)) as store:
        epoch = wait(store.begin(new_run("r1"), MANIFEST, this_process()))
        wait(store.commit(Unit("r1", epoch, blobs={"d": b"x" * (1 << 20) + b"y"})))
        store.runs()
        assert mode(path.parent) == 0o700
        files = [found for found in path.parent.rglob("*") if found.is_file()]
        assert {found.name for found in files} == {"state.db", "state.db-wal", "state.db-shm", "d"}
        assert {mode(found) for found in files} == {0o600}
        assert mode(path.parent / "outputs") == 0o700


def test_an_ares_folder_that_others_can_read_is_made_private(path: Path) -> None:
    path.parent.mkdir(mode=0o755)
    fill(path)
    assert mode(path.parent) == 0o700


def test_a_folder_that_is_not_ours_keeps_its_permissions(tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared").chmod(0o755)
    fill(tmp_path / "shared" / "state.db")
    assert mode(tmp_path / "shared") == 0o755
    assert mode(tmp_path / "shared" / "state.db") == 0o600


def test_an_empty_file_becomes_a_database(path: Path) -> None:
    path.parent.mkdir()
    path.touch()
    fill(path)
    with closing(open_store(path)) as store:
        assert [row.run for row in store.runs()] == ["r1"]


def test_the_header_names_the_application_and_the_version(path: Path) -> None:
    fill(path)
    header = path.read_bytes()[:100]
    assert int.from_bytes(header[68:72], "big") == APPLICATION_ID
    assert int.from_bytes(header[60:64], "big") == len(MIGRATIONS)


def test_large_outputs_are_files_beside_the_database(path: Path) -> None:
    large = os.urandom((1 << 20) + 1)
    with closing(open_store(path)) as store:
        epoch = wait(store.begin(new_run("r1"), MANIFEST, this_process()))
        wait(store.commit(Unit("r1", epoch, blobs={"large": large, "small": b"s"})))
        assert (path.parent / "outputs" / "large").read_bytes() == large
        assert [found.name for found in (path.parent / "outputs").iterdir()] == ["large"]
        (path.parent / "outputs" / "large").unlink()
        with pytest.raises(StoreCorrupt, match="is gone"):
            store.blob("large")


# ---------------------------------------------------------------- files that are not ours to use


def text_file(path: Path) -> None:
    path.write_text("this is somebody's diary\n" * 10)


def short_file(path: Path) -> None:
    path.write_bytes(b"SQLite format 3\0 and no more")


def database_of_another_program(path: Path) -> None:
    with closing(apsw.Connection(str(path))) as db:
        db.execute("pragma journal_mode = wal; create table theirs (a); insert into theirs values (1)")


@pytest.mark.parametrize("make", [text_file, short_file, database_of_another_program])
@pytest.mark.parametrize("read_only", [False, True])
def test_a_foreign_file_is_refused_and_left_alone(path: Path, make: object, read_only: bool) -> None:
    path.parent.mkdir()
    make(path)  # type: ignore[operator]
    before = path.read_bytes()
    with pytest.raises(StoreForeign) as caught:
        open_store(path, read_only=read_only)
    assert caught.value.exit_code == 7
    assert caught.value.hint
    assert path.read_bytes() == before
    assert [found.name for found in path.parent.iterdir()] == ["state.db"]


@pytest.mark.parametrize("read_only", [False, True])
def test_a_newer_database_is_refused_and_left_alone(path: Path, read_only: bool) -> None:
    fill(path)
    with closing(apsw.Connection(str(path))) as db:
        db.execute(f"pragma user_version = {len(MIGRATIONS) + 1}")
    before = path.read_bytes()
    with pytest.raises(StoreNewer, match="version 2; this release knows versions up to 1"):
        open_store(path, read_only=read_only)
    assert path.read_bytes() == before


@pytest.mark.parametrize("read_only", [False, True])
@pytest.mark.parametrize("damage", ["middle", "cut"])
def test_a_damaged_database_is_refused_and_left_alone(path: Path, damage: str, read_only: bool) -> None:
    fill(path, steps=40)
    content = bytearray(path.read_bytes())
    if damage == "middle":
        content[4_096:40_960] = os.urandom(40_960 - 4_096)
    else:
        del content[len(content) // 2 :]
    path.write_bytes(content)
    with pytest.raises(StoreCorrupt) as caught:
        open_store(path, read_only=read_only)
    assert caught.value.hint
    assert path.read_bytes() == bytes(content)


def test_damage_that_shows_only_later_is_an_error_of_ours(path: Path) -> None:
    fill(path, steps=40)
    with closing(open_store(path)) as store:
        wait(store.heartbeat(this_process()))
        content = bytearray(path.read_bytes())
        content[4_096:] = os.urandom(len(content) - 4_096)
        path.write_bytes(content)
        with pytest.raises(StoreCorrupt):
            store.events("r1")
            store.steps("r1")


def test_a_folder_in_the_way_is_an_error_of_ours(path: Path) -> None:
    path.mkdir(parents=True)
    with pytest.raises(StoreError):
        open_store(path)


# ---------------------------------------------------------------- read-only


def test_a_missing_file_reads_as_an_empty_record_and_is_not_made(path: Path) -> None:
    with closing(open_store(path, read_only=True)) as store:
        assert store.runs() == []
        assert store.run("r1") is None
        assert not store.has_reusable("report")
    assert not path.parent.exists()


def test_a_read_only_store_reads_beside_a_writer_and_writes_nothing(path: Path) -> None:
    fill(path)
    with closing(open_store(path)) as writer, closing(open_store(path, read_only=True)) as reader:
        epoch = wait(writer.acquire("r1", this_process()))
        wait(writer.commit(Unit("r1", epoch, [line("r1", 4, "run_timed_out")])))
        assert len(reader.events("r1")) == 4
        with pytest.raises(StoreReadOnly):
            reader.heartbeat(this_process())


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_a_folder_that_cannot_be_written_is_refused_for_writing_and_can_be_read() -> None:
    base = Path("/var/tmp") / f"ares-store-{os.getpid()}"  # pytest's own folder is closed to others
    path = base / "state.db"
    try:
        fill(path)
        base.chmod(0o555)
        path.chmod(0o444)
        before = path.read_bytes()
        done = child(path, "as-nobody")
        if "PermissionError" in done.stderr or "ModuleNotFoundError" in done.stderr:
            pytest.skip("another user cannot read this checkout")
        assert done.stdout == "StoreReadOnly\n"
        assert child(path, "as-nobody", "read-only").stdout == "['r1'] [1, 2, 3]\n"
        assert path.read_bytes() == before
        path.chmod(0o666)
        assert child(path, "as-nobody").stdout == "StoreReadOnly\n"
        assert path.read_bytes() == before
    finally:
        base.chmod(0o755)
        shutil.rmtree(base)


def child(path: Path, *args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(CHILD), str(path), "r1", *args],
        capture_output=True, text=True, timeout=30, check=False, stdin=subprocess.DEVNULL,
    )  # fmt: skip


# ---------------------------------------------------------------- migrations

SECOND = "alter table runs add column colour text not null default 'grey'; create table later (a integer) strict;"


def test_an_older_database_is_migrated_with_a_copy_beside_it(path: Path) -> None:
    fill(path)
    before = apsw.Connection(str(path)).execute("select count(*) from events").get
    with closing(open_store(path, migrations=(*MIGRATIONS, SECOND))) as store:
        assert [row.run for row in store.runs()] == ["r1"]
        assert len(store.events("r1")) == before
    with closing(apsw.Connection(str(path))) as db:
        assert db.execute("pragma user_version").get == 2
        assert db.execute("select colour from runs").get == "grey"
    copy = path.with_name("state.db.v1.backup")
    assert mode(copy) == 0o600
    with closing(open_store(copy)) as old:
        assert len(old.events("r1")) == before


def test_a_migration_that_fails_changes_nothing(path: Path) -> None:
    fill(path)
    with pytest.raises(StoreError):
        open_store(path, migrations=(*MIGRATIONS, SECOND + "select no_such_function();"))
    with closing(open_store(path)) as store:
        assert len(store.events("r1")) == 3
    with closing(apsw.Connection(str(path))) as db:
        assert "colour" not in [row[1] for row in db.execute("pragma table_info(runs)")]


def test_an_up_to_date_database_is_not_copied(path: Path) -> None:
    fill(path)
    fill_again = open_store(path)
    fill_again.close()
    assert not path.with_name("state.db.v1.backup").exists()


def test_a_read_only_store_refuses_an_older_database(path: Path) -> None:
    fill(path)
    with pytest.raises(StoreError, match="older release"):
        open_store(path, read_only=True, migrations=(*MIGRATIONS, SECOND))


# ---------------------------------------------------------------- a lock held by somebody else


def test_a_locked_database_is_busy_within_two_seconds_and_usable_afterwards(path: Path) -> None:
    fill(path)
    with closing(open_store(path)) as store, closing(apsw.Connection(str(path))) as other:
        other.execute("begin immediate")
        with pytest.raises(StoreBusy, match="locked by another process"):
            store.acquire("r1", this_process()).result(timeout=2)  # type: ignore[attr-defined]  # no loop: a ticket
        other.execute("rollback")
        assert wait(store.acquire("r1", this_process())) == 2
