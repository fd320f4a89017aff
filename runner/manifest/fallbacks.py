"""Fallback entries: other ways to do a step. One class per verb that can stand in for a step's work."""

from typing import Annotated, Any, ClassVar

from pydantic import BeforeValidator, Discriminator, Field, Tag

from runner.manifest.base import Frozen, Listed, Maybe, Templated, mistake
from runner.manifest.bodies import PROMPT_SHORT, RUN_SHORT, AgentBody, ModelBody, RunBody
from runner.manifest.parts import TIMEOUT_SHORT, CheckEntry, Repair, Route, Timeout
from runner.manifest.pick import Pick
from runner.manifest.types import Expression, Id, Name, ToolName
from runner.manifest.vocabulary import PLAIN_VERBS, Effects, ErrorClass, Verb


class Entry(Frozen):
    """The keys that every fallback entry takes beside its verb's own."""

    errors: Maybe[Listed[ErrorClass]] = None
    """The classes of errors that this entry is for (default: those that move a chain on, and tool_error)."""
    when: Maybe[Expression] = None
    """A bare expression; it may use `error`."""
    route: Maybe[Route] = None
    """Routing hints of this entry."""
    timeout: Maybe[Annotated[Timeout, TIMEOUT_SHORT]] = None
    """Deadlines of this entry's attempt."""
    checks: tuple[CheckEntry, ...] = ()
    """Checks of this entry's result; the step's own do not hold for it."""
    repair: Maybe[Repair] = None
    """Repair rounds of this entry."""
    effects: Maybe[Templated[Effects]] = None
    """What a crash may repeat (default: the verb's)."""


class ToolFallback(Entry):
    """Calls a tool instead."""

    verb: ClassVar[Verb] = "tool"
    tool: ToolName
    """`server.tool`: a server of config.yaml and one of its tools. Never a template."""
    with_: dict[str, Any] = Field(default={}, alias="with")
    """The tool's arguments."""


class AgentFallback(Entry):
    """Gives the task to an agent executor instead."""

    verb: ClassVar[Verb] = "agent"
    agent: Annotated[AgentBody, PROMPT_SHORT]
    """The prompt, or `{prompt|file, cwd, allowed_tools}`."""


class ModelFallback(Entry):
    """Asks a model instead."""

    verb: ClassVar[Verb] = "model"
    model: Annotated[ModelBody, PROMPT_SHORT]
    """The prompt, or `{prompt|file, system, temperature, max_tokens}`."""


class RunFallback(Entry):
    """Runs a local command instead."""

    verb: ClassVar[Verb] = "run"
    run: Annotated[RunBody, RUN_SHORT]
    """A list of arguments (no shell), a script for `sh -euc`, or `{argv|script|file}`."""


class CallFallback(Entry):
    """Runs another manifest instead."""

    verb: ClassVar[Verb] = "call"
    call: Name
    """The name of the manifest. Never a template."""
    with_: dict[Id, Any] = Field(default={}, alias="with")
    """The callee's inputs."""


FALLBACK_VERBS: tuple[Verb, ...] = ("tool", "agent", "model", "run", "call")
FALLBACK_CLASSES: tuple[type[Entry], ...] = (ToolFallback, AgentFallback, ModelFallback, RunFallback, CallFallback)
FALLBACK_KEYS: frozenset[str] = frozenset(
    field.alias or name for entry in FALLBACK_CLASSES for name, field in entry.model_fields.items()
)
"""Every key that some entry takes."""

_PICK = Pick(FALLBACK_VERBS, FALLBACK_KEYS, "verb-missing", "verb-ambiguous", "a fallback entry")


def _work_only(value: Any) -> Any:
    plain = next((verb for verb in value if verb in PLAIN_VERBS), None) if isinstance(value, dict) else None
    if plain is not None:
        raise mistake(
            "fallback-verb", f"a fallback entry cannot use `{plain}`: expected one of {', '.join(FALLBACK_VERBS)}"
        )
    return value


FallbackEntry = Annotated[
    Annotated[ToolFallback, Tag("<tool>")]
    | Annotated[AgentFallback, Tag("<agent>")]
    | Annotated[ModelFallback, Tag("<model>")]
    | Annotated[RunFallback, Tag("<run>")]
    | Annotated[CallFallback, Tag("<call>")],
    Discriminator(_PICK.discriminator()),
    _PICK,
    BeforeValidator(_work_only),
]
