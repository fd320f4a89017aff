"""The bundled server `openclaw`: in front of a scripted gateway, of a Worker that sleeps, and with a scripted `openclaw agent exec`."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from bridge_calls import Bridge, Json, Script, ends
from servers.fake_openclaw import LOADING, FakeOpenClaw, Reply

HELLO = Reply(said=("hel", "lo"))
UP = Reply(body={"ok": True, "status": "running", "processId": "p"})


def bridge(gateway: FakeOpenClaw, *args: str, token: str = "tok", **headers: str) -> Bridge:
    env = {"OPENCLAW_GATEWAY_TOKEN": token, "OPENCLAW_GATEWAY_HEADERS": json.dumps(headers)}
    return Bridge("openclaw", f"--url={gateway.url}", "--probe-every-s=0", *args, env=env)


# ---------------------------------------------------------------- the gateway


def test_a_task_is_done_in_a_session_of_ours_that_progress_names_first() -> None:
    with FakeOpenClaw([HELLO]) as gateway, bridge(gateway) as claw:
        told = claw.run(idempotency_key="k1", model="openai/m")
        again = claw.run(session=told["session_id"], prompt="more")
    assert told == {
        "status": "ok",
        "text": "hello",
        "structured": None,
        "session_id": "ares-k1",
        "turns": 1,
        "usage": {"in": 10, "out": 5},
        "cost_usd": None,
        "denials": [],
        "tool_calls": None,
        "error": None,
    }
    assert again["session_id"] == "ares-k1"
    assert claw.progress[0]["_meta"] == {"ares/session": "ares-k1"}
    first, second = gateway.asked
    assert first.body["user"] == second.body["user"] == "ares-k1"
    assert first.body["messages"] == [{"role": "user", "content": "do it"}]
    assert first.headers["authorization"] == "Bearer tok"
    assert (first.headers["x-openclaw-model"], first.headers["idempotency-key"]) == ("openai/m", "k1")
    assert "x-openclaw-model" not in second.headers


@pytest.mark.parametrize("argument", [{"allowed_tools": ["x"]}, {"max_usd": 1}, {"cwd": "."}])
def test_limits_that_a_gateway_cannot_keep_are_not_offered_and_not_taken(argument: Json) -> None:
    with FakeOpenClaw([HELLO]) as gateway, bridge(gateway) as claw:
        (tool,) = claw.answer(claw.request("tools/list"))["result"]["tools"]
        assert not argument.keys() & tool["inputSchema"]["properties"].keys()
        assert claw.run(**argument)["error"]["kind"] == "invalid"
    assert gateway.asked == []


def test_a_cancelled_task_hangs_up_which_ends_the_run() -> None:
    with FakeOpenClaw([Reply(said=("a",), hold=True), HELLO]) as gateway, bridge(gateway) as claw:
        request = claw.begin()
        claw.told("1 characters")
        claw.cancel(request)
        assert gateway.gone.wait(20)
        assert claw.run()["status"] == "ok"


def test_a_task_out_of_time_hangs_up_and_is_told_as_timeout() -> None:
    with FakeOpenClaw([Reply(said=("a",), hold=True)]) as gateway, bridge(gateway) as claw:
        told = claw.run(timeout_s=0.3)
        assert gateway.gone.wait(20)
    assert (told["status"], told["error"]["kind"], told["text"]) == ("timeout", "timeout", "a")


COOLING = 'Inline API key for provider "p" is temporarily disabled after a provider auth/billing failure. Retry after about 1 minute.'


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (Reply(body={"error": {"message": "Unauthorized", "type": "unauthorized"}}, status=401), ("auth", 401, None)),
        (Reply(error={"message": "401: bad key", "type": "authentication_error"}), ("auth", None, None)),
        (Reply(error={"message": COOLING, "type": "api_error"}), ("auth", None, 60)),
        (Reply(error={"message": "429 rate limit", "type": "api_error"}), ("rate_limit", None, None)),
        (
            Reply(body={"error": {"message": "slow down"}}, status=429, headers={"retry-after": "7"}),
            ("rate_limit", 429, 7),
        ),
        (
            Reply(body={"error": {"message": "internal error", "type": "api_error"}}, status=500),
            ("unavailable", 500, None),
        ),
        (Reply(body={"error": {"message": "no", "type": "invalid_request_error"}}, status=400), ("invalid", 400, None)),
        (Reply(body={"error": "gateway down", "hint": "wait"}, status=503), ("unavailable", 503, None)),
        (Reply(body={"error": "Not Found"}, status=404), ("unavailable", 404, None)),
        (Reply(said=("half",), broken=True), ("crash", None, None)),
        (Reply(said=()), ("bad_output", None, None)),
        (Reply(body={"choices": []}), ("bad_output", None, None)),
        (Reply(said=("5-hour limit reached ∙ resets 2030-01-01T00:00:00Z",)), ("quota", None, None)),
    ],
)
def test_a_failure_has_its_class_its_status_and_its_wait(
    reply: Reply, expected: tuple[str, int | None, int | None]
) -> None:
    with FakeOpenClaw([reply]) as gateway, bridge(gateway) as claw:
        error = claw.run()["error"]
    assert (error["kind"], error["http_status"], error["retry_after_s"]) == expected


def test_an_answer_that_is_not_streamed_is_taken_as_well() -> None:
    whole = Reply(
        body={"choices": [{"message": {"content": "hi"}}], "usage": {"prompt_tokens": 1, "completion_tokens": 2}}
    )
    with FakeOpenClaw([whole]) as gateway, bridge(gateway) as claw:
        told = claw.run()
    assert (told["text"], told["usage"]) == ("hi", {"in": 1, "out": 2})


def test_an_output_schema_is_asked_for_and_the_answer_is_held_to_it() -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    replies = [Reply(said=('```json\n{"n": 1}\n```',)), Reply(said=('{"n": "one"}',)), Reply(said=("sure!",))]
    with FakeOpenClaw(replies) as gateway, bridge(gateway) as claw:
        assert claw.run(output_schema=schema)["structured"] == {"n": 1}
        wrong, prose = claw.run(output_schema=schema), claw.run(output_schema=schema)
    assert (wrong["error"]["kind"], prose["error"]["kind"]) == ("bad_output", "bad_output")
    assert "$.n" in wrong["error"]["message"]
    assert json.dumps(schema) in gateway.asked[0].body["messages"][0]["content"]


def test_a_gateway_that_is_not_there_is_unavailable() -> None:
    with FakeOpenClaw([HELLO]) as gateway:
        claw = bridge(gateway)
    with claw:
        assert claw.run()["error"]["kind"] == "unavailable"


# ---------------------------------------------------------------- Moltworker


def test_a_sleeping_worker_is_waited_for_and_then_asked_once() -> None:
    states = [
        Reply(body=LOADING),
        Reply(body={"ok": False, "status": "starting", "restoreError": None}),
        Reply(body={"ok": False, "status": "start_failed", "error": "no disk"}),
        Reply(body={"error": "starting"}, status=503),
        UP,
    ]
    with FakeOpenClaw([HELLO], states) as worker:
        access = {"CF-Access-Client-Id": "id", "CF-Access-Client-Secret": "secret"}
        with bridge(worker, "--moltworker", **access) as claw:
            assert claw.run()["text"] == "hello"
    told = [one["message"] for one in claw.progress]
    assert told[:3] == ["starting: loading page", "starting: starting", "starting: start_failed: no disk"]
    assert [one.method for one in worker.asked] == ["GET"] * 5 + ["POST"]
    assert {one.headers["cf-access-client-id"] for one in worker.asked} == {"id"}
    assert worker.asked[0].path == "/api/status"


def test_a_worker_that_does_not_start_is_unavailable_and_the_task_is_never_sent() -> None:
    with (
        FakeOpenClaw([HELLO], [Reply(body=LOADING)]) as worker,
        bridge(worker, "--moltworker", "--start-s=0.05") as claw,
    ):
        error = claw.run()["error"]
    assert (error["kind"], "POST" in {one.method for one in worker.asked}) == ("unavailable", False)
    assert "loading page" in error["message"]


def test_a_cancel_during_the_start_ends_it() -> None:
    with FakeOpenClaw([HELLO], [Reply(body=LOADING)]) as worker:
        with bridge(worker, "--moltworker", "--probe-every-s=600") as claw:
            request = claw.begin()
            claw.told("starting")
            claw.cancel(request)
        assert [one.method for one in worker.asked] == ["GET"]


@pytest.mark.parametrize(
    ("reply", "kind", "words"),
    [
        (
            Reply(body={}, status=302, headers={"location": "https://team.cloudflareaccess.com/login?x=1"}),
            "auth",
            "CF-Access-Client-Id",
        ),
        (Reply(body={}, status=301, headers={"location": "https://other.example/"}), "auth", "other.example"),
        (Reply(body={"error": "Unauthorized", "hint": "token missing"}, status=401), "auth", "token missing"),
    ],
)
def test_access_that_is_refused_is_auth_and_no_redirect_is_followed(reply: Reply, kind: str, words: str) -> None:
    with FakeOpenClaw([reply], [UP]) as worker, bridge(worker, "--moltworker") as claw:
        error = claw.run()["error"]
    assert (error["kind"], error["http_status"]) == (kind, reply.status)
    assert words in error["message"]
    with FakeOpenClaw([HELLO], [reply]) as worker, bridge(worker, "--moltworker") as claw:
        assert claw.run()["error"]["kind"] == kind
    assert len(worker.asked) == 1


def test_a_loading_page_in_place_of_an_answer_is_no_answer() -> None:
    with FakeOpenClaw([Reply(body=LOADING)], [UP]) as worker, bridge(worker, "--moltworker") as claw:
        error = claw.run()["error"]
    assert (error["kind"], "starting" in error["message"]) == ("unavailable", True)


# ---------------------------------------------------------------- openclaw agent exec

ENVELOPE: Json = {
    "ok": True,
    "status": "ok",
    "final": "done",
    "usage": {"input": 20, "output": 10, "cacheRead": 1, "cacheWrite": 0, "total": 31},
    "costUsd": 0.002,
    "assistantTurns": 2,
    "toolSummary": {"calls": 1, "tools": ["write"]},
    "sessionId": "gone-with-its-folder",
}


def exec_bridge(script: Script, *args: str) -> Bridge:
    return Bridge("openclaw", f"--command={script.command}", *args)


def test_without_a_gateway_each_task_is_an_agent_exec_with_the_prompt_on_stdin(tmp_path: Path) -> None:
    script = Script(tmp_path, {"raw": json.dumps(ENVELOPE, indent=2)})
    with exec_bridge(script, "--config=c.json") as claw:
        told = claw.run(prompt="-x", cwd=str(tmp_path), model="p/m")
    assert (told["status"], told["text"], told["turns"], told["tool_calls"]) == ("ok", "done", 2, 1)
    assert (told["cost_usd"], told["session_id"]) == (0.002, None)  # nobody can go on in that session
    assert told["usage"] == {"in": 20, "out": 10, "cache_read": 1, "cache_write": 0}
    (given,) = script.given
    assert given["stdin"] == "-x"
    assert given["argv"] == [
        "agent",
        "exec",
        "--json",
        "--message-file=-",
        f"--cwd={tmp_path}",
        "--timeout=86400",
        "--config=c.json",
        "--model=p/m",
    ]


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        ("⚠️ fake/m1 request failed (authentication failed, HTTP 401). Re-authenticate the provider", "auth"),
        ("request failed (HTTP 529)", "unavailable"),
        ("request failed (rate limit, HTTP 429)", "rate_limit"),
        ("Context window exceeded", "context_overflow"),
        ("something new", "tool_error"),
    ],
)
def test_what_an_exec_says_of_its_failure_has_a_class(message: str, kind: str, tmp_path: Path) -> None:
    said = {"ok": False, "status": "error", "final": "", "error": {"message": message, "kind": "exception"}}
    with exec_bridge(Script(tmp_path, {"say": said}, {"exit": 1})) as claw:
        assert claw.run()["error"]["kind"] == kind


def test_an_exec_without_any_login_has_not_begun_and_one_that_was_refused_may_have(tmp_path: Path) -> None:
    for message, begun in (
        ("No route-compatible authentication source is configured for openai.", False),
        ("request failed (authentication failed, HTTP 401)", None),  # how far it came it does not tell
    ):
        said = {"ok": False, "status": "error", "final": "", "error": {"message": message, "kind": "exception"}}
        with exec_bridge(Script(tmp_path, {"say": said}, {"exit": 1})) as claw:
            error = claw.run()["error"]
        assert (error["kind"], error["begun"]) == ("auth", begun)


def test_an_exec_that_is_cancelled_killed_late_or_not_there_leaves_nothing_and_is_told(tmp_path: Path) -> None:
    script = Script(tmp_path, {"cry": "on my way"}, {"kill": True})
    with exec_bridge(script) as claw:
        error = claw.run()["error"]
        assert (error["kind"], "on my way" in error["message"]) == ("crash", True)
        script.play([{"cry": "error: this OpenClaw release requires Node >=24.16.0"}, {"exit": 1}])
        assert claw.run()["error"]["kind"] == "unavailable"
        script.play([{"brood": True}, {"hold": True}])
        assert claw.run(timeout_s=0.5)["error"]["kind"] == "timeout"
        script.play([{"raw": "{"}])
        assert claw.run()["error"]["kind"] == "crash"
    with Bridge("openclaw", f"--command={tmp_path / 'nowhere'}") as claw:
        assert claw.run()["error"]["kind"] == "unavailable"


def test_end_of_input_ends_an_exec_and_what_it_started(tmp_path: Path) -> None:
    mark = tmp_path / "pid"
    ready = tmp_path / "ready"
    os.mkfifo(ready)
    script = Script(tmp_path)
    script.command.write_text(f"#!/bin/sh\nsetsid sleep 600 & echo $! > {mark}; echo > {ready}; sleep 601\n")
    with exec_bridge(script) as claw:
        claw.begin()
        ready.read_text()  # until it has started
    assert ends(int(mark.read_text()))


@pytest.mark.parametrize(
    "arguments",
    [
        ["--moltworker"],
        ["--url=ftp://x"],
        ["--url=http://user:pw@x"],
        ["--url=http://x", "--moltworker=1"],
        ["--url=http://x:y"],
    ],
)
def test_options_that_make_no_sense_end_it_with_status_2(arguments: list[str]) -> None:
    with Bridge("openclaw", *arguments) as claw:
        assert claw.process.wait(20) == 2


def test_headers_that_are_no_object_end_it_with_status_2() -> None:
    with Bridge("openclaw", "--url=http://x", env={"OPENCLAW_GATEWAY_HEADERS": "[1]"}) as claw:
        assert claw.process.wait(20) == 2


def test_a_model_that_no_header_can_carry_is_invalid_and_half_a_character_costs_nobody_the_answer() -> None:
    with FakeOpenClaw([Reply(said=("half \ud83d of it",))]) as gateway, bridge(gateway) as claw:
        assert claw.run(model="a\r\nx-admin: 1")["error"]["kind"] == "invalid"
        assert claw.run()["text"] == "half ? of it"
    assert len(gateway.asked) == 1


@pytest.mark.parametrize(
    ("env", "header"),
    [
        ({"OPENCLAW_GATEWAY_TOKEN": "sesame\n-open-up"}, "authorization"),
        ({"OPENCLAW_GATEWAY_HEADERS": '{"x-key": "sesame-open-up\\r\\n"}'}, "x-key"),
        ({"OPENCLAW_GATEWAY_HEADERS": '{"x-key": "sesame-αβγ"}'}, "x-key"),
    ],
)
def test_a_secret_that_no_header_can_carry_is_named_by_its_header_and_never_shown(
    env: dict[str, str], header: str
) -> None:
    with FakeOpenClaw([HELLO]) as gateway:
        with Bridge("openclaw", f"--url={gateway.url}", env=env) as claw:
            told = claw.run()
        with Bridge("openclaw", f"--url={gateway.url}", "--check", env=env) as claw:
            said = claw.read()
    assert told["error"]["kind"] == "invalid"
    assert f"`{header}`" in told["error"]["message"] and f"`{header}`" in said["detail"]
    assert "sesame" not in json.dumps([told, said])
    assert gateway.asked == []


def test_a_line_break_behind_the_token_is_not_part_of_it() -> None:
    with FakeOpenClaw([HELLO]) as gateway, bridge(gateway, token="tok\n") as claw:
        assert claw.run()["text"] == "hello"
    assert gateway.asked[0].headers["authorization"] == "Bearer tok"


def test_an_exec_that_never_stops_talking_is_ended_and_its_answer_not_kept(tmp_path: Path) -> None:
    script = Script(tmp_path)
    script.command.write_text("#!/bin/sh\nexec yes\n")
    with exec_bridge(script) as claw:
        error = claw.run()["error"]
    assert (error["kind"], "longer than" in error["message"]) == ("bad_output", True)


def test_a_number_that_json_cannot_hold_is_bad_output() -> None:
    with FakeOpenClaw([Reply(said=('{"n": 1e999}',))]) as gateway, bridge(gateway) as claw:
        told = claw.run(output_schema={"type": "object"})
    assert (told["error"]["kind"], told["structured"]) == ("bad_output", None)
