"""What stands above config.yaml: variables `RUNNER_<SECTION>__<KEY>`, and flags."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from runner.diagnostics.model import Loc, Problem
from runner.manifest.config import Config
from runner.manifest.references import SECRET_KEYS
from runner.manifest.vocabulary import CONFIG_KEYS
from runner.syntax import read

_SECTIONED = r"RUNNER_([A-Z0-9]+(?:_[A-Z0-9]+)*)((?:__[A-Z0-9]+(?:_[A-Z0-9]+)*)+)"
# Single values that CI systems do not set for themselves, as they do RUNNER_NAME or RUNNER_WORKSPACE.
_SINGLE = {"RUNNER_LITE_LLM_URL": "lite_llm_url", "RUNNER_GITHUB_KEY": "github_key", "RUNNER_TIMEZONE": "timezone"}
# What stands for any key of the operator's own: an entry's name.
_NAMED = frozenset({"mcp_servers", "secrets", "endpoints", "catalog", "chains"})


@dataclass(frozen=True, slots=True)
class Override:
    """A value above the file's, and what to call where it came from."""

    loc: Loc
    value: Any
    origin: str


def environment(env: Mapping[str, str], data: Any) -> list[Override]:
    """The overrides among the variables. `data` is the file's: entries that have hyphens in their names are found there."""
    found = []
    for variable in sorted(env):
        loc = _loc(variable, data)
        if loc is not None:
            secret = loc[-1] in SECRET_KEYS or loc[0] == "secrets"
            # A secret stays where it is: the config refers to the variable.
            value = f"${{{variable}}}" if secret else _value(env[variable])
            found.append(Override(loc, value, f"environment {variable}"))
    return found


def flags(overrides: Mapping[str, Any]) -> list[Override]:
    """Flags by dotted key."""
    return [Override(tuple(key.split(".")), value, "flag") for key, value in overrides.items() if value is not None]


def merge(data: Any, overrides: Iterable[Override]) -> tuple[dict[str, Any], list[Problem]]:
    """The data with the overrides put in, and those that could not be."""
    merged: dict[str, Any] = deepcopy(data)
    problems = []
    for override in overrides:
        target: Any = merged
        for part in override.loc[:-1]:
            target = target.setdefault(part, {}) if isinstance(target, dict) else None
        if isinstance(target, dict):
            target[override.loc[-1]] = override.value
        else:
            problems.append(Problem("unknown-key", override.loc, "no key of config", None, "key"))
    return merged, problems


def _loc(variable: str, data: Any) -> Loc | None:
    if variable in _SINGLE:
        return (_SINGLE[variable],)
    match = re.fullmatch(_SECTIONED, variable)
    if not match or match[1].lower() not in CONFIG_KEYS or not _is_section(match[1].lower()):
        return None
    loc: list[str] = []
    for word in [match[1], *match[2].split("__")[1:]]:
        here = _at(data, loc)
        named = bool(loc) and loc[-1] in _NAMED
        same = [key for key in here if str(key).upper().replace("-", "_") == word] if isinstance(here, dict) else []
        loc.append(same[0] if same else word if named and loc[-1] == "secrets" else word.lower())
    return tuple(loc)


def _is_section(key: str) -> bool:
    return key not in ("lite_llm_url", "github_key", "workspace", "timezone") and key in Config.model_fields


def _at(data: Any, loc: Iterable[str]) -> Any:
    for part in loc:
        data = data.get(part) if isinstance(data, dict) else None
    return data


def _value(text: str) -> Any:
    """A variable's text as YAML; text that is no YAML stays text."""
    documents, diagnostics = read(text.encode(errors="replace"), "environment")
    plain = len(documents) == 1 and not any(one.severity == "error" for one in diagnostics)
    return documents[0].data if plain and documents[0].data is not None else text
