"""Config as it holds for one command: which file, what overrides it, and where each value came from. No secret is resolved here."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from runner import spelling
from runner.api.config_file import ConfigFile, find_config
from runner.api.config_place import project_root
from runner.api.overrides import Override, environment, flags, merge
from runner.diagnostics.model import Diagnostic, Loc, Problem
from runner.diagnostics.render import path_text
from runner.diagnostics.rules import RULES
from runner.manifest.checked import check
from runner.manifest.config import DEFAULT, Config
from runner.manifest.config_complete import complete, cross_check
from runner.manifest.references import names
from runner.manifest.types import duration_text, is_duration_field
from runner.redact import MASK, SENSITIVE
from runner.syntax import arrange, place

SPELLING_S = 0.5
"""For what misspelt words may have meant: a config may come from a stranger, too."""


@dataclass(frozen=True)
class Settings:
    """A config with everything that it implies, and the folder that paths are relative to.

    `file` is the config file, None when there is none. `origins`: dotted key → "config.yaml:12", "environment RUNNER_X", "flag" for each
    value that was given; all others are defaults. With errors in `diagnostics`, `config` is the default one."""

    config: Config
    file: Path | None
    project_root: Path
    origins: Mapping[str, str] = field(default_factory=dict)
    diagnostics: tuple[Diagnostic, ...] = ()
    given: Mapping[str, Any] = field(default_factory=dict)
    """The data as it was given, after overrides: what `show` prints."""

    @cached_property
    def workspace(self) -> Path:
        """The root for cwd, save, files and the workspace server."""
        return self.project_root / self.config.workspace

    @cached_property
    def state_path(self) -> Path:
        """The state database."""
        return self.project_root / self.config.state.path

    @property
    def ok(self) -> bool:
        """Whether the config may be used."""
        return not any(diagnostic.severity == "error" for diagnostic in self.diagnostics)


def load_config(
    path: Path | None, *, start: Path, env: Mapping[str, str], overrides: Mapping[str, Any] | None = None
) -> Settings:
    """The settings for a command that begins in the folder `start`.

    `path` is `--config`; `overrides` are flags, dotted key → value. Flags win over `RUNNER_<SECTION>__<KEY>` of `env`, these over the
    file, and the file over defaults. Mistakes are in `diagnostics`; a file that is named but not there raises UsageError."""
    start = start.absolute()
    file = find_config(path, start, env)
    data = file.data if file else {}
    given = [*environment(env, data), *flags(overrides or {})]
    merged, problems = merge(data, given)
    found = list(file.diagnostics) if file else []
    if file and file.unusable:
        return Settings(complete(DEFAULT, sys.executable), file.path, project_root(start), {}, tuple(arrange(found)))
    with spelling.PATIENCE.within(SPELLING_S):
        config, refused = check(Config, merged) if merged else (DEFAULT, [])
        problems += refused or (cross_check(config) if config else [])
    found += _placed(problems, given, file)
    usable = config if config and not any(one.severity == "error" for one in found) else DEFAULT
    origins = {path_text(loc): origin for loc, origin in _origins(merged, given, file)}
    completed = complete(usable, sys.executable)
    return Settings(completed, file.path if file else None, project_root(start), origins, tuple(arrange(found)), merged)


def _placed(problems: list[Problem], given: list[Override], file: ConfigFile | None) -> list[Diagnostic]:
    """Diagnostics: in the file, or named by the variable or flag that the value came from."""
    in_file, elsewhere = [], []
    for problem in problems:
        override = _override(problem.loc, given, file)
        if override is None and file and file.document:
            in_file.append(problem)
        else:
            origin = override.origin if override else "config"
            severity = RULES[problem.rule].severity
            place_ = path_text(problem.loc)
            elsewhere.append(Diagnostic(origin, None, severity, problem.rule, place_, problem.message, problem.fix))
    return elsewhere + (place(in_file, [file.document]) if file and file.document else [])


def _override(loc: Loc, given: list[Override], file: ConfigFile | None) -> Override | None:
    """The override that a place comes from: one at or above it, or one that made it by putting something below."""
    for override in reversed(given):
        if loc[: len(override.loc)] == override.loc:
            return override
    if loc and not (file and file.document and file.document.has(loc)):
        return next((one for one in reversed(given) if one.loc[: len(loc)] == loc), None)
    return None


def _leaves(value: Any, loc: Loc = ()) -> Iterator[tuple[Loc, Any]]:
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from _leaves(inner, (*loc, key))
    elif loc:
        yield loc, value


def _origins(merged: Mapping[str, Any], given: list[Override], file: ConfigFile | None) -> Iterator[tuple[Loc, str]]:
    for loc, _ in _leaves(merged):
        override = _override(loc, given, file)
        if override is not None:
            yield loc, override.origin
        elif file and file.document:
            yield loc, f"{file.name}:{file.document.locate(loc, 'key').line}"


def show(settings: Settings) -> list[tuple[str, str, str]]:
    """Every value: (dotted key, text, where it came from). References to secrets stay references; anything else that may be one is masked."""
    given = {path_text(loc): value for loc, value in _leaves(settings.given)}
    rows = {key: (key, _text(key, value), settings.origins.get(key, "default")) for key, value in given.items()}
    for loc, value in _defaults(settings.config):
        key = path_text(loc)
        if not any(known == key or known.startswith((f"{key}.", f"{key}[")) for known in rows):
            rows[key] = (key, _text(key, value), "default")
    return [rows[key] for key in sorted(rows)]


def _text(key: str, value: Any) -> str:
    if isinstance(value, str) and SENSITIVE.search(key) and not names(value):
        return MASK
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "none"}[value]
    if isinstance(value, list | tuple):
        return f"[{', '.join(_text(key, one) for one in value)}]"
    return "{}" if value == {} else str(value)


def _defaults(model: BaseModel, loc: Loc = ()) -> Iterator[tuple[Loc, Any]]:
    for name, info in type(model).model_fields.items():
        value, here = getattr(model, name), (*loc, info.alias or name)
        if isinstance(value, BaseModel):
            yield from _defaults(value, here)
        elif isinstance(value, dict) and any(isinstance(one, BaseModel) for one in value.values()):
            for key, one in value.items():
                yield from _defaults(one, (*here, key))
        elif value is not None:
            yield here, duration_text(value) if is_duration_field(info) else value
