"""The bundled MCP server `workspace`: list, read, write and search the files below one folder, and nothing outside of it.

Stand-alone: `python -P -m runner.bridges.workspace [--root DIR]` speaks MCP over stdio. One call at a time, each within `CALL_S`.
Not here: the protocol (`stdio`), and what lies inside a root (`runner.paths`)."""

from __future__ import annotations

import os
import re
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import FrameType
from typing import Any

from runner.bridges.stdio import Call, Fault, Json, Server, described, failed, serve_stdio, shape
from runner.paths import HIDDEN, PathEscape, TooLarge, glob_inside, head_inside, inside, read_inside, write_atomic

FILE_BYTES = 64 * 1024 * 1024
"""The largest file that is read from."""
READ_BYTES, LIST_FILES, SEARCH_MATCHES = 1024 * 1024, 1000, 200
"""What a call gives when it names no limit."""
MOST_BYTES, MOST_ROWS = 8 * 1024 * 1024, 10_000
"""What a call may ask for."""
SEARCHED_BYTES = 4 * 1024 * 1024
"""How much of one file is searched."""
MATCH_CHARS = 500
SNIFFED_BYTES = 8192
CALL_S = 30
"""A call that takes longer ends in an error: a regular expression may run for years."""


class Refused(Exception):
    """The call cannot be done; the message says why."""


# ---------------------------------------------------------------- tools


def list_files(root: Path, *, pattern: str = "**/*", limit: int = LIST_FILES) -> tuple[Json, str]:
    names = _names(root, pattern)
    found = names[: _bounded("limit", limit, MOST_ROWS)]
    return {"files": found, "truncated": len(names) > len(found)}, "\n".join(found)


def read_file(root: Path, *, path: str, offset: int = 0, limit: int = READ_BYTES) -> tuple[Json, str]:
    if offset < 0:
        raise Refused("`offset` must not be negative")
    data = read_inside(root, root, _shown(root, path), FILE_BYTES)
    if b"\0" in data[:SNIFFED_BYTES]:
        raise Refused(f"{path} is not text")
    end = offset + _bounded("limit", limit, MOST_BYTES)
    text = _whole_characters(data, offset, end).decode(errors="replace")
    return {"path": path, "text": text, "bytes": len(data), "truncated": offset > 0 or end < len(data)}, text


def write_file(root: Path, *, path: str, content: str) -> tuple[Json, str]:
    target, data = inside(root, root, _shown(root, path)), content.encode()
    if len(data) > MOST_BYTES:
        raise Refused(f"`content` has {len(data)} bytes; {MOST_BYTES} is the most")
    changed = not (target.is_file() and target.stat().st_size == len(data) and target.read_bytes() == data)
    if changed:
        write_atomic(root, target, data)
    return {"path": path, "bytes": len(data), "changed": changed}, f"{path}: {'written' if changed else 'unchanged'}"


def search(
    root: Path, *, pattern: str, glob: str = "**/*", regex: bool = False, limit: int = SEARCH_MATCHES
) -> tuple[Json, str]:
    expression = re.compile(pattern if regex else re.escape(pattern))
    most, truncated = _bounded("limit", limit, MOST_ROWS), False
    matches: list[Json] = []
    for match in _matches(root, glob, expression):
        if match is None or len(matches) == most:
            truncated = True
        if len(matches) == most:
            break
        if match is not None:
            matches.append(match)
    lines = (f"{match['path']}:{match['line']}: {match['text']}" for match in matches)
    return {"matches": matches, "truncated": truncated}, "\n".join(lines)


def _matches(root: Path, glob: str, expression: re.Pattern[str]) -> Iterator[Json | None]:
    """In the order of path and line; None where the rest of a large file is left out."""
    for name in _names(root, glob):
        try:
            data = head_inside(root, root, name, SEARCHED_BYTES + 1)
        except (OSError, PathEscape):
            continue  # gone since it was listed, made a link that leads out, or not ours to read
        if b"\0" in data[:SNIFFED_BYTES]:
            continue
        for number, line in enumerate(data[:SEARCHED_BYTES].decode(errors="replace").split("\n"), start=1):
            if expression.search(line):
                yield {"path": name, "line": number, "text": line.rstrip("\r")[:MATCH_CHARS]}
        if len(data) > SEARCHED_BYTES:
            yield None


def _names(root: Path, pattern: str) -> list[str]:
    return [path.relative_to(root).as_posix() for path in glob_inside(root, [pattern])]


def _shown(root: Path, path: str) -> str:
    """`path`, unless it is one that no listing shows."""
    if HIDDEN.intersection(inside(root, root, path).relative_to(root).parts):
        raise Refused(f"{path} is not for tools: {' and '.join(sorted(HIDDEN))} are kept from them")
    return path


def _bounded(name: str, value: int, most: int) -> int:
    if not 1 <= value <= most:
        raise Refused(f"`{name}` must be from 1 to {most}")
    return value


def _whole_characters(data: bytes, start: int, end: int) -> bytes:
    """`data[start:end]` without the halves of characters at a cut."""
    while start < len(data) and start > 0 and data[start] & 0xC0 == 0x80:
        start += 1
    while start < end < len(data) and data[end] & 0xC0 == 0x80:
        end -= 1
    return data[start:end]


Tool = Callable[..., tuple[Json, str]]
TOOLS: Mapping[str, Tool] = {
    "list_files": list_files,
    "read_file": read_file,
    "write_file": write_file,
    "search": search,
}

# ---------------------------------------------------------------- what is said of them


