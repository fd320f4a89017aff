"""The bundled server `claude-code`, with a scripted command in place of `claude`."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from bridge_calls import Bridge, Json, Script, ends
from mcp_calls import Log, call

from runner.executors.mcp import McpServers, ServerSpec

SESSION = "0a1b2c3d-0000-4000-8000-000000000001"
INIT: Json = {"say": {"type": "system", "subtype": "init", "session_id": SESSION}}


def says(text: str, **more: object) -> Json:
    return {"say": {"type": "assistant", "message": {"content": [{"type": "text", "text": text}]}, **more}}


def uses(tool: str, **given: object) -> Json:
    block = {"type": "tool_use", "id": "t1", "name": tool, "input": given}
    return {"say": {"type": "assistant", "message": {"content": [block]}}}


def result(text: str = "done", **changes: object) -> Json:
    usage = {"input_tokens": 20, "output_tokens": 10, "cache_read_input_tokens": 3, "cache_creation_input_tokens": 0}
    line = {
        "type": "result",
        "subtype": "success",
        "is_error": False,
        "num_turns": 2,
        "result": text,
        "session_id": SESSION,
        "total_cost_usd": 0.5,
        "model_usage_since_last_result": {"m": {"costUSD": 0.25}},
        "usage": usage,
        "permission_denials": [],
    }
    return {"say": line | changes}


@pytest.fixture
def script(tmp_path: Path) -> Script:
    return Script(tmp_path, INIT, uses("Write", file_path="note.txt"), says("done"), result())


def bridge(script: Script, *args: str, **more: object) -> Bridge:
    return Bridge("claude_code", f"--command={script.command}", *args, **more)  # type: ignore[arg-type]


def test_a_task_is_done_and_told_with_its_session_its_turns_and_what_this_call_alone_has_cost(script: Script) -> None:
    with bridge(script) as claude:
        assert claude.run() == {
            "status": "ok",
            "text": "done",
            "structured": None,
            "session_id": SESSION,
            "turns": 2,
            "usage": {"in": 20, "out": 10, "cache_read": 3, "cache_write": 0},
            "cost_usd": 0.25,
            "denials": [],
            "tool_calls": 1,
            "error": None,
        }


def test_the_session_is_the_first_thing_that_progress_names_and_every_event_is_progress(script: Script) -> None:
    with bridge(script) as claude:
        claude.run()
    assert [one["message"] for one in claude.progress] == [
        f"session: {SESSION}",
        "system: init",
        "Write note.txt",
        "done",
        "done after 2 turns",
    ]
    assert claude.progress[0]["_meta"] == {"ares/session": SESSION}
    assert [one["progress"] for one in claude.progress] == [1, 2, 3, 4, 5]


def test_the_prompt_goes_in_on_stdin_and_the_rest_as_options_that_no_value_can_escape(
    script: Script, tmp_path: Path
) -> None:
    folder = tmp_path / "work"
    folder.mkdir()
    schema = {"type": "object"}
    script.play([INIT, result(structured_output={})])
    with bridge(script, "--permission-mode=acceptEdits", "--max-usd=1") as claude:
        claude.run(
            prompt="--help\nme",
            cwd=str(folder),
            model="--dangerous",
            allowed_tools=["Edit", "Bash(git add:*)"],
            session="--continue",
            max_usd=3,
            output_schema=schema,
        )
    (given,) = script.given
    assert (given["stdin"], given["cwd"]) == ("--help\nme", str(folder))
    assert given["argv"] == [
        "-p",
        "--output-format=stream-json",
        "--verbose",
        "--strict-mcp-config",
        "--model=--dangerous",
        "--permission-mode=acceptEdits",
        "--max-budget-usd=1.000000000",
        "--resume=--continue",
        '--json-schema={"type": "object"}',
        "--allowedTools",
        "Edit",
        "Bash(git add:*)",
    ]


def test_its_environment_is_quiet_is_not_nested_and_the_operator_has_the_last_word(script: Script) -> None:
    with bridge(script, env={"CLAUDECODE": "1", "CLAUDE_CODE_ENTRYPOINT": "cli", "API_TIMEOUT_MS": "5"}) as claude:
        claude.run()
    env = script.given[0]["env"]
    assert env["CLAUDE_CODE_MAX_RETRIES"] == env["DISABLE_AUTOUPDATER"] == "1"
    assert env["CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC"] == "1"
    assert env["API_TIMEOUT_MS"] == "5"
    assert not {"CLAUDECODE", "CLAUDE_CODE_ENTRYPOINT"} & env.keys()


def test_a_denied_tool_is_told_as_denied_with_its_reason_although_claude_says_success(script: Script) -> None:
    denied = {
        "type": "system",
        "subtype": "permission_denied",
        "tool_name": "Write",
        "tool_use_id": "t1",
        "message": "no",
    }
    raw = [{"tool_name": "Write", "tool_use_id": "t1", "tool_input": {"file_path": "x"}}]
    script.play([INIT, uses("Write"), {"say": denied}, says("all is well"), result(permission_denials=raw)])
    with bridge(script) as claude:
        told = claude.run()
    assert (told["status"], told["error"]["kind"]) == ("denied", "denied")
    assert told["denials"] == [{"tool": "Write", "message": "no", "input": {"file_path": "x"}}]


@pytest.mark.parametrize("ending", ["cancel", "timeout", "end of input", "SIGTERM", "SIGKILL"])
def test_no_process_is_left_of_a_task_however_it_ends(script: Script, ending: str) -> None:
    script.play([INIT, {"brood": True}, {"hold": True}])
    ways: dict[str, Callable[[], None]] = {
        "cancel": lambda: claude.cancel(request),
        "timeout": lambda: None,
        "end of input": lambda: claude.process.stdin.close(),  # type: ignore[union-attr]
        "SIGTERM": lambda: claude.process.send_signal(signal.SIGTERM),
        "SIGKILL": lambda: claude.process.send_signal(signal.SIGKILL),
    }
    with bridge(script) as claude:
        request = claude.begin(**({"timeout_s": 2.5} if ending == "timeout" else {}))
        pids = [int(pid) for pid in claude.told("pids: ").split()[1:]]
        ways[ending]()
        assert all(map(ends, pids))
        if ending == "timeout":
            told = claude.answer(request)["result"]["structuredContent"]
            assert (told["status"], told["error"]["kind"], told["session_id"]) == ("timeout", "timeout", SESSION)
        if ending == "cancel":  # it has no answer, and the bridge goes on
            script.play([INIT, result()])
            assert claude.run()["status"] == "ok"


def test_two_tasks_run_at_once_and_the_cancel_of_one_leaves_the_other_alone(script: Script) -> None:
    script.play([INIT, {"brood": True}, {"hold": True}])
    with bridge(script) as claude:
        first = claude.begin()
        pids = claude.told("pids: ").split()[1:]
        script.play([INIT, result()])
        assert claude.run()["status"] == "ok"
        os.kill(int(pids[0]), signal.SIGKILL)
        told = claude.answer(first)["result"]["structuredContent"]
        assert (told["status"], told["error"]["kind"]) == ("error", "crash")
        assert ends(int(pids[1]))


def test_the_same_key_gives_the_first_answer_again_but_a_failure_or_other_words_run(script: Script) -> None:
    with bridge(script) as claude:
        script.play([INIT, {"exit": 3}])
        assert claude.run(idempotency_key="k")["error"]["kind"] == "crash"
        script.play([INIT, result("one")])
        assert claude.run(idempotency_key="k")["text"] == "one"
        script.play([INIT, result("two")])
        assert claude.run(idempotency_key="k")["text"] == "one"
        assert claude.run(idempotency_key="k", prompt="other")["text"] == "two"
        assert claude.run({"ares/idempotency-key": "m"})["text"] == "two"
        script.play([INIT, result("three")])
        assert claude.run({"ares/idempotency-key": "m"})["text"] == "two"
    assert len(script.given) == 4


def test_a_missing_program_a_crash_and_lines_that_are_no_events_are_told_with_the_end_of_stderr(
    script: Script, tmp_path: Path
) -> None:
    with Bridge("claude_code", f"--command={tmp_path / 'nowhere'}") as claude:
        error = claude.run()["error"]
        assert error["kind"] == "unavailable"
        assert "npm install" in error["message"]
    script.play([INIT, {"raw": "a warning of a wrapper"}, {"raw": "[1]"}, {"cry": "the last straw"}, {"exit": 9}])
    with bridge(script) as claude:
        told = claude.run()
        assert (told["error"]["kind"], told["session_id"]) == ("crash", SESSION)
        assert "the last straw" in told["error"]["message"]
        script.play([{"cry": "error: unknown option '--json-schema'"}, {"exit": 1}])
        assert claude.run()["error"]["kind"] == "invalid"


@pytest.mark.parametrize(
    "arguments",
    [
        {"prompt": " "},
        {"cwd": "/no/such/folder"},
        {"allowed_tools": ["--dangerously-skip-permissions"]},
        {"timeout_s": 0},
        {"max_usd": True},
        {"output_schema": "x"},
        {"colour": "red"},
    ],
)
def test_arguments_that_make_no_sense_are_invalid_and_start_nothing(arguments: Json, script: Script) -> None:
    with bridge(script) as claude:
        assert claude.run(**arguments)["error"]["kind"] == "invalid"
        with pytest.raises(FileNotFoundError):
            script.given


async def test_any_mcp_client_can_use_it_and_sees_its_contract(script: Script) -> None:
    spec = ServerSpec("s", sys.executable, ("-P", "-m", "runner.bridges.claude_code", f"--command={script.command}"))
    servers, log = McpServers({"s": spec}), Log()
    done = await call(servers, "run_task", arguments={"prompt": "x"}, log=log)
    tool = servers.tool("s", "run_task")
    script.play([says("", error="server_error"), result("API Error", is_error=True, api_error_status=529)])
    bad = await call(servers, "run_task", arguments={"prompt": "y"}, log=log)
    await servers.close()
    assert (done.output["status"], done.text) == ("ok", "done")
    assert (bad.error_class, bad.output["error"]["kind"]) == ("tool_error", "unavailable")
    assert tool is not None and set(tool.input_schema["properties"]) >= {"prompt", "session", "allowed_tools"}
    assert ("progress", f"1 session: {SESSION}\n") in log.entries


def test_it_refuses_options_that_make_no_sense_and_starts_without_any_heavy_import() -> None:
    with Bridge("claude_code", "--permission-mode=sometimes") as claude:
        assert claude.process.wait(20) == 2
    with Bridge("claude_code", env={"PYTHONPROFILEIMPORTTIME": ""}) as claude:
        assert claude.answer(claude.request("ping"))["result"] == {}
        maps = Path(f"/proc/{claude.process.pid}/maps").read_text()
        assert "pydantic_core" not in maps
