"""What every model of the manifest and of config.yaml is built on. No key of either lives here."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Annotated, Any, Self, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler, GetJsonSchemaHandler, ValidationError
from pydantic_core import CoreSchema, InitErrorDetails, PydanticCustomError
from pydantic_core import core_schema as cs

T = TypeVar("T")

BOUND = "bound"
"""The type of a mistake about a number out of bounds: its rule is the model's `bound_rule`."""

TEMPLATE_SCHEMA: dict[str, Any] = {"type": "string", "pattern": r"\{\{"}
"""JSON Schema of a string that holds a template."""

_WITHIN: ContextVar[bool] = ContextVar("_WITHIN", default=False)
"""Whether the schema of a model is being made, so that another one is a part of it."""


class Frozen(BaseModel):
    """A value whose keys are all known and whose field docstrings are its documentation (`documentation.field_docs`)."""

    # Building a validator on first use, and leaving docstrings to those who ask, halves the time of the import. Modules of models do not
    # import `annotations` from the future: Pydantic compiles annotations that are text, once more for each class that inherits them.
    model_config = ConfigDict(
        frozen=True, extra="forbid", hide_input_in_errors=True, validate_by_name=False, defer_build=True
    )

    # For the same reason a model inside another is a call of its own validator: what no manifest holds is never built.
    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        if _WITHIN.get():
            ref = f"{cls.__module__}.{cls.__qualname__}:{id(cls)}"  # as Pydantic's own, which JSON Schemas are named by
            return cs.no_info_plain_validator_function(cls._read, ref=ref)
        token = _WITHIN.set(True)
        try:
            return handler(source)
        finally:
            _WITHIN.reset(token)

    @classmethod
    def _read(cls, value: Any) -> Self:
        made: Self = cls.__pydantic_validator__.validate_python(value)
        return made


def is_template(value: object) -> bool:
    """Text that holds `{{`."""
    return isinstance(value, str) and "{{" in value


def mistake(rule: str, message: str, *, fix: str | None = None, key: bool = False) -> PydanticCustomError:
    """A user's mistake, to be raised by a validator. Its type is the rule's id; `key` underlines the key, not the value."""
    return PydanticCustomError(rule, "{message}", {"message": message, "fix": fix, "key": key})


def mistakes(title: str, found: Sequence[tuple[tuple[str | int, ...], PydanticCustomError]]) -> ValidationError:
    """Several mistakes of one value at once, each with its place below it."""
    details = [InitErrorDetails(type=error, loc=loc, input=None) for loc, error in found]
    return ValidationError.from_exception_data(title, details, hide_input=True)


class NotNull:
    """Drops None from a field's type: a key without a value is a mistake, not a key that is left out."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        schema = handler(source)
        return schema["schema"] if schema["type"] == "nullable" else schema


Maybe = Annotated[T | None, NotNull()]
"""A key that may be left out; None then."""


@dataclass(slots=True, eq=False)  # told apart by identity: typing caches annotations by hash, and a schema has none
class Parsed:
    """A scalar that `read` turns into its value or refuses; `schema` is its JSON Schema."""

    read: Callable[[Any], Any]
    schema: Mapping[str, Any]

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return cs.no_info_plain_validator_function(self.read)

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return dict(self.schema)


class OrTemplate:
    """Lets a string that holds `{{` through as it is."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        inner = handler.generate_schema(get_args(source)[0])
        return cs.no_info_wrap_validator_function(_or_template, inner)

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"anyOf": [handler(core), TEMPLATE_SCHEMA]}


def _or_template(value: Any, handler: cs.ValidatorFunctionWrapHandler) -> Any:
    return value if is_template(value) else handler(value)


Templated = Annotated[T | str, OrTemplate()]
"""A value, or the text of a template that gives one."""


class OneIsList:
    """One word stands for a list of one."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return cs.no_info_before_validator_function(_one_is_list, handler(source))

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        array = handler(core)
        return {"anyOf": [array, array["items"]]}


def _one_is_list(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


Listed = Annotated[tuple[T, ...], OneIsList()]
"""A list, or one word that stands for a list of one."""


@dataclass(slots=True, eq=False)
class Short:
    """A value that is no mapping stands for `{key: value}`; by type where several keys may be meant."""

    keys: tuple[tuple[type | tuple[type, ...], str], ...]
    schemas: tuple[Mapping[str, Any], ...]

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return cs.no_info_before_validator_function(self.expand, handler(source))

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"anyOf": [*map(dict, self.schemas), handler(core)]}

    def expand(self, value: Any) -> Any:
        for kind, key in self.keys:
            if isinstance(value, kind):
                return {key: value}
        return value
