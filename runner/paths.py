"""Reading and writing inside a root that foreign text must not lead out of: every path that a manifest names goes through here.

Symbolic links may point anywhere, so containment is judged on the resolved path; the last part of a path is opened without following
links, so that a link put there in between is an error, not a way out. Every folder of a written path is opened one by one for the same
reason.
"""

import errno
import hashlib
import os
import re
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from io import BufferedReader
from pathlib import Path
from typing import Final, NamedTuple

HIDDEN: Final = frozenset({".git", ".ares"})
"""Folders that no glob looks into."""

_UNREACHED: Final = frozenset({errno.ENOENT, errno.ENOTDIR, errno.EACCES, errno.EPERM, errno.ELOOP, errno.ENAMETOOLONG})
"""What the system says of a file that is gone, that we may not read, or that lies deeper than a path can lead."""
_NO_LINK: Final = os.O_NOFOLLOW | os.O_CLOEXEC
_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | _NO_LINK


class PathEscape(Exception):
    """A path leads out of its root, or through a link that does."""

    def __init__(self, text: str, root: Path) -> None:
        super().__init__(f"{text!r} leads out of {root}")
        self.text = text
        self.root = root


class TooLarge(Exception):
    """A file is larger than the limit it was to be read with. `limit` is in bytes."""

    def __init__(self, path: Path, limit: int) -> None:
        super().__init__(f"{path} is larger than {limit} bytes")
        self.path = path
        self.limit = limit


def inside(root: Path, base: Path, text: str) -> Path:
    """`text`, taken from the folder `base`, as an absolute path without links that lies in `root` (or is it). It need not exist.
    Raises PathEscape."""
    if "\0" in text:
        raise PathEscape(text, root)
    top = root.resolve()
    try:
        path = (base / text).resolve()
    except (OSError, RuntimeError) as error:  # a loop of links, before Python 3.13
        raise PathEscape(text, root) from error
    if not path.is_relative_to(top) or _is_loop(path):
        raise PathEscape(text, root)
    return path


def _is_loop(path: Path) -> bool:
    """Does a path that was resolved as far as that goes lead in a circle?"""
    try:
        path.stat()
    except OSError as error:
        return error.errno == errno.ELOOP
    return False


def read_inside(root: Path, base: Path, text: str, limit: int) -> bytes:
    """The content of a regular file in `root`. Raises PathEscape, TooLarge (more than `limit` bytes), OSError."""
    data = head_inside(root, base, text, limit + 1)
    if len(data) > limit:
        raise TooLarge(inside(root, base, text), limit)
    return data


def head_inside(root: Path, base: Path, text: str, most: int) -> bytes:
    """The first `most` bytes of a regular file in `root`. Raises PathEscape, OSError."""
    path = inside(root, base, text)
    with _opened(root, path) as file:
        return file.read(most)


def digest_inside(root: Path, base: Path, text: str) -> str:
    """32 hex digits that name the content of a regular file in `root`. Raises PathEscape, OSError."""
    return _digest(root, inside(root, base, text)).hex()


def _digest(root: Path, path: Path) -> bytes:
    with _opened(root, path) as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).digest()


@contextmanager
def _opened(root: Path, path: Path) -> Iterator[BufferedReader]:
    """A regular file, for reading."""
    try:
        # O_NONBLOCK: opening a pipe must not wait for a writer
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | _NO_LINK)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise PathEscape(str(path), root) from error
        raise
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "not a regular file", str(path))
        yield file


def write_atomic(root: Path, path: Path, data: bytes, mode: int | None = None) -> None:
    """Writes `data` to `path` in `root` so that readers see the old content or the new, also after power loss. Folders are made where
    they are missing. `mode` None: a file that is written over keeps its rights, a new one has those that the umask leaves.
    Raises PathEscape, OSError."""
    top = root.resolve()
    target = Path(os.path.normpath(path if path.is_absolute() else top / path))
    if not target.is_relative_to(top) or target == top:
        raise PathEscape(str(path), root)
    parts = target.relative_to(top).parts
    folder = _folder(top, parts[:-1])
    try:
        _write_in(folder, parts[-1], data, mode)
    finally:
        os.close(folder)


def _folder(top: Path, parts: Sequence[str]) -> int:
    """A descriptor of the folder below `top`, made where missing; no part of the way may be a link."""
    descriptor = os.open(top, _FOLDER)
    for part in parts:
        try:
            below = _child_folder(descriptor, part)
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.ENOTDIR) and _is_link(descriptor, part):
                raise PathEscape("/".join(parts), top) from error
            raise
        finally:
            os.close(descriptor)
        descriptor = below
    return descriptor


