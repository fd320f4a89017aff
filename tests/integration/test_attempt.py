"""One attempt, end to end: with real commands, and with executors of our own where an answer must be exact."""

from __future__ import annotations

import asyncio
import json
import stat
import time
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from runner.core.messages import Note, Outcome, StepTask
from runner.digest import digest_bytes
from runner.engine import attempt as attempt_module
from runner.engine.attempt import LONGEST_WAIT_MS, Attempts, Limits, Places
from runner.engine.logs import log_path
from runner.executors.local import LocalCommands
from runner.ports import CallResult, Executor, Request
from runner.redact import Redactor

SECRETS = {"TOKEN": "s3cr3t-value-1234", "OTHER": "another/secret+77"}


class Answers:
    """An executor that gives what it is told, and keeps what it was asked."""

    def __init__(self, answer: CallResult | BaseException | Callable[[Request], Any]) -> None:
        self.answer = answer
        self.requests: list[Request] = []

    async def call(self, request: Request) -> CallResult:
        self.requests.append(request)
        if isinstance(self.answer, BaseException):
            raise self.answer
        return await self.answer(request) if callable(self.answer) else self.answer

    async def close(self) -> None: ...


class Bench:
    """Attempts over a scratch workspace, and what they handed over."""

    def __init__(self, root: Path, commands: LocalCommands) -> None:
        self.places = Places(root / "work", root / ".ares" / "runs", root / ".ares" / "logs")
        self.places.workspace.mkdir()
        self.commands = commands
        self.blobs: dict[str, bytes] = {}
        self.notes: list[Note] = []

    async def run(self, task: StepTask, tool: Executor | None = None, **limits: int) -> Outcome:
        executors: dict[str, Executor] = {"run": self.commands} | ({"tool": tool} if tool else {})
        attempts = Attempts(
            executors=executors,
            places=self.places,
            secrets=SECRETS.__getitem__,
            redactor=Redactor(SECRETS),
            blobs=self.blobs.__setitem__,
            limits=Limits(**limits),
        )
        return await attempts.run(task, self.notes.append)

    async def script(self, text: str, spec: Mapping[str, Any] | None = None, **more: Any) -> Outcome:
        return await self.run(task("run", {"script": text}, spec, **more))

    async def answer(self, answer: Any, spec: Mapping[str, Any] | None = None, **limits: int) -> Outcome:
        return await self.run(task("tool", {"tool": "t", "with": {}}, spec), Answers(answer), **limits)

    def result(self, outcome: Outcome) -> dict[str, Any]:
        assert outcome.result is not None
        if "value" in outcome.result:
            return dict(outcome.result["value"])
        loaded: dict[str, Any] = json.loads(self.blobs[outcome.result["ref"]])
        return loaded


def task(verb: Any, inputs: Mapping[str, Any], spec: Mapping[str, Any] | None = None, **more: Any) -> StepTask:
    fields: dict[str, Any] = {"timeout_ms": 20_000} | more
    return StepTask("r1", "step", 1, "r1/step/1", "effect-1", "local", verb, inputs, spec or {}, **fields)


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    commands = LocalCommands()
    yield Bench(tmp_path, commands)
    await commands.close()


# ---------------------------------------------------------------- the call


async def test_a_command_succeeds_with_its_output_and_log(bench: Bench) -> None:
    outcome = await bench.script("echo out; echo err >&2")
    assert (outcome.state, outcome.error_class, outcome.effect, outcome.executor) == ("succeeded", "", "none", "local")
    assert outcome.result == {"value": {"output": "out"}}
    assert sorted(Path(outcome.log).read_text().split()) == ["err", "out"]
    assert bench.notes[0].pid


