"""The `run` verb: local commands. Here: what a command's end means for its step. Not here: the process (process.py)."""

from __future__ import annotations

import errno
import os
import signal
from pathlib import Path

from runner.core.graph import Json
from runner.core.messages import EffectDoubt, Note
from runner.executors.process import TAIL_BYTES, Process, Spec, Why, pid_start
from runner.executors.watchdog import Watchdog
from runner.ports import CallResult, Request
from runner.templating import TemplateError
from runner.templating.text import to_text

LABEL = "local"
INHERITED = ("PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LC_ALL", "LC_CTYPE", "TERM", "TZ", "TMPDIR")
"""What a command gets of our environment; the rest comes from `env`."""
OUTPUT_BYTES = 64 << 20
TAIL_LINES = 20
TAIL_CHARS = 4_000


class LocalCommands:
    """Runs {"argv": [...]} or {"script": text} (`sh -euc`). `output_bytes` caps stdout: past it the command is killed.

    A command ends with its first process: what it leaves running in its process group is killed, and what hides in another
    session at the latest when the runner ends. `ARES_IDEMPOTENCY_KEY` in its environment names the attempt."""

    def __init__(self, *, output_bytes: int = OUTPUT_BYTES, watchdog: Watchdog | None = None) -> None:
        self._cap = output_bytes
        self._watchdog = watchdog or Watchdog()

    async def call(self, request: Request) -> CallResult:
        """Exit 0: `output` is stdout without its last newline. Else tool_error, timeout, crash, bad_output, unavailable or invalid."""
        try:
            spec = Spec(_argv(request), self._env(request), request.cwd, request.stdin, self._cap)
        except TemplateError as error:
            return _failed("invalid", "none", error.message, "", None)
        try:
            self._watchdog.start()
            process = Process(spec, request.log)
        except (OSError, ValueError) as error:
            return _not_spawned(spec, error)
        self._watchdog.add(process.pid)
        try:
            if request.note is not None:
                request.note(Note(pid=process.pid, pid_start=pid_start(process.pid)))
            why = await process.wait(request.deadline_s, request.idle_s)
        finally:
            self._watchdog.remove(process.pid)
        return self._result(request, process, why)

    async def close(self) -> None:
        """Also ends what commands left behind in other sessions."""
        self._watchdog.close()

    def _env(self, request: Request) -> dict[str, str]:
        inherited = {name: os.environ[name] for name in INHERITED if name in os.environ}
        return inherited | self._watchdog.env | dict(request.env) | {"ARES_IDEMPOTENCY_KEY": request.idempotency_key}

    def _result(self, request: Request, process: Process, why: Why) -> CallResult:
        text = process.stdout.decode("utf-8", "replace").removesuffix("\n")
        process.stdout.clear()
        if why == "exit" and process.returncode == 0:
            return CallResult(output=text, text=text, executor=LABEL)
        said = (process.stderr_tail(), text[-TAIL_BYTES:])  # many tools report their failures on stdout
        tail = next((tail for one in said if (tail := _tail(request.masked(one)))), "")
        match why:
            case "deadline":
                return _failed("timeout", "maybe", f"timed out after {request.deadline_s:g} s", tail, text)
            case "idle":
                return _failed("timeout", "maybe", f"no output for {request.idle_s:g} s", tail, text)
            case "too_much":  # `maybe`: we ended it half-way
                return _failed("bad_output", "maybe", f"stdout is over the limit of {self._cap} bytes", "", None)
        if process.returncode < 0:
            return _failed("crash", "maybe", f"ended by {_signal_name(-process.returncode)}", tail, text)
        return _failed("tool_error", "none", f"exit code {process.returncode}", tail, text, process.returncode)


def _argv(request: Request) -> list[str]:
    """Raises TemplateError for what no command line can hold."""
    if "script" in request.inputs:
        return ["/bin/sh", "-euc", str(request.inputs["script"])]
    argv: list[Json] = list(request.inputs["argv"])
    if not argv or None in argv:
        raise TemplateError(
            f"argument {argv.index(None)} of the command is none" if argv else "the command has no words"
        )
    return [to_text(word) for word in argv]


def _failed(
    error_class: str, effect: EffectDoubt, message: str, tail: str, text: str | None, status: int | None = None
) -> CallResult:
    return CallResult(
        output=text,
        text=text,
        error_class=error_class,
        message=f"{message}\n{tail}" if tail else message,
        effect=effect,
        status=status,
        executor=LABEL,
    )


def _not_spawned(spec: Spec, error: OSError | ValueError) -> CallResult:
    """Nothing ran, so the effect is known. `unavailable`, as with an MCP server that does not start: another way of the step's
    chain or `fallback` may have what is missing here. `invalid` when these very inputs can never be spawned, anywhere."""
    command = spec.argv[0] if spec.argv else ""
    if not isinstance(error, OSError):
        return _failed("invalid", "none", f"cannot run {command!r}: {error}", "", None)
    if error.errno == errno.E2BIG:
        return _failed("invalid", "none", f"cannot run {command!r}: arguments and environment are too long", "", None)
    if error.filename == spec.cwd and not Path(spec.cwd).is_dir():
        return _failed("invalid", "none", f"cannot run {command!r}: no folder {spec.cwd}", "", None)
    reasons = {
        errno.ENOENT: "command not found",
        errno.EACCES: "not executable",
        errno.ENOEXEC: "neither a program nor a script that begins with #!",
    }
    reason = reasons.get(error.errno or 0, error.strerror or str(error))
    return _failed("unavailable", "none", f"cannot run {command!r}: {reason}", "", None)


def _tail(text: str) -> str:
    return "\n".join(text[-TAIL_CHARS:].rstrip().splitlines()[-TAIL_LINES:])


def _signal_name(number: int) -> str:
    try:
        return f"signal {signal.Signals(number).name}"
    except ValueError:
        return f"signal {number}"
