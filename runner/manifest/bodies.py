"""What stands under a verb: a prompt, a command, a time to wait for. Short forms are normalised here."""

from typing import Annotated, Any, Self

from pydantic import ConfigDict, Field, ValidationInfo, field_validator, model_validator

from runner.manifest.base import Frozen, Maybe, Short, Templated, mistake, mistakes
from runner.manifest.types import TEMPLATED_DURATION_SCHEMA, Delay, InnerPath, LoadPath, Positive, Text, Timestamp

TEXT_SCHEMA: dict[str, Any] = {"type": "string", "minLength": 1}
ARGV_SCHEMA: dict[str, Any] = {"type": "array", "items": {"type": "string"}, "minItems": 1}


def one_of(*keys: str) -> ConfigDict:
    """The JSON Schema side of `refuse_second` and `require_one`."""
    return ConfigDict(json_schema_extra={"oneOf": [{"required": [key]} for key in keys]})


def refuse_second(value: Any, info: ValidationInfo, *others: str) -> Any:
    """Refuse a key beside another that says the same in another way."""
    for other in others:
        if info.data.get(other) is not None:
            raise mistake("body-ambiguous", f"`{info.field_name}` beside `{other}`: give one of them", key=True)
    return value


def require_one(body: Frozen, *keys: str) -> None:
    """Refuse a body that has none of `keys`."""
    if all(getattr(body, key) is None for key in keys):
        raise mistake("body-ambiguous", f"expected one of {', '.join(keys)}")


class RunBody(Frozen):
    """A local command. A list is `argv`, text is `script`."""

    model_config = one_of("argv", "script", "file")

    argv: Maybe[Annotated[tuple[str, ...], Field(min_length=1)]] = None
    """The program and its arguments, passed on without a shell. Each may be a template."""
    script: Maybe[Text] = None
    """A script for `sh -euc`, passed on as it is written: no templates; values go in through `env`."""
    file: Maybe[LoadPath] = None
    """A script file, read when the manifest is loaded, relative to it."""

    @field_validator("script")
    @classmethod
    def _script_alone(cls, value: Any, info: ValidationInfo) -> Any:
        return refuse_second(value, info, "argv")

    @field_validator("file")
    @classmethod
    def _file_alone(cls, value: Any, info: ValidationInfo) -> Any:
        return refuse_second(value, info, "argv", "script")

    @model_validator(mode="after")
    def _something(self) -> Self:
        require_one(self, "argv", "script", "file")
        return self


class AgentBody(Frozen):
    """A task for an agent executor. Text alone is `prompt`."""

    model_config = one_of("prompt", "file")

    prompt: Maybe[Text] = None
    """What the agent is asked to do; a template."""
    file: Maybe[LoadPath] = None
    """A file that holds the prompt, read when the manifest is loaded, relative to it."""
    cwd: Maybe[InnerPath] = None
    """The directory that the agent works in, relative to the workspace."""
    allowed_tools: Maybe[tuple[Text, ...]] = None
    """The tools that the agent may use, in the executor's own notation."""

    @field_validator("file")
    @classmethod
    def _file_alone(cls, value: Any, info: ValidationInfo) -> Any:
        return refuse_second(value, info, "prompt")

    @model_validator(mode="after")
    def _something(self) -> Self:
        require_one(self, "prompt", "file")
        return self


class ModelBody(Frozen):
    """One completion. Text alone is `prompt`."""

    model_config = one_of("prompt", "file")

    prompt: Maybe[Text] = None
    """What the model is asked; a template."""
    file: Maybe[LoadPath] = None
    """A file that holds the prompt, read when the manifest is loaded, relative to it."""
    system: Maybe[Text] = None
    """The system prompt; a template."""
    temperature: Maybe[Templated[Annotated[float, Field(strict=True, ge=0, le=2)]]] = None
    """The sampling temperature, from 0 to 2 (default: the model's own)."""
    max_tokens: Maybe[Templated[Positive]] = None
    """The longest answer, in tokens (default: the model's own)."""

    @field_validator("file")
    @classmethod
    def _file_alone(cls, value: Any, info: ValidationInfo) -> Any:
        return refuse_second(value, info, "prompt")

    @model_validator(mode="after")
    def _something(self) -> Self:
        require_one(self, "prompt", "file")
        return self


def _only_until(schema: dict[str, Any]) -> None:
    del schema["properties"]["duration"]
    schema["required"] = ["until"]


class WaitBody(Frozen):
    """A durable timer: `wait: 10m`, or `wait: {until: …}`."""

    model_config = ConfigDict(json_schema_extra=_only_until)

    duration: Maybe[Delay] = None
    """How long, in milliseconds. Only the short form gives it."""
    until: Maybe[Timestamp] = None
    """A point in time, RFC 3339 with a zone, or a template that gives one. One in the past is over at once."""

    @model_validator(mode="after")
    def _something(self) -> Self:
        if self.duration is None and self.until is None:
            raise mistake("body-ambiguous", "expected a duration such as `wait: 10m`, or `until`")
        return self


RUN_SHORT = Short(((list, "argv"), (str, "script")), (ARGV_SCHEMA, TEXT_SCHEMA))
PROMPT_SHORT = Short(((str, "prompt"),), (TEXT_SCHEMA,))


class WaitShort(Short):
    """As `Short`; the long form has no `duration`."""

    def expand(self, value: Any) -> Any:
        if isinstance(value, dict) and "duration" in value:
            error = mistake("unknown-key", "a duration is written without a key", fix="wait: 10m", key=True)
            raise mistakes("wait", [(("duration",), error)])
        return Short.expand(self, value)


WAIT_SHORT = WaitShort((((str, int, float), "duration"),), (TEMPLATED_DURATION_SCHEMA,))
