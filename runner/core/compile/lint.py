"""The passes that look for what is allowed but hardly meant: unreachable fallback entries, idle repair, credentials, dead schedules.
Also the rules of `finally` and of triggers, which are errors."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime

from runner.core.compile.state import Compiling, Draft, Where, verb_of
from runner.core.graph import Json
from runner.diagnostics.model import Loc
from runner.manifest.fields import input_specs
from runner.manifest.vocabulary import MODES, WORK_VERBS

NEVER_PASSED_ON = frozenset({"invalid", "cancelled"})
"""Classes that no fallback entry ever sees: the first fails its step at once, the second ends it."""


REUSED = frozenset({"run", "tool", "agent", "model"})
"""Verbs whose earlier results are taken over."""


def check_finally(c: Compiling) -> None:
    """`finally` steps never suspend a run that has ended."""
    for draft in c.drafts.values():
        if draft.final:
            ways = [(draft.loc, draft.raw), *_entries(draft)]
            for loc, raw in ways:
                verb = verb_of(raw)
                if verb in ("approve", "wait", "call"):
                    c.report(
                        "final-verb",
                        Where((*loc, verb)),
                        f"`{verb}` cannot be used in `finally`: it may suspend the run",
                        key=True,
                    )


def check_triggers(c: Compiling) -> None:
    """Nobody gives inputs when a trigger fires; and a schedule should fire at all."""
    triggers = c.manifest.triggers
    if triggers is None:
        return
    required = [name for name, spec in input_specs(c.manifest.inputs).items() if spec.required]
    for name in required:
        message = f"a trigger gives no inputs, so `{name}` must be optional or have a default"
        c.report("trigger-inputs", Where(("inputs", name)), message, f"`{name}?`, or `default:`", key=True)
    if triggers.schedule is not None and not _fires(triggers.schedule):
        c.report("dead-cron", Where(("triggers", "schedule")), "no date fits this schedule, so it never fires")
    if triggers.files and all(_is_taken_over(c, draft) for draft in c.drafts.values()):
        message = "no step names these files in its own `files`, so a run that they start reuses every result"
        c.report(
            "idle-trigger",
            Where(("triggers", "files")),
            message,
            "`files:` in the steps that read them, or `reuse: never`",
        )


def _is_taken_over(c: Compiling, draft: Draft) -> bool:
    """Would a run in which nothing but the content of files is new reuse its result, or compute it of such?"""
    if draft.final or draft.verb == "set":
        return True
    if draft.verb not in REUSED or draft.step.files or "run." in str(draft.raw):
        return False
    defaults = c.manifest.defaults
    return (draft.step.reuse or (defaults.reuse if defaults else None)) != "never"


def _fires(schedule: str) -> bool:
    from croniter import CroniterBadDateError, croniter  # costs 30 ms: only for manifests with a schedule

    begin = datetime(2024, 1, 1, tzinfo=UTC)  # any fixed date will do; from here the 29th of February is near
    try:
        croniter(schedule, begin).get_next()
    except CroniterBadDateError:
        return False
    return True


def check_ways(c: Compiling) -> None:
    """Fallback entries and retries that can never be tried, and repair rounds that nothing can ask for."""
    for draft in c.drafts.values():
        if "fallback" in draft.raw:
            _fallback(c, draft)
        if "faults" in draft.raw:
            _retry(c, draft)
        for loc, raw in [(draft.loc, draft.raw), *_entries(draft)]:
            idle = "repair" in raw and not raw.get("checks") and "returns" not in draft.raw
            if idle and verb_of(raw) not in ("agent", "model"):  # these may answer with nothing, which is `bad_output`
                message = "nothing asks for these rounds: the step has neither `checks` nor `returns`"
                c.report("repair-without-checks", Where((*loc, "repair")), message, key=True)


def _entries(draft: Draft) -> list[tuple[Loc, Mapping[str, Json]]]:
    return [((*draft.loc, "fallback", index), entry) for index, entry in enumerate(draft.raw.get("fallback", ()))]


def _fallback(c: Compiling, draft: Draft) -> None:
    if _switched_off(c, draft):
        where = Where((*draft.loc, "fallback"))
        c.report("unreachable-fallback", where, "`faults.fallback` is false, so no entry is ever tried", key=True)
        return
    for (loc, raw), entry in zip(_entries(draft), draft.step.fallback, strict=True):
        errors = entry.errors
        if errors is not None and NEVER_PASSED_ON.issuperset(errors):
            message = f"no entry is ever tried after {' or '.join(errors)}"
            c.report("unreachable-fallback", Where((*loc, "errors")), message, key=True)
        elif errors is None and _never_consents(draft):
            verb = verb_of(raw)
            message = "the step is `effects: once`, so its failures pass on only to an entry that names their class"
            c.report("unreachable-fallback", Where((*loc, verb)), message, "errors: [tool_error]", key=True)


def _retry(c: Compiling, draft: Draft) -> None:
    """A `run` is `once` unless it says otherwise: who gives it retries, and no more, would wait for them in vain."""
    named = "repair" in draft.raw or any(entry.get("errors") for _, entry in _entries(draft))
    if named or draft.verb not in WORK_VERBS or not _never_consents(draft):
        return
    faults = draft.raw["faults"]
    for at in ((), *((mode,) for mode in MODES)):
        policy = faults.get(at[0]) if at else faults
        retry = (policy or {}).get("retry")
        if isinstance(retry, Mapping) and retry and retry.get("max") != 0:
            message = "the step is `effects: once`, so it is tried again only after classes that its own `errors` names"
            fix = "`errors: [tool_error]`, or `effects: idempotent` when it may be repeated"
            c.report("unreachable-retry", Where((*draft.loc, "faults", *at, "retry")), message, fix, key=True)
            return


def _switched_off(c: Compiling, draft: Draft) -> bool:
    own = draft.step.faults
    defaults = c.manifest.defaults.faults if c.manifest.defaults else None
    for faults in (own, defaults):
        if faults is None:
            continue
        modes = [mode.fallback for mode in (faults.normal, faults.degraded, faults.brainstem) if mode is not None]
        if any(modes):
            return False
        if faults.fallback is not None:
            return not faults.fallback
    return False


def _never_consents(draft: Draft) -> bool:
    """A `once` step whose author named no class after which it may be repeated. A tool's default effects are its annotations'."""
    effects = draft.step.effects or ("once" if draft.verb == "run" else "")
    faults = draft.step.faults
    policies = () if faults is None else (faults, faults.normal, faults.degraded, faults.brainstem)
    named = any(policy is not None and policy.retry is not None and policy.retry.errors for policy in policies)
    return effects == "once" and not named


_TOKEN = (
    r"ghp_[A-Za-z0-9]{36}|github_pat_[A-Za-z0-9_]{50,}|gh[ousr]_[A-Za-z0-9]{36}|glpat-[A-Za-z0-9_-]{20}|sk-[A-Za-z0-9_-]{24,}"
    r"|(?:AKIA|ASIA)[0-9A-Z]{16}|xox[abprs]-[A-Za-z0-9-]{10,}|AIza[0-9A-Za-z_-]{35}|-----BEGIN [A-Z ]*PRIVATE KEY-----"
    r"|[Bb]earer [A-Za-z0-9._~+/-]{24,}|://[^/\s:@{}$]+:[^/\s:@{}$]{6,}@"
)
_SECRET_KEY = r"(?i)(?:^|[_-])(?:token|secret|passw(?:or)?d|api_?key|access_?key|credentials?)$"
_SIGNS = (
    "ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_", "glpat-", "sk-", "akia", "asia", "xox", "aiza", "private key", "bearer ", "://", "token", "secret", "passw", "key", "credential"
)  # fmt: skip
"""Without one of these (in small letters) there is nothing to look for."""


def check_credentials(c: Compiling) -> None:
    """Keys and tokens written into the manifest. A quick look over all of it first."""
    lowered = c.text.lower()
    if not any(sign in lowered for sign in _SIGNS):
        return
    for section in ("vars", "env", "defaults", "steps", "finally", "outputs"):
        _credentials(c, c.data.get(section), (section,))


def _credentials(c: Compiling, value: Json, loc: Loc) -> None:
    if isinstance(value, str):
        named = len(loc) > 2 and any(key in ("env", "with") for key in loc) and re.search(_SECRET_KEY, str(loc[-1]))
        if re.search(_TOKEN, value) or (named and _is_secret_text(value)):
            fix = "name it in config `secrets` and write `{{ secrets.NAME }}`"
            c.report("credential", Where(loc), "this looks like a credential; a manifest is no place for one", fix)
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            _credentials(c, inner, (*loc, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            _credentials(c, inner, (*loc, index))


def _is_secret_text(value: str) -> bool:
    return len(value) >= 8 and not any(sign in value for sign in ("{{", "$", " "))
