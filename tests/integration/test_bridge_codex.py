"""The bundled server `codex`, with a scripted command in place of `codex exec`; its events as measured with 0.171.0."""

from __future__ import annotations

from pathlib import Path

import pytest
from bridge_calls import Bridge, Json, Script

THREAD = "01a21bc3-a6b5-7dd0-bbf4-3855e0076544"
STARTED: Json = {"say": {"type": "thread.started", "thread_id": THREAD}}
USAGE = {"input_tokens": 20, "cached_input_tokens": 4, "cache_write_input_tokens": 0, "output_tokens": 10}
DONE: Json = {"say": {"type": "turn.completed", "usage": USAGE}}
WAITS: Json = {"say": {"type": "error", "message": "Reconnecting... waiting for network (Connection failed)"}}


def item(kind: str, when: str = "completed", **more: object) -> Json:
    return {"say": {"type": f"item.{when}", "item": {"id": "item_1", "type": kind, **more}}}


def failed(message: str) -> Json:
    return {"say": {"type": "turn.failed", "error": {"message": message}}}


COMMAND = "/bin/bash -lc 'echo hello > note.txt'"
WORK = (item("command_execution", "started", command=COMMAND), item("command_execution", command=COMMAND, exit_code=0))
SAID = item("agent_message", text="written")


def bridge(script: Script, *args: str, **more: object) -> Bridge:
    return Bridge("codex", f"--command={script.command}", *args, **more)  # type: ignore[arg-type]


def test_a_task_is_done_and_told_with_its_session_and_its_tokens_but_no_price(tmp_path: Path) -> None:
    with bridge(Script(tmp_path, STARTED, *WORK, SAID, DONE)) as codex:
        told = codex.run()
        assert [one["message"] for one in codex.progress] == [
            f"session: {THREAD}",
            "thread.started",
            f"command_execution {COMMAND}",
            "command_execution done",
            "written",
            "turn.completed",
        ]
    assert told == {
        "status": "ok",
        "text": "written",
        "structured": None,
        "session_id": THREAD,
        "turns": 1,
        "usage": {"in": 20, "out": 10, "cache_read": 4, "cache_write": 0},
        "cost_usd": None,
        "denials": [],
        "tool_calls": 1,
        "error": None,
    }


def test_the_prompt_goes_in_on_stdin_and_no_value_of_a_task_becomes_an_option(tmp_path: Path) -> None:
    script = Script(tmp_path, STARTED, item("agent_message", text="{}"), DONE)
    with bridge(script, "--sandbox=read-only", "--config=a=1") as codex:
        told = codex.run(
            prompt="--help", model="--m", session="--last", output_schema={"type": "object"}, cwd=str(tmp_path)
        )
    (given,) = script.given
    assert given["argv"] == [
        "exec", "--json", "--skip-git-repo-check", "--sandbox=read-only", "--config=a=1", "--model=--m", "resume", "--", "--last", "-",
    ]  # fmt: skip
    assert given["stdin"].startswith("--help\n") and "JSON Schema" in given["stdin"]
    assert (told["structured"], told["usage"]) == ({}, {})  # of a resumed thread it counts from the beginning


@pytest.mark.parametrize(
    ("message", "kind", "status"),
    [
        ("unexpected status 401 Unauthorized: bad key, url: x", "auth", 401),
        ("exceeded retry limit, last status: 429 Too Many Requests", "rate_limit", 429),
        ("unexpected status 503 Service Unavailable: overloaded, url: x", "unavailable", 503),
        ("You’ve hit your usage limit. Try again later.", "quota", None),
        ("Codex ran out of room in the model's context window.", "context_overflow", None),
        ("it is raining", "tool_error", None),
    ],
)
def test_a_failed_turn_has_its_class_and_its_status(
    message: str, kind: str, status: int | None, tmp_path: Path
) -> None:
    with bridge(Script(tmp_path, STARTED, failed(message), {"exit": 1})) as codex:
        error = codex.run()["error"]
    assert (error["kind"], error["http_status"]) == (kind, status)
    assert error["begun"] is (None if kind == "tool_error" else False)


def test_a_turn_that_fails_in_the_middle_of_its_work_has_begun(tmp_path: Path) -> None:
    with bridge(Script(tmp_path, STARTED, *WORK, failed("unexpected status 500 x"), {"exit": 1})) as codex:
        error = codex.run()["error"]
    assert (error["kind"], error["begun"]) == ("unavailable", None)


def test_a_thread_that_it_does_not_have_is_told_as_that(tmp_path: Path) -> None:
    cry = {"cry": "Error: thread/resume failed: no rollout found for thread id x (code -32600)"}
    with bridge(Script(tmp_path, cry, {"exit": 1})) as codex:
        error = codex.run(session=THREAD)["error"]
    assert (error["kind"], error["session_unknown"]) == ("invalid", True)


def test_it_does_not_wait_for_a_network_without_end(tmp_path: Path) -> None:
    with bridge(Script(tmp_path, STARTED, WAITS, WAITS, WAITS, {"hold": True})) as codex:
        error = codex.run()["error"]
    assert (error["kind"], error["begun"]) == ("unavailable", False)


def test_a_task_that_says_nothing_is_no_success(tmp_path: Path) -> None:
    for acts in ([STARTED, DONE], [STARTED, SAID], []):
        with bridge(Script(tmp_path, *acts)) as codex:
            assert codex.run()["status"] == "error"


def test_a_program_that_is_not_there_is_told_with_how_to_install_it(tmp_path: Path) -> None:
    with Bridge("codex", f"--command={tmp_path / 'gone'}") as codex:
        error = codex.run()["error"]
    assert (error["kind"], error["begun"]) == ("unavailable", False) and "@openai/codex" in error["message"]


def test_a_task_out_of_time_and_a_cancelled_one_end_and_the_server_goes_on(tmp_path: Path) -> None:
    script = Script(tmp_path, STARTED, item("command_execution", "started", command="sleep 600"), {"hold": True})
    with bridge(script) as codex:
        assert codex.run(timeout_s=1)["status"] == "timeout"
        request = codex.begin()
        codex.told("sleep 600")
        codex.cancel(request)
        assert codex.answer(codex.request("ping"))["result"] == {}
