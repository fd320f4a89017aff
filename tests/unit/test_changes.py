"""Which files were touched: by content, bounded, and with what earlier attempts of the step did."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest

from runner.digest import digest_bytes
from runner.engine import changes
from runner.engine.changes import Area, TooMany, area, carried, judged, products, snapshot, touched, with_carried

OLD_NS = 1_600_000_000_123_456_789


def write(path: Path, text: str, at: int = OLD_NS) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    os.utime(path, ns=(at, at))


@pytest.fixture
def work(tmp_path: Path) -> Area:
    root = tmp_path / "work"
    for name in ("a.py", "src/b.py", "src/deep/c.py"):
        write(root / name, name)
    return area(root, ["**"], [])


# ---------------------------------------------------------------- looking


def test_new_changed_and_removed_files_are_touched_and_others_are_not(work: Area) -> None:
    before = snapshot(work)
    write(work.root / "new" / "d.py", "d")
    write(work.root / "a.py", "longer than before")
    (work.root / "src" / "b.py").unlink()
    assert touched(work, before) == {
        "a.py": digest_bytes(b"longer than before"),
        "new/d.py": digest_bytes(b"d"),
        "src/b.py": "",
    }


def test_a_file_of_the_same_size_with_another_time_is_touched(work: Area) -> None:
    before = snapshot(work)
    write(work.root / "a.py", "A.PY", OLD_NS + 1)
    assert list(touched(work, before)) == ["a.py"]


def test_a_file_written_anew_with_the_same_content_is_not_touched(work: Area) -> None:
    before = snapshot(work)
    write(work.root / "a.py", "a.py", OLD_NS + 5)
    (work.root / "src" / "b.py").unlink()
    write(work.root / "src" / "b.py", "src/b.py", OLD_NS + 5)
    assert touched(work, before) == {}


def test_a_file_whose_mode_changed_is_touched(work: Area) -> None:
    before = snapshot(work)
    (work.root / "a.py").chmod(0o755)
    assert list(touched(work, before)) == ["a.py"]


def test_a_change_within_the_same_tick_of_the_clock_is_seen(work: Area) -> None:
    now = time.time_ns()
    write(work.root / "a.py", "1111", now)
    before = snapshot(work)
    (work.root / "a.py").write_text("2222")
    os.utime(work.root / "a.py", ns=(now, now))
    assert list(touched(work, before)) == ["a.py"]


def test_links_count_by_where_they_lead(work: Area) -> None:
    link = work.root / "link"
    link.symlink_to("a.py")
    before = snapshot(work)
    link.unlink()
    link.symlink_to("src/b.py")
    (work.root / "out").symlink_to("/etc/hostname")
    found = touched(work, before)
    assert list(found) == ["link", "out"]
    assert products(work.root, list(found)) == {"link": digest_bytes(b"src/b.py"), "out": ""}


def test_a_pipe_among_the_products_is_no_file_and_nobody_waits_for_its_writer(work: Area) -> None:
    os.mkfifo(work.root / "pipe")
    found: dict[str, str] = {}
    looking = threading.Thread(target=lambda: found.update(products(work.root, ["pipe", "a.py"])), daemon=True)
    looking.start()
    looking.join(10)
    assert found == {"pipe": "", "a.py": digest_bytes(b"a.py")}


def test_a_pipe_is_a_file_that_nobody_reads(work: Area) -> None:
    before = snapshot(work)
    os.mkfifo(work.root / "pipe")
    assert list(touched(work, before)) == ["pipe"]


def test_folders_of_git_of_ares_and_of_tools_do_not_count(work: Area) -> None:
    before = snapshot(work)
    for name in (".git/HEAD", "src/.ares/x", ".venv/x", "src/__pycache__/b.pyc", "node_modules/x/y", ".pytest_cache/z"):
        write(work.root / name, "x")
    write(work.root / ".github" / "workflows" / "ci.yml", "x")
    assert list(touched(work, before)) == [".github/workflows/ci.yml"]


def test_a_folder_of_tools_counts_when_only_names_it(work: Area) -> None:
    named = area(work.root, ["node_modules/**", ".git/**"], [])
    before = snapshot(named)
    for name in ("node_modules/x", ".git/x", ".venv/x"):
        write(work.root / name, "x")
    assert list(touched(named, before)) == ["node_modules/x"]


def test_our_own_folders_do_not_count_wherever_they_are(work: Area) -> None:
    mine = area(work.root, ["**"], [work.root / "state" / "logs", work.root.parent / "elsewhere"])
    before = snapshot(mine)
    write(work.root / "state" / "logs" / "x.log", "x")
    write(work.root / "state" / "mine", "x")
    assert list(touched(mine, before)) == ["state/mine"]


def test_a_file_too_large_to_read_first_is_touched_when_its_time_changed(
    work: Area, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changes, "DIGEST_BYTES", 4)
    before = snapshot(work)
    assert before["src/b.py"].digest == ""
    write(work.root / "src" / "b.py", "src/b.py", OLD_NS + 1)
    assert list(touched(work, before)) == ["src/b.py"]


def test_what_has_not_changed_since_the_last_snapshot_is_not_read_again(work: Area) -> None:
    first = snapshot(work)
    known = {path: entry._replace(digest="known") for path, entry in first.items()}
    write(work.root / "a.py", "other", OLD_NS + 1)
    second = snapshot(work, known)
    assert second["src/b.py"].digest == "known"
    assert second["a.py"].digest == digest_bytes(b"other")


def test_too_many_files_are_refused_before_they_fill_memory(work: Area, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(changes, "MAX_FILES", 2)
    with pytest.raises(TooMany, match="more than 2 files"):
        snapshot(work)


def test_a_name_that_is_no_text_is_touched_and_never_a_product_that_could_be_unchanged(work: Area) -> None:
    before = snapshot(work)
    Path(os.fsdecode(os.fsencode(work.root) + b"/caf\xe9")).write_text("x")
    found = touched(work, before)
    (name,) = products(work.root, found)
    assert name == "caf�"
    assert not (work.root / name).exists()
    assert judged({"only": ["src/**"]}, found)[1].endswith("caf�")


# ---------------------------------------------------------------- judging


@pytest.mark.parametrize(
    ("spec", "paths", "passed", "message"),
    [
        ({}, [], False, "0 files touched, at least 1 expected"),
        ({"min_files": 0}, [], True, "0 files touched"),
        ({}, ["a"], True, "1 file touched: a"),
        ({"only": ["src/**"]}, ["src/a", "b"], False, "1 file touched outside of src/**: b"),
        ({"only": ["src/**", "*.md"]}, ["src/a/b", "c.md"], True, "2 files touched: c.md, src/a/b"),
        ({"min_files": 3}, ["b", "a"], False, "2 files touched, at least 3 expected: a, b"),
        ({"max_files": 1, "min_files": 0}, ["b", "a"], False, "2 files touched, at most 1 allowed: a, b"),
    ],
)
def test_a_check_names_what_breaks_it(spec: dict[str, object], paths: list[str], passed: bool, message: str) -> None:
    assert judged(spec, paths) == (passed, message)


def test_a_message_names_ten_files_at_most() -> None:
    _, message = judged({"max_files": 1}, [f"f{number:02}" for number in range(13)])
    assert message.endswith("f08, f09 and 3 more")


# ---------------------------------------------------------------- later attempts


def test_what_an_earlier_attempt_touched_stays_touched_until_it_is_put_back(work: Area) -> None:
    before = snapshot(work)
    write(work.root / "a.py", "damaged")
    write(work.root / "junk", "x")
    note = carried(before, touched(work, before))
    write(work.root / "by-somebody-else", "between the attempts")
    again = with_carried(snapshot(work), note)
    assert list(touched(work, again)) == ["a.py", "junk"]
    write(work.root / "a.py", "a.py", OLD_NS + 9)
    (work.root / "junk").unlink()
    write(work.root / "src" / "b.py", "repaired", OLD_NS + 9)
    assert list(touched(work, again)) == ["src/b.py"]
