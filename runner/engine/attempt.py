"""One attempt of a step, end to end, at the worker: secrets in, the call, then `returns`, checks and `save`, all of it masked.

Not here: whether an attempt is made and what follows from its outcome (the kernel's), and how a call is done (executors)."""

from __future__ import annotations

import asyncio
import json
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

from runner.core.graph import Json
from runner.core.messages import Note, Outcome, StepTask
from runner.digest import digest_bytes
from runner.engine.checks import Judged, Verdict, verdicts
from runner.engine.logs import LOG_BYTES, AttemptLog, log_path, private_folder
from runner.engine.results import INLINE_BYTES, Unfit, fit, result_of, stored, text_of
from runner.engine.returns import BadSchema, Mismatch, structured
from runner.engine.secrets import Unready, filled
from runner.paths import HIDDEN, PathEscape, inside, write_atomic
from runner.ports import CallResult, Executor, Request
from runner.redact import Redactor
from runner.templating import TemplateError, render
from runner.templating.text import to_text

OUTPUT_BYTES: Final = 64 << 20
SLACK_S: Final = 10.0
"""An executor ends its own call at the deadline, politely; this long after it we stop to wait for it."""
MESSAGE_CHARS: Final = 4_000
FEEDBACK_CHARS: Final = 20_000


@dataclass(frozen=True, slots=True)
class Places:
    """Folders: the root of `cwd` and `save`; of the runs' own folders; of the logs."""

    workspace: Path
    run_dirs: Path
    logs: Path


@dataclass(frozen=True, slots=True)
class Limits:
    """Bytes: of a RESULT that rides in its event; of an output; of a log."""

    inline: int = INLINE_BYTES
    output: int = OUTPUT_BYTES
    log: int = LOG_BYTES


