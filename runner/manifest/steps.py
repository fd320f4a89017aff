"""Steps: one class per verb, with exactly the keys that its verb can use. Fallback entries are in `fallbacks.py`."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, ConfigDict, Discriminator, Field, Tag, ValidationInfo

from runner.manifest.base import Frozen, Listed, Maybe, Templated, mistake
from runner.manifest.bodies import PROMPT_SHORT, RUN_SHORT, WAIT_SHORT, AgentBody, ModelBody, RunBody, WaitBody
from runner.manifest.declarations import Returns
from runner.manifest.fallbacks import FallbackEntry
from runner.manifest.parts import (
    FOREACH_SHORT,
    SAVE_SHORT,
    TIMEOUT_SHORT,
    Budget,
    CheckEntry,
    Faults,
    Foreach,
    Matrix,
    Repair,
    Route,
    Save,
    Timeout,
    Workspace,
)
from runner.manifest.pick import Pick
from runner.manifest.types import (
    Bool,
    Env,
    Expression,
    Glob,
    Id,
    InnerPath,
    Labels,
    Name,
    Positive,
    Text,
    ToolName,
)
from runner.manifest.vocabulary import VERBS, Effects, Verb


def _one_fan(value: Any, info: ValidationInfo) -> Any:
    if info.data.get("foreach") is not None:
        raise mistake("fan-ambiguous", "`matrix` beside `foreach`: a step fans out in one way", key=True)
    return value


def _with_fan(value: Any, info: ValidationInfo) -> Any:
    # A fan-out that is itself refused is missing from `data`: then there is nothing to add.
    if info.data.get("foreach", True) is None and info.data.get("matrix", True) is None:
        raise mistake(
            "fan-key-unused", f"`{info.field_name}` means something only beside `foreach` or `matrix`", key=True
        )
    return value


_FAN_SCHEMA: dict[str, Any] = {
    "not": {"required": ["foreach", "matrix"]},
    "dependencies": {
        key: {"anyOf": [{"required": ["foreach"]}, {"required": ["matrix"]}]} for key in ("max_parallel", "join")
    },
}


class PlainStep(Frozen):
    """The keys that every step takes."""

    model_config = ConfigDict(json_schema_extra=_FAN_SCHEMA)

    needs: Listed[Id] = ()
    """Steps that must have ended before this one starts. A reference `steps.x` implies it."""
    when: Maybe[Expression] = None
    """A bare expression that must give true or false. When it is false the step is skipped."""
    foreach: Maybe[Annotated[Foreach, FOREACH_SHORT]] = None
    """Runs the step once for each item of a list."""
    matrix: Maybe[Annotated[Matrix, AfterValidator(_one_fan)]] = None
    """Runs the step once for each combination of its axes."""
    max_parallel: Maybe[Annotated[Positive, AfterValidator(_with_fan)]] = None
    """How many items run at the same time (default: config's `concurrency.steps`)."""
    join: Annotated[Literal["all", "settled"], AfterValidator(_with_fan)] = "all"
    """`all`: a failed item fails the step. `settled`: the step succeeds whatever its items do."""
    labels: Labels = Field(default={})
    """Words that select and describe the step. A list of words means `{word: true}`."""
    optional: Bool = False
    """A failure does not fail the run, and readers treat the step as skipped."""


class WorkStep(PlainStep):
    """The keys of steps that do work: tool, agent, model, run, call."""

    route: Maybe[Route] = None
    """Routing hints: who may do this step."""
    fallback: tuple[FallbackEntry, ...] = ()
    """Other ways to do the step, tried in order once the chain and the retry rounds are exhausted."""
    faults: Maybe[Faults] = None
    """The fault policy of this step."""
    timeout: Maybe[Annotated[Timeout, TIMEOUT_SHORT]] = None
    """Deadlines of each attempt; a duration alone is `{total}`."""
    checks: tuple[CheckEntry, ...] = ()
    """What must hold of the result. All checks must pass; one that cannot be evaluated fails."""
    repair: Maybe[Repair] = None
    """Rounds that run the step again while its checks or `returns` fail."""
    returns: Maybe[Returns] = None
    """The fields of the output, each with its type or JSON Schema; `name?` is optional."""
    effects: Maybe[Templated[Effects]] = None
    """What a crash may repeat: `none` (free), `idempotent` (after an unknown outcome), `once` (never silently)."""
    reuse: Maybe[Literal["auto", "never"]] = None
    """Whether the result of an earlier run with the same key is taken over (default `auto`)."""
    files: Listed[Glob] = ()
    """Globs of files whose content is part of the step's reuse key."""
    save: Maybe[Annotated[Save, SAVE_SHORT]] = None
    """Writes the result to a file in the workspace."""
    env: Env = Field(default={})
    """Environment variables of the command."""
    cwd: Maybe[InnerPath] = None
    """The working directory, relative to the workspace."""
    budget: Maybe[Budget] = None
    """Caps on what the step may spend."""
    workspace: Maybe[Workspace] = None
    """Gives the step a git worktree of its own."""


class ToolStep(WorkStep):
    """Calls one tool of an MCP server."""

    verb: ClassVar[Verb] = "tool"
    tool: ToolName
    """`server.tool`: a server of config.yaml and one of its tools. Never a template."""
    with_: dict[str, Any] = Field(default={}, alias="with")
    """The tool's arguments; templates keep the type of their value."""


class AgentStep(WorkStep):
    """Gives a task to an agent executor, chosen by the router."""

    verb: ClassVar[Verb] = "agent"
    agent: Annotated[AgentBody, PROMPT_SHORT]
    """The prompt, or `{prompt|file, cwd, allowed_tools}`."""


class ModelStep(WorkStep):
    """Asks a model for one completion, chosen by the router."""

    verb: ClassVar[Verb] = "model"
    model: Annotated[ModelBody, PROMPT_SHORT]
    """The prompt, or `{prompt|file, system, temperature, max_tokens}`."""


class RunStep(WorkStep):
    """Runs a local command."""

    verb: ClassVar[Verb] = "run"
    run: Annotated[RunBody, RUN_SHORT]
    """A list of arguments (no shell), a script for `sh -euc`, or `{argv|script|file}`."""


class CallStep(WorkStep):
    """Runs another manifest as a sub-run with its own checkpoints."""

    verb: ClassVar[Verb] = "call"
    call: Name
    """The name of a manifest of the same apply, else of `NAME.yaml` beside this one. Never a template."""
    with_: dict[Id, Any] = Field(default={}, alias="with")
    """The callee's inputs."""


class ApproveStep(PlainStep):
    """Waits for a person; survives restarts. A rejection fails the step with class `denied`."""

    verb: ClassVar[Verb] = "approve"
    approve: Text
    """The question; a template."""
    show: Listed[Text] = ()
    """What the person is shown beside the question; templates."""
    otherwise: Literal["reject", "approve", "fail"] = "reject"
    """What happens when the time is over without an answer."""
    timeout: Maybe[Annotated[Timeout, TIMEOUT_SHORT]] = None
    """How long to wait for an answer (default: for ever)."""


class WaitStep(PlainStep):
    """A durable timer."""

    verb: ClassVar[Verb] = "wait"
    wait: Annotated[WaitBody, WAIT_SHORT]
    """A duration, or `{until: TIME}`."""


class SetStep(PlainStep):
    """Computes values, without any effect."""

    verb: ClassVar[Verb] = "set"
    set: Annotated[dict[str, Any], Field(min_length=1)]
    """The values; templates keep their type. The map is the step's output."""


class FailStep(PlainStep):
    """Fails, with class `tool_error`."""

    verb: ClassVar[Verb] = "fail"
    fail: Text
    """The message; a template."""


STEP_CLASSES: tuple[type[PlainStep], ...] = (
    ToolStep,
    AgentStep,
    ModelStep,
    RunStep,
    CallStep,
    ApproveStep,
    WaitStep,
    SetStep,
    FailStep,
)

STEP_KEYS: frozenset[str] = frozenset(
    field.alias or name for step in STEP_CLASSES for name, field in step.model_fields.items()
)
"""Every key that some step takes."""

_PICK = Pick(VERBS, STEP_KEYS, "verb-missing", "verb-ambiguous", "a step")

Step = Annotated[
    Annotated[ToolStep, Tag("<tool>")]
    | Annotated[AgentStep, Tag("<agent>")]
    | Annotated[ModelStep, Tag("<model>")]
    | Annotated[RunStep, Tag("<run>")]
    | Annotated[CallStep, Tag("<call>")]
    | Annotated[ApproveStep, Tag("<approve>")]
    | Annotated[WaitStep, Tag("<wait>")]
    | Annotated[SetStep, Tag("<set>")]
    | Annotated[FailStep, Tag("<fail>")],
    Discriminator(_PICK.discriminator()),
    _PICK,
]
