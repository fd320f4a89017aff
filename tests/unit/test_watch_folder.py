"""A watched folder after readings of all of its files, or of some: what is in force, what runs by itself, what has to be read again."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from runner.api.load import Loaded, load_files
from runner.api.settings import Settings, load_config
from runner.api.watch_folder import Folder, News, take_in, take_in_part

A = "ares: v1\nname: a\nsteps: {one: {set: {x: 1}}}\n"
CALLS = "ares: v1\nname: top\nsteps: {one: {call: a}}\n"
ABOVE = "ares: v1\nname: above\nsteps: {one: {call: top}}\n"
OTHER = "ares: v1\nname: other\nsteps: {one: {set: {x: 1}}}\n"
BAD = "ares: v1\nname: other\nstebs: {}\n"
ALL = {"a.yaml": A, "top.yaml": CALLS, "above.yaml": ABOVE, "other.yaml": OTHER}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load_config(None, start=tmp_path, env={})


def read(settings: Settings, texts: Mapping[str, str], some: frozenset[str] | None = None) -> Loaded:
    contents = {Path(file): text.encode() for file, text in texts.items()}
    return load_files([(path, False) for path in contents if some is None or str(path) in some], settings, contents)


def whole(settings: Settings, texts: Mapping[str, str], before: Folder | None = None) -> News:
    return take_in(before or Folder(), read(settings, texts), texts.keys(), frozenset())


def part(settings: Settings, texts: Mapping[str, str], before: Folder, *changed: str) -> News | None:
    some = before.related(frozenset(changed))
    if some is None:
        return None
    return take_in_part(before, read(settings, texts, some), some, texts.keys(), frozenset())


def in_force(folder: Folder) -> dict[str, tuple[str, str, bool]]:
    top = folder.top_level()
    return {name: (known.graph.digest, known.entry.file, name in top) for name, known in folder.manifests.items()}


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("a.yaml", A.replace("x: 1", "x: 2")),
        ("top.yaml", CALLS.replace("call: a", "set: {x: 1}")),
        ("other.yaml", OTHER.replace("name: other", "name: another")),
        ("new.yaml", OTHER.replace("name: other", "name: new")),
        ("new.yaml", "just: data\n"),
    ],
)
def test_reading_what_a_change_concerns_gives_what_reading_everything_gives(
    settings: Settings, file: str, text: str
) -> None:
    before = whole(settings, ALL).folder
    after = {**ALL, file: text}
    found = part(settings, after, before, file)
    assert found is not None
    assert in_force(found.folder) == in_force(whole(settings, after).folder)
    assert found.folder.found == whole(settings, after).folder.found


def test_callers_and_what_they_call_are_read_with_a_change_and_others_are_not(settings: Settings) -> None:
    folder = whole(settings, ALL).folder
    assert folder.related(frozenset({"a.yaml"})) == {"a.yaml", "top.yaml", "above.yaml"}
    assert folder.related(frozenset({"above.yaml"})) == {"a.yaml", "top.yaml", "above.yaml"}
    assert folder.related(frozenset({"other.yaml"})) == {"other.yaml"}


@pytest.mark.parametrize("text", [OTHER.replace("set: {x: 1}", "call: a"), OTHER.replace("other", "top")])
def test_a_change_that_only_the_others_can_explain_has_everything_read(settings: Settings, text: str) -> None:
    assert part(settings, {**ALL, "new.yaml": text}, whole(settings, ALL).folder, "new.yaml") is None


@pytest.mark.parametrize("text", [BAD, OTHER.replace("other", "a"), OTHER.replace("set: {x: 1}", "call: nobody")])
def test_with_a_mistake_everything_is_read(settings: Settings, text: str) -> None:
    before = whole(settings, ALL).folder
    assert part(settings, {**ALL, "other.yaml": text}, before, "other.yaml") is None
    broken = whole(settings, {**ALL, "other.yaml": text}, before).folder
    assert broken.related(frozenset({"a.yaml"})) is None


def test_a_mistake_leaves_the_version_before_in_force_and_is_told_once(settings: Settings) -> None:
    before = whole(settings, ALL).folder
    broken = whole(settings, {**ALL, "other.yaml": BAD}, before)
    assert [d.rule for d in broken.diagnostics if d.severity == "error"] == ["unknown-key"]
    assert broken.folder.unread == {"other"}
    assert in_force(broken.folder) == in_force(before)
    again = whole(settings, {**ALL, "other.yaml": BAD, "a.yaml": A.replace("x: 1", "x: 2")}, broken.folder)
    assert again.diagnostics == ()
    mended = whole(settings, ALL, again.folder)
    assert (mended.mended, mended.folder.unread) == (("other.yaml",), frozenset())


def test_callers_of_what_is_broken_stay_as_they_were(settings: Settings) -> None:
    before = whole(settings, ALL).folder
    broken = whole(settings, {**ALL, "a.yaml": "ares: v1\nname: a\nsteps: 3\n"}, before).folder
    assert broken.unread == {"a", "top", "above"}
    assert in_force(broken) == in_force(before)


def test_what_a_file_being_written_holds_is_not_in_force_yet(settings: Settings) -> None:
    before = whole(settings, ALL).folder
    texts = {**ALL, "a.yaml": A.replace("x: 1", "x: 2")}
    news = take_in(before, read(settings, texts), texts.keys(), frozenset({"a.yaml"}))
    assert in_force(news.folder) == in_force(before)
    assert news.folder.unread == {"a", "top", "above"}


def test_a_manifest_that_was_renamed_or_removed_is_gone(settings: Settings) -> None:
    before = whole(settings, ALL).folder
    renamed = whole(settings, {**ALL, "other.yaml": OTHER.replace("other", "another")}, before)
    assert renamed.gone == ("other",)
    removed = whole(settings, {name: text for name, text in ALL.items() if name != "other.yaml"}, before)
    assert removed.gone == ("other",)


def test_what_a_broken_file_seems_to_call_does_not_run_by_itself(settings: Settings) -> None:
    texts = {"a.yaml": A, "top.yaml": CALLS.replace("steps", "stebs"), "above.yaml": OTHER}
    assert set(whole(settings, texts).folder.top_level()) == {"other"}
