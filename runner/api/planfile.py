"""`plan --out FILE` and `apply FILE.json`: a plan with all that it was made from, so that apply does exactly that or nothing.

What may be a secret is not in the file, not even its digest: inputs whose names say so, and values that hold a secret of the config.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from runner import __version__
from runner.api.planning import PlannedManifest
from runner.api.queries import latest_run, shown_state
from runner.api.request import Request
from runner.api.secrets import SecretSource
from runner.api.settings import Settings
from runner.digest import digest
from runner.errors import UsageError
from runner.manifest.contracts_wide import LatestRun, ManifestIntent, PlanFile, StepIntent
from runner.ports import RunRow, Store
from runner.redact import SENSITIVE

SUFFIX = ".json"
"""What tells a plan from a manifest."""

MOST_BYTES = 64 << 20
MOST_REASONS = 20


def document(
    planned: Sequence[PlannedManifest],
    paths: Sequence[str],
    settings: Settings,
    store: Store,
    request: Request,
    *,
    now: int,
    env: Mapping[str, str],
) -> PlanFile:
    """The plan as it is written."""
    hidden = _left_out(request, settings, env)
    return PlanFile(
        version=1,
        kind="ares-plan",
        runner=__version__,
        made=now,
        paths=tuple(os.path.relpath(path, settings.project_root) for path in paths),
        mode=request.mode,
        select=request.select,
        texts={name: text for name, text in request.texts.items() if name not in hidden},
        values={name: value for name, value in request.values.items() if name not in hidden},
        left_out=tuple(sorted(hidden)),
        config=config_digests(settings),
        manifests=intents(planned, store, hidden),
    )


def _left_out(request: Request, settings: Settings, env: Mapping[str, str]) -> frozenset[str]:
    """Inputs that may be secrets: by their name, or because they hold one."""
    redactor = SecretSource(settings.config, env).redactor()
    given: dict[str, Any] = {**request.values, **request.texts}
    return frozenset(
        name for name, value in given.items() if SENSITIVE.search(name) or redactor.data([value]) != [value]
    )


def config_digests(settings: Settings) -> dict[str, str]:
    """Section → digest, of the config as it holds for this command. References to secrets stay references."""
    return {name: digest(value) for name, value in settings.config.model_dump(mode="json").items()}


def intents(
    planned: Sequence[PlannedManifest], store: Store, hidden: frozenset[str] = frozenset()
) -> tuple[ManifestIntent, ...]:
    """What is planned, and what from. `hidden`: inputs that must leave no trace."""
    return tuple(_intent(entry, store, hidden) for entry in planned)


def _intent(entry: PlannedManifest, store: Store, hidden: frozenset[str]) -> ManifestIntent:
    plan = entry.plan
    row = latest_run(store, entry.task) if entry.task else None
    latest = _latest(row) if row is not None else None
    return ManifestIntent(
        name=plan.name,
        file=plan.file,
        digest=entry.graph.digest,
        task=None if hidden & set(entry.graph.inputs) else entry.task,
        fingerprint=entry.fingerprint,
        action=plan.action,
        supersedes=plan.supersedes,
        latest=latest,
        steps=tuple(StepIntent(id=step.id, action=step.action) for step in plan.steps),
    )


def _latest(row: RunRow) -> LatestRun:
    values = {"run": row.run, "state": shown_state(row), "leg": row.leg, "steps_done": row.steps_done}
    return LatestRun.model_validate(values)


# ---------------------------------------------------------------- the file


def write(path: Path, plan: PlanFile) -> None:
    """Write it whole or not at all, for our eyes only. Raises UsageError."""
    if path.suffix != SUFFIX:
        raise UsageError(f"--out {path}: the name must end in {SUFFIX}", hint="`runner apply` knows a plan by that")
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            file.write(plan.model_dump_json(indent=2) + "\n")
        draft.replace(path)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise UsageError(f"--out {path}: {error.strerror or error}") from error
    except ValueError as error:  # a lone surrogate in a file name or an input
        draft.unlink(missing_ok=True)
        raise UsageError(f"--out {path}: the plan cannot be written as JSON: {error}") from error


def is_plan(path: Path) -> bool:
    """Is this file a plan, whole or not? (A manifest may be written as JSON, too.)"""
    if path.suffix != SUFFIX:
        return False
    try:
        with path.open("rb") as file:
            return b'"ares-plan"' in file.read(4096)
    except OSError:
        return False


def read(path: Path) -> PlanFile:
    """The plan in a file. Raises UsageError."""
    try:
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror or error}") from error
    if len(data) > MOST_BYTES:
        raise UsageError(f"{path} is larger than any plan")
    try:
        return PlanFile.model_validate_json(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise UsageError(
            f"{path} is no plan of this release: {f'{place}: ' if place else ''}{first['msg']}",
            hint=f"`runner plan PATH --out {path}` makes one",
        ) from error


def paths_of(plan: PlanFile, settings: Settings) -> list[str]:
    """What to load, as people would name it from here."""
    return [os.path.relpath(settings.project_root / path) for path in plan.paths]


def request_of(plan: PlanFile, given: Request) -> Request:
    """The request that was planned. `given` brings the inputs that are not in the file, and nothing else. Raises UsageError."""
    again = {**given.values, **given.texts}
    for name in again:
        if name not in plan.left_out:
            raise UsageError(f"the input {name!r} is a part of the plan", hint="make another plan to change it")
    if given.mode not in (None, plan.mode):
        raise UsageError(
            f"the plan was planned for the mode {plan.mode or 'that holds'}, not for {given.mode}",
            hint=f"`runner plan … --mode {given.mode} --out FILE` makes another one",
        )
    missing = [name for name in plan.left_out if name not in again]
    if missing:
        raise UsageError(
            f"the plan does not hold the inputs {', '.join(missing)}: they may be secrets",
            hint="give them again: " + " ".join(f"-i {name}=…" for name in missing),
        )
    return given._replace(
        texts={**plan.texts, **given.texts},
        values={**plan.values, **given.values},
        mode=plan.mode,
        select=plan.select,
    )


# ---------------------------------------------------------------- is it still so?


def confirm(plan: PlanFile, planned: Sequence[PlannedManifest], settings: Settings, store: Store) -> None:
    """Raise UsageError, with all that has changed, unless `planned` is the plan in the file."""
    changes = list(stale(plan, planned, settings, store))
    if not changes:
        return
    more = f"\n  … and {len(changes) - MOST_REASONS} changes more" if len(changes) > MOST_REASONS else ""
    told = "".join(f"\n  - {change}" for change in changes[:MOST_REASONS])
    raise UsageError(
        f"the plan is stale; nothing ran:{told}{more}", hint="make a new one with `runner plan … --out FILE`"
    )


def stale(plan: PlanFile, planned: Sequence[PlannedManifest], settings: Settings, store: Store) -> Iterator[str]:
    """What is not as it was when the plan was made."""
    if plan.runner != __version__:
        yield f"it was made by release {plan.runner}, this is {__version__}"
    now = config_digests(settings)
    for section in sorted({*plan.config, *now}):
        if plan.config.get(section) != now.get(section):
            yield f"config: `{section}` has changed"
    before = {intent.name: intent for intent in plan.manifests}
    after = {intent.name: intent for intent in intents(planned, store, frozenset(plan.left_out))}
    yield from (f"{name}: no longer there" for name in before if name not in after)
    yield from (f"{name}: not in the plan" for name in after if name not in before)
    for name in before:
        if name in after:
            yield from (f"{name}: {change}" for change in _changes(before[name], after[name]))


def _changes(was: ManifestIntent, now: ManifestIntent) -> Iterator[str]:
    if was.digest != now.digest:
        yield "the manifest has changed, or something that it names or calls"
    if was.task != now.task:
        yield "its inputs are other ones"
    if was.fingerprint != now.fingerprint:
        yield "the contents of `files` have changed"
    if was.latest != now.latest:
        yield f"its latest run was {_run(was.latest)}, and is {_run(now.latest)}"
    if (was.action, was.supersedes) != (now.action, now.supersedes):
        yield f"now {now.action}, planned {was.action}" if was.action != now.action else "it would end other runs"
    elif was.digest == now.digest:
        steps = {step.id: step.action for step in now.steps}
        for step in was.steps:
            if steps.get(step.id) != step.action:
                yield f"step {step.id}: now {steps.get(step.id, 'nothing')}, planned {step.action}"


def _run(latest: LatestRun | None) -> str:
    if latest is None:
        return "none"
    return f"{latest.run} ({latest.state}, {latest.steps_done} steps done, leg {latest.leg})"
