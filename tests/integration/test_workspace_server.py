"""The bundled `workspace` server, driven by the SDK's client through our executor, and line by line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from mcp import Client, StdioServerParameters
from mcp_calls import call

from runner.bridges import workspace
from runner.executors.mcp import McpServers, ServerSpec

COMMAND = ("-P", "-m", "runner.bridges.workspace")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    for name, text in {
        "b.txt": "beta\nalpha\n",
        "a/one.py": "import os\n# alpha α\n",
        "a/deep/two.py": "alpha()\r\n",
        ".git/config": "alpha secret\n",
        ".ares/state": "alpha secret\n",
    }.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(text.encode())
    (root / "image.bin").write_bytes(b"alpha\0\1\2")
    (tmp_path / "outside.txt").write_text("alpha outside")
    (root / "link").symlink_to(tmp_path / "outside.txt")
    return root


@pytest_asyncio.fixture
async def servers(root: Path) -> AsyncIterator[McpServers]:
    servers = McpServers({"s": ServerSpec("s", sys.executable, (*COMMAND, "--root", str(root)))})
    yield servers
    await servers.close()


async def test_files_are_listed_sorted_without_hidden_folders_and_links_that_lead_out(servers: McpServers) -> None:
    result = await call(servers, "list_files")
    files = ["a/deep/two.py", "a/one.py", "b.txt", "image.bin"]
    assert (result.output, result.structured) == ({"files": files, "truncated": False}, True)
    assert result.text == "\n".join(files)
    some = await call(servers, "list_files", arguments={"pattern": "**/*.py", "limit": 1})
    assert some.output == {"files": ["a/deep/two.py"], "truncated": True}


def test_a_file_that_becomes_a_link_out_of_the_root_once_it_was_listed_is_not_searched(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo(root / "pipe")
    monkeypatch.setattr(workspace, "_names", lambda root, pattern: ["b.txt", "link", "pipe"])
    found, _ = workspace.search(root, pattern="alpha")
    assert [match["path"] for match in found["matches"]] == ["b.txt"]


async def test_a_name_that_is_no_text_costs_nobody_the_answer(servers: McpServers, root: Path) -> None:
    Path(os.fsdecode(os.fsencode(root) + b"/odd-\xff.txt")).write_text("needle")
    listed = await call(servers, "list_files", arguments={"pattern": "odd*"})
    found = await call(servers, "search", arguments={"pattern": "needle"})
    assert listed.output == {"files": ["odd-?.txt"], "truncated": False}
    assert found.output["matches"] == [{"path": "odd-?.txt", "line": 1, "text": "needle"}]


async def test_a_file_is_read_whole_or_in_part_never_splitting_a_character(servers: McpServers) -> None:
    whole = await call(servers, "read_file", arguments={"path": "a/one.py"})
    text = "import os\n# alpha α\n"
    assert whole.output == {"path": "a/one.py", "text": text, "bytes": 21, "truncated": False}
    assert whole.text == text
    part = await call(servers, "read_file", arguments={"path": "a/one.py", "offset": 12, "limit": 7})
    assert (part.output["text"], part.output["truncated"]) == ("alpha ", True)
    rest = await call(servers, "read_file", arguments={"path": "a/one.py", "offset": 19})
    assert rest.output["text"] == "\n"


async def test_writing_is_idempotent_and_says_whether_anything_changed(servers: McpServers, root: Path) -> None:
    arguments = {"path": "new/folder/ü.md", "content": "naïve\n"}
    first = await call(servers, "write_file", arguments=arguments)
    again = await call(servers, "write_file", arguments=arguments)
    assert first.output == {"path": "new/folder/ü.md", "bytes": 7, "changed": True}
    assert again.output == {"path": "new/folder/ü.md", "bytes": 7, "changed": False}
    assert (root / "new/folder/ü.md").read_text() == "naïve\n"


async def test_overwriting_keeps_the_mode_of_a_file(servers: McpServers, root: Path) -> None:
    (root / "b.txt").chmod(0o755)
    await call(servers, "write_file", arguments={"path": "b.txt", "content": "new"})
    assert (root / "b.txt").stat().st_mode & 0o777 == 0o755


async def test_search_finds_text_in_text_files_in_order(servers: McpServers) -> None:
    result = await call(servers, "search", arguments={"pattern": "alpha"})
    assert result.output == {
        "matches": [
            {"path": "a/deep/two.py", "line": 1, "text": "alpha()"},
            {"path": "a/one.py", "line": 2, "text": "# alpha α"},
            {"path": "b.txt", "line": 2, "text": "alpha"},
        ],
        "truncated": False,
    }
    assert result.text and result.text.startswith("a/deep/two.py:1: alpha()\n")
    plain = await call(servers, "search", arguments={"pattern": "alpha()"})
    assert len(plain.output["matches"]) == 1
    regex = await call(servers, "search", arguments={"pattern": "^.eta$", "regex": True, "glob": "*.txt"})
    assert regex.output["matches"] == [{"path": "b.txt", "line": 1, "text": "beta"}]
    cut = await call(servers, "search", arguments={"pattern": "alpha", "limit": 2})
    assert (len(cut.output["matches"]), cut.output["truncated"]) == (2, True)
    exact = await call(servers, "search", arguments={"pattern": "alpha", "limit": 3})
    assert (len(exact.output["matches"]), exact.output["truncated"]) == (3, False)


@pytest.mark.parametrize(
    ("tool", "arguments", "message"),
    [
        ("read_file", {"path": "../outside.txt"}, "leads out of"),
        ("read_file", {"path": "/etc/passwd"}, "leads out of"),
        ("read_file", {"path": "link"}, "leads out of"),
        ("write_file", {"path": "link", "content": "x"}, "leads out of"),
        ("write_file", {"path": "../x", "content": "x"}, "leads out of"),
        ("list_files", {"pattern": "../*"}, "leads out of"),
        ("read_file", {"path": ".git/config"}, "is not for tools"),
        ("write_file", {"path": "a/../.git/hooks/x", "content": "x"}, "is not for tools"),
        ("read_file", {"path": "nothing"}, "nothing: No such file or directory"),
        ("read_file", {"path": "a"}, "a: "),
        ("read_file", {"path": "image.bin"}, "image.bin is not text"),
        ("write_file", {"path": "a", "content": "x"}, "a: "),
        ("search", {"pattern": "(", "regex": True}, "`pattern` is no regular expression"),
    ],
)
async def test_what_cannot_be_done_is_a_clear_error_of_the_tool(
    servers: McpServers, root: Path, tool: str, arguments: dict[str, object], message: str
) -> None:
    result = await call(servers, tool, arguments=arguments)
    assert (result.error_class, result.effect) == ("tool_error", "none")
    assert message in result.message
    assert (root.parent / "outside.txt").read_text() == "alpha outside"
    assert not (root.parent / "x").exists()


async def test_the_tools_say_what_they_do(servers: McpServers) -> None:
    await call(servers, "list_files")
    tools = servers.tools("s")
    assert [(name, tool.read_only, tool.idempotent) for name, tool in tools.items()] == [
        ("list_files", True, False),
        ("read_file", True, False),
        ("write_file", False, True),
        ("search", True, False),
    ]
    assert all(tool.output_schema for tool in tools.values())


async def test_the_sdks_own_transport_gets_along_with_it(root: Path) -> None:
    parameters = StdioServerParameters(command=sys.executable, args=list(COMMAND), cwd=root)
    async with Client(parameters) as client:
        result = await client.call_tool("read_file", {"path": "b.txt"})
    assert result.structured_content == {"path": "b.txt", "text": "beta\nalpha\n", "bytes": 11, "truncated": False}


def respond(root: Path, *lines: bytes) -> list[dict[str, object]]:
    said = subprocess.run(
        [sys.executable, *COMMAND],
        input=b"\n".join(lines) + b"\n",
        cwd=root,
        capture_output=True,
        check=True,
        timeout=30,
    )
    assert said.stderr == b""
    return [json.loads(line) for line in said.stdout.splitlines()]


def test_every_malformed_line_is_answered_and_the_server_goes_on(root: Path) -> None:
    tool = b'{"jsonrpc":"2.0","id":%d,"method":"tools/call","params":{"name":"%s","arguments":%s}}'
    answers = respond(
        root,
        b"not json",
        b"[" * 100_000,
        b"[]",
        b"",
        b'{"jsonrpc":"2.0","method":"notifications/initialized"}',
        b'{"jsonrpc":"2.0","id":1,"method":"server/discover"}',
        b'{"jsonrpc":"2.0","id":2,"method":"tools/call","params":[]}',
        b'{"jsonrpc":"2.0","id":3,"method":"tools/call","params":{}}',
        tool % (4, b"delete_file", b"{}"),
        tool % (5, b"read_file", b"{}"),
        tool % (6, b"read_file", b'{"path": 1}'),
        tool % (7, b"read_file", b'{"path": "b.txt", "mode": 1}'),
        tool % (8, b"list_files", b'{"limit": 0}'),
        tool % (9, b"write_file", b'{"path": "x", "content": "\\ud800"}'),
        b'{"jsonrpc":"2.0","id":"p","method":"ping"}',
    )
    errors = [answer["error"]["code"] for answer in answers if "error" in answer]  # type: ignore[index]
    assert errors == [-32700, -32700, -32600, -32601, -32602, -32602, -32602]
    texts = [answer["result"]["content"][0]["text"] for answer in answers if "content" in answer.get("result", {})]  # type: ignore[index, operator]
    assert texts == [
        "read_file: missing argument `path`",
        "read_file: `path` must be string",
        "read_file: unknown argument `mode`: it takes path, offset, limit",
        "`limit` must be from 1 to 10000",
        "an argument holds half a surrogate pair, which no file can",
    ]
    assert answers[-1] == {"jsonrpc": "2.0", "id": "p", "result": {}}


def test_a_regular_expression_that_never_ends_is_ended(
    root: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (root / "b.txt").write_text("a" * 60)
    script = "import sys, runner.bridges.workspace as w; w.CALL_S = 1; sys.exit(w.main([]))"  # 30 s is long for a test
    line = {"name": "search", "arguments": {"pattern": "(a+)+$x", "regex": True}}
    request = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": line}) + "\n"
    began = time.monotonic()
    said = subprocess.run(
        [sys.executable, "-P", "-c", script],
        input=request,
        cwd=root,
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    assert json.loads(said.stdout)["result"]["content"][0]["text"] == "it took more than 1 s"
    assert time.monotonic() - began < 10


def test_it_refuses_arguments_and_roots_that_make_no_sense(tmp_path: Path) -> None:
    for arguments in (["--rot", "."], ["--root"], ["--root", str(tmp_path / "no")]):
        assert subprocess.run([sys.executable, *COMMAND, *arguments], capture_output=True, check=False).returncode == 2


def test_it_starts_without_any_heavy_import() -> None:
    script = "import sys, runner.bridges.workspace; print(len(sys.modules)); print({'mcp', 'pydantic', 'asyncio', 'anyio'} & set(sys.modules))"
    said = subprocess.run(
        [sys.executable, "-P", "-c", script], capture_output=True, text=True, check=True
    ).stdout.split("\n")
    assert said[1] == "set()"
    assert int(said[0]) < 200
