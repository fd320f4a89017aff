"""The Dockerfile, without an engine: its shape, and its RUN and CMD lines in a clean folder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from project import ROOT, copy_of_this_tree

LINES = [
    line.split(None, 1)
    for line in (ROOT / "Dockerfile").read_text().replace("\\\n", " ").splitlines()
    if line.strip() and not line.startswith("#")
]
NEEDS_ROOT = ("useradd", "chown")
"""Commands that a test may not run on the machine that it runs on."""


def test_it_has_two_stages_and_the_second_runs_the_quickstart_without_rights() -> None:
    words = [word for word, _ in LINES]
    assert words.count("FROM") == 2
    last_stage = LINES[len(words) - words[::-1].index("FROM") :]
    assert [word for word, _ in last_stage[-2:]] == ["USER", "CMD"]
    assert last_stage[-2][1] not in ("root", "0")
    assert json.loads(last_stage[-1][1]) == ["runner", "apply", "manifests/"]
    assert not any("uv" in rest.split()[0] for word, rest in last_stage if word == "RUN")


def test_what_must_not_be_in_an_image_is_ignored() -> None:
    ignored = set((ROOT / ".dockerignore").read_text().split())
    assert {".git", ".ares", "config.yaml", ".env*", ".venv*", ".uv"} <= ignored


@pytest.mark.slow
def test_its_run_and_cmd_lines_work_in_a_clean_folder(tmp_path: Path) -> None:
    app, tree = tmp_path / "app", copy_of_this_tree(tmp_path / "context")
    env = {**os.environ, "PATH": f"{Path(sys.base_prefix) / 'bin'}:/usr/bin:/bin", "HOME": os.environ["HOME"]}
    env.pop("VIRTUAL_ENV", None)

    def here(text: str) -> str:
        return text.replace("/app", str(app)).replace("/opt/uv", str(tmp_path / "uv")).replace("$PATH", env["PATH"])

    def run(line: str | list[str]) -> None:
        done = subprocess.run(
            line, shell=isinstance(line, str), cwd=app, env=env, capture_output=True, text=True, timeout=300
        )
        assert done.returncode == 0, f"{line}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"

    for word, rest in LINES:
        match word:
            case "WORKDIR":
                Path(here(rest)).mkdir(exist_ok=True)
            case "ENV":
                env |= dict(pair.split("=", 1) for pair in here(rest).split())
            case "COPY" if "--from=" not in rest:
                *sources, _ = rest.split()
                for source in sources:
                    subprocess.run(
                        ["cp", "-R", str(tree / source) + ("/." if source == "." else ""), str(app)], check=True
                    )
            case "COPY":
                assert rest.split()[-2:] == ["/app", "/app"]  # the second stage has it at the same place
            case "RUN" if not rest.startswith(NEEDS_ROOT):
                run(here(rest).replace("python -m venv", f"{sys.executable} -m venv"))
            case "CMD":
                run([str(app / ".venv" / "bin" / json.loads(rest)[0]), *json.loads(rest)[1:]])
    assert (app / "reports" / "repository.md").is_file()
