"""The parts of `runner mcp` that need no client: policy, arguments, what may leave, how logs are cut, and the border of a call."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from runner.api.settings import Settings, load_config
from runner.bridges.stdio import Call, Fault
from runner.errors import UsageError
from runner.manifest.config import McpPolicy
from runner.manifest.vocabulary import MCP_READING, MCP_TOOLS
from runner.mcp_server.arguments import check
from runner.mcp_server.border import answer, unheard
from runner.mcp_server.catalog import TOOLS, Tool
from runner.mcp_server.desk import Desk, Reply
from runner.mcp_server.drive import Drive
from runner.mcp_server.drives import Drives
from runner.mcp_server.harmless import MOST_CHARS, MOST_ENTRIES, clean, visible
from runner.mcp_server.logs import MOST_BYTES, Growing, cursor, last, parsed, since
from runner.mcp_server.policy import permitted, refusal
from runner.ports import AttemptRow
from runner.redact import Redactor

# ---------------------------------------------------------------- policy


def test_without_a_word_of_the_operator_clients_only_read() -> None:
    assert permitted(McpPolicy()) == MCP_READING
    assert {name for name, tool in TOOLS.items() if tool.hints["readOnlyHint"]} == set(MCP_READING)
    assert tuple(TOOLS) == MCP_TOOLS


@pytest.mark.parametrize(
    ("policy", "key"),
    [
        (McpPolicy(), "policy.mcp.allow"),
        (McpPolicy(allow=("status",)), "policy.mcp.allow"),
        (McpPolicy(allow=("approve", "status"), deny=("approve",)), "policy.mcp.deny"),
    ],
)
def test_a_tool_that_is_refused_says_which_key_decides(policy: McpPolicy, key: str) -> None:
    why = refusal(policy, "approve")
    assert why is not None and f"config key {key}" in why
    assert "approve" not in permitted(policy)


def test_what_is_allowed_and_not_denied_is_permitted() -> None:
    policy = McpPolicy(allow=("apply", "status"), deny=("status",))
    assert (permitted(policy), refusal(policy, "apply")) == (("apply",), None)


@pytest.mark.parametrize("text", ["{allow: [aprove]}", "{allow: '*'}", "{inline: yes please}", "{allowed: [apply]}"])
def test_a_policy_with_a_mistake_is_no_config(text: str, tmp_path: Path) -> None:
    assert not settings(tmp_path, f"policy: {{mcp: {text}}}").ok


def settings(folder: Path, config: str = "") -> Settings:
    (folder / "config.yaml").write_text(config)
    return load_config(None, start=folder, env={})


# ---------------------------------------------------------------- arguments

TAKES: Mapping[str, dict[str, Any]] = {
    "name": {"type": "string"},
    "names": {"type": "array", "items": {"type": "string"}, "minItems": 1},
    "count": {"type": "integer", "minimum": 1, "maximum": 9},
    "flag": {"type": "boolean"},
    "mode": {"type": "string", "enum": ["a", "b"]},
    "data": {"type": "object"},
    "any": {},
}


def test_arguments_that_fit_are_taken() -> None:
    given = {"name": "x", "names": ["y"], "count": 9, "flag": True, "mode": "b", "data": {}, "any": None}
    check("tool", TAKES, ("name",), given)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, "`name` is missing"),
        ({"name": 1}, "`name` must be of the type string"),
        ({"name": "\udc00"}, "`name` is no text"),
        ({"name": "x", "names": []}, "`names` must have an entry"),
        ({"name": "x", "names": ["y", None]}, "`names`[1] must be of the type string"),
        ({"name": "x", "count": True}, "`count` must be of the type integer"),
        ({"name": "x", "count": 0}, "`count` must be at least 1"),
        ({"name": "x", "count": 10}, "`count` must be at most 9"),
        ({"name": "x", "mode": "c"}, "`mode` must be one of a, b"),
        ({"name": "x", "nmae": "y"}, "`nmae` is no argument of it"),
    ],
)
def test_arguments_that_do_not_fit_are_refused_with_the_reason(given: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words.replace("[", r"\[")):
        check("tool", TAKES, ("name",), given)


def test_every_keyword_of_the_catalog_is_one_that_is_checked() -> None:
    def keywords(schema: Mapping[str, Any]) -> set[str]:
        return set(schema) | (keywords(schema["items"]) if "items" in schema else set())

    used = {word for tool in TOOLS.values() for schema in tool.takes.values() for word in keywords(schema)}
    assert used <= {"type", "description", "items", "minItems", "minimum", "maximum", "enum"}


# ---------------------------------------------------------------- what leaves


def test_what_leaves_has_no_secret_and_no_half_character_and_every_cut_is_marked() -> None:
    redactor = Redactor({"TOKEN": "correct-horse"})
    value = {"correct-horse": ["a correct-horse", "\ud800"], "long": "x" * (MOST_CHARS + 7), "n": 1.5}
    assert clean(value, redactor) == {
        "***": ["a ***", "?"],
        "long": "x" * MOST_CHARS + "… [cut: 7 characters more]",
        "n": 1.5,
    }
    many = clean({"list": list(range(MOST_ENTRIES + 2)), "map": {str(n): n for n in range(MOST_ENTRIES + 3)}}, redactor)
    assert (len(many["list"]), many["list"][-1]) == (MOST_ENTRIES + 1, "… cut: 2 more")
    assert (len(many["map"]), many["map"]["…"]) == (MOST_ENTRIES + 1, "cut: 3 more")


def test_control_characters_are_visible_in_text() -> None:
    assert visible("a\x1b[31m\tb\nc\x9b\u202ed\r") == "a\\x1b[31m\tb\nc\\x9b\\u202ed\\r"


# ---------------------------------------------------------------- logs


def log(folder: Path, node: str, text: str, *, began: int = 0, grows: bool = False) -> Growing:
    path = folder / f"{node}.log"
    path.write_text(text)
    row = AttemptRow(
        "r", node, 1, "local", "", "normal", None, "", began, None if grows else 1, "", "", "", "", 0, "", {}, "", ""
    )
    return Growing(row, path, grows)


def texts(entries: list[dict[str, Any]]) -> list[str]:
    return [f"{one['step']}: {one['text']}" for one in entries]


def test_the_last_lines_are_those_of_the_last_attempts(tmp_path: Path) -> None:
    every = [log(tmp_path, "a", "1\n2\n3\n"), log(tmp_path, "b", ""), log(tmp_path, "c", "4\n5", grows=True)]
    entries, _ = last(every, 3)
    assert texts(entries) == ["a: 2\n3", "c: 4"]
    assert last(every, 0)[0] == []


def test_what_was_written_since_comes_once_also_of_attempts_that_began_in_the_same_moment(tmp_path: Path) -> None:
    every = [
        log(tmp_path, "a", "1\n"),
        log(tmp_path, "c", "4\n5", began=7, grows=True),
        log(tmp_path, "d", "6", began=7),
    ]
    next_ = cursor(every, last(every, 100)[1])
    (tmp_path / "c.log").write_text("4\n56\n")
    every.insert(1, log(tmp_path, "b", "7\n", began=7))
    entries, places = since(every, parsed(next_, every))
    assert texts(entries) == ["b: 7", "c: 56"]
    assert since(every, parsed(cursor(every, places), every))[0] == []


def test_what_does_not_fit_comes_with_the_next_answer_and_no_line_is_split(tmp_path: Path) -> None:
    line = "x" * 99 + "\n"
    every = [log(tmp_path, "a", line * (MOST_BYTES // 100 + 3)), log(tmp_path, "b", "end")]
    entries, places = since(every, [0, 0])
    assert texts(entries) == [f"a: {line * (MOST_BYTES // 100)}".rstrip()]
    entries, places = since(every, parsed(cursor(every, places), every))
    assert texts(entries) == [f"a: {line * 3}".rstrip(), "b: end"]
    assert since(every, parsed(cursor(every, places), every))[0] == []


def test_a_line_that_fills_the_room_alone_is_split(tmp_path: Path) -> None:
    every = [log(tmp_path, "a", "x" * (MOST_BYTES + 5), grows=True)]
    entries, places = since(every, [0])
    assert (len(entries[0]["text"]), places) == (MOST_BYTES, [MOST_BYTES])


@pytest.mark.parametrize("text", ["", "x", "1,a", "1,a.1:x", "-1", "1;a.1:0"])
def test_a_cursor_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="`after`"):
        parsed(text, [])


# ---------------------------------------------------------------- the border


def breaks(desk: Desk, given: Mapping[str, Any], call: Call) -> Reply:
    raise ZeroDivisionError("about correct-horse")


def endless(desk: Desk, given: Mapping[str, Any], call: Call) -> Reply:
    return Reply({"x": float("nan")})


@pytest.mark.parametrize(("function", "error"), [("breaks", "ZeroDivisionError"), ("endless", "ValueError")])
def test_a_defect_in_a_tool_is_an_error_of_that_call(
    function: str, error: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    desk = Desk(settings(tmp_path), tmp_path, "me", Redactor({"T": "correct-horse"}), Drives(1))
    tools = {"status": Tool("", {}, (), {}, {}, f"{__name__}:{function}")}
    result = answer(desk, "status", {}, Call({}, lambda message: None), tools)  # type: ignore[arg-type]
    assert result["isError"] and f"internal error: {error}" in result["content"][0]["text"]
    told = capsys.readouterr()
    assert "Traceback" in told.err and "correct-horse" not in told.err and not told.out


def test_a_tool_that_there_never_was_is_a_fault_of_the_protocol(tmp_path: Path) -> None:
    desk = Desk(settings(tmp_path), tmp_path, "me", Redactor({}), Drives(1))
    with pytest.raises(Fault, match="unknown tool 'deploy'"):
        answer(desk, "deploy", {}, Call({}, lambda message: None))


def test_stdout_and_stdin_belong_to_the_protocol_alone() -> None:
    script = (
        "import os\nfrom runner.mcp_server.serving import _own_streams\n"
        "with _own_streams() as (source, sink):\n"
        "    print('noise', flush=True); os.system('echo noise; cat')\n"
        "    sink.write(source.readline()); sink.flush()\n"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", script], input="protocol\n", capture_output=True, text=True, timeout=60
    )
    assert (done.stdout, done.stderr) == ("protocol\n", "noise\nnoise\n")


@pytest.mark.parametrize(
    "error", [RuntimeError("about correct-horse"), UsageError("about correct-horse")], ids=["defect", "refusal"]
)
def test_what_breaks_while_nobody_waits_is_said_without_secrets(
    error: Exception, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async def work(sinks: object, control: object) -> Any:
        raise error

    desk = Desk(settings(tmp_path), tmp_path, "me", Redactor({"T": "correct-horse"}), Drives(1))
    drive = Drive(work, lambda text: None)
    desk.drives.begin(drive)
    unheard(desk, drive)
    said = capsys.readouterr().err
    assert "about ***" in said
    assert ("Traceback" in said) == isinstance(error, RuntimeError)
