"""`ares-test: v1`: a suite of tests of pipelines. Each case runs a manifest without its world, and says what must come of it."""

from typing import Annotated, Any, Literal, Self, get_args

from pydantic import Field, model_validator

from runner.manifest.answers import Answer, Answers
from runner.manifest.base import Frozen, Listed, Maybe, Short, mistake
from runner.manifest.bodies import one_of
from runner.manifest.parts import ExprCheck
from runner.manifest.types import Amount, Bool, Glob, Id, InnerPath, LoadPath, Name, Positive, Text, ToolName
from runner.manifest.vocabulary import Effects, ErrorClass, Mode

SuiteRunState = Literal["succeeded", "failed", "suspended", "cancelled"]
SuiteStepState = Literal["succeeded", "failed", "skipped", "blocked", "cancelled", "suspended"]


class Approval(Frozen):
    """What a person says. A word alone is `answer`."""

    answer: Literal["approve", "reject"]
    """Yes or no."""
    by: Text = "somebody"
    """Who says it."""
    comment: str = ""
    """Why; later steps may read it."""


class Resolution(Frozen):
    """What a person says of a step whose outcome is unknown."""

    model_config = one_of("done", "redo")

    done: Any = None
    """It happened, and this is its output."""
    redo: Bool = False
    """It did not happen: it runs again."""

    @model_validator(mode="after")
    def _one(self) -> Self:
        if self.redo == ("done" in self.model_fields_set):
            raise mistake("body-ambiguous", "expected one of done, redo")
        return self


class ExpectedStep(Frozen):
    """What must come of a step. A word alone is `state`."""

    state: Maybe[SuiteStepState] = None
    """How it ended."""
    attempts: Maybe[int] = None
    """How many attempts it took."""
    route: Maybe[Listed[Text]] = None
    """Who was asked, attempt by attempt: models, agent executors, MCP servers, `local`."""
    executor: Maybe[Text] = None
    """Who gave the answer that counts."""
    model: Maybe[Text] = None
    """Which model gave it."""
    error: Maybe[ErrorClass] = None
    """The class of its failure."""
    message: Maybe[Text] = None
    """A part of the text of its failure."""
    output: Any = None
    """Its output, exactly."""
    contains: Listed[Text] = ()
    """Parts of its text."""


class ExpectedFile(Frozen):
    """What must be in a file that the pipeline wrote. Text alone is `text`."""

    text: Maybe[str] = None
    """All of it, but for the newline at its end."""
    contains: Listed[Text] = ()
    """Parts of it."""
    exists: Bool = True
    """`false`: it must not be there."""


class ExpectedCost(Frozen):
    """Bounds of what the run costs, in US dollars. A number alone is `max`."""

    min: Maybe[Amount] = None
    """The least."""
    max: Maybe[Amount] = None
    """The most."""


STEP_SHORT = Short(((str, "state"),), ({"enum": list(get_args(SuiteStepState))},))
FILE_SHORT = Short(((str, "text"),), ({"type": "string"},))
COST_SHORT = Short((((int, float), "max"),), ({"type": "number", "minimum": 0},))
APPROVAL_SHORT = Short(((str, "answer"),), ({"enum": ["approve", "reject"]},))


class Expect(Frozen):
    """What must come of a case. What is not named may be anything; but the run must succeed unless `run` or `exit` says otherwise."""

    run: Maybe[SuiteRunState] = None
    """The state of the run (default: succeeded)."""
    exit: Maybe[int] = None
    """The exit code that `runner apply` would end with."""
    reasons: Maybe[Listed[Text]] = None
    """What a suspended run waits for: approval, unknown, budget, mode, quota, exhausted."""
    steps: dict[Text, Annotated[ExpectedStep, STEP_SHORT]] = Field(default={})
    """Steps by id; `STEP[KEY]` is an item of a fan-out, `STEP/INNER` a step of the manifest that STEP calls."""
    outputs: Any = None
    """The outputs of the run, exactly."""
    cost_usd: Maybe[Annotated[ExpectedCost, COST_SHORT]] = None
    """What the run may cost."""
    files: dict[InnerPath, Annotated[ExpectedFile, FILE_SHORT]] = Field(default={})
    """Files that the pipeline wrote into its workspace."""
    checks: tuple[ExprCheck, ...] = ()
    """Expressions that must be true of `steps`, `outputs`, `inputs` and `run`."""


