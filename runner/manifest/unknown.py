"""Unknown keys: what the user probably meant."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel

from runner import spelling
from runner.diagnostics.model import Loc, Problem
from runner.manifest.bodies import AgentBody, ModelBody, RunBody
from runner.manifest.fallbacks import Entry
from runner.manifest.manifest import Defaults, Manifest, Partial
from runner.manifest.parts import CHECK_KEYS, CHECK_KINDS
from runner.manifest.steps import STEP_KEYS, PlainStep
from runner.manifest.types import shown

ELSEWHERE = {
    "if": "when",
    "condition": "when",
    "depends_on": "needs",
    "dependsOn": "needs",
    "depends": "needs",
    "after": "needs",
    "loop": "foreach",
    "with_items": "foreach",
    "strategy": "matrix",
    "parallel": "max_parallel",
    "continue_on_error": "optional",
    "continue-on-error": "optional",
    "allow_failure": "optional",
    "args": "with",
    "arguments": "with",
    "environment": "env",
    "workdir": "cwd",
    "working_directory": "cwd",
    "working-directory": "cwd",
    "retry": "faults",
    "retries": "faults",
    "id": "name",
    "jobs": "steps",
    "tasks": "steps",
    "on": "triggers",
}
"""Words of other tools for our keys."""
BODIES: Mapping[str, type[BaseModel]] = {"agent": AgentBody, "model": ModelBody, "run": RunBody}
WORDED = ("prompt", "file", "argv", "script")
"""Keys of a body that say what is to be done; the others stand beside one of them."""
WHO = ("model", "models", "executor", "executors", "name")
"""Words for who does it, which is the router's to choose."""


def near(word: Any, options: Iterable[str]) -> str | None:
    """The option that a misspelt word is close to."""
    return spelling.near(str(word), options)


def unknown_key(loc: Loc, owner: type[BaseModel] | None, meant: str | None) -> Problem:
    """The problem of a key that `owner` does not have. `meant`: the required key that it stands for, when that is known."""
    key = loc[-1]
    keys = [field.alias or name for name, field in owner.model_fields.items()] if owner else []
    if owner is not None and meant is None and (misplaced := _misplaced(loc, str(key), owner)):
        return misplaced
    meant = meant or (ELSEWHERE.get(str(key)) if ELSEWHERE.get(str(key)) in keys else near(key, keys))
    fix = f"did you mean `{meant}`?" if meant else f"allowed here: {', '.join(keys)}" if keys else None
    return Problem("unknown-key", loc, f"{shown(key)} is not a key here", fix, "key")


def _misplaced(loc: Loc, key: str, owner: type[BaseModel]) -> Problem | None:
    """A key that exists, but not here."""
    verb = getattr(owner, "verb", "")
    if issubclass(owner, PlainStep) and key in STEP_KEYS:
        return Problem("key-not-for-verb", loc, f"`{key}` cannot be used with `{verb}`", _home(key), "key")
    if issubclass(owner, Entry) and key in STEP_KEYS:
        return Problem(
            "key-not-for-verb", loc, f"`{key}` cannot be used in a fallback entry with `{verb}`", _home(key), "key"
        )
    if issubclass(owner, PlainStep | Entry) and key in _body_keys(verb):
        inside = f"{key}: …" if key in WORDED else f"prompt: …, {key}: …"
        return Problem("unknown-key", loc, f"`{key}` belongs into `{verb}`", f"`{verb}: {{{inside}}}`", "key")
    if (verb == "run" or owner is RunBody) and key == "shell":
        return Problem(
            "unknown-key", loc, "`shell` is not a key here", '`run: "ls | wc -l"`: one text has a shell', "key"
        )
    if owner in (AgentBody, ModelBody) and key in WHO:
        fix = f"beside `{loc[-2]}`: `route: {{{'models' if owner is ModelBody else 'executors'}: [NAME]}}`"
        return Problem("unknown-key", loc, f"`{key}` is not a key here: the router chooses", fix, "key")
    if owner is Partial and key in _keys(Manifest):
        return Problem("partial-key", loc, f"a partial cannot have `{key}`", None, "key")
    if owner is Defaults and key in STEP_KEYS:
        return Problem("unknown-key", loc, f"`{key}` has no default: it belongs to a step", None, "key")
    if (
        key in CHECK_KEYS
        and (kind := next((kind for kind in CHECK_KINDS if kind in owner.model_fields), None))
        and len(loc) > 1
    ):
        is_check = loc[-3:-1] != () and "checks" in loc[-3:-1]
        return Problem("unknown-key", loc, f"`{key}` cannot be used with `{kind}`", None, "key") if is_check else None
    return None


def _home(key: str) -> str | None:
    return {
        "with": "`with` belongs to tool and call",
        "show": "`show` belongs to approve",
        "otherwise": "`otherwise` belongs to approve",
    }.get(key)


def _body_keys(verb: str) -> set[str]:
    return _keys(BODIES[verb]) if verb in BODIES else set()


def _keys(model: type[BaseModel]) -> set[str]:
    return {field.alias or name for name, field in model.model_fields.items()}
