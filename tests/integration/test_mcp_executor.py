"""The MCP executor against real stdio servers that behave: results, refusals, deadlines, the life of a session."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from mcp_calls import PATIENCE_S, Log, call, lives, spec, until

from runner.executors.mcp import McpServers, ProcessId, ServerSpec, end_orphan


@pytest_asyncio.fixture
async def talker() -> AsyncIterator[McpServers]:
    servers = McpServers({"s": spec("talker")})
    yield servers
    await servers.close()


# ---------------------------------------------------------------- results


async def test_text_parts_are_the_output(talker: McpServers) -> None:
    result = await call(talker, "say", arguments={"a": [1, None]})
    assert (result.error_class, result.output, result.text, result.structured) == (
        "",
        '{"a": [1, null]}',
        '{"a": [1, null]}',
        False,
    )


async def test_structured_content_is_the_output_and_text_stays_beside_it(talker: McpServers) -> None:
    result = await call(talker, "structured")
    assert (result.output, result.text, result.structured) == ({"n": 7}, "n is 7", True)


async def test_parts_that_are_not_text_make_the_output_a_list_of_all_parts(talker: McpServers) -> None:
    image = {"type": "image", "mimeType": "image/png", "size": 2, "data": "aGk="}
    alone = await call(talker, "image")
    assert (alone.output, alone.text, alone.structured) == ([image], None, True)
    mixed = await call(talker, "text_and_image")
    assert mixed.output == [{"type": "text", "text": "first"}, image, {"type": "text", "text": "second"}]
    assert (mixed.text, mixed.structured) == ("first\nsecond", False)  # so that `returns` parses the text


async def test_an_empty_answer_is_empty_text(talker: McpServers) -> None:
    assert (await call(talker, "nothing")).output == ""


async def test_an_error_of_the_tool_is_known_and_safe_to_show(talker: McpServers) -> None:
    result = await call(talker, "fail")
    assert (result.error_class, result.effect, result.message) == ("tool_error", "none", "no such issue")


async def test_structured_content_that_breaks_the_tools_own_schema_is_bad_output(talker: McpServers) -> None:
    result = await call(talker, "lie")
    assert (result.error_class, result.effect) == ("bad_output", "none")
    assert "lie" in result.message


async def test_a_server_that_asks_for_a_person_is_refused_and_the_message_says_so(talker: McpServers) -> None:
    result = await call(talker, "ask")
    assert result.error_class == "tool_error"
    assert "Elicitation not supported" in result.message
    assert result.message.endswith(
        '(it asked for elicitation/create "Who?", which is refused: nobody is there to answer during a call. Give it what it asks for in '
        "`with`, or put an `approve` step before it where a person must decide)"
    )


# ---------------------------------------------------------------- before the call


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"number": "seven"}, "get_issue: argument `number` must be integer, not string"),
        ({}, "get_issue: missing argument `number`"),
        ({"number": 1, "labl": "bug"}, "get_issue: unknown argument `labl`: did you mean `label`?"),
        ({"number": 1, "label": "s3cret"}, 'get_issue: argument `label` must be one of ["bug", "feature"]'),
    ],
)
async def test_arguments_are_checked_before_the_call(
    talker: McpServers, arguments: dict[str, object], message: str
) -> None:
    result = await call(talker, "get_issue", arguments=arguments)
    assert (result.error_class, result.effect, result.message) == ("invalid", "none", message)


async def test_an_unknown_tool_is_named_with_its_neighbour(talker: McpServers) -> None:
    result = await call(talker, "get_isue")
    assert (result.error_class, result.effect) == ("invalid", "none")
    assert result.message == "s has no tool `get_isue`: did you mean `get_issue`?"


@pytest.mark.parametrize("tool", ["open_ref", "broken_schema"])
async def test_a_schema_that_cannot_judge_leaves_the_last_word_to_the_server(talker: McpServers, tool: str) -> None:
    assert (await call(talker, tool, arguments={"x": 1})).output == '{"x": 1}'


async def test_an_unknown_server_is_invalid(talker: McpServers) -> None:
    result = await call(talker, "say", server="github")
    assert (result.error_class, result.message) == (
        "invalid",
        "needs the MCP server `github`, which is not configured",
    )


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (ServerSpec("s", "no-such-command"), "s: command not found: no-such-command"),
        (
            ServerSpec("s", sys.executable, cwd="/nowhere/at/all"),
            "s: its working directory /nowhere/at/all does not exist",
        ),
        (ServerSpec("s", "/etc/passwd"), "s: command not found: /etc/passwd"),
        (ServerSpec("s", sys.executable, ("a\0b",)), "s: embedded null byte"),
    ],
)
async def test_a_server_that_cannot_start_is_unavailable_without_effect(broken: ServerSpec, message: str) -> None:
    servers = McpServers({"s": broken})
    result = await call(servers, "say")
    assert (result.error_class, result.effect, result.message) == ("unavailable", "none", message)
    assert servers.status("s") == "failed"
    await servers.close()


# ---------------------------------------------------------------- what goes along


async def test_the_idempotency_key_goes_in_the_meta(talker: McpServers) -> None:
    assert (await call(talker, "key", idempotency_key="run/step/1")).output == "run/step/1"


async def test_progress_and_stderr_go_to_the_log_of_the_attempt_and_progress_to_who_watches(talker: McpServers) -> None:
    log = Log()
    await call(talker, "progress", log=log)
    assert log.entries == [("progress", "1/2 part 1\n"), ("progress", "2/2 part 2\n")]
    seen: list[str] = []
    await call(talker, "progress", progress=seen.append)
    assert seen == ["1/2 part 1", "2/2 part 2"]
    await call(talker, "grumble", log=log)
    await log.seen("stderr", "grumble\n")


async def test_a_server_sees_a_minimal_environment_its_own_values_and_its_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OUR_SECRET", "do not pass on")
    servers = McpServers({"s": spec("talker", env={"TOKEN": "theirs"}, cwd=str(tmp_path))})
    seen = (await call(servers, "env")).output
    await servers.close()
    assert set(seen["env"]) <= {"HOME", "LOGNAME", "PATH", "SHELL", "TERM", "USER", "TOKEN", "LC_CTYPE"}
    assert seen["env"]["TOKEN"] == "theirs"
    assert seen["cwd"] == str(tmp_path)
    assert seen["group"] != os.getpgrp()


# ---------------------------------------------------------------- deadlines


async def test_a_deadline_cancels_the_call_at_the_server_and_the_session_goes_on(talker: McpServers) -> None:
    await call(talker, "say")
    late = await call(talker, "hold", deadline_s=0.05)
    assert (late.error_class, late.effect) == ("timeout", "maybe")
    assert late.message == "s: no answer to hold within 0.05 s"
    assert len((await call(talker, "cancelled")).output["cancelled"]) == 1


async def test_the_servers_own_call_timeout_holds_when_it_is_shorter() -> None:
    servers = McpServers({"s": spec("talker", call_timeout_s=0.3)})
    late = await call(servers, "hold")
    await servers.close()
    assert late.error_class == "timeout"


async def test_silence_longer_than_the_idle_deadline_is_a_timeout(talker: McpServers) -> None:
    late = await call(talker, "hold", idle_s=0.05)
    assert (late.error_class, late.effect) == ("timeout", "maybe")
    assert late.message == "s: no answer to hold for 0.05 s (idle)"


async def test_cancelling_a_call_tells_the_server_and_leaves_the_session_usable(talker: McpServers) -> None:
    log = Log()
    holding = asyncio.create_task(call(talker, "hold", log=log))
    await log.seen("progress", "0")
    holding.cancel()
    with pytest.raises(asyncio.CancelledError):
        await holding
    assert len((await call(talker, "cancelled")).output["cancelled"]) == 1


async def test_calls_beyond_max_in_flight_wait_and_their_deadline_counts_meanwhile() -> None:
    servers = McpServers({"s": spec("talker", max_in_flight=1)})
    log = Log()
    holding = asyncio.create_task(call(servers, "hold", log=log))
    await log.seen("progress", "0")
    late = await call(servers, "say", deadline_s=0.05)
    assert (late.error_class, late.effect) == ("timeout", "none")
    assert "no place among its 1 calls in flight" in late.message
    holding.cancel()
    await asyncio.wait([holding])
    assert (await call(servers, "say")).error_class == ""
    await servers.close()


async def test_calls_run_side_by_side_in_one_session(talker: McpServers) -> None:
    log = Log()
    holding = asyncio.create_task(call(talker, "hold", log=log))
    await log.seen("progress", "0")
    assert (await call(talker, "release")).output == "released"
    assert (await holding).output == "held"


# ---------------------------------------------------------------- life of a session


async def test_one_session_is_opened_however_many_ask(tmp_path: Path) -> None:
    starts = tmp_path / "starts"
    servers = McpServers({"s": spec("talker", env={"STARTS": str(starts)})})
    results = await asyncio.gather(*(call(servers, "say") for _ in range(8)))
    await servers.close()
    assert {result.error_class for result in results} == {""}
    assert len(starts.read_text().split()) == 1


async def test_what_a_tool_says_of_itself_is_known_while_the_session_is_open(talker: McpServers) -> None:
    assert talker.tool("s", "get_issue") is None
    await call(talker, "say")
    reads, sets, says = (talker.tool("s", name) for name in ("get_issue", "set_label", "say"))
    assert reads and reads.read_only and not reads.idempotent
    assert sets and sets.idempotent and not sets.read_only
    assert says and not says.read_only and not says.idempotent
    assert list(talker.tools("s"))[-1] == "grumble"  # from the second page
    assert talker.tool("s", "nothing_like_it") is None


async def test_ensure_opens_in_the_background_and_says_when(talker: McpServers) -> None:
    assert (talker.known("s"), talker.known("t"), talker.status("s")) == (True, False, "closed")
    opened = asyncio.Event()
    talker.ensure("s", opened.set)
    assert talker.status("s") == "opening"
    async with asyncio.timeout(PATIENCE_S):
        await opened.wait()
    assert talker.status("s") == "open"
    again = asyncio.Event()
    talker.ensure("s", again.set)
    async with asyncio.timeout(PATIENCE_S):
        await again.wait()


async def test_a_failure_that_ensure_met_answers_the_next_call_without_another_start(tmp_path: Path) -> None:
    started: list[ProcessId] = []
    servers = McpServers(
        {"s": spec("misbehaving", env={"MODE": "exit0"})}, on_process=lambda server, process: started.append(process)
    )
    opened = asyncio.Event()
    servers.ensure("s", opened.set)
    async with asyncio.timeout(PATIENCE_S):
        await opened.wait()
    assert servers.status("s") == "failed"
    assert (await call(servers, "t")).error_class == "unavailable"
    assert len(started) == 1
    assert (await call(servers, "t")).error_class == "unavailable"
    assert len(started) == 2
    await servers.close()


@pytest.mark.parametrize(
    ("told", "message"), [("on_process", "internal error: LookupError"), ("on_tools", "handshake")]
)
async def test_a_defect_while_a_session_is_opened_is_a_failure_of_those_who_need_it(told: str, message: str) -> None:
    started: list[ProcessId] = []

    def defect(server: str, what: object) -> None:
        raise LookupError("a defect of ours")

    heard: dict[str, Any] = {"on_process": lambda server, process: started.append(process), told: defect}
    servers = McpServers({"s": spec("talker")}, **heard)
    opened = asyncio.Event()
    servers.ensure("s", opened.set)
    async with asyncio.timeout(PATIENCE_S):
        await opened.wait()
    assert servers.status("s") == "failed", "or whoever waits for it would ask again for ever"
    for _ in range(2):  # what `ensure` met, and another try
        result = await call(servers, "echo")
        assert (result.error_class, result.effect) == ("unavailable", "none")
        assert message in result.message
    await servers.close()
    assert [process for process in started if lives(process.pid)] == []


async def test_a_new_tool_is_known_after_the_server_says_that_its_list_changed(talker: McpServers) -> None:
    await call(talker, "grow")
    await until(lambda: talker.tool("s", "grown") is not None)
    assert (await call(talker, "grown")).error_class == ""


async def test_a_crash_is_in_doubt_and_the_next_call_opens_a_new_session(talker: McpServers) -> None:
    before = (await call(talker, "env")).output["group"]
    died = await call(talker, "die")
    assert (died.error_class, died.effect) == ("crash", "maybe")
    assert died.message == "s: it ended during the call (exit status 9)"
    assert talker.status("s") == "closed"
    after = await call(talker, "env")
    assert after.error_class == "" and after.output["group"] != before


async def test_a_server_that_died_between_calls_costs_nothing_but_a_new_session(talker: McpServers) -> None:
    assert (await call(talker, "die_after")).output == "bye"
    await until(lambda: talker.status("s") == "closed")
    assert (await call(talker, "say")).error_class == ""


async def test_ensure_opens_again_after_a_crash(talker: McpServers) -> None:
    await call(talker, "die")
    opened = asyncio.Event()
    talker.ensure("s", opened.set)
    async with asyncio.timeout(PATIENCE_S):
        await opened.wait()
    assert talker.status("s") == "open"


async def test_an_idle_session_is_closed_and_its_process_ends() -> None:
    started: list[ProcessId] = []
    servers = McpServers(
        {"s": spec("talker", idle_timeout_s=0.01)}, on_process=lambda server, process: started.append(process)
    )
    await call(servers, "say")
    await until(lambda: not lives(started[0].pid, started[0].start))
    assert servers.status("s") == "closed"
    assert (await call(servers, "say")).error_class == ""
    await servers.close()


async def test_closing_ends_calls_in_flight_in_doubt_and_leaves_no_process() -> None:
    started: list[ProcessId] = []
    servers = McpServers({"s": spec("talker")}, on_process=lambda server, process: started.append(process))
    log = Log()
    holding = asyncio.create_task(call(servers, "hold", log=log))
    await log.seen("progress", "0")
    await servers.close()
    result = await holding
    assert (result.error_class, result.effect, result.message) == ("crash", "maybe", "s: its session was closed")
    assert not lives(started[0].pid, started[0].start)


async def test_closing_while_a_session_opens_leaves_no_process() -> None:
    started: list[ProcessId] = []
    servers = McpServers(
        {"s": spec("misbehaving", env={"MODE": "nohandshake"})},
        on_process=lambda server, process: started.append(process),
    )
    servers.ensure("s", lambda: None)
    waiting = asyncio.create_task(call(servers, "t"))
    await until(lambda: bool(started))
    await servers.close()
    result = await waiting
    assert (result.error_class, result.effect, result.message) == ("unavailable", "none", "s: its session was closed")
    assert not lives(started[0].pid, started[0].start)


async def test_an_orphan_is_ended_only_while_it_is_the_same_process() -> None:
    started: list[tuple[str, ProcessId]] = []
    servers = McpServers({"s": spec("talker")}, on_process=lambda server, process: started.append((server, process)))
    log = Log()
    holding = asyncio.create_task(call(servers, "hold", log=log))
    await log.seen("progress", "0")
    [(server, process)] = started
    assert server == "s"
    assert not end_orphan(ProcessId(process.pid, process.start + 1))
    assert lives(process.pid, process.start)
    assert end_orphan(process)
    assert (await holding).error_class == "crash"
    assert not end_orphan(process)
    await servers.close()


KILLED = """
import asyncio, sys
sys.path.insert(0, sys.argv[1])
from mcp_calls import call, spec
from runner.executors.mcp import McpServers