async def test_a_command_runs_in_its_folder_with_its_environment(bench: Bench) -> None:
    (bench.places.workspace / "sub").mkdir()
    spec = {"cwd": "sub", "env": {"A": "x", "N": 3, "YES": True, "NO": None}}
    outcome = await bench.script(
        'pwd; echo "$A $N $YES ${NO-unset} $ARES_IDEMPOTENCY_KEY"; ls -d "$ARES_RUN_DIR"', spec
    )
    assert bench.result(outcome)["output"].splitlines() == [
        str((bench.places.workspace / "sub").resolve()),
        "x 3 true unset effect-1",
        str(bench.places.run_dirs / "r1"),
    ]
    assert stat.S_IMODE((bench.places.run_dirs / "r1").stat().st_mode) == 0o700


@pytest.mark.parametrize("cwd", ["..", "/", "link"])
async def test_a_folder_outside_of_the_workspace_is_refused_before_anything_runs(bench: Bench, cwd: str) -> None:
    (bench.places.workspace / "link").symlink_to("/")
    outcome = await bench.script("touch ran", {"cwd": cwd})
    assert (outcome.state, outcome.error_class, outcome.effect) == ("failed", "invalid", "none")
    assert "cwd" in outcome.message
    assert not (bench.places.workspace / "ran").exists()


@pytest.mark.parametrize(
    ("text", "error_class", "effect", "status"),
    [
        ("exit 4", "tool_error", "none", 4),
        ("kill -9 $$", "crash", "maybe", None),
        ("sleep 300", "timeout", "maybe", None),
    ],
)
async def test_failures_of_a_command_keep_their_class_and_effect(
    bench: Bench, text: str, error_class: str, effect: str, status: int | None
) -> None:
    outcome = await bench.script(text, timeout_ms=300)
    assert (outcome.state, outcome.error_class, outcome.effect, outcome.status) == (
        "failed",
        error_class,
        effect,
        status,
    )
    assert outcome.result is None
    assert outcome.feedback is None


async def test_what_the_executor_says_of_cost_and_session_is_passed_on(bench: Bench) -> None:
    answer = CallResult(
        output={"a": 1}, text="one", structured=True, cost=12, cost_source="billed", tokens={"in": 3}, executor="agent",
        model="smart", session="s-1", denials=("Bash",),
    )  # fmt: skip
    outcome = await bench.answer(answer)
    assert outcome == Outcome(
        state="succeeded", result={"value": {"output": {"a": 1}, "text": "one"}}, cost=12, cost_source="billed", tokens={"in": 3},
        executor="agent", model="smart", session="s-1", denials=("Bash",),
    )  # fmt: skip


async def test_a_verb_without_an_executor_needs_one(bench: Bench) -> None:
    outcome = await bench.run(task("agent", {"prompt": "hi"}))
    assert (outcome.error_class, outcome.effect) == ("invalid", "none")
    assert outcome.message == "needs an executor of `agent` steps, which is not configured"


async def test_a_step_with_a_workspace_of_its_own_needs_what_is_not_configured(bench: Bench) -> None:
    outcome = await bench.script("touch ran", {"workspace": {"git": "worktree"}})
    assert outcome.error_class == "invalid"
    assert not (bench.places.workspace / "ran").exists()


async def test_an_executor_that_raises_is_a_crash_whose_trace_is_masked(bench: Bench) -> None:
    outcome = await bench.answer(RuntimeError(f"broken by {SECRETS['TOKEN']}"))
    assert (outcome.state, outcome.error_class, outcome.effect) == ("failed", "crash", "maybe")
    assert "RuntimeError: broken by ***" in outcome.message
    assert SECRETS["TOKEN"] not in Path(outcome.log).read_text()
    assert "Traceback" in Path(outcome.log).read_text()


async def test_an_executor_that_does_not_end_at_its_deadline_is_left(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attempt_module, "SLACK_S", 0.05)
    never = asyncio.Event()
    hangs = Answers(lambda request: never.wait())
    outcome = await bench.run(task("tool", {"tool": "t", "with": {}}, timeout_ms=20), hangs)
    assert (outcome.error_class, outcome.effect) == ("timeout", "maybe")


