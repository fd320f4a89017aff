"""`test --init`: a first suite for a manifest, to be recorded and then filled with what is expected."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from runner.api.load import load
from runner.api.settings import Settings
from runner.core.graph import StepGraph
from runner.errors import InvalidInput, UsageError
from runner.paths import PathEscape, write_atomic
from runner.replay.yaml_text import to_yaml

_EXAMPLES: Mapping[str, Any] = {"string": "…", "integer": 1, "number": 1, "boolean": True, "array": [], "object": {}}


def write_first(manifest: Path, target: Path | None, settings: Settings) -> Path:
    """Writes the suite (default: `tests/NAME.yaml` beside the manifest); its path. Raises UsageError, InvalidInput."""
    loaded = load([manifest], settings)
    if loaded.failed:
        raise InvalidInput(f"{manifest} has mistakes", loaded.diagnostics)
    top = [entry for entry in loaded.top_level() if entry.named]
    if not top:
        raise UsageError(f"{manifest} holds no manifest", hint="name a file with the top-level key `ares`")
    path = target if target is not None else manifest.parent / "tests" / f"{top[0].graph.name}.yaml"
    if path.exists():
        raise UsageError(f"{path} is there already", hint="name another file: runner test FILE --init MANIFEST")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path.parent.resolve(), Path(path.name), _text(top[0].graph, manifest, path, settings).encode())
    except (OSError, PathEscape) as error:
        raise UsageError(f"{path} cannot be written: {getattr(error, 'strerror', None) or error}") from error
    return path


def _text(graph: StepGraph, manifest: Path, path: Path, settings: Settings) -> str:
    schema = settings.project_root / "schemas" / "v1" / "suite.schema.json"
    head = ""
    if schema.is_file():
        head = f"# yaml-language-server: $schema={os.path.relpath(schema, path.parent)}\n"
    required = {name: _example(spec.schema) for name, spec in graph.inputs.items() if spec.required}
    case: dict[str, Any] = {"inputs": required} if required else {}
    case["expect"] = {
        "run": "succeeded",
        "steps": dict.fromkeys((step.id for step in graph.steps if not step.when), "succeeded"),
    }
    suite = {
        "ares-test": "v1",
        "description": f"What {graph.name} does",
        "manifest": os.path.relpath(manifest, path.parent),
        "cases": {"it succeeds": case},
    }
    return head + to_yaml(suite)


def _example(schema: Mapping[str, Any]) -> Any:
    if "enum" in schema:
        return schema["enum"][0]
    kind = schema.get("type")
    return _EXAMPLES.get(kind if isinstance(kind, str) else "", None)