def _child_folder(parent: int, name: str) -> int:
    try:
        return os.open(name, _FOLDER, dir_fd=parent)
    except FileNotFoundError:
        try:
            os.mkdir(name, dir_fd=parent)
        except FileExistsError:
            pass  # somebody else made it just now
        return os.open(name, _FOLDER, dir_fd=parent)


def _is_link(parent: int, name: str) -> bool:
    return stat.S_ISLNK(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode)


def _write_in(folder: int, name: str, data: bytes, mode: int | None) -> None:
    temporary = f".{os.urandom(8).hex()}.tmp"
    wanted = _mode_of(folder, name) if mode is None else mode
    at_first = 0o666 if wanted is None else 0o600  # the system takes the umask off
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _NO_LINK, at_first, dir_fd=folder)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            if wanted is not None:
                os.fchmod(file.fileno(), wanted)
            os.fsync(file.fileno())
        os.rename(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
    except BaseException:  # a signal, too, leaves no half a file
        with suppress(FileNotFoundError):  # it came right behind the last step
            os.unlink(temporary, dir_fd=folder)
        raise
    os.fsync(folder)


def _mode_of(folder: int, name: str) -> int | None:
    """The rights of a file that is there."""
    try:
        found = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None
    return found.st_mode & 0o777 if stat.S_ISREG(found.st_mode) else None


def glob_inside(root: Path, patterns: Sequence[str]) -> list[Path]:
    """The files in `root` that match a pattern (see `matcher`), sorted, as paths below `root` as given. Nothing in `.git` or `.ares`, no
    linked folders, and a linked file only when it leads to a file in `root`. What lies in a folder that we may not read, or that vanishes
    meanwhile, is not there. Raises PathEscape for a pattern that leads out, OSError."""
    matches = matcher(patterns)
    prefixes = [_literal_prefix(_segments(pattern)) for pattern in patterns]
    top = root.resolve()
    return sorted(root / name for name in _files(top, prefixes) if matches(name) and _is_file(top, top / name))


def matcher(patterns: Sequence[str]) -> "Matcher":
    """A matcher of paths (relative, with `/`): `*`, `?`, `[a-z]` stay within one name, `**` is any number of folders, and a pattern that
    ends in a plain name also means all that lies below it. Patterns start at the root. Raises PathEscape."""
    return Matcher(tuple(choice for pattern in patterns for choice in _choices(_segments(pattern))))


_Choice = tuple["re.Pattern[str] | None", ...]
"""A pattern by names: None is `**`."""


class Matcher(NamedTuple):
    """Patterns that a path may match, any of them."""

    choices: tuple[_Choice, ...]

    def __call__(self, path: str) -> bool:
        names = path.split("/")
        return any(_fits(choice, names) for choice in self.choices)


def below(pattern: str) -> tuple[str, bool]:
    """Where the matches of a pattern are: the folder (relative, "." for the root) that all of them lie in, and whether some may lie deeper
    than right in it. Raises PathEscape."""
    parts = _segments(pattern)
    folders = _literal_prefix(parts)
    if len(folders) == len(parts):  # a plain path is a file, or a folder with all that it holds
        return "/".join(folders[:-1]) or ".", True
    rest = parts[len(folders) :]
    return "/".join(folders) or ".", len(rest) > 1 or rest[0] == "**"


def _choices(parts: list[str]) -> Iterator[_Choice]:
    # `a/**` is what lies below `a`, not `a` itself
    full = [*parts, "*"] if parts[-1] == "**" else parts
    compiled = tuple(None if part == "**" else re.compile(_name_regex(part), re.DOTALL) for part in full)
    yield compiled
    if not _has_wildcard(parts[-1]):
        yield (*compiled, None, re.compile(".*", re.DOTALL))


def _fits(choice: _Choice, names: Sequence[str]) -> bool:
    """Matches names one by one; only the latest `**` is ever tried again, so the work is at most their product."""
    at = part = 0
    retry: tuple[int, int] | None = None
    while at < len(names):
        wanted = choice[part] if part < len(choice) else None
        if part < len(choice) and wanted is None:
            part += 1
            retry = (at, part)
        elif wanted is not None and wanted.fullmatch(names[at]):
            at, part = at + 1, part + 1
        elif retry is not None:
            at, part = retry[0] + 1, retry[1]
            retry = (at, part)
        else:
            return False
    return all(wanted is None for wanted in choice[part:])


def _segments(pattern: str) -> list[str]:
    parts = [part for part in pattern.split("/") if part not in ("", ".")]
    if pattern.startswith("/") or ".." in parts or "\0" in pattern:
        raise PathEscape(pattern, Path())
    if pattern.endswith("/") and parts and parts[-1] != "**":
        parts.append("**")
    collapsed = [part for at, part in enumerate(parts) if part != "**" or at == 0 or parts[at - 1] != "**"]
    return collapsed or ["**"]


def _has_wildcard(part: str) -> bool:
    return any(sign in part for sign in "*?[")


def _literal_prefix(parts: Sequence[str]) -> tuple[str, ...]:
    """The folders that every match of a pattern lies below."""
    count = next((at for at, part in enumerate(parts) if _has_wildcard(part)), len(parts))
    return tuple(parts[:count])


def _name_regex(part: str) -> str:
    """One name. What a `*` has matched up to the next plain piece is never given back: that keeps the work linear."""
    pieces = [_plain_regex(piece) for piece in re.split(r"\*+", part)]
    if len(pieces) == 1:
        return pieces[0]
    first, *middle, last = pieces
    return first + "".join(f"(?>.*?{piece})" for piece in middle) + f".*{last}"


def _plain_regex(piece: str) -> str:
    """One piece of a name. Behind the last `]` no `[` begins a class, which need not be tried for each of them."""
    end = piece.rfind("]") + 1
    signs = re.findall(r"\[[!^]?\]?[^\]]*\]|.", piece[:end], re.DOTALL) + list(piece[end:])
    return "".join("." if sign == "?" else _class_regex(sign) if len(sign) > 1 else re.escape(sign) for sign in signs)


def _class_regex(sign: str) -> str:
    """`[a-z]`, `[!a-z]`. One that means nothing (`[z-a]`) is taken as it stands."""
    negated = sign[1] in "!^"
    body = re.sub(r"([\\\[\]^&~|])", r"\\\1", sign[1 + negated : -1])
    expression = f"[{'^' if negated else ''}{body}]"
    if "--" in body:  # Python keeps it for set difference, and warns
        return re.escape(sign)
    try:
        re.compile(expression)
    except re.error:
        return re.escape(sign)
    return expression


def _files(top: Path, prefixes: Sequence[tuple[str, ...]]) -> Iterator[str]:
    """The relative names of all files that a pattern might mean; folders that none leads into are not opened. Folders may lie deeper in
    each other than calls may."""
    folders: list[tuple[str, ...]] = [()]
    while folders:
        below = folders.pop()
        for entry in _listed(top.joinpath(*below), must=not below):
            path = (*below, entry.name)
            if not entry.is_dir(follow_symlinks=False):
                yield "/".join(path)
            elif entry.name not in HIDDEN and any(_leads(path, prefix) for prefix in prefixes):
                folders.append(path)


def _listed(folder: Path, *, must: bool) -> list[os.DirEntry[str]]:
    """What is in a folder. Raises OSError, when it `must` be there."""
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError as error:
        if must or error.errno not in _UNREACHED:
            raise
        return []


def _leads(path: tuple[str, ...], prefix: tuple[str, ...]) -> bool:
    shared = min(len(path), len(prefix))
    return path[:shared] == prefix[:shared]


def _is_file(top: Path, path: Path) -> bool:
    """A regular file, or a link to one in the root that no glob hides."""
    try:
        if not path.is_symlink():
            return path.is_file()
        target = path.resolve()
        if not target.is_relative_to(top) or HIDDEN.intersection(target.relative_to(top).parts):
            return False
        return target.is_file()
    except (OSError, RuntimeError):  # gone, out of reach, or a loop of links
        return False


def tree_digest(root: Path, patterns: Sequence[str]) -> str:
    """32 hex digits that name the files of `glob_inside`: their names and contents. A file that vanishes meanwhile does not count, one
    that we may not read counts by its name. Raises PathEscape for a pattern that leads out, OSError."""
    total = hashlib.blake2b(digest_size=16)
    top = root.resolve()
    for path in glob_inside(top, patterns):
        with suppress(FileNotFoundError):
            total.update(os.fsencode(path.relative_to(top)) + b"\0" + _content(top, path))
    return total.hexdigest()


def _content(top: Path, path: Path) -> bytes:
    """Names what a file holds; nothing when we may not read it. Raises OSError."""
    try:
        return _digest(top, path.resolve())
    except (PermissionError, PathEscape):
        return b""