async def test_cancellation_passes_and_closes_the_log(bench: Bench) -> None:
    reached = asyncio.Event()

    async def hang(request: Request) -> None:
        request.log.write("progress", "half-way")
        reached.set()
        await asyncio.Event().wait()

    running = asyncio.create_task(bench.answer(hang))
    await asyncio.wait_for(reached.wait(), 5)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert log_path(bench.places.logs, "r1", "step", 1).read_text() == "half-way"


async def test_a_cancel_after_the_answer_keeps_what_the_answer_has_cost(bench: Bench) -> None:
    started = bench.places.workspace / "started"
    spec = {"checks": [{"kind": "run", "run": {"script": "touch started; sleep 60"}}], "context": {}}
    answer = CallResult(output="done", cost=7, cost_source="billed", session="s-1")
    running = asyncio.create_task(bench.answer(answer, spec))
    async with asyncio.timeout(20):
        while not started.exists():
            await asyncio.sleep(0.02)
    running.cancel()
    outcome = await running
    assert (outcome.state, outcome.effect, outcome.session) == ("cancelled", "maybe", "s-1")
    assert (outcome.cost, outcome.cost_source) == (7, "billed")


# ---------------------------------------------------------------- secrets


async def test_secrets_are_filled_in_by_path_and_the_task_keeps_only_their_names(bench: Bench) -> None:
    inputs = {"tool": "t", "with": {"auth": "Bearer {{ secrets.TOKEN }}", "list": [{"x/y": "?"}, 1], "n": 1}}
    given = task("tool", inputs, secrets={
        "inputs/with/auth": ["Bearer ", {"secret": "TOKEN"}],
        "inputs/with/list/0/x/y": [{"secret": "OTHER"}, 7],
    })  # fmt: skip
    tool = Answers(CallResult(output="ok"))
    outcome = await bench.run(given, tool)
    assert outcome.state == "succeeded"
    assert tool.requests[0].inputs == {
        "tool": "t",
        "with": {"auth": "Bearer s3cr3t-value-1234", "list": [{"x/y": "another/secret+777"}, 1], "n": 1},
    }
    assert "s3cr3t" not in repr(given)
    assert inputs["with"] == {"auth": "Bearer {{ secrets.TOKEN }}", "list": [{"x/y": "?"}, 1], "n": 1}


async def test_a_secret_appears_nowhere_that_a_command_can_print_it(bench: Bench) -> None:
    text = 'printf "%s" "$T"; printf "%s" "$T" | base64; echo "$T" >&2; echo "$T" > file; cat file >&2; exit "$CODE"'
    for code in (0, 1):
        spec = {
            "env": {"T": "{{ secrets.TOKEN }}", "CODE": code},
            "checks": [
                {"kind": "run", "run": {"script": 'echo "$T"; cat; exit 1'}},
                {"kind": "expr", "expr": "text == 'x'"},
            ],
            "save": {"path": "out.txt", "from": None},
        }
        outcome = await bench.script(text, spec, secrets={"env/T": [{"secret": "TOKEN"}]})
        shown = repr(outcome) + Path(outcome.log).read_text() + repr(bench.blobs)
        assert outcome.state == "failed"
        assert "***" in outcome.message
        assert SECRETS["TOKEN"] not in shown
        assert "czNjcjN0LXZhbHVlLTEyMzQ" not in shown


@pytest.mark.parametrize("stream", ["", " >&2"])
async def test_a_secret_that_the_end_of_an_output_begins_in_is_masked_whole(bench: Bench, stream: str) -> None:
    text = f"printf '%s%3990s' \"$T\" .{stream}; exit 1"
    outcome = await bench.script(text, {"env": {"T": "?"}}, secrets={"env/T": [{"secret": "TOKEN"}]})
    assert SECRETS["TOKEN"][-6:] not in outcome.message
    assert "\n***  " in outcome.message


async def test_a_secret_split_over_two_writes_is_masked_in_the_log(bench: Bench) -> None:
    async def write(request: Request) -> CallResult:
        for part in ("so s3cr3t-", "value-", "1234 and on", "\n"):
            request.log.write("stdout", part)
        return CallResult(output=None)

    assert Path((await bench.answer(write)).log).read_text() == "so *** and on\n"


