"""`runner mcp` over real stdio: with the SDK's client where that is the point, else line by line."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from pipes import a_terminal_that_may_hang_up

import pytest
from bridge_calls import PATIENCE_S, Json, ends
from jsonschema import Draft202012Validator
from mcp import Client, MCPError, StdioServerParameters
from mcp_server_calls import (
    ALL,
    GATE,
    HELLO,
    Served,
    Slow,
    cli,
    environment,
    project,
)

SCHEMAS = Path(__file__).parents[2] / "schemas" / "v1"
EVERYTHING = f"policy: {{mcp: {{allow: {ALL}, inline: allow}}}}\n"
READING = ["validate", "plan", "route", "status", "show", "logs", "events"]
SECRET = "correct-horse/battery"


def parameters(root: Path) -> StdioServerParameters:
    return StdioServerParameters(
        command=sys.executable, args=["-P", "-m", "runner", "mcp", str(root)], env=environment(), cwd="/"
    )


# ---------------------------------------------------------------- the SDK's client


async def test_a_client_without_a_word_of_the_operator_can_look_but_not_touch(tmp_path: Path) -> None:
    project(tmp_path, hello=HELLO)
    async with Client(parameters(tmp_path)) as client:
        listed = (await client.list_tools()).tools
        assert [tool.name for tool in listed] == READING
        for tool in listed:
            assert tool.annotations is not None and tool.annotations.read_only_hint is True
            assert tool.output_schema is not None
        found = await client.call_tool("validate", {"paths": ["hello.yaml"]})
        assert found.structured_content == {"version": 1, "files": 1, "diagnostics": []}
        planned = await client.call_tool("plan", {"paths": ["."], "inputs": {"who": "you"}})
        assert planned.structured_content is not None
        assert [one["action"] for one in planned.structured_content["manifests"]] == ["create"]
        routed = await client.call_tool("route", {"paths": ["hello.yaml"], "step": "greet"})
        assert routed.structured_content is not None
        assert [way["verb"] for way in routed.structured_content["ways"]] == ["run"]
        refused = await client.call_tool("apply", {"paths": ["hello.yaml"]})
        assert refused.is_error and "policy.mcp.allow" in refused.content[0].text  # type: ignore[union-attr]
        with pytest.raises(MCPError, match="unknown tool 'deploy'"):
            await client.call_tool("deploy", {})
    assert not list((tmp_path / ".ares").iterdir())


async def test_an_apply_tells_each_change_and_gives_the_document_of_the_command_line(tmp_path: Path) -> None:
    project(tmp_path, EVERYTHING, hello=HELLO)
    told: list[str] = []

    async def progress(at: float, total: float | None, message: str | None) -> None:
        told.append(message or "")

    async with Client(parameters(tmp_path)) as client:
        hints = {tool.name: tool.annotations for tool in (await client.list_tools()).tools}
        assert hints["apply"] is not None and hints["apply"].read_only_hint is False
        assert [name for name, hint in hints.items() if hint and hint.destructive_hint] == list(hints)[7:]
        done = await client.call_tool("apply", {"paths": ["hello.yaml"]}, progress_callback=progress)
        again = await client.call_tool("apply", {"paths": ["hello.yaml"]})
        shown = await client.call_tool("show", {"run": "hello", "step": "shout"})
    for document in (done.structured_content, again.structured_content):
        Draft202012Validator(json.loads((SCHEMAS / "apply.schema.json").read_text())).validate(document)
    assert done.structured_content is not None and again.structured_content is not None
    assert done.structured_content["runs"][0]["outputs"] == {"said": "HELLO WORLD"}
    assert again.structured_content["runs"][0]["action"] == "unchanged"
    assert told[0] == "hello: running started" and told[-1] == "hello: succeeded"
    assert "hello/shout: succeeded" in told
    assert shown.structured_content is not None and shown.structured_content["output"] == "HELLO WORLD"


# ---------------------------------------------------------------- one server for many questions


@pytest.fixture(scope="module")
def open_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Served, Path]]:
    root = project(
        tmp_path_factory.mktemp("open"),
        EVERYTHING + 'secrets: {TOKEN: "${TOKEN}"}\n',
        hello=HELLO,
        gate=GATE,
    )
    with Served(root, TOKEN=SECRET) as server:
        yield server, root


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (b"{half a line\n", -32700),
        (b"\xff\xfe\n", -32700),
        (b"[" * 100_000 + b"\n", -32700),
        (b"[]\n", -32600),
        (b'{"jsonrpc": "2.0", "id": ' + b"[" * 950 + b"]" * 950 + b', "method": "ping"}\n', -32600),
        (b'{"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": []}\n', -32602),
        (b'{"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": {"name": 3}}\n', -32602),
        (b'{"jsonrpc": "2.0", "id": 7, "method": "resources/list"}\n', -32601),
    ],
)
def test_a_line_that_makes_no_sense_is_answered_and_the_server_goes_on(
    open_server: tuple[Served, Path], line: bytes, code: int
) -> None:
    server, _ = open_server
    assert server.process.stdin is not None
    server.process.stdin.write(line)
    assert server.read()["error"]["code"] == code
    server.write({"method": "notifications/nobody-knows", "params": {}})
    assert server.answer(server.request("ping"))["result"] == {}


@pytest.mark.parametrize(
    "path", ["../outside.yaml", "/etc/hosts.yaml", "link.yaml", "loop.yaml", "nothing", ".env", "pipe.yaml"]
)
def test_nothing_outside_of_the_project_and_nothing_but_manifests_is_read(
    open_server: tuple[Served, Path], path: str
) -> None:
    server, root = open_server
    (root.parent / "outside.yaml").write_text(HELLO)
    (root / ".env").write_text("PASSWORD: of-somebody\n")
    for name, target in (("link.yaml", root.parent / "outside.yaml"), ("loop.yaml", root / "loop.yaml")):
        if not (root / name).is_symlink():
            (root / name).symlink_to(target)
    if not (root / "pipe.yaml").exists():
        os.mkfifo(root / "pipe.yaml")
    for tool in ("validate", "plan", "apply"):
        text = server.refused(tool, paths=[path])
        assert "from the project root" in text and "of-somebody" not in text


@pytest.mark.parametrize(
    ("tool", "arguments", "words"),
    [
        ("events", {"run": "hello", "after": 10**23}, "`after` must be at most"),
        ("validate", {}, "say which manifest is meant"),
        ("validate", {"path": "hello.yaml"}, "`path` is no argument of it"),
        ("apply", {"paths": "hello.yaml"}, "`paths` must be of the type array"),
        ("apply", {"paths": []}, "`paths` must have an entry"),
        ("apply", {"paths": ["\ud800"]}, "`paths`[0] is no text"),
        ("apply", {"paths": ["hello.yaml"], "inputs": {"nobody": 1}}, "no manifest declares the input 'nobody'"),
        ("apply", {"paths": ["hello.yaml"], "config": "other.yaml"}, "`config` is no argument of it"),
        ("apply", {"manifest": "ares: v1\nname: broken\nsteps: {a: {rum: x}}\n"}, ".ares/submitted/broken.yaml:3:"),
        ("show", {"run": "nobody"}, "no run 'nobody'"),
        ("show", {"run": "x", "wait_s": 1e9}, "`wait_s` must be at most 600"),
        ("approve", {"run": "hello"}, "`step` is missing"),
        ("resolve", {"run": "x", "step": "y"}, "say either `done`"),
        ("plan", {"paths": ["hello.yaml"], "mode": "fast"}, "`mode` must be one of normal, degraded, brainstem"),
    ],
)
def test_arguments_that_make_no_sense_are_errors_of_the_call_that_say_why(
    open_server: tuple[Served, Path], tool: str, arguments: dict[str, object], words: str
) -> None:
    assert words in open_server[0].refused(tool, **arguments)


def test_a_secret_is_in_no_answer(open_server: tuple[Served, Path]) -> None:
    server, _ = open_server
    leaky = (
        "ares: v1\nname: leaky\nsteps:\n"
        '  say: {run: \'echo "$T"; echo "$T" | base64 >&2\', env: {T: "{{ secrets.TOKEN }}"}, effects: none}\n'
        f"  know: {{set: {{guessed: {SECRET}}}}}\noutputs: {{said: '{{{{ steps.say.text }}}}'}}\n"
    )
    requests = [
        server.started("apply", manifest=leaky),
        server.started("validate", manifest=leaky.replace("set:", f"set: {SECRET} #")),
    ]
    answers = [server.answer(request) for request in requests]
    answers += [server.answer(server.started(tool, run="leaky")) for tool in ("show", "logs", "events")]
    whole = json.dumps([*answers, *server.progress], ensure_ascii=False)
    assert "***" in whole
    assert SECRET not in whole and "Y29ycmVjdC1ob3JzZS" not in whole


def test_a_text_that_was_applied_is_kept_for_our_eyes_only(open_server: tuple[Served, Path]) -> None:
    server, root = open_server
    assert server.call("apply", manifest=HELLO.replace("name: hello", "name: from-text"))["outcome"] == "succeeded"
    kept = root / ".ares" / "submitted" / "from-text.yaml"
    assert (kept.stat().st_mode & 0o777, kept.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    again = server.call("apply", paths=[".ares/submitted/from-text.yaml"])
    assert [run["action"] for run in again["runs"]] == ["unchanged"]


def test_what_a_run_waits_for_is_shown_and_the_record_says_that_a_client_answered(
    open_server: tuple[Served, Path],
) -> None:
    server, _ = open_server
    waits = server.call("apply", paths=["gate.yaml"])
    assert (waits["outcome"], waits["exit_code"]) == ("suspended", 3)
    asked = server.call("show", run="gate")["waiting"][0]
    assert (asked["step"], asked["reason"], asked["asks"]["message"]) == ("ask", "approval", "Ship it?")
    said = server.call("approve", run="gate", step="ask", comment="fine")
    assert (said["state"], said["next"]) == ("interrupted", "`resume` goes on with the run")
    assert server.call("resume", run="gate")["outcome"] == "succeeded"
    recorded = server.call("events", run="gate", limit=1000)["events"]
    by = next(one["data"]["by"] for one in recorded if one["kind"] == "step_resolved")
    assert by.endswith(" through a test (MCP)")


def test_events_come_in_pieces_that_meet(open_server: tuple[Served, Path]) -> None:
    server, _ = open_server
    run = server.call("apply", paths=["hello.yaml"])["runs"][0]["run"]
    whole = server.call("events", run=run)
    pieces, after, more = [], 0, True
    while more:
        piece = server.call("events", run=run, after=after, limit=3)
        pieces += piece["events"]
        after, more = piece["next"], piece["more"]
    assert pieces == whole["events"] and not whole["more"]


def test_a_client_may_cap_what_a_run_spends(open_server: tuple[Served, Path]) -> None:
    server, _ = open_server
    run = server.call("apply", paths=["hello.yaml"], inputs={"who": "frugal"}, max_usd=0.25)["runs"][0]["run"]
    assert server.call("events", run=run, limit=1)["events"][0]["data"]["cap"] == 250_000
    assert "`max_usd` must be at most" in server.refused("apply", paths=["hello.yaml"], max_usd=float("inf"))


# ---------------------------------------------------------------- runs that take their time


def test_other_calls_are_answered_while_a_run_goes_on_and_a_run_is_driven_once(
    open_server: tuple[Served, Path],
) -> None:
    server, root = open_server
    slow = Slow(root, "driven-once")
    running = server.started("apply", paths=[slow.file])
    slow.begun()
    assert server.answer(server.request("ping"))["result"] == {}
    assert server.call("status", limit=1)["runs"][0]["state"] == "running"
    assert server.call("apply", paths=["hello.yaml"], inputs={"who": "you"})["outcome"] == "succeeded"
    busy = server.answer(server.started("apply", paths=[slow.file]))["result"]
    assert (busy["isError"], busy["structuredContent"]["outcome"]) == (True, "busy")
    assert cli(root, "apply", slow.file).returncode == 7
    slow.let_go()
    assert server.answer(running)["result"]["structuredContent"]["outcome"] == "succeeded"
    assert slow.ledger == ["first", "wait", "beside"]


def test_a_cancelled_apply_lets_running_steps_end_and_leaves_the_run_resumable(
    open_server: tuple[Served, Path],
) -> None:
    server, root = open_server
    slow = Slow(root, "cancelled-call")
    running = server.started("apply", paths=[slow.file])
    slow.begun()
    server.cancel(running)
    slow.let_go()
    assert server.call("show", run=slow.name, wait_s=30)["state"] == "interrupted"
    assert slow.ledger == ["first", "wait"]
    assert server.call("resume", run=slow.name)["outcome"] == "succeeded"
    assert slow.ledger == ["first", "wait", "beside"]


def test_a_run_that_nobody_waits_for_is_followed_by_its_id(open_server: tuple[Served, Path]) -> None:
    server, root = open_server
    slow = Slow(root, "followed")
    started = server.call("apply", paths=["hello.yaml", slow.file], inputs={"who": "me"}, wait=False)
    assert (started["outcome"], started["exit_code"]) == ("running", None)
    runs = {run["manifest"]: run["run"] for run in started["runs"]}
    slow.begun()
    hello = server.call("show", run=runs["hello"], wait_s=30)
    assert (hello["state"], hello["outputs"]) == ("succeeded", {"said": "HELLO ME"})
    seen = _logged(server, runs["followed"])
    assert (seen["more"], seen["state"]) == (True, "running")
    slow.let_go()
    assert server.call("show", run=runs["followed"], wait_s=30)["state"] == "succeeded"
    rest = server.call("logs", run=runs["followed"], after=seen["next"])
    pieces = [f"{one['step']} {line}" for one in seen["entries"] + rest["entries"] for line in one["text"].split("\n")]
    assert pieces == [*(f"wait {n}" for n in range(1, 501)), "beside beside"]
    assert (rest["more"], rest["state"]) == (False, "succeeded")
    assert server.call("logs", run=runs["followed"], tail=1)["entries"] == rest["entries"][-1:]


def _logged(server: Served, run: str) -> Json:
    """The first answer of `logs` that has something; what a step says arrives a moment after it said it."""
    end = time.monotonic() + PATIENCE_S
    while not (answer := server.call("logs", run=run, tail=1000))["entries"]:
        assert time.monotonic() < end, "nothing was logged"
    return answer


def test_a_run_is_cancelled_for_good_by_its_tool(open_server: tuple[Served, Path]) -> None:
    server, root = open_server
    slow = Slow(root, "cancelled-run")
    run = server.call("apply", paths=[slow.file], wait=False)["runs"][0]["run"]
    pid = slow.begun()
    server.call("cancel", run=run)
    assert server.call("show", run=run, wait_s=30)["state"] == "cancelled"
    assert ends(pid)


@pytest.mark.parametrize("how", ["end of stdin", "SIGHUP", pytest.param("SIGTERM", marks=pytest.mark.slow)])
def test_the_end_of_the_server_lets_running_steps_end_and_leaves_all_resumable(tmp_path: Path, how: str) -> None:
    slow = Slow(project(tmp_path, EVERYTHING), "slow")
    with a_terminal_that_may_hang_up():
        server = Served(tmp_path)
    server.call("apply", paths=[slow.file], wait=False)
    slow.begun()
    if how.startswith("SIG"):
        server.process.send_signal(signal.Signals[how])
        _until_said(server, "ending: running steps may end")
    else:
        server.hang_up()
    slow.let_go()
    assert server.ended() == {"SIGTERM": 143, "SIGHUP": 129}.get(how, 0)
    assert (slow.ledger, slow.state) == (["first", "wait"], "interrupted")
    assert cli(tmp_path, "apply", slow.file).returncode == 0
    assert slow.ledger == ["first", "wait", "beside"]


def test_a_signal_after_the_end_of_stdin_ends_running_steps_too(tmp_path: Path) -> None:
    slow = Slow(project(tmp_path, EVERYTHING), "slow")
    server = Served(tmp_path)
    server.started("apply", paths=[slow.file])
    pid = slow.begun()
    server.hang_up()
    _until_said(server, "ending: running steps may end")
    server.process.send_signal(signal.SIGHUP)  # the client has ended with its terminal, which we are told as well
    server.process.send_signal(signal.SIGTERM)
    assert server.ended() == 0
    assert ends(pid)
    assert slow.state == "interrupted"


def _until_said(server: Served, words: str) -> None:
    """Read stderr up to a line that holds `words`."""
    assert server.process.stderr is not None
    for line in server.process.stderr:
        if words in line.decode():
            return
    raise AssertionError(f"ended without {words!r}")
