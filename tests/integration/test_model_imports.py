"""What a model's client costs to import is paid by nobody who does not call one, and holds up nobody who does something else."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest
from cli_project import environment
from servers.fake_llm import FakeLlm

CONFIG = """
models:
  endpoints: {{near: {{kind: openai, url: "http://127.0.0.1:{port}/v1", client: {client}}}}}
  catalog: {{ok: {{endpoint: near, model: ok, tier: free}}}}
  chains: {{default: [ok]}}
router: {{models: default}}
"""
MANIFEST = """
ares: v1
name: both
steps:
  other: {{run: [touch, "{marker}"], effects: none}}
  asked: {{model: hello}}
"""
CLIENTS = ("litellm", "openai", "httpx", "httpx2")
LOADED = f"""
import contextlib, io, sys
from runner.cli.main import run
with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
    code = run(sys.argv[1:])
print(code, *[name for name in {CLIENTS} if name in sys.modules])
"""


async def output(folder: Path, *argv: str) -> tuple[int | None, str]:
    child = await asyncio.create_subprocess_exec(
        sys.executable, *argv, cwd=folder, env=environment(), stdout=-1, stderr=asyncio.subprocess.STDOUT
    )
    text, _ = await child.communicate()
    return child.returncode, text.decode()


def project(folder: Path, client: str, port: int = 9) -> Path:
    marker = folder / "other-was-here"
    (folder / "config.yaml").write_text(CONFIG.format(client=client, port=port))
    (folder / "both.yaml").write_text(MANIFEST.format(marker=marker))
    return marker


@pytest.mark.parametrize(
    ("client", "module"),
    [("http", "runner.llms.http_client"), pytest.param("litellm", "litellm", marks=pytest.mark.slow)],
)
async def test_other_steps_are_done_before_a_models_client_is_imported(
    tmp_path: Path, client: str, module: str
) -> None:
    script = str(Path(__file__).with_name("awaited_import.py"))
    async with FakeLlm() as upstream:
        marker = project(tmp_path, client, upstream.port)
        code, text = await output(tmp_path, script, module, str(marker), "apply", "both.yaml")
    assert (code, upstream.asked()) == (0, ["ok"]), text


@pytest.mark.parametrize("argv", [["validate"], ["plan", "--explain"], ["route"], ["graph"]], ids=lambda argv: argv[0])
async def test_commands_that_only_look_import_no_client(tmp_path: Path, argv: list[str]) -> None:
    project(tmp_path, "litellm")
    step = ["asked"] if argv == ["route"] else []
    assert await output(tmp_path, "-c", LOADED, argv[0], "both.yaml", *step, *argv[1:]) == (0, "0\n")
