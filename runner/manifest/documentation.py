"""The docstrings of models' fields: the documentation of every key. Read from the source when asked for, since that takes a while."""

from __future__ import annotations

import ast
import inspect
from functools import cache
from textwrap import dedent

from pydantic import BaseModel


def field_docs(model: type[BaseModel]) -> dict[str, str]:
    """The documentation of each field by its YAML key, inherited fields included."""
    docs: dict[str, str] = {}
    for owner in reversed(model.__mro__):
        if issubclass(owner, BaseModel) and owner.__module__.startswith("runner."):
            docs |= _docs(owner)
    fields = model.model_fields
    return {fields[name].alias or name: text for name, text in docs.items() if name in fields}


@cache
def _docs(owner: type[BaseModel]) -> dict[str, str]:
    (definition,) = ast.parse(dedent(inspect.getsource(owner))).body
    assert isinstance(definition, ast.ClassDef)
    docs = {}
    for field, text in zip(definition.body, definition.body[1:], strict=False):
        match field, text:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str() as doc)):
                docs[name] = " ".join(doc.split())
    return docs
