"""The outage, with a real LiteLLM proxy: it is killed in mid-call, the backup dies too, and it comes back. `.ci/install-litellm-proxy`
installs it; else these tests skip with the reason."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from apply_project import Project, states
from servers.fake_llm import FakeLlm

from runner.api.apply import apply, resume
from runner.api.request import Request
from runner.errors import StoreError

pytestmark = pytest.mark.slow

INSTALL = Path(__file__).parents[2] / ".ci" / "install-litellm-proxy"
START_S = 240.0
"""Two dozen seconds on an idle machine."""
KEY = "sk-of-the-real-proxy"
PROXY = """
model_list:
  - {model_name: fast, litellm_params: {model: openai/fast, api_key: none, mock_response: "hello from the proxy"}}
  - {model_name: held, litellm_params: {model: openai/held, api_key: none, mock_response: "too late", mock_delay: 600}}
litellm_settings: {telemetry: false}
"""
CONFIG = """
lite_llm_url: "http://127.0.0.1:{proxy}"
models:
  endpoints:
    proxy: {{kind: litellm_proxy, api_key: "${{A_PROXY_KEY}}", probe: /health/readiness}}
    backup: {{kind: openai, url: "http://127.0.0.1:{backup}", role: backup, api_key: "${{A_BACKUP_KEY}}"}}
  catalog:
    fast: {{endpoint: proxy, model: fast, tier: free}}
    held: {{endpoint: proxy, model: held, tier: free}}
    spare: {{endpoint: backup, model: spare, tier: paid, price: {{in: 1, out: 2}}}}
router: {{models: [fast, spare]}}
fault_handler: {{open_for: 200ms, probe_interval: 200ms, min_dwell: 500ms}}
"""


class Proxy:
    """A real proxy as a process of its own."""

    def __init__(self, program: str, folder: Path) -> None:
        self._program, self._folder = program, folder
        (folder / "proxy.yaml").write_text(PROXY)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Returns when it is ready."""
        argv = [
            self._program,
            "--config",
            "proxy.yaml",
            "--host",
            "127.0.0.1",
            "--port",
            str(self.port),
            "--num_workers",
            "1",
        ]
        env = {
            "LITELLM_MASTER_KEY": KEY,
            "PATH": os.environ["PATH"],
            "HOME": str(self._folder),
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
            "LITELLM_MODE": "PRODUCTION",
        }
        with (self._folder / "proxy.log").open("ab") as log:
            self._process = subprocess.Popen(
                argv, cwd=self._folder, env=env, stdout=log, stderr=log, start_new_session=True
            )
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline:
            assert self._process.poll() is None, (self._folder / "proxy.log").read_text()
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/health/readiness", timeout=5) as answer:
                    assert answer.status == 200
                    return
            except OSError:
                continue
        raise AssertionError((self._folder / "proxy.log").read_text())

    def kill(self) -> None:
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None


@pytest.fixture(scope="session")
def program() -> str:
    done = subprocess.run(["bash", str(INSTALL)], capture_output=True, text=True, timeout=600)
    if done.returncode == 75:
        pytest.skip(done.stderr.strip())
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture
def proxy(program: str, tmp_path: Path) -> Iterator[Proxy]:
    found = Proxy(program, tmp_path)
    found.start()
    yield found
    found.kill()


async def test_an_outage_with_a_real_proxy_from_normal_to_brainstem_and_back(
    proxy: Proxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("A_PROXY_KEY", KEY)
    monkeypatch.setenv("A_BACKUP_KEY", "key-of-the-backup")
    project = Project(tmp_path / "project")
    async with FakeLlm(usd=0.001) as backup:
        project.write("config.yaml", CONFIG.format(proxy=proxy.port, backup=backup.port))
        project.manifest("""
            steps:
              normal: {model: hello}
              degraded: {model: "{{ steps.normal.text }}", route: {models: [held, spare]}}
              after: {model: "{{ steps.degraded.text }}", needs: [door]}
              door: {run: [sh, -c, "echo > begun; read x < go"], effects: none, needs: [degraded]}
              local: {run: [echo, done], effects: none, needs: [door]}
        """)
        for name in ("begun", "go"):
            os.mkfifo(project.folder / name)

        async def outage() -> None:
            await asyncio.to_thread(_until_asked, project)
            proxy.kill()
            await asyncio.to_thread((project.folder / "begun").read_text)
            await backup.stop()
            (project.folder / "go").write_text("go\n")

        dying = asyncio.create_task(outage())
        [run] = (await apply(project.loaded(), project.settings, Request())).runs
        await dying
        assert states(run) == {
            "normal": "succeeded", "degraded": "succeeded", "door": "succeeded", "local": "succeeded", "after": "suspended",
        }  # fmt: skip
        assert (run.exit_code, run.reasons) == (5, ("mode",))
        assert [run.steps[id].model for id in ("normal", "degraded")] == ["fast", "spare"]
        assert _gap_ms(project, run.run or "") < 2_000, "from the call that broke to its successor"

        proxy.start()
        [again] = (await resume("m", project.settings)).runs
        assert (again.state, again.steps["after"].model) == ("succeeded", "fast")
        assert _started(project, again.run or "") == {"normal": 1, "degraded": 2, "door": 1, "local": 1, "after": 2}
        await backup.start()


def _until_asked(project: Project) -> None:
    """Until the call that the proxy holds is on record, and a little later on its way: the proxy is asked right after the commit."""
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        try:
            store = project.record()
        except StoreError:  # it is being made
            continue
        try:
            if any(attempt.node == "degraded" for run in store.runs() for attempt in store.attempts(run.run)):
                return
        finally:
            store.close()
    raise AssertionError("the step never began")


def _attempts(project: Project, run: str) -> list[Any]:
    store = project.record()
    try:
        return list(store.attempts(run))
    finally:
        store.close()


def _started(project: Project, run: str) -> dict[str, int]:
    counts: dict[str, int] = {}
    for attempt in _attempts(project, run):
        counts[attempt.node] = counts.get(attempt.node, 0) + 1
    return counts


def _gap_ms(project: Project, run: str) -> int:
    first, second = [attempt for attempt in _attempts(project, run) if attempt.node == "degraded"]
    return int(second.started - first.ended)
