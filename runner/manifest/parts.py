"""The parts that steps share: route, faults, timeout, budget, workspace, save, checks, repair, fan-out."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    ConfigDict,
    Discriminator,
    Field,
    ModelWrapValidatorHandler,
    Tag,
    ValidationInfo,
    field_validator,
    model_validator,
)

from runner.manifest.base import TEMPLATE_SCHEMA, Frozen, Listed, Maybe, Parsed, Short, Templated, is_template, mistake
from runner.manifest.bodies import RUN_SHORT, RunBody
from runner.manifest.pick import Pick
from runner.manifest.types import (
    INNER_PATH_PATTERN,
    MOST_BACKOFF,
    TEMPLATED_DURATION_SCHEMA,
    Amount,
    Bool,
    Count,
    Delay,
    Expression,
    Glob,
    Id,
    InnerPath,
    Limit,
    Share,
    Text,
    shown,
)
from runner.manifest.vocabulary import ErrorClass, Exhausted


class Route(Frozen):
    """Routing hints: who may do this step, and in which order they are tried."""

    requires: Maybe[Templated[Listed[Text]]] = None
    """Capabilities that an executor or model must have, such as `code_edit` or `shell`."""
    executors: Maybe[Templated[Listed[Text]]] = None
    """The chain of agent executors, tried in this order."""
    models: Maybe[Templated[Listed[Text]]] = None
    """The chain of models, tried in this order. An `agent` step asks its executor to use the first of them."""
    tier: Maybe[Templated[Literal["free_first", "paid_first", "free_only", "any"]]] = None
    """How free and paid candidates are ordered when nobody gave a chain (default `free_first`). `free_only` always filters."""
    locality: Maybe[Templated[Literal["any", "local"]]] = None
    """`local` allows only what runs on this machine (default `any`)."""
    prefer: Maybe[Templated[Literal["declared", "cost", "speed", "reliability"]]] = None
    """What orders candidates of one tier (default `declared`, the order of config.yaml)."""


class Retry(Frozen):
    """Rounds of retries, after every entry of the chain has failed."""

    max: Maybe[Templated[Count]] = None
    """Rounds after the first one (default 2)."""
    delay: Maybe[Delay] = None
    """The wait before the first retry (default 2s)."""
    backoff: Maybe[Templated[Annotated[float, Field(strict=True, ge=1, le=MOST_BACKOFF)]]] = None
    """The factor by which each wait is longer than the one before (default 2)."""
    max_delay: Maybe[Delay] = None
    """The longest wait (default 1m)."""
    jitter: Maybe[Templated[Share]] = None
    """The share by which a wait varies at random, up and down (default 0.2)."""
    errors: Maybe[Templated[Listed[ErrorClass]]] = None
    """The classes of errors that are tried again (default rate_limit, unavailable, timeout, crash)."""


class ModeFaults(Frozen):
    """What one mode does about faults; its keys win over those beside the modes."""

    retry: Maybe[Retry] = None
    """Rounds of retries."""
    fallback: Maybe[Bool] = None
    """Whether `fallback` entries are tried (default true). The chain is not affected."""
    exhausted: Maybe[Templated[Exhausted]] = None
    """What happens when nothing is left to try: fail, skip the step, or suspend the run."""
    route: Maybe[Route] = None
    """Routing hints that hold in this mode."""
    skip: Maybe[Listed[Text]] = None
    """A step with one of these labels is skipped when it would start in this mode. `optional` also means `optional: true`."""


class Faults(Frozen):
    """The fault policy. Keys beside the modes hold in every mode."""

    retry: Maybe[Retry] = None
    """Rounds of retries."""
    fallback: Maybe[Bool] = None
    """Whether `fallback` entries are tried (default true). The chain is not affected."""
    exhausted: Maybe[Templated[Exhausted]] = None
    """What happens when nothing is left to try: fail, skip the step, or suspend the run."""
    normal: Maybe[ModeFaults] = None
    """What holds while the LiteLLM proxy is up."""
    degraded: Maybe[ModeFaults] = None
    """What holds while only the backup endpoint answers."""
    brainstem: Maybe[ModeFaults] = None
    """What holds while no cloud endpoint answers and only local work runs."""


class Timeout(Frozen):
    """Deadlines of each attempt. A duration alone is `total`."""

    total: Maybe[Limit] = None
    """The longest that an attempt may take, its checks not included (default 10m for tool and model, 1h for run and agent)."""
    idle: Maybe[Limit] = None
    """The longest that an attempt may go on without any output or progress."""


class Budget(Frozen):
    """Caps on what may be spent. The lower of this and config's holds."""

    usd: Maybe[Templated[Amount]] = None
    """US dollars."""
    tokens: Maybe[Templated[Count]] = None
    """Tokens in and out together; may end in k or M."""
    exceed: Maybe[Templated[Literal["suspend", "free_only", "fail"]]] = None
    """What happens when the next attempt would go over the cap (default `suspend`)."""
    unpriced: Maybe[Templated[Literal["allow", "warn", "deny"]]] = None
    """What happens when a price is unknown; it never counts as 0."""


class Workspace(Frozen):
    """A git worktree of the step's own. Its diff is recorded and, on success, applied to the workspace."""

    git: Literal["worktree"]
    """The kind of workspace: `worktree` is the only one."""
    keep: Literal["never", "on_failure", "always"] = "on_failure"
    """When the worktree stays on disk after the step."""
    apply: Bool = True
    """Whether the diff is applied to the workspace; false leaves it in the record only."""


