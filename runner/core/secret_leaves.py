"""Rendering inputs that may hold secrets: the values show only names, and a side list says where the secrets belong.

Secrets travel beside the inputs, never inside them, so nothing that a step returned can ask for one.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from runner.core.graph import Json
from runner.core.rendered import Room
from runner.templating import SecretRef, has_template, render, render_text, segments

Secrets = dict[str, list[Json]]


def render_leaves(
    value: Mapping[str, Json], context: Mapping[str, Json], *, tolerant: bool = False
) -> tuple[dict[str, Json], Secrets]:
    """`value` with every template rendered, and {path: [text | {"secret": NAME}, …]} for leaves that name secrets.

    Path parts are joined by "/"; list indexes are decimal numbers. Raises TemplateError."""
    if not value:
        return {}, {}
    leaves = _Leaves(context, tolerant, {}, Room())
    return {key: leaves.walk(child, str(key)) for key, child in value.items()}, leaves.secrets


class _Leaves(NamedTuple):
    context: Mapping[str, Json]
    tolerant: bool
    secrets: Secrets
    room: Room

    def walk(self, value: Json, path: str) -> Any:
        if isinstance(value, str):
            return self.leaf(value, path)
        if isinstance(value, Mapping):
            return {key: self.walk(child, f"{path}/{key}") for key, child in value.items()}
        if isinstance(value, list | tuple):
            return [self.walk(child, f"{path}/{index}") for index, child in enumerate(value)]
        return value

    def leaf(self, text: str, path: str) -> Json:
        if not has_template(text):
            return text
        parts = segments(text) if "secrets" in text else ()
        if not any(isinstance(part, SecretRef) for part in parts):
            return self.room.take(render(text, self.context, tolerant=self.tolerant))
        pieces = [self.piece(part) for part in parts]
        self.secrets[path] = pieces
        return "".join(f"{{{{ secrets.{p['secret']} }}}}" if isinstance(p, dict) else str(p) for p in pieces)

    def piece(self, part: str | SecretRef) -> Json:
        if isinstance(part, SecretRef):
            return {"secret": part.name}
        return render_text(part, self.context, tolerant=self.tolerant)
