"""config.yaml: the operator's side. Commands, URLs and secrets live only here; a manifest names what is defined here."""

from typing import Annotated, Any, ClassVar, Literal
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, Field

from runner.manifest.base import Frozen, Listed, Maybe, mistake
from runner.manifest.config_models import Models, Router
from runner.manifest.config_servers import McpServer
from runner.manifest.parts import ModeFaults
from runner.manifest.references import SecretRef, Url
from runner.manifest.types import Amount, EnvName, Positive, PositiveMilliseconds, Server, Text, shown
from runner.manifest.vocabulary import CONFIG_KEYS, MCP_READING, McpTool

HARD_OUTPUT_BYTES = 64 * 1024 * 1024

# Default sections are made by `model_construct`: validating them would build a validator of each, at every start, for nothing.


class Policies(Frozen):
    """Fault policies under the `faults` of every manifest."""

    normal: ModeFaults = ModeFaults.model_construct()
    """What holds while the LiteLLM proxy is up."""
    degraded: ModeFaults = ModeFaults.model_construct()
    """What holds while only a backup endpoint answers."""
    brainstem: ModeFaults = ModeFaults.model_construct()
    """What holds while no cloud endpoint answers."""


class FaultHandler(Frozen):
    """When a circuit opens and closes, and what is done about faults."""

    failure_threshold: Positive = 3
    """Failures of an endpoint inside `window` that open its circuit."""
    window: PositiveMilliseconds = 60_000
    """The time in which failures are counted together."""
    open_for: PositiveMilliseconds = 30_000
    """How long a circuit stays open before it is half open: a probe and one real call."""
    recover_after: Positive = 2
    """Successes that close a half-open circuit."""
    min_dwell: PositiveMilliseconds = 30_000
    """The shortest stay in a worse mode; worsening is immediate."""
    probe_interval: PositiveMilliseconds = 15_000
    """How often an endpoint that is down is probed."""
    probe_timeout: PositiveMilliseconds = 2_000
    """The longest that a probe may take."""
    policies: Policies = Policies.model_construct()
    """Fault policies under the `faults` of every manifest."""


class ConfigBudget(Frozen):
    """Caps on what may be spent. The lower of these and a manifest's holds."""

    per_run_usd: Maybe[Amount] = None
    """US dollars of one run (default: no cap)."""
    per_day_usd: Maybe[Amount] = None
    """US dollars of one day, over all runs (default: no cap)."""
    exceed: Literal["suspend", "free_only", "fail"] = "suspend"
    """What happens when the next attempt would go over a cap."""
    unpriced: Literal["allow", "warn", "deny"] = "warn"
    """What happens when a price is unknown; it never counts as 0."""


class ToolPolicy(Frozen):
    """Which tools manifests may call, as globs over `server.tool`."""

    allow: Listed[Text] = ("*",)
    """Tools that may be called."""
    deny: Listed[Text] = ()
    """Tools that may not, whatever `allow` says."""


class McpPolicy(Frozen):
    """What the clients of `runner mcp` may do. It is read when the server starts, and no client can change it."""

    allow: Listed[McpTool] = MCP_READING
    """The tools that clients have (default: those that only read). Whoever has `apply` or `resume` can start work, whoever has
    `approve` or `resolve` answers in a person's place."""
    deny: Listed[McpTool] = ()
    """Tools that they do not have, whatever `allow` says."""
    inline: Literal["allow", "deny"] = "deny"
    """Whether `apply` also takes manifests as text, beside those in files of the project. Checking and planning texts is always
    allowed."""


class Policy(Frozen):
    """The operator's guard rails, above any manifest."""

    tools: ToolPolicy = ToolPolicy.model_construct()
    """Which tools manifests may call."""
    run: Literal["allow", "deny"] = "allow"
    """Whether manifests may run local commands."""
    approve: Listed[Text] = ()
    """Tools (globs over `server.tool`) and labels (`label:x`) that always need a person."""
    mcp: McpPolicy = McpPolicy.model_construct()
    """What the clients of `runner mcp` may do."""


