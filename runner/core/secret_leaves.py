"""Rendering inputs that may hold secrets: the values show only names, and a side list says where the secrets belong.

Secrets travel beside the inputs, never inside them, so nothing that a step returned can ask for one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from runner.core.graph import Json
from runner.templating import SecretRef, has_template, render, segments

Secrets = dict[str, list[Json]]


def render_leaves(value: Mapping[str, Json], context: Mapping[str, Json]) -> tuple[dict[str, Json], Secrets]:
    """`value` with every template rendered, and {path: [text | {"secret": NAME}, …]} for leaves that name secrets.

    Path parts are joined by "/"; list indexes are decimal numbers. Raises TemplateError."""
    secrets: Secrets = {}
    rendered = {key: _walk(child, context, str(key), secrets) for key, child in value.items()}
    return rendered, secrets


def _walk(value: Json, context: Mapping[str, Json], path: str, secrets: Secrets) -> Any:
    if isinstance(value, str):
        return _leaf(value, context, path, secrets)
    if isinstance(value, Mapping):
        return {key: _walk(child, context, f"{path}/{key}", secrets) for key, child in value.items()}
    if isinstance(value, list | tuple):
        return [_walk(child, context, f"{path}/{index}", secrets) for index, child in enumerate(value)]
    return value


def _leaf(text: str, context: Mapping[str, Json], path: str, secrets: Secrets) -> Json:
    if not has_template(text):
        return text
    if "secrets" not in text:
        return render(text, context)
    parts = segments(text)
    if not any(isinstance(part, SecretRef) for part in parts):
        return render(text, context)
    pieces = [{"secret": part.name} if isinstance(part, SecretRef) else render(part, context) for part in parts]
    secrets[path] = pieces
    return "".join(f"{{{{ secrets.{p['secret']} }}}}" if isinstance(p, dict) else str(p) for p in pieces)
