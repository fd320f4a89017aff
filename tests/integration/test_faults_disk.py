"""The disk fails under the whole program: full, read-only, I/O errors from the kernel, flipped bits. Each is a named error and exit code
7, no step starts that should not, and what was recorded goes on when the disk is well again."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import closing
from functools import cache
from pathlib import Path

import apsw
import pytest
from cli_project import Project, environment
from store_child import MANIFEST, new_run, step, wait

from runner.clock import SystemClock
from runner.errors import StoreError
from runner.ports import Unit
from runner.store.owners import this_process
from runner.store.sqlite import SqliteStore

Figure = Callable[[str, object], None]
STEPS = 24
MANY = "ares: v1\nname: many\nsteps:\n" + "".join(
    f"  s{n:02}: {{run: 'echo s{n:02} >> ledger; head -c 40000 /dev/urandom | base64', effects: idempotent"
    f"{f', needs: [s{n - 1:02}]' if n else ''}}}\n"
    for n in range(STEPS)
)
"""A chain whose results fill a disk of one megabyte after a while."""
FEW = """
ares: v1
name: few
steps:
  a: {run: 'echo a >> ledger', effects: idempotent}
  b: {run: 'echo b >> ledger', needs: [a], effects: idempotent}
  c: {run: 'echo c >> ledger', needs: [b], effects: idempotent}
