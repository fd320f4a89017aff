"""No path leads out of its root, and a file is written whole or not at all."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import time
from pathlib import Path

import pytest

from runner.paths import PathEscape, TooLarge, glob_inside, inside, matcher, read_inside, tree_digest, write_atomic


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    for name in (
        "a.txt",
        "src/x.py",
        "src/deep/y.py",
        "src/deep/z.md",
        "tests/t.py",
        ".git/config",
        ".ares/state.db",
        "src/.git/HEAD",
    ):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    (tmp_path / "outside.txt").write_text("outside")
    (tmp_path / "outside").mkdir()
    return root


def names(root: Path, *patterns: str) -> list[str]:
    return [str(path.relative_to(root)) for path in glob_inside(root, patterns)]


@pytest.mark.parametrize(
    ("base", "text", "expected"),
    [
        (".", "a.txt", "a.txt"),
        ("src", "../a.txt", "a.txt"),
        ("src", "new/file", "src/new/file"),
        (".", ".", "."),
        ("src", "./x.py", "src/x.py"),
    ],
)
def test_a_path_is_taken_from_its_base_and_resolved(root: Path, base: str, text: str, expected: str) -> None:
    assert inside(root, root / base, text) == (root / expected).resolve()


def test_an_absolute_path_in_the_root_is_allowed(root: Path) -> None:
    assert inside(root, root / "src", str(root / "a.txt")) == (root / "a.txt").resolve()


@pytest.mark.parametrize(
    "text",
    ["..", "../outside.txt", "src/../../outside.txt", "/etc/passwd", "/", "x\0y", "../root2/x", "~/../../x/../.."],
)
def test_a_path_that_leads_out_is_refused(root: Path, text: str) -> None:
    with pytest.raises(PathEscape):
        inside(root, root, text)


def test_a_link_that_leads_out_is_refused_and_one_within_is_followed(root: Path, tmp_path: Path) -> None:
    (root / "out").symlink_to(tmp_path / "outside.txt")
    (root / "outdir").symlink_to(tmp_path / "outside")
    (root / "in").symlink_to("src")
    (root / "loop").symlink_to("loop")

    for text in ("out", "outdir/new", "loop", "loop/x", "in/../../outside.txt"):
        with pytest.raises(PathEscape):
            inside(root, root, text)
    assert inside(root, root, "in/x.py") == (root / "src/x.py").resolve()


def test_reading_stops_at_the_limit_and_at_what_is_no_file(root: Path) -> None:
    os.mkfifo(root / "pipe")

    assert read_inside(root, root / "src", "x.py", 8) == b"src/x.py"
    with pytest.raises(TooLarge, match="7 bytes"):
        read_inside(root, root, "src/x.py", 7)
    with pytest.raises(PathEscape):
        read_inside(root, root, "../outside.txt", 100)
    with pytest.raises(FileNotFoundError):
        read_inside(root, root, "nothing", 100)
    for text in ("src", "pipe"):
        with pytest.raises(OSError):
            read_inside(root, root, text, 100)


def test_a_file_is_replaced_whole_with_its_folders_made(root: Path) -> None:
    target = inside(root, root, "new/deeper/file.txt")

    write_atomic(root, target, b"one")
    write_atomic(root, target, b"two", 0o600)

    assert target.read_bytes() == b"two"
    assert target.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in target.parent.iterdir()] == ["file.txt"]


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_a_new_file_has_the_rights_that_the_umask_leaves(root: Path, umask: int, mode: int) -> None:
    before = os.umask(umask)
    try:
        write_atomic(root, root / "new.txt", b"one")
    finally:
        os.umask(before)

    assert stat.S_IMODE((root / "new.txt").stat().st_mode) == mode


@pytest.mark.parametrize("mode", [0o600, 0o755, 0o664, 0o444])
def test_a_file_that_is_written_over_keeps_its_rights_and_nobody_else_may_look_meanwhile(
    root: Path, mode: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []

    def synced(descriptor: int) -> None:
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            seen.append(stat.S_IMODE(os.fstat(descriptor).st_mode))

    (root / "a.txt").chmod(mode)
    monkeypatch.setattr(os, "fsync", synced)

    write_atomic(root, root / "a.txt", b"two")

    assert (root / "a.txt").read_bytes() == b"two"
    assert stat.S_IMODE((root / "a.txt").stat().st_mode) == mode
    assert seen and all(rights | mode == mode for rights in seen)


def test_a_failed_write_leaves_the_old_file_and_nothing_else(root: Path) -> None:
    with pytest.raises(OSError):
        write_atomic(root, root / "src", b"a folder is in the way")
    with pytest.raises(OSError):
        write_atomic(root, root / "a.txt/below", b"a file is in the way")

    assert sorted(path.name for path in root.iterdir()) == [".ares", ".git", "a.txt", "src", "tests"]
    assert (root / "a.txt").read_text() == "a.txt"


def test_writing_never_follows_a_link(root: Path, tmp_path: Path) -> None:
    (root / "out").symlink_to(tmp_path / "outside.txt")
    (root / "outdir").symlink_to(tmp_path / "outside")

    with pytest.raises(PathEscape):
        write_atomic(root, root / "outdir/new.txt", b"x")
    with pytest.raises(PathEscape):
        write_atomic(root, root / "../outside.txt", b"x")
    with pytest.raises(PathEscape):
        write_atomic(root, root, b"x")
    write_atomic(root, root / "out", b"replaces the link itself")

    assert (tmp_path / "outside.txt").read_text() == "outside"
    assert list((tmp_path / "outside").iterdir()) == []
    assert not (root / "out").is_symlink()


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("**/*.py", ["src/deep/y.py", "src/x.py", "tests/t.py"]),
        ("src/**", ["src/deep/y.py", "src/deep/z.md", "src/x.py"]),
        ("src/*", ["src/x.py"]),
        ("src", ["src/deep/y.py", "src/deep/z.md", "src/x.py"]),
        ("src/", ["src/deep/y.py", "src/deep/z.md", "src/x.py"]),
        ("./src/x.py", ["src/x.py"]),
        ("src/**/y.py", ["src/deep/y.py"]),
        ("**/deep/**", ["src/deep/y.py", "src/deep/z.md"]),
        ("*.txt", ["a.txt"]),
        ("?.txt", ["a.txt"]),
        ("[a-c].txt", ["a.txt"]),
        ("[!a].txt", []),
        ("[a.txt", []),
        ("[z-a].txt", []),
        ("*/[x-z].*", ["src/x.py"]),
        ("**", ["a.txt", "src/deep/y.py", "src/deep/z.md", "src/x.py", "tests/t.py"]),
        ("nothing/**", []),
        (".git/**", []),
        (".git/config", []),
    ],
)
def test_globs_find_files_from_the_root(root: Path, pattern: str, expected: list[str]) -> None:
    assert names(root, pattern) == expected


def test_several_patterns_give_each_file_once_and_sorted(root: Path) -> None:
    assert names(root, "tests/**", "src/*.py", "**/*.py") == ["src/deep/y.py", "src/x.py", "tests/t.py"]
    assert names(root) == []


@pytest.mark.parametrize("pattern", ["../*", "/etc/*", "src/../../x", "a\0b"])
def test_a_pattern_that_leads_out_is_refused(root: Path, pattern: str) -> None:
    with pytest.raises(PathEscape):
        glob_inside(root, [pattern])


def test_globs_do_not_follow_links_out_nor_into_folders(root: Path, tmp_path: Path) -> None:
    (tmp_path / "outside/secret.py").write_text("x")
    (root / "out.py").symlink_to(tmp_path / "outside/secret.py")
    (root / "outdir").symlink_to(tmp_path / "outside")
    (root / "again").symlink_to(".")
    (root / "in.py").symlink_to("src/x.py")
    (root / "hidden.py").symlink_to(".git/config")
    (root / "broken.py").symlink_to("nothing")
    (root / "loop.py").symlink_to("loop.py")

    assert names(root, "**/*.py") == ["in.py", "src/deep/y.py", "src/x.py", "tests/t.py"]


def test_a_matcher_needs_no_files() -> None:
    matches = matcher(["src/**", "*.md"])

    assert matches("src/a/b.py")
    assert matches("README.md")
    assert not matches("src")
    assert not matches("docs/README.md")


def test_no_pattern_takes_long() -> None:
    start = time.process_time()

    assert not matcher(["*a" * 120 + "b"])("a" * 250)
    assert not matcher(["**/*/" * 100 + "b"])("a/" * 1000 + "c")
    assert not matcher(["[" * 1000])("a" * 250)
    assert not matcher(["[" * 200_000])("a")
    assert not matcher(["[!" * 100_000])("a")

    assert time.process_time() - start < 10  # seconds; without a limit each takes for ever


def test_the_digest_of_a_tree_names_its_files_and_contents(root: Path) -> None:
    before = tree_digest(root, ["src/**"])

    assert tree_digest(root, ["src/**"]) == before
    (root / "tests/t.py").write_text("changed")
    assert tree_digest(root, ["src/**"]) == before
    (root / "src/x.py").write_text("changed")
    changed = tree_digest(root, ["src/**"])
    assert changed != before
    (root / "src/x.py").rename(root / "src/renamed.py")
    assert tree_digest(root, ["src/**"]) not in (before, changed)
    assert len(before) == 32


def test_the_digest_of_a_tree_goes_as_deep_as_folders_do(root: Path) -> None:
    before = tree_digest(root, ["**/*.py"])
    deep = root.joinpath(*["d"] * 1200)
    try:
        for folder in [*reversed(deep.parents), deep]:
            folder.mkdir(exist_ok=True)
        (deep / "x.py").write_text("deep")
        found = tree_digest(root, ["**/*.py"])
        _file_out_of_reach(deep, "y.py")

        assert found != before
        assert tree_digest(root, ["**/*.py"]) == found
    finally:  # Python's rmtree would not come back from there
        subprocess.run(["rm", "-rf", str(root / "d")], check=True)


def _file_out_of_reach(folder: Path, name: str) -> None:
    """Makes a file that no path leads to, because it would be longer than the system takes."""
    at = os.open(folder, os.O_RDONLY)
    for _ in range(1200):
        os.mkdir("d", dir_fd=at)
        below = os.open("d", os.O_RDONLY, dir_fd=at)
        os.close(at)
        at = below
    os.close(os.open(name, os.O_CREAT | os.O_WRONLY, dir_fd=at))
    os.close(at)


def test_a_folder_that_vanishes_while_a_tree_is_read_is_not_there(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scan = os.scandir

    def cleaned(folder: Path) -> object:
        if Path(folder).name == "deep":
            raise FileNotFoundError(errno.ENOENT, "gone", str(folder))
        return scan(folder)

    monkeypatch.setattr(os, "scandir", cleaned)

    assert names(root, "**/*.py") == ["src/x.py", "tests/t.py"]
