"""Following: nothing is missed, nothing is told twice, and it ends by itself. Time passes when the follower waits."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from runner.api.follow import Tail, follow_events, follow_logs
from runner.clock import FakeClock
from runner.core.events import Event, Recorded
from runner.engine.logs import log_path
from runner.ports import NewManifest, NewRun, Unit
from runner.store.memory import MemoryStore
from runner.store.owners import this_process

ME = this_process()
MANIFEST = NewManifest("d", "m", '{"steps":[{"id":"a"}]}', "")


class Stage:
    """A run, and what happens at each wait of the follower."""

    def __init__(self, *acts: Callable[[], None]) -> None:
        self.store = MemoryStore(FakeClock())
        self.seq = 0
        self.acts = list(acts)
        self.waits = 0
        self.epoch = self.store.begin(NewRun("r", "r", "m", "d", "t", {}, 1), MANIFEST, ME).result()  # type: ignore[attr-defined]

    def record(self, kind: str, node: str = "", **data: object) -> None:
        self.seq += 1
        self.store.commit(
            Unit("r", self.epoch, [Recorded("r", self.seq, self.seq, Event(kind, node, dict(data)))])
        ).result()  # type: ignore[attr-defined]

    def started(self, node: str, n: int = 1) -> None:
        self.record("attempt_started", node, n=n)

    def ended(self, node: str, n: int = 1) -> None:
        self.record("attempt_succeeded", node, n=n, result={"value": {"output": None}})

    def finish(self, state: str = "succeeded") -> None:
        self.record("run_finished", state=state)

    def pause(self) -> None:
        self.waits += 1
        assert self.waits < 50, "it waits for ever"
        if self.acts:
            self.acts.pop(0)()


def test_events_are_told_once_each_until_the_run_ends() -> None:
    stage = Stage()
    stage.acts = [lambda: None, lambda: stage.started("a"), lambda: None, lambda: stage.ended("a"), stage.finish]
    stage.record("run_started", inputs={})
    told = [recorded.seq for batch in follow_events(stage.store, "r", stage.pause) for _, recorded in batch]
    assert told == [1, 2, 3, 4]
    assert stage.waits == 5


def test_events_of_a_run_that_has_ended_are_told_without_waiting() -> None:
    stage = Stage()
    stage.record("run_started", inputs={})
    stage.finish("failed")
    assert len(list(follow_events(stage.store, "r", stage.pause))) == 1
    assert stage.waits == 0


@pytest.mark.parametrize("released", [True, False], ids=["let go", "owner died"])
def test_following_ends_when_nobody_drives_the_run_any_more(released: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage()
    stage.record("run_started", inputs={})

    def gone() -> None:
        if released:
            stage.store.release("r", stage.epoch)
        else:  # its process ends: the record does not change
            stage.store._owners[ME.owner] = (ME._replace(pid_start=ME.pid_start + 1), 0)

    stage.acts = [lambda: None, gone]
    assert len(list(follow_events(stage.store, "r", stage.pause))) == 1
    assert stage.waits == 2


def test_events_of_sub_runs_come_with_their_manifests_name() -> None:
    stage = Stage()
    child = NewRun("r.a", "r", "inner", "d", "", {}, 1, parent="r", parent_node="a")

    def spawn() -> None:
        events = [Recorded("r.a", 1, 9, Event("run_started", "", {"inputs": {}}))]
        stage.store.commit(Unit("r", stage.epoch, events, runs=[child])).result()  # type: ignore[attr-defined]

    stage.record("run_started", inputs={})
    stage.acts = [spawn, stage.finish]
    told = [(name, recorded.run) for batch in follow_events(stage.store, "r", stage.pause) for name, recorded in batch]
    assert told == [("m", "r"), ("inner", "r.a"), ("m", "r")]


# ---------------------------------------------------------------- logs


def test_logs_are_told_line_by_line_as_they_are_written(tmp_path: Path) -> None:
    stage = Stage()
    file = log_path(tmp_path, "r", "a", 1)
    file.parent.mkdir()

    def write(text: str) -> Callable[[], None]:
        def act() -> None:
            with file.open("a") as handle:
                handle.write(text)

        return act

    def end() -> None:
        stage.ended("a")
        stage.finish()

    stage.record("run_started", inputs={})
    stage.started("a")
    stage.acts = [write("one\ntw"), write("o\nthr"), write("ee"), end]
    told = list(follow_logs(stage.store, "r", tmp_path, lambda: stage.store.attempts("r"), stage.pause))
    assert [text for _, text in told] == ["one", "two", "three"]


def test_the_record_is_asked_again_only_when_it_has_changed(tmp_path: Path) -> None:
    stage = Stage()
    asked = []
    stage.record("run_started", inputs={})
    stage.acts = [lambda: None, lambda: None, lambda: stage.started("a"), lambda: None, stage.finish]

    def chosen() -> list[object]:
        asked.append(stage.waits)
        return list(stage.store.attempts("r"))

    list(follow_logs(stage.store, "r", tmp_path, chosen, stage.pause))  # type: ignore[arg-type]
    assert asked == [0, 3, 5]


def test_a_file_that_was_replaced_or_cut_is_read_from_its_beginning(tmp_path: Path) -> None:
    file = tmp_path / "log"
    tail = Tail(file)
    assert list(tail.lines()) == []
    file.write_text("a long first line\n")
    assert list(tail.lines()) == ["a long first line"]
    file.write_text("cut\n")
    assert list(tail.lines()) == ["cut"]
    file.rename(tmp_path / "old")
    file.write_text("new file\n")
    assert list(tail.lines()) == ["new file"]
    file.unlink()
    assert list(tail.rest()) == []


def test_a_character_and_a_line_may_come_in_pieces(tmp_path: Path) -> None:
    file = tmp_path / "log"
    tail = Tail(file)
    data = "žluťoučký\nkůň".encode()
    told = []
    for end in range(len(data) + 1):
        file.write_bytes(data[:end])
        told += tail.lines()
    assert told == ["žluťoučký"]
    assert list(tail.rest()) == ["kůň"]
    assert list(tail.rest()) == []


def test_a_large_log_is_told_whole_and_in_pieces(tmp_path: Path) -> None:
    file = tmp_path / "log"
    lines = [f"line {number}" for number in range(40_000)]
    file.write_text("\n".join(lines))
    pieces = list(Tail(file).rest())
    assert "\n".join(pieces).split("\n") == lines
    assert len(pieces) > 3


@pytest.mark.skipif(sys.platform != "linux", reason="links as on Linux")
def test_a_link_in_place_of_a_log_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret\n")
    os.symlink(tmp_path / "secret", tmp_path / "log")
    assert list(Tail(tmp_path / "log").rest()) == []