"""


@cache
def lacks(*argv: str) -> str:
    """Why this machine cannot do that; "" = it can."""
    if shutil.which(argv[0]) is None:
        return f"there is no {argv[0]} here"
    done = subprocess.run(argv, capture_output=True, text=True, timeout=30)
    return "" if done.returncode == 0 else f"`{' '.join(argv)}` is not permitted here: {done.stderr.strip()[:80]}"


@pytest.fixture
def mounts() -> None:
    if why := lacks("unshare", "-m", "mount", "-t", "tmpfs", "none", "/mnt"):
        pytest.skip(why)


@pytest.fixture
def strace() -> None:
    if why := lacks("strace", "-f", "-o", "/dev/null", "true"):
        pytest.skip(why)


@pytest.fixture
def project(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.chdir(tmp_path)
    project = Project(tmp_path, capsys)
    project.write("many.yaml", MANY)
    project.write("few.yaml", FEW)
    return project


def shell(project: Project, script: str) -> list[str]:
    """A script in a mount namespace of its own; its lines of stdout. `$RUNNER` is the program."""
    done = subprocess.run(
        ["unshare", "-m", "sh", "-euc", script], cwd=project.root, capture_output=True, text=True, timeout=120,
        env=environment() | {"RUNNER": f"{sys.executable} -m runner"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.splitlines()


def ledger(project: Project) -> list[str]:
    path = project.root / "ledger"
    return path.read_text().split() if path.exists() else []


def whole(path: Path) -> bool:
    with closing(apsw.Connection(str(path))) as db:
        return db.execute("pragma integrity_check").get == "ok"


def recorded(path: Path) -> list[str]:
    """Steps that are recorded as succeeded, in a record that has no hole."""
    with closing(SqliteStore.open(path, clock=SystemClock())) as store:
        [row] = store.runs()
        seqs = [one.seq for one in store.events(row.run)]
        assert seqs == list(range(1, len(seqs) + 1))
        return [one.node for one in store.steps(row.run) if one.state == "succeeded"]


# ---------------------------------------------------------------- full


def test_a_disk_that_fills_up_in_a_run_ends_it_with_a_named_error_and_it_goes_on_later(
    project: Project, mounts: None
) -> None:
    lines = shell(
        project,
        """
        mount -t tmpfs -o size=1m,mode=700 none .ares
        code=0; $RUNNER apply many.yaml > out 2> err || code=$?; echo $code
        grep -c 'no space left for the state database' err
        mkdir kept; cp .ares/state.db* kept
        mount -o remount,size=64m .ares
        $RUNNER apply many.yaml > /dev/null 2>&1; echo $?
        $RUNNER apply many.yaml 2>&1 | grep -c unchanged
        """,
    )
    assert lines == ["7", "1", "0", "1"]
    assert "Traceback" not in (project.root / "err").read_text()
    done = recorded(project.root / "kept" / "state.db")
    assert 0 < len(done) < STEPS, "the disk was full in the middle"
    assert whole(project.root / "kept" / "state.db")
    words = ledger(project)
    assert sorted(set(words)) == [f"s{n:02}" for n in range(STEPS)]
    assert [word for word in done if words.count(word) > 1] == [], "nothing that was recorded ran again"


def test_on_a_full_disk_no_step_starts(project: Project, mounts: None) -> None:
    lines = shell(
        project,
        """
        mount -t tmpfs -o size=1m,mode=700 none .ares
        dd if=/dev/zero of=.ares/filler bs=4k count=1000 2> /dev/null || true
        code=0; $RUNNER apply few.yaml > out 2> err || code=$?; echo $code
        cat err
        """,
    )
    assert lines[0] == "7"
    assert "no space left for the state database" in lines[1]
    assert "free some space" in lines[2]
    assert ledger(project) == []


# ---------------------------------------------------------------- read-only


def test_on_a_file_system_that_was_mounted_read_only_no_step_starts_and_the_record_can_be_read(
    project: Project, mounts: None
) -> None:
    assert project.cli("apply", "few.yaml").code == 0
    before = (project.root / ".ares" / "state.db").read_bytes()
    lines = shell(
        project,
        """
        mount --bind .ares .ares && mount -o remount,ro,bind .ares
        for file in few.yaml many.yaml; do code=0; $RUNNER apply --force $file > out 2> err || code=$?; echo $code; cat err; done
        $RUNNER status | grep -c few
        $RUNNER show few > /dev/null; echo $?
        """,
    )
    assert [line for line in lines if not line.startswith(("error: the state database", "  help: check"))] == [
        "7",
        "7",
        "1",
        "0",
    ]
    assert sum("cannot be written" in line for line in lines) == 2
    assert ledger(project) == ["a", "b", "c"]
    assert (project.root / ".ares" / "state.db").read_bytes() == before


# ---------------------------------------------------------------- errors of the kernel


def traced(project: Project, inject: str, *argv: str) -> subprocess.CompletedProcess[str]:
    """The program, with a system call that fails. Each thread counts its own: the writer's thread makes all but the first calls."""
    kind = inject.partition(":")[0]
    return subprocess.run(
        ["strace", "-f", "-qq", "-o", str(project.root / "calls"), "-e", f"trace={kind}", "-e", f"inject={inject}",
         sys.executable, "-m", "runner", *argv],
        cwd=project.root, env=environment(), capture_output=True, text=True, timeout=60,
    )  # fmt: skip


EIO = [("fdatasync", 2), ("fdatasync", 5), ("pwrite64", 3), ("pwrite64", 30)]


@pytest.mark.parametrize(("call", "nth"), EIO)
def test_an_io_error_in_a_run_ends_it_with_a_named_error_and_it_goes_on_later(
    project: Project, strace: None, call: str, nth: int
) -> None:
    SqliteStore.open(project.root / ".ares" / "state.db", clock=SystemClock()).close()
    done = traced(project, f"{call}:error=EIO:when={nth}+", "apply", "few.yaml")
    assert done.returncode == 7, done.stderr
    assert "EIO" in (project.root / "calls").read_text()
    assert "error: the state database" in done.stderr and "I/O error" in done.stderr
    assert "Traceback" not in done.stderr
    assert whole(project.root / ".ares" / "state.db")
    before = ledger(project)
    assert project.cli("apply", "few.yaml").code == 0
    words = ledger(project)
    assert sorted(set(words)) == ["a", "b", "c"]
    assert len(words) <= len(before) + 3 and all(words.count(word) <= 2 for word in words)