class Settled(Frozen):
    """What a suite may say for all of its cases, and a case for itself."""

    manifest: Maybe[LoadPath] = None
    """The manifest, relative to the suite."""
    name: Maybe[Name] = None
    """Which manifest of the file, when it holds several."""
    inputs: dict[Id, Any] = Field(default={})
    """Inputs. Those of the case win one by one."""
    mode: Maybe[Mode] = None
    """The mode of the system, whatever happens (default: normal, until endpoints fail)."""
    stubs: dict[Text, Answers] = Field(default={})
    """Answers that stand in for an executor, by step: `STEP`, `STEP[KEY]` for one item, `STEP/INNER` for a step of a called manifest. A list is taken attempt by attempt."""
    run: Maybe[Literal["replay", "real"]] = None
    """`real`: local commands run, in a copy of the workspace, also in a replay (default: replay)."""


class Case(Settled):
    """One run of a manifest, and what must come of it."""

    description: Maybe[str] = None
    """What it is about."""
    approvals: dict[Text, Annotated[Approval, APPROVAL_SHORT]] = Field(default={})
    """What a person answers to the steps that ask."""
    resolve: dict[Text, Resolution] = Field(default={})
    """What a person says of steps whose outcome is unknown."""
    expect: Expect = Field(default_factory=Expect)
    """What must come of it."""


class Suite(Settled):
    """A suite: cases, and what holds for all of them."""

    ares_test: Literal["v1"] = Field(alias="ares-test")
    """The version of this form."""
    description: Maybe[str] = None
    """What it is about."""
    config: Maybe[LoadPath] = None
    """The config file to test with, relative to the suite (default: the one that every command has)."""
    recordings: Maybe[LoadPath] = None
    """Where recorded answers are kept, relative to the suite (default: `SUITE.recording.yaml` beside it)."""
    workspace: Maybe[Listed[Glob]] = None
    """The files of the workspace that a recording, and `run: real`, may use: they work in a copy of them (default: all that git does not ignore)."""
    tools: dict[ToolName, Effects] = Field(default={})
    """What calls of MCP tools do, for those that no recording knows (default: once)."""
    cases: Annotated[dict[Text, Case], Field(min_length=1)]
    """The cases by name."""


class Call(Frozen):
    """A call and its answer."""

    step: Text
    """The step: `STEP`, `STEP[KEY]`, `STEP/INNER`."""
    part: Maybe[Text] = None
    """What of the step asked, when it is not the step itself: `check/N`, `judge/MODEL/N`."""
    call: Positive = 1
    """The how many-th call of this kind of the step it is."""
    to: Text
    """Who was asked: the verb and the entry of the chain, such as `model smart` or `run local`."""
    asked: dict[Text, Any] = Field(default={})
    """What it was asked. When this changes, the answer no longer holds."""
    answer: Answer = Field(default_factory=Answer)
    """What it answered."""


class RecordedCase(Frozen):
    """What was recorded of a case."""

    at: Text
    """When it was recorded: a replay begins at this moment."""
    tools: dict[Text, Effects] = Field(default={})
    """What the servers said of the tools that were called."""
    calls: tuple[Call, ...] = ()
    """Every call, in the order of the steps."""


class Recording(Frozen):
    """Answers of executors and models, recorded by `runner test --record`."""

    ares_recording: Literal["v1"] = Field(alias="ares-recording")
    """The version of this form."""
    cases: dict[Text, RecordedCase] = Field(default={})
    """The cases by name."""
