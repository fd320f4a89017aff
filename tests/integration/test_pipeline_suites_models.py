"""`runner test` with models: recorded against upstreams of ours, replayed when they are gone and no key is set."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_project import Project
from upstreams import Upstreams

KEY = "sk-proxy-0123456789"
CONFIG = """
lite_llm_url: {proxy}
models:
  endpoints:
    proxy: {{kind: litellm_proxy, api_key: "${{PROXY_KEY}}"}}
    backup: {{kind: openai, url: "{backup}/v1", role: backup, api_key: "${{PROXY_KEY}}"}}
  catalog:
    fast: {{endpoint: proxy, model: rate429, tier: free}}
    smart: {{endpoint: proxy, model: smart, tier: paid}}
    spare: {{endpoint: backup, model: spare, tier: paid, price: {{in: 3, out: 15}}}}
  chains: {{default: [fast, smart, spare]}}
router: {{models: default}}
"""
TRIAGE = """
ares: v1
name: triage
inputs: {issue: {type: string, default: "It crashes"}}
steps:
  classify:
    model: "Classify this issue:\\n{{ inputs.issue }}"
    returns: {type: {enum: [bug, feature]}}
    repair: {max: 2}
  reply:
    model: {prompt: "Answer the {{ steps.classify.output.type }}.", system: Be kind.}
    checks: [{judge: The answer is kind, min: 0.5}]
outputs: {type: "{{ steps.classify.output.type }}", reply: "{{ steps.reply.text }}"}
"""
SUITE = """
ares-test: v1
manifest: triage.yaml
cases:
  a bug:
    expect:
      steps:
        classify: {route: [fast, smart, smart], model: smart, executor: proxy, output: {type: bug}}
        reply: {model: smart, contains: Sorry}
      outputs: {type: bug, reply: Sorry to hear that.}
      cost_usd: {min: 0.03, max: 0.05}
"""
TWO = """
ares: v1
name: two
steps:
  a: {model: one, route: {models: [smart]}}
  b: {model: two, route: {models: [smart]}, needs: [a]}
"""
TWO_SUITE = """
ares-test: v1
manifest: two.yaml
cases:
  one after the other:
    stubs: {a: {text: x}, b: {text: y}}
    expect: {run: succeeded}
"""


@pytest.fixture
def upstreams() -> Iterator[Upstreams]:
    found = Upstreams(usd=0.01)
    yield found
    found.close()


@pytest.fixture
def project(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, upstreams: Upstreams
) -> Project:
    for name in [name for name in os.environ if name.startswith(("RUNNER_", "GITHUB_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PROXY_KEY", KEY)
    monkeypatch.chdir(tmp_path)
    made = Project(tmp_path, capsys)
    made.write("config.yaml", CONFIG.format(proxy=upstreams.proxy.url, backup=upstreams.backup.url))
    made.write("triage.yaml", TRIAGE)
    made.write("suite.yaml", SUITE)
    return made


def recorded(project: Project, upstreams: Upstreams) -> str:
    judged = '{"score": 0.9, "reason": "kind enough"}'
    upstreams.proxy.says["smart"] = ["not json", '{"type": "bug"}', "Sorry to hear that.", judged]
    ended = project.cli("test", "suite.yaml", "--record")
    assert ended.code == 0, ended.out + ended.err
    return (project.root / "suite.recording.yaml").read_text()


def test_models_are_recorded_and_replayed_without_them_and_without_a_key(
    project: Project, upstreams: Upstreams, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = recorded(project, upstreams)
    assert KEY not in text
    assert "to: model fast" in text and "error: rate_limit" in text and 'retry_after: "7s"' in text
    assert "feedback: " in text and "part: judge/" in text and "session" not in text
    assert "prompt: |-\n            Classify this issue:\n            It crashes\n" in text

    upstreams.stop(upstreams.proxy)
    monkeypatch.delenv("PROXY_KEY")
    asked = len(upstreams.proxy.seen)
    replayed = project.cli("test", "suite.yaml")
    assert replayed.code == 0, replayed.out + replayed.err
    assert len(upstreams.proxy.seen) == asked
    upstreams.start(upstreams.proxy)


def test_a_changed_prompt_fails_with_the_difference(project: Project, upstreams: Upstreams) -> None:
    recorded(project, upstreams)
    project.write("triage.yaml", TRIAGE.replace("Classify this issue:", "Classify this issue in one word:"))
    ended = project.cli("test", "suite.yaml")
    assert ended.code == 1
    assert (
        "      classify: it asks something else than when it was recorded: `prompt`\n"
        "        --- prompt (recorded)\n"
        "        +++ prompt (now)\n"
        "        @@ -1,3 +1,3 @@\n"
        "         prompt: |-\n"
        "        -  Classify this issue:\n"
        "        +  Classify this issue in one word:\n"
        "           It crashes\n"
    ) in ended.out


def test_another_chain_asks_somebody_else_than_was_recorded(project: Project, upstreams: Upstreams) -> None:
    recorded(project, upstreams)
    project.write("triage.yaml", TRIAGE.replace("repair: {max: 2}", "repair: {max: 2}\n    route: {models: [smart]}"))
    ended = project.cli("test", "suite.yaml")
    assert ended.code == 1
    assert "classify: it was asked of `model fast` when it was recorded, and now of `model smart`" in ended.out


def test_stubs_play_an_outage_and_the_backup_answers_in_degraded_mode(project: Project, upstreams: Upstreams) -> None:
    project.write(
        "suite.yaml",
        """
ares-test: v1
manifest: triage.yaml
stubs:
  reply: {text: Sorry.}
cases:
  the proxy is gone:
    stubs:
      classify: [{error: unavailable, contact: unreached}, {text: '{"type": "bug"}', model: spare}]
    expect:
      steps: {classify: {route: [fast, spare], model: spare, executor: backup}}
      checks: [{expr: "steps.classify.attempts == 2"}]
  nobody is there:
    mode: brainstem
    expect: {run: suspended, reasons: mode, exit: 5}
""".replace("  reply: {text: Sorry.}", "  reply: {text: Sorry., cost_usd: 0.5}"),
    )
    project.write("triage.yaml", TRIAGE.replace("    checks: [{judge: The answer is kind, min: 0.5}]\n", ""))
    ended = project.cli("test", "suite.yaml")
    assert ended.code == 0, ended.out + ended.err
    assert upstreams.proxy.seen == upstreams.backup.seen == []


def test_a_model_with_a_limit_of_requests_a_minute_keeps_no_test_waiting(project: Project) -> None:
    project.write(
        "config.yaml",
        (project.root / "config.yaml").read_text().replace("smart, tier: paid", "smart, tier: paid, rpm: 1"),
    )
    project.write("two.yaml", TWO)
    project.write("two.test.yaml", TWO_SUITE)
    ended = project.cli("test", "two.test.yaml")
    assert (ended.code, "✓ one after the other" in ended.out) == (0, True), ended.out