@pytest.mark.parametrize("call", ["pwrite64", "fdatasync"])
def test_a_disk_that_fails_from_the_first_write_on_starts_no_step(project: Project, strace: None, call: str) -> None:
    done = traced(project, f"{call}:error=EIO:when=1+", "apply", "few.yaml")
    assert done.returncode == 7, done.stderr
    assert ledger(project) == []
    assert project.cli("apply", "few.yaml").code == 0
    assert ledger(project) == ["a", "b", "c"]


@pytest.mark.parametrize("verb", [["status"], ["show", "few"], ["apply", "few.yaml"]], ids=lambda verb: verb[0])
def test_a_file_that_cannot_be_read_is_a_named_error(project: Project, strace: None, verb: Sequence[str]) -> None:
    assert project.cli("apply", "few.yaml").code == 0
    done = traced(project, "pread64:error=EIO:when=6+", *verb)
    assert done.returncode == 7, done.stderr
    assert "the state database" in done.stderr and "Traceback" not in done.stderr


# ---------------------------------------------------------------- kill -9, in the middle of the real program


RECOVER = """
ares: v1
name: recover
steps:
  none: {run: 'echo none >> ledger; echo n', effects: none}
  once: {run: 'echo once >> ledger; echo o', needs: [none], effects: once}
  many: {foreach: [1, 2], run: 'echo many >> ledger; echo "$X"', env: {X: "{{ item }}"}, needs: [once], effects: idempotent}
  last: {run: 'echo last >> ledger; echo "$X"', env: {X: "{{ steps.once.text }}{{ steps.many.output | join('') }}"}, effects: once}
finally:
  bye: {run: 'echo bye >> ledger', effects: idempotent}
outputs: {all: "{{ steps.last.text }}"}
"""
ONCE = ("once", "last")
ANSWERS = {"once": '"o"', "last": '"o12"'}


def brought_to_its_end(project: Project) -> None:
    """As a person would: the same command, and an answer for each effect that may have happened."""
    for _ in range(5):
        done = project.cli("apply", "recover.yaml", "--json")
        if done.code == 0:
            assert done.json["runs"][0]["outputs"] == {"all": "o12"}
            return
        assert done.code == 3, done.err
        [step] = [id for id, one in done.json["runs"][0]["steps"].items() if one["state"] == "suspended"]
        answer = ["--done", ANSWERS[step]] if step in ledger(project) else ["--redo"]
        assert project.cli("resolve", "recover", step, *answer).code == 0
    raise AssertionError("does not end")


def killed_at(project: Project, nth: int) -> bool:
    """Run it, killed at the nth write or sync of a thread; see that it ends well. False: it came to its end."""
    for path in [*(project.root / ".ares").iterdir(), project.root / "ledger"]:
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    done = traced(project, f"pwrite64,fdatasync:signal=SIGKILL:when={nth}", "apply", "recover.yaml")
    assert (done.returncode in (-9, 137)) or done.returncode == 0, done.stderr
    brought_to_its_end(project)
    words = ledger(project)
    assert [words.count(step) for step in ONCE] == [1, 1], (nth, words)
    assert words.count("none") <= 2 and 2 <= words.count("many") <= 4 and 1 <= words.count("bye") <= 2, (nth, words)
    assert whole(project.root / ".ares" / "state.db")
    with closing(SqliteStore.open(project.root / ".ares" / "state.db", clock=SystemClock(), read_only=True)) as store:
        [row] = [row for row in store.runs() if row.state == "succeeded"]
        ends = [one.event.node for one in store.events(row.run) if one.event.kind == "attempt_succeeded"]
        assert len(ends) == len(set(ends)), "a step that was recorded as succeeded ran again"
    return done.returncode != 0


EACH = int(os.environ.get("ARES_KILL_EACH", "3"))
"""The slow test kills at each such write; 1 = at every one, some minutes."""


@pytest.fixture
def recover(project: Project) -> Project:
    project.write("recover.yaml", RECOVER)
    return project


