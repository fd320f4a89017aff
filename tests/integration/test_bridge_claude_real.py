"""The bundled server `claude-code` with the real `claude`, against a loopback API that plays a script. `.ci/install-claude` installs
it; else these tests skip with the reason."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

import pytest
from bridge_calls import Bridge, ends
from servers.fake_anthropic import FakeAnthropic, Turn

pytestmark = pytest.mark.slow

WRITE = Turn(tool="Write", given={"file_path": "note.txt", "content": "hello\n"})


class Agent(Bridge):
    """The bridge, with a home and a folder of its own, in front of `api`."""

    def __init__(self, claude: str, api: FakeAnthropic, root: Path, *args: str, key: str = "sk-test") -> None:
        self.folder, home = root / "work", root / "home"
        for folder in (self.folder, home):
            folder.mkdir(exist_ok=True)
        env = {"HOME": str(home), "ANTHROPIC_BASE_URL": api.url, "ANTHROPIC_API_KEY": key}
        super().__init__("claude_code", f"--command={claude}", *args, env=env, cwd=self.folder)


def test_a_task_with_tool_use_changes_a_file(claude: str, tmp_path: Path) -> None:
    with FakeAnthropic([WRITE, Turn(text="it is written")]) as api, Agent(claude, api, tmp_path) as agent:
        told = agent.run(prompt="write a note", allowed_tools=["Write"])
        assert (told["status"], told["text"], told["turns"], told["tool_calls"]) == ("ok", "it is written", 2, 1)
        assert (agent.folder / "note.txt").read_text() == "hello\n"
        assert told["cost_usd"] > 0
        assert told["usage"]["out"] == 10
        assert agent.progress[0]["message"] == f"session: {told['session_id']}"
        assert "Write note.txt" in [one["message"] for one in agent.progress]


def test_a_denied_tool_is_reported_denied_and_changes_nothing(claude: str, tmp_path: Path) -> None:
    with FakeAnthropic([WRITE, Turn(text="all done!")]) as api, Agent(claude, api, tmp_path) as agent:
        told = agent.run(prompt="write a note")
        assert (told["status"], told["error"]["kind"]) == ("denied", "denied")
        assert [denial["tool"] for denial in told["denials"]] == ["Write"]
        assert not (agent.folder / "note.txt").exists()


@pytest.mark.parametrize(
    ("turn", "kind", "status"),
    [
        (Turn(status=401), "auth", 401),
        (Turn(status=403), "auth", 403),
        (Turn(status=429), "rate_limit", 429),
        (Turn(status=529), "unavailable", 529),
        (Turn(status=500), "unavailable", 500),
        (Turn(status=400), "invalid", 400),
        (Turn(status=400, message="prompt is too long: 9 tokens > 8 maximum"), "context_overflow", 400),
        (Turn(status=400, message="Your credit balance is too low to access the Anthropic API."), "quota", 400),
    ],
)
def test_a_refusal_of_the_api_has_its_class_and_its_status(
    turn: Turn, kind: str, status: int, claude: str, tmp_path: Path
) -> None:
    with FakeAnthropic([turn]) as api, Agent(claude, api, tmp_path) as agent:
        told = agent.run()
    assert (told["status"], told["error"]["kind"], told["error"]["http_status"]) == ("error", kind, status)
    assert (told["text"], told["turns"], told["cost_usd"]) == ("", 0, 0.0)


@pytest.mark.parametrize(
    ("stop", "status", "kind"),
    [
        ("refusal", "denied", "denied"),
        ("max_tokens", "error", "bad_output"),
        ("model_context_window_exceeded", "error", "context_overflow"),
    ],
)
def test_an_answer_that_was_stopped_is_no_success(
    stop: str, status: str, kind: str, claude: str, tmp_path: Path
) -> None:
    with FakeAnthropic([Turn(text="so far", stop=stop)]) as api, Agent(claude, api, tmp_path) as agent:
        told = agent.run()
    assert (told["status"], told["error"]["kind"]) == (status, kind)


def test_without_a_login_it_is_auth_and_without_an_api_unavailable(claude: str, tmp_path: Path) -> None:
    with FakeAnthropic([Turn(text="x")]) as api:
        with Agent(claude, api, tmp_path, key="") as agent:
            assert agent.run()["error"]["kind"] == "auth"
        agent = Agent(claude, api, tmp_path)
    with agent:  # the API is gone
        assert agent.run()["error"]["kind"] == "unavailable"


def test_a_task_is_cancelled_in_the_middle_of_a_command_with_no_process_left(claude: str, tmp_path: Path) -> None:
    mark = "setsid sleep 600 & echo $! > pid; echo $$ >> pid; sleep 601"
    script = [Turn(tool="Bash", given={"command": mark, "description": "wait"}), Turn(text="x")]
    with FakeAnthropic(script) as api, Agent(claude, api, tmp_path) as agent:
        request = agent.begin(prompt="wait", allowed_tools=["Bash"])
        agent.told("Bash ")
        pids = _written(agent.folder / "pid")
        agent.cancel(request)
        assert all(map(ends, pids))
        assert agent.answer(agent.request("ping"))["result"] == {}


def _written(file: Path) -> list[int]:
    """Both pids in `file`, once they are there."""
    done = subprocess.run(["timeout", "30", "sh", "-c", f"until [ $(wc -l < '{file}') = 2 ]; do :; done 2>/dev/null"])
    assert done.returncode == 0
    return [int(pid) for pid in file.read_text().split()]


def test_a_killed_task_goes_on_in_its_session_and_costs_only_what_is_new(claude: str, tmp_path: Path) -> None:
    with FakeAnthropic([WRITE, Turn(hold=True)]) as api:
        with Agent(claude, api, tmp_path) as agent:
            agent.begin(prompt="write a note", allowed_tools=["Write"])
            session = agent.told("session: ").partition(": ")[2]
            assert api.reached.wait(30)
            agent.process.send_signal(signal.SIGKILL)
            assert api.gone.wait(10)  # claude itself has ended
        api.script = (Turn(text="it was written before"),)
        with Agent(claude, api, tmp_path) as agent:
            told = agent.run(prompt="go on", session=session)
            again = agent.run(prompt="and on", session=session)
    assert (told["status"], told["session_id"]) == ("ok", session)
    said = str(api.asked[-1]["messages"])
    assert "write a note" in said and "File created" in said and "go on" in said
    assert again["cost_usd"] == pytest.approx(told["cost_usd"], rel=0.01)


def test_a_session_that_nobody_knows_is_told_as_such(claude: str, tmp_path: Path) -> None:
    with FakeAnthropic([Turn(text="x")]) as api, Agent(claude, api, tmp_path) as agent:
        error = agent.run(session="11111111-1111-4111-8111-111111111111")["error"]
    assert (error["kind"], error["session_unknown"]) == ("invalid", True)


def test_the_output_schema_is_kept_or_the_output_is_bad(claude: str, tmp_path: Path) -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    kept = Turn(tool="StructuredOutput", given={"n": 3})
    with FakeAnthropic([kept, Turn(text="no")]) as api, Agent(claude, api, tmp_path) as agent:
        told = agent.run(output_schema=schema)
        assert (told["status"], told["structured"]) == ("ok", {"n": 3})
        assert agent.run(output_schema=schema)["error"]["kind"] == "bad_output"


def test_the_spend_cap_ends_the_task_and_the_cost_is_told(claude: str, tmp_path: Path) -> None:
    ls = Turn(tool="Bash", given={"command": "ls", "description": "list"})
    with FakeAnthropic([ls]) as api, Agent(claude, api, tmp_path) as agent:
        told = agent.run(max_usd=0.000_01, allowed_tools=["Bash"])
    assert (told["error"]["kind"], told["cost_usd"] > 0) == ("tool_error", True)
    assert "budget" in told["error"]["message"]


def test_a_usage_limit_that_is_told_as_an_answer_is_quota_with_its_end(claude: str, tmp_path: Path) -> None:
    notice = Turn(text="Claude AI usage limit reached|1900000000")
    with FakeAnthropic([notice]) as api, Agent(claude, api, tmp_path) as agent:
        error = agent.run()["error"]
    assert (error["kind"], error["resets_at"]) == ("quota", 1_900_000_000)