async def test_a_secret_that_fits_nowhere_stops_the_attempt(bench: Bench) -> None:
    outcome = await bench.script("touch ran", secrets={"inputs/with/x": [{"secret": "TOKEN"}]})
    assert (outcome.error_class, outcome.effect) == ("invalid", "none")
    assert not (bench.places.workspace / "ran").exists()


async def test_a_missing_secret_is_named_and_nothing_runs(bench: Bench) -> None:
    outcome = await bench.script("touch ran", secrets={"env/T": [{"secret": "NOPE"}]}, spec={"env": {"T": "?"}})
    assert (outcome.error_class, outcome.effect) == ("invalid", "none")
    assert outcome.message == "needs secret NOPE, which is not configured"
    assert not (bench.places.workspace / "ran").exists()


# ---------------------------------------------------------------- results


async def test_a_large_result_is_handed_over_as_a_blob(bench: Bench) -> None:
    outcome = await bench.script("head -c 10000 /dev/zero | tr '\\0' x")
    [(digest, data)] = bench.blobs.items()
    assert outcome.result == {"ref": digest, "size": len(data)}
    assert digest == digest_bytes(data)
    assert json.loads(data) == {"output": "x" * 10_000}


async def test_an_output_over_the_limit_is_bad_output_that_names_it(bench: Bench) -> None:
    outcome = await bench.answer(CallResult(output={"a": "x" * 2000}, structured=True), output=1000)
    assert (outcome.state, outcome.error_class, outcome.effect, outcome.result) == (
        "failed",
        "bad_output",
        "none",
        None,
    )
    assert "limit of 1000 bytes" in outcome.message
    assert outcome.feedback == outcome.message


@pytest.mark.parametrize("output", [float("nan"), {"a": [float("inf")]}, {"a": b"bytes"}])
async def test_an_output_that_is_not_json_is_bad_output(bench: Bench, output: Any) -> None:
    outcome = await bench.answer(CallResult(output=output, structured=True))
    assert (outcome.state, outcome.error_class) == ("failed", "bad_output")


async def test_half_a_surrogate_pair_does_no_harm(bench: Bench) -> None:
    outcome = await bench.answer(CallResult(output={"a\ud800": "\udfff"}, text="\ud800", structured=True))
    assert bench.result(outcome) == {"output": {"a?": "?"}, "text": "?"}
    failed = await bench.answer(CallResult(error_class="tool_error", message="no \ud800"))
    assert failed.message == "no ?"


async def test_what_a_stranger_says_of_its_call_is_masked_and_can_be_recorded(bench: Bench) -> None:
    said = f"\ud800 {SECRETS['TOKEN']}"
    answer = CallResult(
        error_class="bad_output", message="no", cost=10**306, cost_source="endpoint", tokens={"in": 10**400, "out": 3}, model=said,
        session=said, denials=(said,), retry_after_ms=10**30,
    )  # fmt: skip
    outcome = await bench.answer(answer)
    assert (outcome.model, outcome.session, outcome.denials) == ("? ***", "? ***", ("? ***",))
    assert (outcome.cost, outcome.cost_source, outcome.tokens) == (None, "", {"out": 3})
    assert outcome.retry_after_ms == LONGEST_WAIT_MS


async def test_a_long_message_is_cut_and_says_so(bench: Bench) -> None:
    outcome = await bench.answer(CallResult(error_class="tool_error", message="x" * 10_000))
    assert len(outcome.message) < 5_000
    assert outcome.message.endswith("characters more]")


async def test_the_log_is_capped_private_and_its_cut_is_marked(bench: Bench) -> None:
    async def flood(request: Request) -> CallResult:
        for _ in range(100):
            request.log.write("stdout", "0123456789")
        return CallResult(output=None)

    outcome = await bench.answer(flood, log=95)
    log = Path(outcome.log)
    kept, _, marker = log.read_text().partition("\n")
    assert kept == ("0123456789" * 10)[:95]
    assert marker == "[cut: the limit of 95 bytes a log was reached; 905 bytes more]\n"
    assert stat.S_IMODE(log.stat().st_mode) == 0o600
    assert stat.S_IMODE(log.parent.stat().st_mode) == stat.S_IMODE(log.parent.parent.stat().st_mode) == 0o700


