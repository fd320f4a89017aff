"""How an agent stands, as its bridge tells it for `--check`: one line of JSON, and no task is begun.

Not here: who asks (`runner doctor`)."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

VERSION_S = 15.0
LOGIN_S = 30.0
"""The longest that a program may take to say who it is, and whether it has a login. OpenClaw takes 10 s for that."""


@dataclass(frozen=True, slots=True)
class Check:
    """`None` = it could not be told. `detail`: what is wrong, in words; `fix`: what to type."""

    installed: bool | None = None
    version: str = ""
    logged_in: bool | None = None
    reachable: bool | None = None
    detail: str = ""
    fix: str = ""

    def line(self) -> str:
        return json.dumps(asdict(self))


@dataclass(frozen=True, slots=True)
class Said:
    """What a program printed; `code` None = it did not end in time, or there is none."""

    code: int | None
    out: str


def ask(argv: Sequence[str], env: Mapping[str, str], seconds: float) -> Said:
    """Run a program to its end and hear it."""
    try:
        done = subprocess.run(
            list(argv),
            env=dict(env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=seconds,
        )
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return Said(None, "")
    return Said(done.returncode, done.stdout.decode(errors="replace").strip())


def installed(command: str, env: Mapping[str, str], install: str) -> Check:
    """Is the program there, and of which version?"""
    said = ask([command, "--version"], env, VERSION_S)
    if said.code != 0:
        why = f"{command} cannot be run" if said.code is None else f"{command} --version ends with status {said.code}"
        return Check(installed=False, detail=why, fix=install)
    return Check(installed=True, version=" ".join(said.out.split()[:6]))


def parsed(said: Said) -> Any:
    """The JSON that a program printed; None for anything else."""
    try:
        return json.loads(said.out)
    except (ValueError, RecursionError):
        return None