class State(Frozen):
    """The state database."""

    path: Text = ".ares/state.db"
    """The file, relative to the project root."""
    durability: Literal["full", "process"] = "full"
    """`full` survives power loss; `process` survives kill -9 only, and is faster."""
    keep: PositiveMilliseconds = 30 * 86_400_000
    """How long `runner gc` keeps ended runs."""


class Concurrency(Frozen):
    """How much runs at the same time."""

    runs: Positive = 4
    """Runs of one `runner apply`."""
    steps: Positive = 16
    """Running steps of one run."""


def _hard_cap(value: int) -> int:
    if value > HARD_OUTPUT_BYTES:
        raise mistake("config-bound", f"expected at most {HARD_OUTPUT_BYTES} (64 MiB), not {value}")
    return value


class ConfigLimits(Frozen):
    """Limits of the language; each is named when it is hit."""

    file_bytes: Positive = 1024 * 1024
    """Bytes of a manifest, and of a file that it names."""
    depth: Positive = 50
    """Nested lists and maps."""
    aliases: Positive = 100
    """YAML aliases of a document."""
    nodes: Positive = 100_000
    """Values of a file, after its aliases are expanded."""
    steps: Positive = 10_000
    """Steps of a manifest, and items of a step."""
    run_steps: Positive = 100_000
    """Steps and items of a run altogether, its sub-runs included."""
    output_bytes: Annotated[Positive, AfterValidator(_hard_cap)] = HARD_OUTPUT_BYTES
    """Bytes of an output; what is beyond is cut off, and marked so."""
    attempts: Positive = 50
    """Attempts of a step in a leg of its run."""
    finally_usd: Amount = 0.10
    """US dollars that are reserved for `finally` steps."""


def _timezone(value: str) -> str:
    try:
        if value != "UTC":  # a system without time zone data still knows this one
            ZoneInfo(value)
    except (KeyError, ValueError, OSError):
        raise mistake("config-timezone", f"expected a time zone such as Europe/Berlin, not {shown(value)}") from None
    return value


class Config(Frozen):
    """The operator's settings. Every key may be left out."""

    bound_rule: ClassVar[str] = "config-bound"

    lite_llm_url: Maybe[Url] = None
    """The LiteLLM proxy, asked in normal mode. It implies the endpoint `proxy`."""
    github_key: SecretRef = "${GITHUB_LITELLM_KEY}"
    """The key of the endpoint `backup`, asked in degraded mode."""
    models: Models = Models.model_construct()
    """Model endpoints, the catalog of models, and chains of them."""
    mcp_servers: dict[Server, McpServer] = Field(default={})
    """Tool servers and agent executors by name. `workspace` is bundled and always there."""
    router: Router = Router.model_construct()
    """Who does a step that does not say it itself."""
    fault_handler: FaultHandler = FaultHandler.model_construct()
    """When circuits open and close, and what is done about faults."""
    budget: ConfigBudget = ConfigBudget.model_construct()
    """Caps on what may be spent."""
    policy: Policy = Policy.model_construct()
    """The operator's guard rails, above any manifest."""
    secrets: dict[EnvName, SecretRef] = Field(default={})
    """What `secrets.NAME` in a manifest may name, each as `"${NAME}"`."""
    state: State = State.model_construct()
    """The state database."""
    workspace: Text = "."
    """The root for cwd, save, files and the workspace server, relative to the project root."""
    timezone: Annotated[str, AfterValidator(_timezone)] = "UTC"
    """The time zone of schedules, an IANA name."""
    concurrency: Concurrency = Concurrency.model_construct()
    """How much runs at the same time."""
    limits: ConfigLimits = ConfigLimits.model_construct()
    """Limits of the language."""


DEFAULT = Config.model_construct()
"""What holds where no config says anything."""


def is_foreign(data: Any) -> bool:
    """Whether parsed data is somebody else's config: a map without any key of ours, or no map at all."""
    return not isinstance(data, dict) or (bool(data) and CONFIG_KEYS.isdisjoint(data))
