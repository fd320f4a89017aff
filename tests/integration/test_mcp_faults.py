"""Every way in which a stdio server can misbehave is a typed failure of its call, in bounded time and memory, and of no other."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from mcp_calls import Log, call, lives, spec

from runner.executors.mcp import McpServers, ProcessId
from runner.redact import Redactor

SHORT_S = 0.3
CAP = 1_000_000


def bad(mode: str, **changes: object) -> McpServers:
    """A misbehaving server beside one that behaves."""
    servers = {
        "bad": spec("misbehaving", "bad", env={"MODE": mode}, max_line_bytes=CAP, **changes),
        "good": spec("talker", "good"),
    }
    return McpServers(servers)


@pytest.mark.parametrize(
    ("mode", "error_class", "effect", "message"),
    [
        ("crash", "crash", "maybe", "bad: it ended during the call (exit status 137); its last output:\nabout to die"),
        ("crash_half", "crash", "maybe", "bad: it ended during the call (exit status 1)"),
        ("badresult", "bad_output", "none", "bad: the answer is no MCP result: content: Input should be a valid list"),
        ("nan", "bad_output", "none", "bad: the answer is not JSON"),
        ("deep", "bad_output", "none", "bad: the answer is not JSON"),
        ("surrogate", "bad_output", "none", "bad: the answer is not JSON"),
        ("infinite", "bad_output", "none", "the structured content has a number that JSON cannot hold"),
        ("noline", "bad_output", "none", "bad: the answer is longer than 1000000 bytes"),
        ("huge", "bad_output", "none", "bad: the answer is longer than 1000000 bytes"),
        ("huge_id_last", "bad_output", "none", "bad: the answer is longer than 1000000 bytes"),
        ("rpcerror", "tool_error", "none", "bad: no disk (MCP error -32000)"),
        (
            "exit0",
            "unavailable",
            "none",
            "bad: it ended during the handshake (exit status 0); its last output:\nnothing to do",
        ),
    ],
)
async def test_a_fault_has_its_class(mode: str, error_class: str, effect: str, message: str) -> None:
    servers = bad(mode)
    result = await call(servers, "t", "bad")
    beside = await call(servers, "say", "good")
    await servers.close()
    assert (result.error_class, result.effect, result.message) == (error_class, effect, message)
    assert beside.error_class == ""


@pytest.mark.parametrize("mode", ["hang", "wrongid"])
async def test_a_server_that_does_not_answer_is_a_timeout_in_doubt(mode: str) -> None:
    servers = bad(mode)
    await call(servers, "nothing like it", "bad")  # opens the session
    began = time.monotonic()
    result = await call(servers, "t", "bad", deadline_s=SHORT_S)
    took = time.monotonic() - began
    await servers.close()
    assert (result.error_class, result.effect) == ("timeout", "maybe")
    assert took < SHORT_S + 2


@pytest.mark.parametrize(
    ("mode", "said"),
    [("garbage", "hi"), ("dupresp", "hi"), ("banner", "hi"), ("latin1", "caf\ufffd"), ("stderrflood", "hi")],
)
async def test_noise_around_an_answer_costs_nothing(mode: str, said: str) -> None:
    servers = bad(mode)
    first, second = await call(servers, "t", "bad"), await call(servers, "t", "bad")
    await servers.close()
    assert (first.output, second.output) == (said, said)


@pytest.mark.parametrize("mode", ["nohandshake", "slowstart"])
async def test_a_server_without_a_handshake_is_unavailable_after_the_connect_deadline(mode: str) -> None:
    servers = bad(mode, connect_timeout_s=SHORT_S)
    began = time.monotonic()
    result = await call(servers, "t", "bad")
    took = time.monotonic() - began
    await servers.close()
    assert (result.error_class, result.effect) == ("unavailable", "none")
    assert result.message == f"bad: no answer to the handshake within {SHORT_S} s"
    assert took < SHORT_S + 2


async def test_a_deadline_before_the_session_is_open_has_no_effect() -> None:
    servers = bad("nohandshake")
    result = await call(servers, "t", "bad", deadline_s=SHORT_S)
    await servers.close()
    assert (result.error_class, result.effect) == ("timeout", "none")


async def test_a_server_that_ignores_its_end_is_ended() -> None:
    started: list[ProcessId] = []
    specs = {name: spec("misbehaving", name, env={"MODE": "nosigterm"}) for name in ("a", "b", "c")}
    servers = McpServers(specs, on_process=lambda server, process: started.append(process))
    await asyncio.gather(*(call(servers, "t", name, deadline_s=SHORT_S) for name in specs))
    began = time.monotonic()
    await servers.close()
    assert time.monotonic() - began < 5  # one after the other they would take 6 s
    assert len(started) == 3
    assert not any(lives(process.pid, process.start) for process in started)


async def test_what_a_server_left_behind_ends_with_it() -> None:
    servers = bad("orphan")
    result = await call(servers, "t", "bad")
    pids = [int(pid) for pid in result.output.split()]
    assert len(pids) == 2 and all(map(lives, pids))
    await servers.close()
    assert not any(map(lives, pids))


async def test_one_answer_over_the_cap_leaves_the_session_and_its_other_calls_alone() -> None:
    servers = bad("huge")
    results = await asyncio.gather(*(call(servers, "t", "bad") for _ in range(2)))
    assert [result.error_class for result in results] == ["bad_output", "bad_output"]
    assert servers.status("bad") == "open"
    await servers.close()


async def test_a_flood_on_stderr_reaches_the_log_and_only_its_tail_an_error() -> None:
    servers, log = bad("stderrflood"), Log()
    assert (await call(servers, "t", "bad", log=log)).output == "hi"
    await servers.close()
    assert sum(len(text) for stream, text in log.entries if stream == "stderr") > 1_000_000


async def test_the_last_words_of_a_server_are_masked_before_they_are_cut() -> None:
    dying = spec("misbehaving", env={"MODE": "crash"})
    servers = McpServers({"s": replace(dying, masked=Redactor({"s": "about to die"}).text)})
    result = await call(servers, "t")
    await servers.close()
    assert result.message.endswith("its last output:\n***")


MEMORY = """
import asyncio, resource, sys
sys.path.insert(0, sys.argv[1])
from mcp_calls import call, spec
from runner.executors.mcp import McpServers

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024

async def main():
    servers = McpServers({"good": spec("talker", "good"), "bad": spec("misbehaving", "bad", env={"MODE": "huge"})})
    await call(servers, "say", "good")
    before = peak()
    result = await call(servers, "t", "bad")
    await servers.close()
    print(result.error_class, peak() - before)

asyncio.run(main())
"""


def test_an_answer_of_100_mb_takes_less_than_200_mb() -> None:
    command = [sys.executable, "-P", "-c", MEMORY, str(Path(__file__).parent)]
    said = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout.split()
    assert said[0] == "bad_output"
    assert int(said[1]) < 200
