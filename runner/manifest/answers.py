"""What an executor answered, as people write it in a suite's `stubs` and read it in a recording."""

from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, ConfigDict, Field, GetCoreSchemaHandler, GetJsonSchemaHandler, model_validator
from pydantic_core import CoreSchema
from pydantic_core import core_schema as cs

from runner.manifest.base import Frozen, Maybe, mistake
from runner.manifest.types import Amount, Bool, Count, InnerPath, Milliseconds, Text
from runner.manifest.vocabulary import ErrorClass


class Binary(Frozen):
    """A file's content that is no text."""

    base64: str
    """The bytes, as base64."""


class Answer(Frozen):
    """One answer. Without `error` the call succeeded."""

    model_config = ConfigDict(json_schema_extra={"dependencies": {"message": ["error"]}})

    text: Maybe[str] = None
    """What it said, as text."""
    output: Any = None
    """What it gave, as data."""
    structured: Maybe[Bool] = None
    """Whether `output` is data, not text that `returns` may parse (default: when it is no text)."""
    error: Maybe[ErrorClass] = None
    """The class of its failure, such as rate_limit or timeout."""
    message: Maybe[str] = None
    """What it said of its failure."""
    effect: Literal["none", "maybe"] = "none"
    """Whether something may have happened although it failed; `maybe` makes the outcome of a `once` step unknown."""
    status: Maybe[int] = None
    """The HTTP status, the exit code of a command, or the error code of MCP."""
    retry_after: Maybe[Milliseconds] = None
    """How long it asks to be left alone."""
    cost_usd: Maybe[Amount | Literal["unknown"]] = None
    """What it cost, in US dollars; `unknown` is never free."""
    cost_source: Maybe[Text] = None
    """Who knows what it cost: billed, priced or assumed."""
    tokens: dict[str, Count] = Field(default={})
    """Tokens: `in`, `out`."""
    executor: Maybe[Text] = None
    """Who answered, when it is not the one who was asked."""
    model: Maybe[Text] = None
    """The model that answered."""
    session: Maybe[str] = None
    """The session that a next round may go on in."""
    contact: Maybe[Literal["unreached", "hollow", "answered"]] = None
    """How far a failed call of a model came: `unreached` makes its endpoint one that nobody reaches, until an answer comes from there."""
    denials: tuple[str, ...] = ()
    """What it was not allowed to do."""
    files: dict[InnerPath, str | Binary | None] = Field(default={})
    """The files of the workspace that it wrote, with their content; without a value: removed."""

    @model_validator(mode="after")
    def _one_result(self) -> Self:
        if self.message is not None and self.error is None:
            raise mistake("missing-key", "`message` belongs to an `error`", fix="error: tool_error")
        return self


class _OneOrMore:
    """A map stands for a list of one."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return cs.no_info_before_validator_function(
            lambda value: (value,) if isinstance(value, dict) else value, handler(source)
        )

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        array = handler(core)
        return {"anyOf": [array["items"], array]}


def _some(value: tuple[Answer, ...]) -> tuple[Answer, ...]:
    if not value:
        raise mistake("wrong-value", "expected at least one answer", fix="{text: …}")
    return value


Answers = Annotated[tuple[Answer, ...], AfterValidator(_some), Field(json_schema_extra={"minItems": 1}), _OneOrMore()]
"""An answer, or a list of them in the order of the attempts; the last one is given again and again."""