async def test_a_quiet_attempt_has_no_log(bench: Bench) -> None:
    outcome = await bench.answer(CallResult(output=1))
    assert outcome.log == ""
    assert not bench.places.logs.exists()


async def test_a_log_that_cannot_be_written_fails_nothing(bench: Bench) -> None:
    bench.places.logs.parent.mkdir()
    bench.places.logs.write_text("a file where the folder should be")
    outcome = await bench.script("echo hi")
    assert (outcome.state, outcome.log) == ("succeeded", "")


async def test_a_folder_of_the_run_that_cannot_be_made_leaves_the_effect_known(bench: Bench) -> None:
    bench.places.run_dirs.parent.mkdir()
    bench.places.run_dirs.write_text("a file where the folder should be")
    outcome = await bench.script("touch ran")
    assert (outcome.error_class, outcome.effect) == ("invalid", "none")
    assert str(bench.places.run_dirs) in outcome.message


async def test_an_argument_that_no_command_line_can_hold_is_known_not_to_have_run(bench: Bench) -> None:
    outcome = await bench.run(task("run", {"argv": ["echo", ["x" * 2_000_000]]}))
    assert (outcome.error_class, outcome.effect) == ("invalid", "none")


def test_log_names_are_safe_and_never_meet() -> None:
    logs = Path("/logs")
    assert log_path(logs, "r1", "build[3]", 2) == Path("/logs/r1/build[3].2.log")
    hostile = {
        log_path(logs, run, node, 1)
        for run, node in [("..", "a"), ("%2e%%2e%", "a"), ("r", "../x"), ("r", "..%2f%x"), ("r", "a/b")]
    }
    assert len(hostile) == 5
    assert all(path.parent.parent == logs and ".." not in path.parts for path in hostile)


# ---------------------------------------------------------------- returns and checks


RETURNS = {"type": "object", "properties": {"n": {"type": "integer"}, "note": {"type": "string"}}, "required": ["n"]}


async def test_returns_shapes_the_output_of_a_command(bench: Bench) -> None:
    outcome = await bench.script("""echo '{"n": 1}'""", {"returns": RETURNS})
    assert bench.result(outcome) == {"output": {"n": 1, "note": None}, "text": '{"n": 1}'}


async def test_an_answer_that_returns_refuses_is_known_bad_output_with_feedback(bench: Bench) -> None:
    outcome = await bench.script("echo '{}'", {"returns": RETURNS})
    assert (outcome.state, outcome.error_class, outcome.effect) == ("failed", "bad_output", "none")
    assert outcome.feedback == "the answer does not fit `returns`: `n` is missing"
    assert bench.result(outcome) == {"output": "{}"}


async def test_bad_output_of_an_executor_keeps_what_there_was(bench: Bench) -> None:
    outcome = await bench.answer(CallResult(output="<html>", error_class="bad_output", message="HTML"))
    assert bench.result(outcome) == {"output": "<html>"}
    assert outcome.feedback == "HTML"


async def test_returns_that_is_no_schema_is_the_manifests_mistake(bench: Bench) -> None:
    outcome = await bench.script("echo '{}'", {"returns": {"type": "objekt"}})
    assert (outcome.error_class, outcome.effect) == ("invalid", "none")


def expr(text: str) -> dict[str, Any]:
    return {"kind": "expr", "expr": text}


def command(*argv: str, **more: Any) -> dict[str, Any]:
    return {"kind": "run", "run": {"argv": list(argv)}, **more}


