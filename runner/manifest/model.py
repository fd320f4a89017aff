"""SKELETON (helper B completes it: docstrings, validators, patterns). Attribute = YAML key; `in_ with_ from_ finally_ if` get an underscore + alias.

Shapes below are those AFTER validation (short forms are normalised by validators), which is what core/compile reads.
Duration = int milliseconds after validation, or the template text (a str holding `{{`) where templates are allowed.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from runner.manifest.vocabulary import ErrorClass, Exhausted


class Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, hide_input_in_errors=True, populate_by_name=False)


Duration = int | str
Scalar = str | int | float | bool


class Route(Frozen):
    requires: tuple[str, ...] | str | None = None
    executors: tuple[str, ...] | str | None = None
    models: tuple[str, ...] | str | None = None
    tier: str | None = None
    locality: str | None = None
    prefer: str | None = None


class Retry(Frozen):
    max: int | str | None = None
    delay: Duration | None = None
    backoff: float | str | None = None
    max_delay: Duration | None = None
    jitter: float | str | None = None
    errors: tuple[ErrorClass, ...] | str | None = None


class ModeFaults(Frozen):
    """faults.normal / degraded / brainstem"""
    retry: Retry | None = None
    fallback: bool | None = None
    exhausted: Exhausted | str | None = None
    route: Route | None = None
    skip: tuple[str, ...] | None = None


class Faults(Frozen):
    retry: Retry | None = None
    fallback: bool | None = None
    exhausted: Exhausted | str | None = None
    normal: ModeFaults | None = None
    degraded: ModeFaults | None = None
    brainstem: ModeFaults | None = None


class Timeout(Frozen):
    """a scalar is {total}"""
    total: Duration | None = None
    idle: Duration | None = None


class Budget(Frozen):
    usd: float | str | None = None
    tokens: int | str | None = None
    exceed: Literal["suspend", "free_only", "fail"] | str | None = None
    unpriced: Literal["allow", "warn", "deny"] | str | None = None


class Workspace(Frozen):
    git: Literal["worktree"]
    keep: Literal["never", "on_failure", "always"] = "on_failure"
    apply: bool = True


class Save(Frozen):
    """a string is {path}"""
    path: str
    from_: str | None = Field(default=None, alias="from")


class RunBody(Frozen):
    """`run:` a list is {argv}, a string is {script}; exactly one is set"""
    argv: tuple[str, ...] | None = None
    script: str | None = None
    file: str | None = None


class AgentBody(Frozen):
    """a string is {prompt}; exactly one of prompt, file"""
    prompt: str | None = None
    file: str | None = None
    cwd: str | None = None
    allowed_tools: tuple[str, ...] | None = None


class ModelBody(Frozen):
    prompt: str | None = None
    file: str | None = None
    system: str | None = None
    temperature: float | str | None = None
    max_tokens: int | str | None = None


class WaitBody(Frozen):
    """`wait: 10m` is {duration: 600000}"""
    duration: Duration | None = None
    until: str | None = None


class ChangedCheck(Frozen):
    only: tuple[str, ...] = ("**",)
    min_files: int = 1
    max_files: int | None = None


class JudgeSpec(Frozen):
    """a string is {prompt}"""
    prompt: str
    route: Route | None = None


class ExprCheck(Frozen):
    expr: str


class RunCheck(Frozen):
    run: RunBody
    timeout: Duration | None = None


class ChangedCheckEntry(Frozen):
    changed: ChangedCheck


class JudgeCheck(Frozen):
    judge: JudgeSpec
    min: float


CheckEntry = ExprCheck | RunCheck | ChangedCheckEntry | JudgeCheck


class Repair(Frozen):
    max: int
    session: Literal["keep", "new"] = "keep"


class Foreach(Frozen):
    """a string or list is {in}"""
    in_: str | tuple[Any, ...] = Field(alias="in")
    key: str | None = None


class Matrix(Frozen):
    """axes plus include/exclude; in YAML the axes stand beside include and exclude"""
    axes: dict[str, Any]
    include: tuple[dict[str, Any], ...] | str = ()
    exclude: tuple[dict[str, Any], ...] | str = ()


# Every step class has the verb key of its own (ToolStep.tool: str, RunStep.run: RunBody, AgentStep.agent, ModelStep.model,
# CallStep.call: str, ApproveStep.approve: str, WaitStep.wait: WaitBody, SetStep.set: dict, FailStep.fail: str), `with_` for tool and
# call, `show`/`otherwise` for approve, a ClassVar `verb`, and exactly the common keys that its verb can use:
#   needs: tuple[str,...] = ()  when: str|None  foreach: Foreach|None  matrix: Matrix|None  max_parallel: int|None
#   join: Literal["all","settled"]  route  fallback: tuple[FallbackEntry,...]  faults  timeout: Timeout  checks  repair  returns: dict|None
#   effects  reuse  files: tuple[str,...]  save: Save|None  env: dict[str, Any]  cwd: str|None  labels: dict[str,Scalar]  optional: bool
#   budget  workspace
# FallbackEntry classes (ToolFallback, AgentFallback, ModelFallback, RunFallback, CallFallback…): the verb with its own keys plus
#   errors: tuple[ErrorClass,...]|None  when: str|None  route  timeout  checks  repair  effects


class Defaults(Frozen):
    route: Route | None = None
    faults: Faults | None = None
    timeout: Timeout | None = None
    budget: Budget | None = None
    env: dict[str, Any] | None = None
    cwd: str | None = None
    labels: dict[str, Scalar] | None = None
    reuse: Literal["auto", "never"] | None = None
    workspace: Workspace | None = None


class Triggers(Frozen):
    files: tuple[str, ...] = ()
    schedule: str | None = None


class Manifest(Frozen):
    ares: Literal["v1"]
    name: str
    description: str | None = None
    labels: dict[str, Scalar] = {}
    extends: tuple[str, ...] = ()
    inputs: dict[str, Any] = {}
    """raw declarations, already checked: {"issue": {...JSON Schema...}, "note?": "string"}; see fields.input_specs"""
    vars: dict[str, Any] = {}
    defaults: Defaults | None = None
    budget: Budget | None = None
    timeout: Duration | None = None
    concurrency: int | None = None
    env: dict[str, Any] = {}
    steps: dict[str, Any] = {}
    """dict[str, Step]"""
    finally_: dict[str, Any] = Field(default={}, alias="finally")
    outputs: dict[str, Any] | str = {}
    triggers: Triggers | None = None
