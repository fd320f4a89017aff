"""The manifest itself, and the partial manifests that it may extend."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from runner.manifest.base import Frozen, Listed, Maybe, Templated, is_template, mistake
from runner.manifest.declarations import Inputs
from runner.manifest.parts import TIMEOUT_SHORT, Budget, Faults, Route, Timeout, Workspace
from runner.manifest.schedule import SCHEDULE_PATTERN, read_schedule
from runner.manifest.steps import Step
from runner.manifest.types import Env, Glob, Id, InnerPath, Labels, Limit, LoadPath, Name, Positive, shown


class Defaults(Frozen):
    """What holds for every step that uses the key; a step's own keys win, maps merge key by key."""

    route: Maybe[Route] = None
    """Routing hints."""
    faults: Maybe[Faults] = None
    """The fault policy."""
    timeout: Maybe[Annotated[Timeout, TIMEOUT_SHORT]] = None
    """Deadlines of each attempt of tool, agent, model and run."""
    budget: Maybe[Budget] = None
    """Caps on what each step may spend."""
    env: Maybe[Env] = None
    """Environment variables."""
    cwd: Maybe[InnerPath] = None
    """The working directory, relative to the workspace."""
    labels: Maybe[Labels] = None
    """Labels of every step."""
    reuse: Maybe[Literal["auto", "never"]] = None
    """Whether results of earlier runs are taken over."""
    workspace: Maybe[Workspace] = None
    """Gives each step a git worktree of its own."""


class Triggers(Frozen):
    """When `runner watch` runs the manifest by itself."""

    files: Listed[Glob] = ()
    """Globs: a change of one of these files starts a run."""
    schedule: Maybe[
        Annotated[str, AfterValidator(read_schedule), Field(json_schema_extra={"pattern": SCHEDULE_PATTERN})]
    ] = None
    """A cron expression of five fields, in config's `timezone`. A scheduled run reuses nothing."""


def _whole_template(value: Any) -> Any:
    if isinstance(value, str) and not (
        is_template(value) and value.strip().startswith("{{") and value.strip().endswith("}}")
    ):
        raise mistake("wrong-type", f"expected a map, or one whole template, not {shown(value)}")
    return value


class Manifest(Frozen):
    """One task: its inputs, its steps, and what holds for all of them."""

    ares: Literal["v1"]
    """The version of the language."""
    name: Name
    """The manifest's name: small letters, digits, hyphens; unique in one apply."""
    description: Maybe[str] = None
    """What the task is for."""
    labels: Labels = Field(default={})
    """Words that select and describe the manifest; steps inherit them. A list of words means `{word: true}`."""
    extends: Listed[LoadPath] = ()
    """Partial manifests that are merged below this one; later entries win."""
    inputs: Inputs = Field(default={})
    """What a run is given: each input with its type or JSON Schema; `name?` is optional."""
    vars: dict[Id, Any] = Field(default={})
    """Constants; they may use `inputs`."""
    defaults: Maybe[Defaults] = None
    """What holds for every step."""
    budget: Maybe[Budget] = None
    """Caps on what a run may spend."""
    timeout: Maybe[Limit] = None
    """The longest that a run may take (default: none)."""
    concurrency: Maybe[Positive] = None
    """How many steps of a run work at the same time (default: config's `concurrency.steps`)."""
    env: Env = Field(default={})
    """Environment variables of every `run`."""
    steps: Annotated[dict[Id, Step], Field(min_length=1)]
    """The steps by id. A reference to another step is an edge: nothing else orders them but `needs`."""
    finally_: dict[Id, Step] = Field(default={}, alias="finally")
    """Steps that always run, after all others have ended."""
    outputs: Annotated[Templated[dict[str, Any]], AfterValidator(_whole_template)] = Field(default={})
    """What a succeeded run gives to its caller: a map, or one whole template."""
    triggers: Maybe[Triggers] = None
    """When `runner watch` runs the manifest by itself."""


class Partial(Frozen):
    """A file that manifests extend. It has neither `name` nor `steps`."""

    ares: Literal["v1"]
    """The version of the language."""
    description: Maybe[str] = None
    """What the partial is for."""
    defaults: Maybe[Defaults] = None
    """What holds for every step."""
    budget: Maybe[Budget] = None
    """Caps on what a run may spend."""
    env: Env = Field(default={})
    """Environment variables of every `run`."""