async def test_checks_that_pass_are_recorded_with_the_result(bench: Bench) -> None:
    spec = {
        "checks": [expr("text == 'hi' and inputs.n == 2"), command("grep", "{{ output }}")],
        "context": {"inputs": {"n": 2}},
    }
    outcome = await bench.script("echo hi", spec)
    assert outcome.state == "succeeded"
    expected = [
        {"kind": "expr", "passed": True, "message": "text == 'hi' and inputs.n == 2"},
        {"kind": "run", "passed": True, "message": "grep hi"},
    ]
    assert list(outcome.checks) == expected
    assert bench.result(outcome) == {"output": "hi", "checks": expected}


async def test_all_checks_are_judged_and_the_failed_ones_are_the_feedback(bench: Bench) -> None:
    spec = {
        "checks": [
            expr("output | length == 9"),
            expr("output == 'hi'"),
            {"kind": "run", "run": {"script": "echo on stdout; echo on stderr >&2; exit 7"}},
            expr("output.nope == 1"),
            expr("output"),
            {"kind": "changed", "changed": {}},
            {"kind": "judge", "judge": {"prompt": "good?"}, "min": 0.5},
            command("echo", "{{ output.nope }}"),
        ]
    }
    outcome = await bench.script("echo hi", spec)
    assert (outcome.state, outcome.error_class, outcome.effect) == ("failed", "check_failed", "none")
    assert "judge" not in [check["kind"] for check in outcome.checks], "it costs money, and the step has failed"
    assert [check["passed"] for check in outcome.checks] == [False, True, False, False, False, False, False]
    messages = [check["message"] for check in outcome.checks]
    assert messages[0] == 'output | length == 9 is false; output = "hi"'
    assert messages[2].splitlines() == [
        "echo on stdout; echo on stderr >&2; exit 7: exit code 7",
        "on stderr",
        "on stdout",
    ]
    assert "cannot be evaluated" in messages[3]
    assert "cannot be evaluated" in messages[4]
    assert messages[5] == "0 files touched, at least 1 expected"
    assert "cannot be rendered" in messages[6]
    assert outcome.feedback == "\n".join(
        message for message, check in zip(messages, outcome.checks, strict=True) if not check["passed"]
    )
    assert bench.result(outcome)["output"] == "hi"


async def test_a_check_has_the_steps_folder_and_environment_and_its_text_on_stdin(bench: Bench) -> None:
    (bench.places.workspace / "sub").mkdir()
    script = 'test "$(cat)" = hi && test "$A" = x && test "$(basename "$PWD")" = sub && echo checked'
    spec = {"cwd": "sub", "env": {"A": "x"}, "checks": [{"kind": "run", "run": {"script": script}}]}
    outcome = await bench.script("echo hi", spec)
    assert outcome.state == "succeeded"
    assert Path(outcome.log).read_text() == "hi\nchecked\n"


async def test_a_check_has_a_timeout_of_its_own(bench: Bench) -> None:
    spec = {"checks": [command("sleep", "300", timeout=100)]}
    outcome = await bench.script("sleep 0.05", spec, timeout_ms=10_000)
    assert (outcome.error_class, outcome.effect) == ("check_failed", "none")
    assert "timed out after 0.1 s" in outcome.message


async def test_output_is_never_rendered_again(bench: Bench) -> None:
    spec = {
        "checks": [command("test", "{{ output }}", "=", "{{ '{{' }} inputs.x }}")],
        "context": {"inputs": {"x": "leaked"}},
        "save": {"path": "out", "from": "{{ output }}"},
    }
    outcome = await bench.script("echo '{{ inputs.x }}'", spec)
    assert (outcome.state, outcome.message) == ("succeeded", "")
    assert (bench.places.workspace / "out").read_text() == "{{ inputs.x }}\n"


# ---------------------------------------------------------------- save


async def test_save_writes_the_text_and_names_its_digest(bench: Bench) -> None:
    outcome = await bench.script("echo one; echo two", {"save": {"path": "deep/report.md", "from": None}})
    data = (bench.places.workspace / "deep" / "report.md").read_bytes()
    assert data == b"one\ntwo\n"
    assert outcome.products == {"deep/report.md": digest_bytes(data)}


