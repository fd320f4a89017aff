"""Tools that change under us are told of, and nothing that is wrong with the file stops a run."""

from __future__ import annotations

import fcntl
import json
import os
from pathlib import Path

import pytest

from runner.executors.tools_lock import ToolsLock, judge, warning
from runner.ports import ToolInfo


def tools(**digests: str) -> dict[str, ToolInfo]:
    return {name: ToolInfo(name, "", {}, None, False, False, digest) for name, digest in digests.items()}


def test_first_sight_pins_and_a_change_keeps_the_pin() -> None:
    first = judge({}, "s", {"a": "1", "b": "2"})
    assert (first.pins, first.changed) == ({"s": {"a": "1", "b": "2"}}, ())
    later = judge(first.pins, "s", {"a": "X", "c": "3"})
    assert (later.pins, later.changed) == ({"s": {"a": "1", "b": "2", "c": "3"}}, ("a",))


def test_nothing_new_is_nothing_to_write() -> None:
    pins = {"s": {"a": "1"}, "t": {}}
    assert judge(pins, "s", {"a": "1"}).pins is pins


def test_a_warning_names_the_tools_and_where_they_are_pinned() -> None:
    assert warning("s", ("a",), Path("x/tools.lock")) == (
        "the MCP server s describes a otherwise than when it was first seen: look at what changed, "
        "then remove its entry from x/tools.lock"
    )
    assert "t0, t1, t2, t3, t4 and 2 more" in warning("s", tuple(f"t{n}" for n in range(7)), Path("x"))


def test_a_change_is_told_once_and_stays_pinned(tmp_path: Path) -> None:
    said: list[str] = []
    ToolsLock(tmp_path / ".ares", said.append).seen("s", tools(b="2", a="1"))
    lock = ToolsLock(tmp_path / ".ares", said.append)
    assert said == []
    lock.seen("s", tools(a="X", b="2"))
    lock.seen("s", tools(a="X", b="2"))
    assert len(said) == 1 and "describes a otherwise" in said[0]
    file = tmp_path / ".ares" / "tools.lock"
    assert file.read_text() == '{\n  "s": {\n    "a": "1",\n    "b": "2"\n  }\n}\n'
    assert file.stat().st_mode & 0o777 == 0o600


def test_a_person_takes_the_new_ones(tmp_path: Path) -> None:
    said: list[str] = []
    lock = ToolsLock(tmp_path, said.append)
    lock.seen("s", tools(a="1"))
    assert lock.accept("s") and not lock.accept("s")
    lock.seen("s", tools(a="X"))
    assert said == []
    assert json.loads((tmp_path / "tools.lock").read_text()) == {"s": {"a": "X"}}


@pytest.mark.parametrize("content", ["{", "[]", '{"s": 1}', '{"s": {"a": 1}}', "[" * 100_000])
def test_a_file_that_is_not_ours_is_told_of_and_left_alone(tmp_path: Path, content: str) -> None:
    said: list[str] = []
    (tmp_path / "tools.lock").write_text(content)
    ToolsLock(tmp_path, said.append).seen("s", tools(a="1"))
    assert len(said) == 1 and said[0].startswith(f"tools are not compared with {tmp_path}/tools.lock: it is not")
    assert (tmp_path / "tools.lock").read_text() == content


def test_a_link_out_of_the_folder_is_not_followed(tmp_path: Path) -> None:
    said: list[str] = []
    (tmp_path / "in").mkdir()
    (tmp_path / "secret").write_text('{"s": {"a": "2"}}')
    (tmp_path / "in" / "tools.lock").symlink_to(tmp_path / "secret")
    ToolsLock(tmp_path / "in", said.append).seen("s", tools(a="1"))
    assert len(said) == 1 and "leads out of" in said[0]


def test_pinning_waits_for_nobody(tmp_path: Path) -> None:
    said: list[str] = []
    lock, other = ToolsLock(tmp_path, said.append), os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(other, fcntl.LOCK_EX)
    lock.seen("s", tools(a="1"))
    os.close(other)
    assert said == [] and not (tmp_path / "tools.lock").exists()
    lock.seen("s", tools(a="1"))
    assert (tmp_path / "tools.lock").exists()
