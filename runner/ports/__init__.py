"""The seams: Protocols and the values that they speak of, each with a fake or an in-memory twin that passes the same contract tests."""

from runner.ports.health import CircuitRow, Health, ModeRow
from runner.ports.money import Ledger, OverCap, Scope, Spending, Standing
from runner.ports.records import (
    AttemptRow,
    InboxRow,
    NewManifest,
    NewRun,
    OwnerId,
    Reusable,
    RunRecord,
    RunRow,
    StepRow,
    Told,
    Unit,
)
from runner.ports.store import Store
from runner.ports.work import (
    CallResult,
    Executor,
    Judge,
    Judgement,
    LogSink,
    Request,
    ServerPool,
    Sink,
    ToolInfo,
    Transport,
)

__all__ = [
    "AttemptRow",
    "CallResult",
    "CircuitRow",
    "Executor",
    "Health",
    "InboxRow",
    "Judge",
    "Judgement",
    "Ledger",
    "LogSink",
    "ModeRow",
    "NewManifest",
    "NewRun",
    "OverCap",
    "OwnerId",
    "Request",
    "Reusable",
    "RunRecord",
    "RunRow",
    "Scope",
    "ServerPool",
    "Sink",
    "Spending",
    "Standing",
    "StepRow",
    "Store",
    "Told",
    "ToolInfo",
    "Transport",
    "Unit",
]