class Attempts:
    """The step function of a worker. `secrets(name)` gives a value or raises KeyError; `redactor` masks all of them (and every other
    credential of the config) in whatever leaves here. `blobs(digest, data)` is called before the outcome that names `digest`."""

    def __init__(
        self,
        *,
        executors: Mapping[str, Executor],
        places: Places,
        secrets: Callable[[str], str],
        redactor: Redactor,
        blobs: Callable[[str, bytes], None],
        limits: Limits | None = None,
    ) -> None:
        self._executors, self._places = executors, places
        self._secrets, self._redactor, self._blobs = secrets, redactor, blobs
        self._limits = limits or Limits()
        self._root = str(places.workspace.resolve())

    async def run(self, task: StepTask, note: Callable[[Note], None]) -> Outcome:
        """Never raises for what the step did; CancelledError passes, and by then its command is gone."""
        log = AttemptLog(
            partial(log_path, self._places.logs, task.run, task.node, task.attempt), self._redactor, self._limits.log
        )
        try:
            outcome = await self._outcome(task, note, log)
        finally:
            written = log.close()
        return replace(outcome, log=written)

    async def _outcome(self, task: StepTask, note: Callable[[Note], None], log: AttemptLog) -> Outcome:
        try:
            executor, request = self._executor(task.verb), self._request(task, note, log)
        except (Unready, TemplateError) as error:
            return self._failed(CallResult(executor=task.label), "invalid", str(error))
        answer = await self._call(executor, request)
        if answer.error_class:
            return self._refused(answer)
        try:
            result = self._result(task, answer)
            answer = replace(answer, output=None, text=None)  # a large one is in memory once from here on
            return await self._accept(task, request, answer, result)
        except _Refusal as refusal:
            return self._failed(answer, refusal.error_class, refusal.message, refusal.result, refusal.checks)

    # ------------------------------------------------------------ before and around the call

    def _executor(self, verb: str) -> Executor:
        if verb not in self._executors:
            raise Unready(f"needs an executor of `{verb}` steps, which is not configured")
        return self._executors[verb]

    def _request(self, task: StepTask, note: Callable[[Note], None], log: AttemptLog) -> Request:
        spec = task.spec
        if spec.get("workspace"):
            raise Unready("needs workspaces of steps, which are not configured")
        tree = filled({"inputs": task.inputs, "env": spec.get("env") or {}}, task.secrets, self._secrets)
        return Request(
            label=task.label,
            verb=task.verb,
            inputs=tree["inputs"],
            env=_env(tree["env"]) | {"ARES_RUN_DIR": self._run_dir(task.run)},
            cwd=self._cwd(spec.get("cwd")),
            idempotency_key=task.effect_key,
            deadline_s=None if task.timeout_ms is None else task.timeout_ms / 1000,
            idle_s=None if task.idle_ms is None else task.idle_ms / 1000,
            session=task.session,
            feedback=task.feedback,
            log=log,
            note=note,
        )

    def _run_dir(self, run: str) -> str:
        path = self._places.run_dirs / run
        try:
            private_folder(path)
        except OSError as error:
            raise Unready(f"needs the folder {path}: {error.strerror}") from error
        return str(path)

    def _cwd(self, cwd: Json) -> str:
        if not cwd:
            return self._root
        try:
            return str(inside(self._places.workspace, self._places.workspace, str(cwd)))
        except PathEscape as error:
            raise Unready(f"cwd: {error}") from error

    async def _call(self, executor: Executor, request: Request) -> CallResult:
        bound = None if request.deadline_s is None else request.deadline_s + SLACK_S
        try:
            async with asyncio.timeout(bound):
                return await executor.call(request)
        except TimeoutError:
            message = (
                f"timed out after {request.deadline_s:g} s, and did not end when told to" if bound else "timed out"
            )
            return CallResult(error_class="timeout", effect="maybe", message=message, executor=request.label, cost=None)
        except Exception as error:  # noqa: BLE001  the border of one attempt: a defect of an executor is a failure of its step
            request.log.write("progress", traceback.format_exc())
            message = f"internal error of the executor: {type(error).__name__}: {error}"
            return CallResult(error_class="crash", effect="maybe", message=message, executor=request.label, cost=None)

    # ------------------------------------------------------------ after it

    async def _accept(self, task: StepTask, request: Request, answer: CallResult, result: dict[str, Json]) -> Outcome:
        """The call has given an answer, so from here on the effect is known. Raises _Refusal."""
        context = {**(task.spec.get("context") or {}), "output": result["output"], "text": text_of(result)}
        checks = await self._checked(task, request, context)
        failed = [str(verdict["message"]) for verdict in checks if not verdict["passed"]]
        result = result_of(result["output"], result.get("text"), checks)
        if failed:
            raise _Refusal("check_failed", "\n".join(failed), result, checks)
        products = await self._saved(task, context, result)
        kept = self._keep(result)
        return replace(self._base(answer), state="succeeded", result=kept, checks=tuple(checks), products=products)

    def _result(self, task: StepTask, answer: CallResult) -> dict[str, Json]:
        """The answer as the record and every later reader will see it: plain JSON, bounded, masked, then shaped by `returns`.

        Masked first, so that a resumed run, which reads the record, computes from the same value."""
        try:
            result = self._fit(answer)
        except Unfit as error:
            raise _Refusal("bad_output", str(error)) from error
        schema = task.spec.get("returns")
        if schema is None:
            return result
        try:
            text = text_of(result)
            return result_of(structured(result["output"], text, answer.structured, schema), text)
        except Mismatch as error:
            raise _Refusal("bad_output", str(error), result) from error
        except BadSchema as error:
            raise _Refusal("invalid", str(error)) from error

    def _fit(self, answer: CallResult) -> dict[str, Json]:
        """The answer as a RESULT: bounded JSON, masked. Raises Unfit."""
        raw = result_of(answer.output, answer.text)
        masked: dict[str, Json] = self._redactor.data(
            {key: fit(part, self._limits.output) for key, part in raw.items()}
        )
        return masked

    async def _checked(self, task: StepTask, request: Request, context: Mapping[str, Json]) -> list[Verdict]:
        checks = task.spec.get("checks") or ()
        if not checks:
            return []
        found = await verdicts(checks, Judged(context, context["text"], request), self._command)
        return [self._redactor.data(verdict) for verdict in found]

    async def _command(self, request: Request) -> CallResult:
        try:
            executor = self._executor(request.verb)
        except Unready as error:
            return CallResult(error_class="invalid", message=str(error))
        return await self._call(executor, request)

    async def _saved(self, task: StepTask, context: Mapping[str, Json], result: Mapping[str, Json]) -> dict[str, str]:
        save = task.spec.get("save")
        if not save:
            return {}
        root = self._places.workspace
        try:
            value = result["output"] if save.get("from") is None else render(save["from"], context)
            whole_text = save.get("from") is None and isinstance(value, str)
            data = _file_content(context["text"] if whole_text else value)
            path = inside(root, root, str(save["path"]))
            if HIDDEN.intersection(
                path.relative_to(root.resolve()).parts
            ):  # a path may come from a step: no way into git hooks
                raise _Refusal("invalid", f"save: {save['path']} is not for steps to write", dict(result))
            await asyncio.to_thread(write_atomic, root, path, data)  # it waits for the disk, the loop must not
        except TemplateError as error:
            raise _Refusal("invalid", f"save: {error.message}", dict(result)) from error
        except PathEscape as error:
            raise _Refusal("invalid", f"save: {error}", dict(result)) from error
        except (
            OSError
        ) as error:  # `tool_error`: a full disk is no fault of an endpoint, and nobody else would do better
            raise _Refusal("tool_error", f"save: {save['path']}: {error.strerror}", dict(result)) from error
        return {path.relative_to(root.resolve()).as_posix(): digest_bytes(data)}

    # ------------------------------------------------------------ outcomes

    def _refused(self, answer: CallResult) -> Outcome:
        """A failure that the executor reported. `bad_output` keeps what there was: a repair round may read it as `previous`."""
        result = None
        if answer.error_class == "bad_output" and answer.output is not None:
            try:
                result = self._fit(answer)
            except Unfit:
                pass  # what cannot be recorded cannot be shown to a next round either
        return self._failed(answer, answer.error_class, answer.message, result)

    def _failed(
        self,
        answer: CallResult,
        error_class: str,
        message: str,
        result: Mapping[str, Json] | None = None,
        checks: list[Verdict] | None = None,
    ) -> Outcome:
        told = self._redactor.text(message.encode("utf-8", "replace").decode())
        return replace(
            self._base(answer),
            state="failed",
            result=None if result is None else self._keep(result),
            error_class=error_class,
            message=_shortened(told, MESSAGE_CHARS),
            effect=answer.effect,
            checks=tuple(checks or ()),
            feedback=_shortened(told, FEEDBACK_CHARS) if error_class in ("bad_output", "check_failed") else None,
        )

    def _base(self, answer: CallResult) -> Outcome:
        return Outcome(
            state="failed",
            status=answer.status,
            retry_after_ms=answer.retry_after_ms,
            cost=answer.cost,
            cost_source=answer.cost_source,
            tokens=dict(answer.tokens),
            executor=answer.executor,
            model=answer.model,
            session=answer.session,
            denials=tuple(self._redactor.text(denial) for denial in answer.denials),
        )

    def _keep(self, result: Mapping[str, Any]) -> Mapping[str, Any]:
        kept, blob = stored(result, self._limits.inline)
        if blob is not None:
            self._blobs(kept["ref"], blob)
        return kept


class _Refusal(Exception):
    """An answer that the step does not accept."""

    def __init__(
        self,
        error_class: str,
        message: str,
        result: Mapping[str, Json] | None = None,
        checks: list[Verdict] | None = None,
    ) -> None:
        super().__init__(message)
        self.error_class, self.message, self.result, self.checks = error_class, message, result, checks


def _env(values: Mapping[str, Json]) -> dict[str, str]:
    """Environment text; a variable whose value is none is not set."""
    return {name: to_text(value) for name, value in values.items() if value is not None}


def _file_content(value: Json) -> bytes:
    """Text, or JSON, as a text file: it ends with a newline."""
    text = (
        value
        if isinstance(value, str)
        else json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False)
    )
    return (text if not text or text.endswith("\n") else f"{text}\n").encode("utf-8", "replace")


def _shortened(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[:limit]}\n[cut: {len(text) - limit} characters more]"
