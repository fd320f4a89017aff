"""`doctor`: is everything well that is configured, and if not, what to do about it. Opens sessions with the servers and reads the
state database; changes nothing. Values of secrets are never looked at, only whether there are any.
"""

from __future__ import annotations

import asyncio
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

import apsw

from runner.api.doctor_models import examine_models
from runner.api.findings import Finding, Verdict
from runner.api.inventory import LOCAL, Executor, probe
from runner.api.settings import Settings
from runner.diagnostics.model import Diagnostic
from runner.errors import StoreError
from runner.manifest.config import Config
from runner.manifest.references import names
from runner.redact import SHORTEST
from runner.store.migrations import MIGRATIONS, version_of
from runner.store.opening import check_readable, inspect, named_errors, open_reader

OLDEST_PYTHON = (3, 11)
SCARCE_BYTES, LEAST_BYTES = 1 << 30, 64 << 20
"""Free disk space that is worth a warning, and that nothing can work with."""
VERSION_TIMEOUT_S = 5.0


def healthy(findings: Sequence[Finding]) -> bool:
    """Is nothing broken? Warnings are about what may never be needed."""
    return all(one.verdict != "broken" for one in findings)


async def examine(settings: Settings, env: Mapping[str, str], *, deadline_s: float) -> tuple[Finding, ...]:
    """Look at everything; a server is given up after `deadline_s`. With mistakes in the config, only what does not need it."""
    found = [*await asyncio.to_thread(_program, env), *_config(settings)]
    if not settings.ok:
        return tuple(found)
    found += [*_places(settings), *_commands(settings, env), *_secrets(settings.config, env)]
    servers, models = await asyncio.gather(
        probe(settings, env, deadline_s=deadline_s), examine_models(settings, env, deadline_s=deadline_s)
    )
    found += models
    found += [_executor(one) for one in servers if one.name != LOCAL]
    return tuple(found)


# ---------------------------------------------------------------- the program and its config


def _program(env: Mapping[str, str]) -> Iterator[Finding]:
    yield Finding("program", "runner", "ok", f"{version('omni-orchestrator')} at {Path(__file__).parent.parent}")
    python = f"{platform.python_version()} at {sys.executable}"
    if sys.version_info[:2] < OLDEST_PYTHON:
        yield Finding("program", "python", "broken", python, "install Python 3.11 or newer")
    else:
        yield Finding("program", "python", "ok", python)
    yield Finding("program", "sqlite", "ok", apsw.sqlite_lib_version())
    yield _uv(env)


def _uv(env: Mapping[str, str]) -> Finding:
    path = shutil.which("uv", path=env.get("PATH"))
    if path is None:
        return Finding(
            "program", "uv", "warning", "not found", "servers that start with `uvx` need it: https://docs.astral.sh/uv/"
        )
    try:
        done = subprocess.run([path, "--version"], capture_output=True, timeout=VERSION_TIMEOUT_S)
    except (OSError, subprocess.TimeoutExpired) as error:
        return Finding("program", "uv", "warning", f"{path} does not answer: {error}", "install uv again")
    said = done.stdout.decode(errors="replace").strip()
    return Finding("program", "uv", "ok", f"{said.removeprefix('uv ')} at {path}")


def _config(settings: Settings) -> Iterator[Finding]:
    if settings.file is None:
        yield Finding("config", "file", "ok", "none: the defaults hold", "")
    else:
        yield Finding("config", "file", "ok", str(settings.file))
    for one in settings.diagnostics:
        yield _mistake(one)


def _mistake(one: Diagnostic) -> Finding:
    place = f"{one.file}:{one.span.line}" if one.span else one.file
    verdict: Verdict = "broken" if one.severity == "error" else "warning"
    path = f"{one.path}: " if one.path else ""
    return Finding("config", place, verdict, f"{path}{one.message}", one.fix or f"runner explain {one.rule}")


# ---------------------------------------------------------------- files


def _places(settings: Settings) -> Iterator[Finding]:
    yield Finding("files", "project root", "ok", str(settings.project_root))
    yield _workspace(settings.workspace)
    yield _state(settings.state_path)
    yield _space(settings.state_path)


def _workspace(path: Path) -> Finding:
    if not path.is_dir():
        return Finding(
            "files", "workspace", "broken", f"{path} is no folder", "make it, or change `workspace` in the config"
        )
    if not os.access(path, os.W_OK | os.X_OK):
        return Finding(
            "files",
            "workspace",
            "warning",
            f"{path} cannot be written",
            "steps that write files will fail: chmod or chown it",
        )
    return Finding("files", "workspace", "ok", str(path))