async def main():
    servers = McpServers({"s": spec("misbehaving", env={"MODE": "orphan"}, max_in_flight=2)},
                         on_process=lambda server, process: print(process.pid, flush=True))
    print((await call(servers, "t")).output, flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


def test_no_server_nor_its_children_outlive_a_runner_that_is_killed() -> None:
    command = [sys.executable, "-P", "-c", KILLED, str(Path(__file__).parent)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as runner:
        assert runner.stdout is not None
        guard = int(runner.stdout.readline())
        pids = [guard, *map(int, runner.stdout.readline().split())]
        assert len(pids) == 3 and all(lives(pid) for pid in pids)
        runner.send_signal(signal.SIGKILL)

    async def gone() -> None:
        async with asyncio.timeout(5):
            await until(lambda: not any(lives(pid) for pid in pids))

    asyncio.run(gone())


def test_the_sdk_is_loaded_on_use_only() -> None:
    script = "import sys, runner.executors.mcp; sys.exit('mcp' in sys.modules or 'jsonschema' in sys.modules)"
    assert subprocess.run([sys.executable, "-P", "-c", script], check=False).returncode == 0


# ---------------------------------------------------------------- servers made with the SDK (protocol of 2026)


async def test_a_server_made_with_the_sdk_is_a_server_like_any_other() -> None:
    servers, log = McpServers({"s": spec("modern")}), Log()
    assert (await call(servers, "add", arguments={"a": 1, "b": 2})).output == {"result": 3}
    wrong = await call(servers, "add", arguments={"a": 1})
    assert (wrong.error_class, wrong.message) == ("invalid", "add: missing argument `b`")
    counted = await call(servers, "count", arguments={"to": 2}, log=log)
    assert counted.output == {"result": "counted"}
    await log.seen("progress", "2/2 step 2\n")
    refused = await call(servers, "refuse")
    assert refused.error_class == "tool_error" and "refuse" in refused.message
    for tool in ("ask", "insist"):
        asking = await call(servers, tool)
        assert (asking.error_class, asking.effect) == ("denied", "none")
        assert asking.message == (
            f"s: {tool} asks for input, which is refused: nobody is there to answer during a call. Give it what it asks for in `with`, or "
            "put an `approve` step before it where a person must decide"
        )
    tool = servers.tool("s", "add")
    assert tool and tool.read_only and tool.output_schema
    await call(servers, "learn")
    await until(lambda: servers.tool("s", "learned") is not None)
    await servers.close()
