"""Trees to run the program in, and what it says there, told so that two runs of it can be compared."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent.parent
GOLDEN = Path(__file__).parent / "golden"
QUICKSTART = ROOT / "manifests" / "quickstart"
LEFT_OUT = (
    ".git", ".uv", ".venv*", ".ares", ".*_cache", ".hypothesis", "__pycache__", "reports", "config.yaml", "htmlcov", "dist", ".coverage*",
)  # fmt: skip
"""What a fresh clone does not have."""

SMALL = {
    "LICENSE": "Anybody may do anything.\n",
    "pyproject.toml": '[project]\nname = "small"\n',
    "uv.lock": "version = 1\n",
    "README.md": "# Small\n",
    "docs/one.md": "three more words\n",
    "runner/core/__init__.py": '"""The inner part."""\n',
    "runner/core/rules.py": "ANSWER = 42\n\n\ndef ask() -> int:\n    return ANSWER  # TODO: ask somebody\n",
    "runner/cli/__init__.py": '"""The outer part.\n\nMore about it."""\n',
    "tests/test_rules.py": "def test_the_answer_is_known() -> None:\n    assert True\n",
}
"""A project with fixed content, so that plans, events and reports have a fixed content, too."""


def copy_of_this_tree(to: Path) -> Path:
    """This repository as a fresh clone would have it, uncommitted changes included."""
    shutil.copytree(ROOT, to, ignore=shutil.ignore_patterns(*LEFT_OUT))
    return to


def small_project(to: Path) -> Path:
    """The quickstart's manifests over a project of three modules."""
    for name, text in SMALL.items():
        path = to / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    shutil.copytree(QUICKSTART, to / "manifests" / "quickstart")
    return to


def environment(**extra: str) -> dict[str, str]:
    """Without any key or setting of the person who runs the tests."""
    kept = {
        name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR", "XDG_CACHE_HOME") if name in os.environ
    }
    return kept | {"USER": "somebody", "LC_ALL": "C.UTF-8"} | extra


def command(*args: str) -> list[str]:
    """The command line of `runner ARGS`. `-P`: the working directory may hold another package of that name."""
    return [sys.executable, "-P", "-m", "runner", *args]


def runner(*args: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run `runner ARGS` to its end."""
    return subprocess.run(
        command(*args), cwd=cwd, env=environment(), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60
    )


def document(*args: str, cwd: Path, exit_code: int = 0) -> Any:
    """The JSON document that `runner ARGS` prints. Fails when it ends with another exit code."""
    done = runner(*args, cwd=cwd)
    assert done.returncode == exit_code, f"exit code {done.returncode}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    return json.loads(done.stdout)


def applied(*args: str, cwd: Path, exit_code: int = 0) -> tuple[list[Any], Any]:
    """Every event of `runner apply ARGS`, and the document that it ends with."""
    done = runner("apply", *args, "--events", cwd=cwd)
    assert done.returncode == exit_code, f"exit code {done.returncode}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    *events, last = map(json.loads, done.stdout.splitlines())
    return events, last


def actions(result: Any) -> dict[str, str]:
    """Manifest → what apply did with it."""
    return {run["manifest"]: run["action"] for run in result["runs"]}


def nodes(events: Iterable[Any], kind: str) -> list[str]:
    """`manifest/step` of every event of a kind."""
    return [f"{event['manifest']}/{event['node']}" for event in events if event["kind"] == kind]


TOLD = {
    "run_started": ("inputs", "mode"), "run_finished": ("state", "outputs"), "main_finished": ("verdict",), "items_expanded": ("items",),
    "group_joined": ("state",), "attempt_started": ("n", "label", "level", "effects", "reason"), "attempt_failed": ("n", "class", "effect", "status"),
    "attempt_succeeded": ("n", "executor", "result", "products"), "step_resolved": ("state", "result"), "step_failed": ("class", "reason"),
}  # fmt: skip
"""What is told of an event; of other kinds only the reason. Left out: ids, times, keys, process numbers, words of the system's language."""


def told(events: Sequence[Any], manifest: str) -> str:
    """The events of one manifest, each step's in their order, steps in the order of the manifest. Which of two steps that run side
    by side is first is nobody's promise."""
    order: dict[str, list[str]] = {}
    for event in events:
        if event["manifest"] == manifest and event["kind"] != "attempt_noted":
            order.setdefault(event["node"], []).append(_line(event))
    return "".join(f"{node or '(run)'}\n{''.join(order[node])}" for node in sorted(order))


def _line(event: Any) -> str:
    kept = {
        key: event["data"][key]
        for key in TOLD.get(event["kind"], ("reason",))
        if event["data"].get(key) not in (None, "")
    }
    return f"  {event['kind']} {json.dumps(kept, ensure_ascii=False, sort_keys=True)}\n"


def planned(plan: Any, manifest: str) -> str:
    """What is planned for one manifest."""
    [found] = [entry for entry in plan["manifests"] if entry["name"] == manifest]
    return json.dumps(found, indent=2, ensure_ascii=False) + "\n"


def events_until(process: subprocess.Popen[str], kind: str, node: str) -> Iterator[Any]:
    """The events of a running `apply --events`, up to one of that kind about that node. Ends the process when that takes long."""
    assert process.stdout is not None
    guard = threading.Timer(30, process.kill)
    guard.start()
    try:
        yield from _until(process.stdout, kind, node)
    finally:
        guard.cancel()


def _until(lines: Iterable[str], kind: str, node: str) -> Iterator[Any]:
    for line in lines:
        event = json.loads(line)
        yield event
        if (event.get("kind"), event.get("node")) == (kind, node):
            return
    raise AssertionError(f"it ended without {kind} of {node}")