def _described(
    name: str, says: str, takes: Json, gives: Json, *, needs: tuple[str, ...] = (), reads: bool = True
) -> Json:
    hints = (
        {"readOnlyHint": True} if reads else {"readOnlyHint": False, "idempotentHint": True, "destructiveHint": True}
    )
    return described(name, says, takes, gives, needs, {**hints, "openWorldHint": False})


_TEXT, _COUNT, _FLAG = {"type": "string"}, {"type": "integer", "minimum": 0}, {"type": "boolean"}
_GLOB = {"type": "string", "default": "**/*", "description": "`*` within a name, `**` over folders"}
_PATH = {"type": "string", "description": "Relative to the root"}


def _limit(default: int, most: int, unit: str) -> Json:
    return {
        "type": "integer",
        "default": default,
        "minimum": 1,
        "maximum": most,
        "description": f"Most {unit} in the answer",
    }


DESCRIPTIONS = (
    _described(
        "list_files",
        "The files below the root that match a glob pattern, sorted.",
        {"pattern": _GLOB, "limit": _limit(LIST_FILES, MOST_ROWS, "files")},
        {"files": {"type": "array", "items": _TEXT}, "truncated": _FLAG},
    ),
    _described(
        "read_file",
        "The text of a file, or a part of it.",
        {
            "path": _PATH,
            "offset": {**_COUNT, "default": 0, "description": "First byte"},
            "limit": _limit(READ_BYTES, MOST_BYTES, "bytes"),
        },
        {
            "path": _TEXT,
            "text": _TEXT,
            "bytes": {**_COUNT, "description": "Size of the whole file"},
            "truncated": _FLAG,
        },
        needs=("path",),
    ),
    _described(
        "write_file",
        "Write a text file atomically; folders are made where they are missing.",
        {"path": _PATH, "content": _TEXT},
        {"path": _TEXT, "bytes": _COUNT, "changed": _FLAG},
        needs=("path", "content"),
        reads=False,
    ),
    _described(
        "search",
        "The lines of text files that contain a text, or match a regular expression; sorted by path and line.",
        {
            "pattern": _TEXT,
            "glob": _GLOB,
            "regex": {"type": "boolean", "default": False},
            "limit": _limit(SEARCH_MATCHES, MOST_ROWS, "matches"),
        },
        {
            "matches": {
                "type": "array",
                "items": shape({"path": _TEXT, "line": _COUNT, "text": _TEXT}, ["path", "line", "text"]),
            },
            "truncated": _FLAG,
        },
        needs=("pattern",),
    ),
)
_INPUTS = {tool["name"]: tool["inputSchema"] for tool in DESCRIPTIONS}
_KINDS: Mapping[str, type] = {"string": str, "integer": int, "boolean": bool}

# ---------------------------------------------------------------- one call


def call(root: Path, name: str, given: Mapping[str, Any]) -> Json:
    """The result of tools/call; what cannot be done is an `isError` result. Raises Fault for an unknown tool."""
    if name not in TOOLS:
        raise Fault(-32602, f"unknown tool `{name}`: there are {', '.join(TOOLS)}")
    try:
        _check(name, given)
        structured, text = _in_time(lambda: TOOLS[name](root, **given))
    except (Refused, PathEscape, TooLarge) as error:
        return failed(str(error))
    except re.error as error:
        return failed(f"`pattern` is no regular expression: {error}")
    except OSError as error:
        return failed(f"{given.get('path', name)}: {error.strerror or error}")
    except UnicodeEncodeError:
        return failed("an argument holds half a surrogate pair, which no file can")
    return {"content": [{"type": "text", "text": text}], "structuredContent": structured}


def _check(name: str, given: Mapping[str, Any]) -> None:
    schema = _INPUTS[name]
    for missing in (key for key in schema["required"] if key not in given):
        raise Refused(f"{name}: missing argument `{missing}`")
    for key, value in given.items():
        if key not in schema["properties"]:
            raise Refused(f"{name}: unknown argument `{key}`: it takes {', '.join(schema['properties'])}")
        kind = schema["properties"][key]["type"]
        if not isinstance(value, _KINDS[kind]) or (kind == "integer" and isinstance(value, bool)):
            raise Refused(f"{name}: `{key}` must be {kind}")


def _in_time(work: Callable[[], tuple[Json, str]]) -> tuple[Json, str]:
    """`work()`; the alarm reaches even into the matching of a regular expression."""

    def ring(number: int, frame: FrameType | None) -> None:
        raise Refused(f"it took more than {CALL_S} s")

    signal.signal(signal.SIGALRM, ring)
    signal.alarm(CALL_S)
    try:
        return work()
    finally:
        signal.alarm(0)


def server(root: Path) -> Server:
    """The tools on `root`. One call at a time: the alarm that bounds a call is for the main thread."""

    def tool(name: str, given: Mapping[str, Any], _: Call) -> Json:
        return call(root, name, given)

    return Server("workspace", DESCRIPTIONS, tool)


def main(argv: list[str]) -> int:
    """Arguments: `[--root DIR]`. Exit status 2 when they make no sense."""
    if argv and (len(argv) != 2 or argv[0] != "--root"):
        sys.stderr.write("usage: python -P -m runner.bridges.workspace [--root DIR]\n")
        return 2
    root = Path(argv[1] if argv else os.curdir).resolve()
    if not root.is_dir():
        sys.stderr.write(f"{root} is not a folder\n")
        return 2
    serve_stdio(server(root))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