def _state(path: Path) -> Finding:
    if not path.exists():
        folder = _existing(path.parent)
        if not os.access(folder, os.W_OK | os.X_OK):
            return Finding(
                "files", "state database", "broken", f"{folder} cannot be written", "chmod it, or set `state.path`"
            )
        return Finding("files", "state database", "ok", f"{path} will be made by the first run")
    try:
        known = _version(path)
        if known == len(MIGRATIONS):
            check_readable(path)
    except StoreError as error:
        return Finding("files", "state database", "broken", error.message, error.hint or "")
    size = _bytes(sum(map(_size, (path, path.with_name(f"{path.name}-wal")))))
    about = f"{path}, version {known}, {size}"
    if not (os.access(path, os.W_OK) and os.access(path.parent, os.W_OK | os.X_OK)):
        return Finding(
            "files", "state database", "broken", f"{about}: cannot be written", f"chmod u+rw {path}, or chown it"
        )
    if known < len(MIGRATIONS):
        return Finding(
            "files", "state database", "warning", f"{about}: of an older release", "the next apply brings it up to date"
        )
    return Finding("files", "state database", "ok", about)


def _size(path: Path) -> int:
    """Bytes; 0 of a file that is not there, or goes away just now as a runner ends."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _version(path: Path) -> int:
    """Of the schema. Raises the StoreError family for a file that is not ours, or newer."""
    with named_errors(path):
        inspect(path, len(MIGRATIONS))
        db = open_reader(path)
        try:
            return version_of(db)
        finally:
            db.close()


def _space(path: Path) -> Finding:
    folder = _existing(path.parent)
    free = shutil.disk_usage(folder).free
    verdict: Verdict = "broken" if free < LEAST_BYTES else "warning" if free < SCARCE_BYTES else "ok"
    fix = "" if verdict == "ok" else "make room: `runner gc` forgets old runs"
    return Finding("files", "disk space", verdict, f"{_bytes(free)} free at {folder}", fix)


def _existing(path: Path) -> Path:
    """`path`, or the nearest folder above it that is there."""
    return next(folder for folder in (path, *path.absolute().parents) if folder.is_dir())


def _bytes(count: float) -> str:
    for unit in ("bytes", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "bytes" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} GiB"


# ---------------------------------------------------------------- what steps need


def _commands(settings: Settings, env: Mapping[str, str]) -> Iterator[Finding]:
    if settings.config.policy.run == "deny":
        yield Finding("commands", LOCAL, "ok", "denied by the operator's policy (policy.run)")
        return
    needs = {"sh": ("broken", "scripts of `run` need it"), "git": ("warning", "`workspace: {git: worktree}` needs it")}
    for name, (verdict, why) in needs.items():
        path = shutil.which(name, path=env.get("PATH"))
        if path is None:
            yield Finding(
                "commands", name, "broken" if verdict == "broken" else "warning", "not on PATH", f"install it: {why}"
            )
        else:
            yield Finding("commands", name, "ok", path)


def _secrets(config: Config, env: Mapping[str, str]) -> Iterator[Finding]:
    for entry, text in _secret_entries(config):
        for name in names(text):
            value = env.get(name)
            if value is None:
                yield Finding("secrets", name, "warning", f"not set; {entry} needs it", f"export {name}=…")
            elif len(value) < SHORTEST:
                fix = f"set it to {SHORTEST} characters or more"
                yield Finding("secrets", name, "warning", f"too short to be masked; {entry} cannot use it", fix)
            else:
                yield Finding("secrets", name, "ok", f"set, for {entry}")


def _secret_entries(config: Config) -> Iterator[tuple[str, str]]:
    for name, text in config.secrets.items():
        yield f"secrets.{name}", text
    for name, endpoint in config.models.endpoints.items():
        yield f"models.endpoints.{name}", endpoint.api_key or ""
    for name, server in config.mcp_servers.items():
        for text in dict.fromkeys((server.token or "", *server.headers.values(), *server.env.values())):
            yield f"mcp_servers.{name}", text


def _executor(one: Executor) -> Finding:
    if one.ready == "broken":
        # What cannot be had here yet, or waits for a variable, hurts only who uses it; a server that does not start is a fault.
        verdict: Verdict = "warning" if one.unset else "broken"
        return Finding("servers", one.name, verdict, one.detail, one.fix)
    count = "one tool" if one.tools == 1 else f"{one.tools} tools"
    known = [one.kind, one.version, "logged in" if one.logged_in else "", count]
    about = f"{', '.join(filter(None, known))}, open in {(one.took_ms or 0) / 1000:.1f}s"
    if one.detail:  # an agent that could not tell everything
        return Finding("servers", one.name, "warning", f"{about}; {one.detail}", one.fix)
    return Finding("servers", one.name, "ok", about)
