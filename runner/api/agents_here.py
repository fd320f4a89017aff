"""How the agent behind a preset stands on this machine: asked of its bridge (`--check`), which begins no task.

Not here: the other servers (`inventory`), and what is made of it (`doctor`)."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from runner.executors.mcp_process import INHERITED
from runner.executors.mcp_spec import ServerSpec


async def standing(spec: ServerSpec, deadline_s: float) -> Mapping[str, Any]:
    """What `runner.bridges.check.Check` holds, with `fine`: does nothing that it could tell speaks against its use?"""
    try:
        said = await _said(spec, deadline_s)
    except TimeoutError:
        late = {"detail": f"it did not say within {deadline_s:g} s how it stands", "fix": "give it time: --within 60"}
        return {"fine": True, **late}
    except OSError as error:
        return _unstarted(spec, f": {error.filename or spec.command}: {error.strerror or error}")
    try:
        told = json.loads(said)
    except (ValueError, RecursionError):
        told = None
    if not isinstance(told, dict):
        return _unstarted(spec)
    bad = any(told.get(name) is False for name in ("installed", "logged_in", "reachable")) or bool(told.get("detail"))
    return {**told, "fine": not bad}


def _unstarted(spec: ServerSpec, why: str = "") -> Mapping[str, Any]:
    fix = f"look at the args and the cwd of mcp_servers.{spec.name}"
    return {"fine": False, "detail": f"its bridge does not start{why}", "fix": fix}


async def _said(spec: ServerSpec, deadline_s: float) -> bytes:
    env = {key: os.environ[key] for key in INHERITED if key in os.environ} | dict(spec.env)
    process = await asyncio.create_subprocess_exec(
        spec.command,
        *spec.args,
        "--check",
        env=env,
        cwd=spec.cwd,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(deadline_s):
            out, _ = await process.communicate()
        return out
    finally:
        with suppress(ProcessLookupError):  # also what it has asked, should it not have ended
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
