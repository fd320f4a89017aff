"""Who carries attempts, who does them, and who is told."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple, Protocol

from runner.core.events import Recorded
from runner.core.messages import Note, Outcome, StepTask


class Transport(Protocol):
    """Carries attempts to where they run. `submit` is idempotent by `task.key` and never queues."""

    def listen(self, heard: Callable[[str, Note | Outcome], None]) -> None:
        """Say, before the first `submit`, who hears of each attempt (its key): notes, then one outcome. Called in the loop, never from
        within `submit`."""
        ...

    def submit(self, task: StepTask) -> None:
        """Returns at once; what goes wrong later is an outcome."""
        ...

    async def cancel(self, key: str) -> None: ...

    async def recover(self, keys: Sequence[str]) -> Mapping[str, Literal["attached", "lost"]]: ...

    async def close(self) -> None:
        """Stop everything that still runs; returns when no child is left."""
        ...


class Request(NamedTuple):
    """One call of an executor. `inputs` are rendered, secrets filled in. `deadline_s` counts on the monotonic clock."""

    label: str
    verb: str
    inputs: Mapping[str, Any]
    env: Mapping[str, str]
    cwd: str
    idempotency_key: str
    deadline_s: float | None
    idle_s: float | None = None
    session: str | None = None
    feedback: str | None = None
    stdin: str | None = None
    log: Any = None
    """A `LogSink`: where stdout, stderr and progress go."""
    note: Any = None
    """Callable[[Note], None]."""
    progress: Callable[[str], None] | None = None
    """Told how far the call is (`3/10 message`, one line, safe for a terminal): for who watches, never recorded."""
    max_micro_usd: int | None = None
    """What the call may spend at most, for an executor that can be told."""
    returns: Mapping[str, Any] | None = None
    """JSON Schema of the answer, for who can ask for it (`model`, `agent`). Whether the answer keeps it is not the executor's to say."""
    tried: Sequence[Mapping[str, Any]] = ()
    """What earlier attempts at this task by agents came to: see `StepTask.tried`."""
    interrupted: bool = False
    """`session` is that of an attempt at this very task which was lost with its runner."""
    masked: Callable[[str], str] = str
    """A text without secrets, for who cuts it (half a secret is none that could be found later) or tells of it elsewhere."""


class CallResult(NamedTuple):
    """What an executor answered. On failure `error_class`, `message` and `effect` are set; `output`/`text` may hold what there was."""

    output: Any = None
    text: str | None = None
    error_class: str = ""
    message: str = ""
    effect: Literal["none", "maybe"] = "none"
    status: int | None = None
    retry_after_ms: int | None = None
    cost: int | None = 0
    cost_source: str = ""
    tokens: Mapping[str, int] = {}
    executor: str = ""
    model: str = ""
    session: str | None = None
    denials: Sequence[str] = ()
    structured: bool = False
    """`output` is structured data already; else it is text, which `returns` may parse."""
    contact: Literal["", "unreached", "hollow", "answered"] = ""
    """What a failure says of the other side: no connection, or one that broke; an empty answer or a page; a refusal by somebody who is
    there. "" = what its class says."""


class LogSink(Protocol):
    """An attempt's capped log."""

    def write(self, stream: Literal["stdout", "stderr", "progress"], text: str) -> None: ...


class Executor(Protocol):
    """Anything that can do a call. Never raises for what the other side did: that is a CallResult. CancelledError passes."""

    async def call(self, request: Request) -> CallResult: ...

    async def close(self) -> None: ...


class Judgement(NamedTuple):
    """`score` None: nobody could judge, and `reason` says why. `calls`: every call made, for the ledger."""

    score: float | None
    reason: str
    calls: tuple[CallResult, ...] = ()


class Judge(Protocol):
    """Says to what degree a result meets a requirement."""

    async def judge(self, base: Request, models: Sequence[str], requirement: str, result: str) -> Judgement:
        """The first judgement that one of `models` gives, in their order. `base`: the request of the attempt."""
        ...


class ToolInfo(NamedTuple):
    """What a server says of a tool."""

    name: str
    description: str
    input_schema: Mapping[str, Any]
    output_schema: Mapping[str, Any] | None
    read_only: bool
    idempotent: bool
    digest: str = ""
    """Of all that the server says of it which a model or a person may act on: name, description, schemas, annotations."""


class ServerPool(Protocol):
    """The MCP servers of the config: sessions are opened lazily, once, by an owner task each."""

    def known(self, server: str) -> bool: ...

    def status(self, server: str) -> Literal["closed", "opening", "open", "failed"]: ...

    def ensure(self, server: str, done: Any) -> None:
        """Begin to open the session unless it is open or opening; `done()` is called when that has ended either way."""
        ...

    def tool(self, server: str, name: str) -> ToolInfo | None:
        """What the open session says of the tool; None when closed or unknown."""
        ...

    def max_in_flight(self, server: str) -> int: ...


class Sink(Protocol):
    """A reporter: sees recorded events, decides nothing. Must not raise; a failing one is dropped with a warning."""

    def event(self, recorded: Recorded, name: str) -> None:
        """`name` is the manifest's."""
        ...

    def progress(self, run: str, node: str, text: str) -> None:
        """A running attempt says how far it is: one harmless line. Not recorded, and some of it may be lost."""
        ...

    def close(self) -> None: ...
