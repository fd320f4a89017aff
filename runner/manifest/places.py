"""Where a refused value stands in the user's own data. Pydantic's places name union members, and keys that short forms do not have."""

import types
from typing import Annotated, Any, NamedTuple, Union, get_args, get_origin

from pydantic import BaseModel, Tag

from runner.diagnostics.model import Loc


class Place(NamedTuple):
    """`loc` in the data as it was written; `owner` is the model that the last key belongs to; `key` means the key itself is refused."""

    loc: Loc
    owner: type[BaseModel] | None
    key: bool = False


def place(model: type[BaseModel], data: Any, loc: Loc) -> Place:
    """The place in `data` of Pydantic's `loc` in `model`."""
    kind: Any = model
    owner: type[BaseModel] | None = None
    clean: list[str | int] = []
    for part in loc:
        if part == "[key]":
            return Place(tuple(clean), owner, key=True)
        kind, tagged = _member(kind, part)
        if tagged:
            continue
        inside = _is_model(kind)
        if inside:
            owner = kind
        # A key of a map, an index of a list: else a short form stands here, and the part is not in the user's data.
        written = isinstance(data, dict) if isinstance(part, str) else isinstance(data, list | tuple)
        if written and not (inside and part in getattr(kind, "inline", ())):
            clean.append(part)
            data = _child(data, part)
        kind = _field(kind, part) if inside else _item(kind)
    return Place(tuple(clean), owner)


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _child(data: Any, part: str | int) -> Any:
    try:
        return data[part]
    except (KeyError, IndexError):
        return None


def _bare(kind: Any) -> Any:
    while get_origin(kind) is Annotated:
        kind = get_args(kind)[0]
    return kind


def _member(kind: Any, part: str | int) -> tuple[Any, bool]:
    """The type that `part` is looked up in, and whether `part` was only the name of a union's member."""
    kind = _bare(kind)
    if get_origin(kind) not in (Union, types.UnionType):
        return kind, False
    for member in get_args(kind):
        tags = [note.tag for note in getattr(member, "__metadata__", ()) if isinstance(note, Tag)]
        if part in tags:
            return _bare(member), True
    member = next(member for member in get_args(kind) if member is not type(None))
    return _member(member, part)


def _field(kind: type[BaseModel], part: str | int) -> Any:
    for name, field in kind.model_fields.items():
        if part == (field.alias or name):
            return field.annotation
    return None


def _item(kind: Any) -> Any:
    """The type of the values of a map, or of the entries of a list."""
    arguments = get_args(kind)
    if not arguments:
        return None
    return arguments[1] if get_origin(kind) is dict else arguments[0]
