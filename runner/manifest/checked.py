"""Data against a model. What is said about mistakes is loaded with the first one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel, ValidationError

if TYPE_CHECKING:
    from runner.diagnostics.model import Problem

M = TypeVar("M", bound=BaseModel)


def check(model: type[M], data: Any) -> tuple[M | None, list[Problem]]:
    """The validated model, or None and what is wrong with the data, in the order of the model's keys."""
    try:
        return model.model_validate(data), []
    except ValidationError as error:
        from runner.manifest.problems import problems

        return None, problems(model, data, error)