@pytest.mark.parametrize("nth", [17, *(pytest.param(nth, marks=pytest.mark.slow) for nth in (1, 9, 40, 66, 93))])
def test_a_run_that_is_killed_at_a_write_ends_as_if_nothing_had_happened(
    recover: Project, strace: None, nth: int
) -> None:
    assert killed_at(recover, nth)


@pytest.mark.slow
def test_a_run_that_is_killed_at_any_write_ends_as_if_nothing_had_happened(
    recover: Project, strace: None, record_property: Figure
) -> None:
    kills = 0
    for nth in range(1, 10_000, EACH):
        if not killed_at(recover, nth):
            break
        kills += 1
    assert kills * EACH > 100
    record_property("kills", kills)


# ---------------------------------------------------------------- flipped bits


def filled(path: Path) -> bytes:
    with closing(SqliteStore.open(path, clock=SystemClock())) as store:
        epoch = wait(store.begin(new_run("r1"), MANIFEST, this_process()))
        for index in range(20):
            wait(store.commit(Unit("r1", epoch, step("r1", 1 + 2 * index, index, "x" * 300))))
        wait(store.post("r1", "cancel", {"reason": "none"}, "me"))
    return path.read_bytes()


def read_all(path: Path) -> None:
    with closing(SqliteStore.open(path, clock=SystemClock(), read_only=True)) as store:
        for row in store.runs():
            store.run(row.run), store.find(row.run[:1]), store.children(row.run)
            store.steps(row.run), store.attempts(row.run), store.events(row.run), store.inbox(row.run)
            store.manifest(row.manifest), store.written(row.manifest), store.load(row.run)
            store.has_reusable(row.name), store.reusable(row.name, "r1-step1")


@pytest.mark.parametrize("part", ["header", "pages"])
def test_a_flipped_bit_is_noticed_or_harmless_and_never_a_crash(
    tmp_path: Path, part: str, record_property: Figure
) -> None:
    path = tmp_path / "state.db"
    good = filled(path)
    rng = random.Random(part)
    noticed = 0
    places = range(100) if part == "header" else rng.sample(range(100, len(good)), 500)
    for place in places:
        bad = bytearray(good)
        bad[place] ^= 1 << rng.randrange(8)
        path.write_bytes(bad)
        try:
            read_all(path)
        except StoreError as error:
            noticed += 1
            assert error.exit_code == 7
            assert error.hint
            assert path.read_bytes() == bytes(bad), "what is damaged is left alone"
    assert noticed > len(places) // 10
    record_property("flips", len(places))
    record_property("noticed", noticed)


def test_a_flipped_bit_in_the_log_loses_the_end_of_it_and_no_more(tmp_path: Path) -> None:
    """SQLite's log has a checksum in each frame: what comes behind a bad one never happened, for everybody."""
    folder, copy = tmp_path / "good", tmp_path / "bad"
    folder.mkdir()
    with closing(SqliteStore.open(folder / "state.db", clock=SystemClock())) as store:
        epoch = wait(store.begin(new_run("r1"), MANIFEST, this_process()))
        for index in range(20):
            wait(store.commit(Unit("r1", epoch, step("r1", 1 + 2 * index, index))))
        shutil.copytree(folder, copy)  # while the log is still there
    rng, log = random.Random(1), (copy / "state.db-wal").read_bytes()
    content = (copy / "state.db").read_bytes()
    for _ in range(40):
        bad = bytearray(log)
        bad[rng.randrange(32, len(bad))] ^= 1 << rng.randrange(8)
        for left in copy.iterdir():
            left.unlink()
        (copy / "state.db").write_bytes(content)
        (copy / "state.db-wal").write_bytes(bad)
        with closing(SqliteStore.open(copy / "state.db", clock=SystemClock())) as store:
            seqs = [one.seq for one in store.events("r1")]
            assert seqs == list(range(1, len(seqs) + 1))
        assert whole(copy / "state.db")