class Save(Frozen):
    """Where the step's result is written, inside the workspace. A path alone is `path`."""

    path: InnerPath
    """The file, relative to the workspace."""
    from_: Maybe[Text] = Field(default=None, alias="from")
    """A template of what is written (default: the step's text, or its output as JSON)."""


class ChangedCheck(Frozen):
    """Which files the step may and must touch in the workspace."""

    only: Listed[Glob] = ("**",)
    """Globs that every touched file must match."""
    min_files: Count = 1
    """The fewest files that must be touched."""
    max_files: Maybe[Count] = None
    """The most files that may be touched (default: any number)."""

    @field_validator("max_files")
    @classmethod
    def _ordered(cls, value: int, info: ValidationInfo) -> int:
        if value < info.data.get("min_files", 0):
            raise mistake("wrong-value", f"max_files is less than min_files ({info.data['min_files']})")
        return value


class JudgeSpec(Frozen):
    """The question that a model answers with a score. Text alone is `prompt`."""

    prompt: Text
    """What must hold of the step's result."""
    route: Maybe[Route] = None
    """Which model judges."""


class ExprCheck(Frozen):
    """An expression that must be true of `output` and `text`."""

    expr: Expression
    """A bare expression, such as `output.files | length <= 20`."""


class RunCheck(Frozen):
    """A command that must exit with 0. It gets the step's text on stdin."""

    run: Annotated[RunBody, RUN_SHORT]
    """The command: a list of arguments, or a shell script."""
    timeout: Maybe[Limit] = None
    """The longest that the command may take (default 10m)."""


class ChangedCheckEntry(Frozen):
    """Limits on the files that the step touched in the workspace since it began."""

    changed: ChangedCheck
    """Which files may and must be touched."""


class JudgeCheck(Frozen):
    """A model's judgement of the step's result."""

    judge: Annotated[JudgeSpec, Short(((str, "prompt"),), ({"type": "string", "minLength": 1},))]
    """What must hold, as text or as `{prompt, route}`."""
    min: Share
    """The lowest score, from 0 to 1, that passes."""


CHECK_KINDS = ("expr", "run", "changed", "judge")


CHECK_KEYS = frozenset({*CHECK_KINDS, "timeout", "min"})
_PICK_CHECK = Pick(CHECK_KINDS, CHECK_KEYS, "check-ambiguous", "check-ambiguous", "a check")

CheckEntry = Annotated[
    Annotated[ExprCheck, Tag("<expr>")]
    | Annotated[RunCheck, Tag("<run>")]
    | Annotated[ChangedCheckEntry, Tag("<changed>")]
    | Annotated[JudgeCheck, Tag("<judge>")],
    Discriminator(_PICK_CHECK.discriminator()),
    _PICK_CHECK,
]


class Repair(Frozen):
    """Rounds that run the step again while its checks or `returns` fail."""

    max: Count
    """Rounds after the first one."""
    session: Literal["keep", "new"] = "keep"
    """Whether an agent goes on in the same session, or starts a new one."""


def read_list(value: Any) -> tuple[Any, ...] | str:
    """A list, or the text of a template that gives one."""
    if isinstance(value, list | tuple):
        return tuple(value)
    if isinstance(value, str) and is_template(value):
        return value
    raise mistake("wrong-type", f"expected a list, or a template that gives one, not {shown(value)}")


class Foreach(Frozen):
    """A fan-out over a list. A list or template alone is `in`."""

    in_: Annotated[tuple[Any, ...] | str, Parsed(read_list, {"anyOf": [{"type": "array"}, TEMPLATE_SCHEMA]})] = Field(
        alias="in"
    )
    """The list, or a template that gives one; it may come from an earlier step."""
    key: Maybe[Text] = None
    """A template of each item's key, such as `"{{ item.id }}"` (default: the index)."""


FOREACH_SHORT = Short((((str, list, int, float), "in"),), ({"type": "array"}, TEMPLATE_SCHEMA))
TIMEOUT_SHORT = Short((((str, int, float), "total"),), (TEMPLATED_DURATION_SCHEMA,))
SAVE_SHORT = Short(((str, "path"),), ({"type": "string", "minLength": 1, "pattern": INNER_PATH_PATTERN},))

Axis = Annotated[tuple[Any, ...] | str, Parsed(read_list, {"anyOf": [{"type": "array"}, TEMPLATE_SCHEMA]})]
Rows = Templated[tuple[dict[Id, Any], ...]]


def _axes_beside(schema: dict[str, Any]) -> None:
    axes = schema["properties"].pop("axes")
    schema.pop("required", None)
    schema.update({key: axes[key] for key in ("patternProperties", "additionalProperties")}, minProperties=1)


class Matrix(Frozen):
    """A fan-out over the product of lists. In YAML the axes stand beside `include` and `exclude`."""

    model_config = ConfigDict(json_schema_extra=_axes_beside)
    inline: ClassVar[frozenset[str]] = frozenset({"axes"})

    axes: dict[Id, Axis]
    """Each axis with its list of values, or a template that gives one."""
    include: Rows = ()
    """Rows that are added, or extend the combinations that they equal on all shared axes."""
    exclude: Rows = ()
    """Rows of axis values whose combinations are left out."""

    @model_validator(mode="wrap")
    @classmethod
    def _gather(cls, value: Any, handler: ModelWrapValidatorHandler["Matrix"]) -> "Matrix":
        if value == {}:
            raise mistake("empty-axis", "expected at least one axis, such as `os: [linux, mac]`")
        if isinstance(value, dict):
            rows = {key: value[key] for key in ("include", "exclude") if key in value}
            value = {**rows, "axes": {key: axis for key, axis in value.items() if key not in rows}}
        return handler(value)