async def test_save_keeps_the_rights_of_a_file_that_was_there(bench: Bench) -> None:
    program = bench.places.workspace / "go.sh"
    program.write_text("old")
    program.chmod(0o700)
    await bench.script("echo new", {"save": {"path": "go.sh", "from": None}})
    assert (program.read_text(), program.stat().st_mode & 0o777) == ("new\n", 0o700)


async def test_save_writes_structured_output_as_json(bench: Bench) -> None:
    spec = {"returns": RETURNS, "save": {"path": "./n.json"}}
    outcome = await bench.script("""echo '{"n": 1}'""", spec)
    assert (bench.places.workspace / "n.json").read_text() == '{\n  "n": 1,\n  "note": null\n}\n'
    assert list(outcome.products) == ["n.json"]


async def test_save_from_a_template_that_fails_is_a_known_failure(bench: Bench) -> None:
    outcome = await bench.script("echo body", {"save": {"path": "out", "from": "{{ output.nope.deeper }}"}})
    assert (outcome.error_class, outcome.effect) == ("invalid", "none")
    assert outcome.message.startswith("save: ")


async def test_save_from_writes_what_its_template_gives(bench: Bench) -> None:
    spec = {"save": {"path": "out", "from": "{{ vars.head }}: {{ output }}"}, "context": {"vars": {"head": "H"}}}
    await bench.script("echo body", spec)
    assert (bench.places.workspace / "out").read_text() == "H: body\n"


@pytest.mark.parametrize("path", ["../out", "/tmp/ares-out", "link/out"])
async def test_save_outside_of_the_workspace_is_refused_and_the_effect_is_known(
    bench: Bench, path: str, tmp_path: Path
) -> None:
    (bench.places.workspace / "link").symlink_to(tmp_path)
    outcome = await bench.script("echo x", {"save": {"path": path}})
    assert (outcome.state, outcome.error_class, outcome.effect) == ("failed", "invalid", "none")
    assert not (tmp_path / "out").exists()
    assert bench.result(outcome)["output"] == "x"


@pytest.mark.parametrize("path", [".git/hooks/pre-commit", ".ares/state.db", "sub/.git/config"])
async def test_save_keeps_out_of_gits_folder_and_ours(bench: Bench, path: str) -> None:
    outcome = await bench.script("echo x", {"save": {"path": path}})
    assert (outcome.error_class, outcome.effect) == ("invalid", "none")
    assert not (bench.places.workspace / path).exists()


async def test_an_output_of_too_many_levels_is_bad_output(bench: Bench) -> None:
    nested: Any = 1
    for _ in range(400):
        nested = [nested]
    outcome = await bench.answer(CallResult(output=nested, structured=True))
    text = await bench.script("printf '[%.0s' $(seq 400); printf ']%.0s' $(seq 400)", {"returns": {"type": "array"}})
    assert (outcome.error_class, text.error_class) == ("bad_output", "bad_output")
    assert "too deeply" in outcome.message
    assert "too deeply" in text.message


async def test_save_that_the_disk_refuses_is_a_known_failure(bench: Bench) -> None:
    (bench.places.workspace / "folder").mkdir()
    outcome = await bench.script("echo x", {"save": {"path": "folder"}})
    assert (outcome.state, outcome.effect, outcome.products) == ("failed", "none", {})
    assert outcome.message.startswith("save: folder")


async def test_nothing_is_saved_when_a_check_fails(bench: Bench) -> None:
    outcome = await bench.script("echo x", {"checks": [expr("output == 'y'")], "save": {"path": "out"}})
    assert outcome.error_class == "check_failed"
    assert not (bench.places.workspace / "out").exists()


async def test_the_attempts_deadline_does_not_count_its_checks(bench: Bench) -> None:
    started = time.monotonic()
    outcome = await bench.script("true", {"checks": [{"kind": "run", "run": {"script": "sleep 2.1"}}]}, timeout_ms=2000)
    assert outcome.state == "succeeded"
    assert time.monotonic() - started > 2
