"""The section `mcp_servers` of config.yaml: tool servers and agent executors."""

import re
from collections.abc import Iterator
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, ConfigDict, Field, model_validator

from runner.manifest.base import Frozen, Listed, Maybe, mistake
from runner.manifest.config_models import Tier, read_regex
from runner.manifest.presets import PRESETS, Preset
from runner.manifest.references import EnvText, Headers, SecretRef, Url
from runner.manifest.types import Bool, EnvName, Positive, PositiveMilliseconds, Text, shown
from runner.manifest.vocabulary import ErrorClass
from runner.spelling import did_you_mean

CONNECT_TIMEOUT = 15_000


def _preset(value: str) -> str:
    if value not in PRESETS:
        message = f"expected one of {', '.join(PRESETS)}, not {shown(value)}"
        raise mistake("config-preset", message, fix=did_you_mean(value, PRESETS))
    return value


class AgentResult(Frozen):
    """Where the parts of an agent's answer are: dotted paths into the tool's structured result."""

    text: Text
    """The answer."""
    structured: Maybe[Text] = None
    """The answer as data."""
    cost_usd: Maybe[Text] = None
    """What it cost, in US dollars."""
    session_id: Maybe[Text] = None
    """The session, so that a repair round goes on in it."""
    turns: Maybe[Text] = None
    """How many turns the agent took; none is no success."""


class AgentError(Frozen):
    """From an agent's words to a class of errors."""

    match: Annotated[str, AfterValidator(read_regex)]
    """A regular expression that is looked for in the answer or the error."""
    class_: ErrorClass = Field(alias="class")
    """The class."""


AGENT_TEMPLATE = re.compile(r"\{\{\s*(\w+)\s*\}\}")
"""What may stand in the arguments of a mapping: a name and nothing else."""
AGENT_NAMES = ("prompt", "cwd", "model", "session")


def _uses_prompt(value: dict[str, Any]) -> dict[str, Any]:
    texts = list(_texts(value))
    names = [name for text in texts for name in AGENT_TEMPLATE.findall(text)]
    if "prompt" not in names:
        raise mistake("config-agent", 'no argument holds the prompt, such as {question: "{{ prompt }}"}')
    if unknown := [name for name in names if name not in AGENT_NAMES]:
        raise mistake("config-agent", f"there is no `{unknown[0]}` here: there are {', '.join(AGENT_NAMES)}")
    if more := [text for text in texts if "{{" in AGENT_TEMPLATE.sub("", text)]:
        raise mistake(
            "config-agent", f"{shown(more[0])}: a template holds a name and nothing else here, such as {{{{ cwd }}}}"
        )
    return value


def _texts(value: Any) -> Iterator[str]:
    """The values that templates are filled in; names of arguments are as they are."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _texts(inner)


class AgentMapping(Frozen):
    """Makes any server an agent executor: which tool takes the prompt, and where the answer is. Without `args` and `result` the tool
    speaks the contract of `run_task` (docs/executors.md)."""

    model_config = ConfigDict(json_schema_extra={"dependencies": {"args": ["result"], "result": ["args"]}})

    tool: Text
    """The tool that takes the prompt."""
    args: Maybe[Annotated[dict[str, Any], AfterValidator(_uses_prompt)]] = None
    """Its arguments; templates over `prompt`, `cwd`, `model`, `session`. One that gives none is left out."""
    result: Maybe[AgentResult] = None
    """Where the parts of the answer are."""
    errors: tuple[AgentError, ...] = ()
    """Rules that tell classes of errors; the first match wins."""

    @model_validator(mode="after")
    def _both_or_neither(self) -> Self:
        if (self.args is None) != (self.result is None):
            given, missing = ("result", "args") if self.args is None else ("args", "result")
            raise mistake(
                "config-agent", f"`{given}` without `{missing}`: give both, or neither for a tool like run_task"
            )
        return self


_WHERE: dict[str, Any] = {
    "oneOf": [
        {"required": ["preset"]},
        {"required": ["command"]},
        {"required": ["url"], "not": {"required": ["preset"]}},
    ],
    "dependencies": {
        "headers": ["url"],
        "transport": {"required": ["url"], "not": {"required": ["preset"]}},
        "token": ["preset", "url"],
        "agent": {"not": {"required": ["preset"]}},
        **{key: {"anyOf": [{"required": ["command"]}, {"required": ["preset"]}]} for key in ("args", "env", "cwd")},
    },
}


class McpServer(Frozen):
    """An MCP server: a preset, a command that is started, or a URL. Manifests name it; they can never define one."""

    model_config = ConfigDict(json_schema_extra=_WHERE)

    preset: Maybe[Annotated[str, AfterValidator(_preset), Field(json_schema_extra={"enum": [*PRESETS]})]] = None
    """A known agent."""
    command: Maybe[Text] = None
    """The program of a stdio server."""
    args: tuple[str, ...] = ()
    """The program's arguments; with a preset: more options of its bridge, such as `--permission-mode=acceptEdits`."""
    env: dict[EnvName, EnvText] = Field(default={})
    """Environment variables of the program, on top of a minimal environment."""
    cwd: Maybe[Text] = None
    """The program's working directory (default: the workspace)."""
    url: Maybe[Url] = None
    """Where an HTTP server, or a preset's gateway, is."""
    transport: Literal["http", "sse"] = "http"
    """How an HTTP server is spoken to."""
    headers: Headers = Field(default={})
    """HTTP headers."""
    token: Maybe[SecretRef] = None
    """The bearer token of a preset's gateway, as `"${NAME}"`."""
    agent: Maybe[AgentMapping] = None
    """Makes the server an agent executor."""
    capabilities: Listed[Text] = ()
    """What it can do; steps ask for them with `route.requires` (default: the preset's)."""
    tier: Maybe[Tier] = None
    """Whether it costs money."""
    local: Maybe[Bool] = None
    """Whether it works without the cloud (default: true for commands and URLs of this machine, false for presets and other URLs)."""
    connect_timeout: Maybe[PositiveMilliseconds] = None
    """The longest that a connection may take (default 15s; openclaw 60s, moltworker 200s)."""
    call_timeout: Maybe[PositiveMilliseconds] = None
    """The longest that a call may take (default: the step's)."""
    idle_timeout: PositiveMilliseconds = 300_000
    """An unused session is closed after this time."""
    max_in_flight: Positive = 4
    """The most calls at the same time."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.preset is not None:
            _check_preset(self, PRESETS[self.preset])
        elif self.command is None and self.url is None:
            raise mistake("config-server", "expected one of preset, command, url")
        elif self.command is not None and self.url is not None:
            raise mistake("config-server", "`url` beside `command`: a server is started or connected to, not both")
        _check_surplus(self)
        return self


def _check_preset(server: McpServer, preset: Preset) -> None:
    if server.command is not None:
        raise mistake("config-server", f"`command` beside `preset`: the bridge of {server.preset} is bundled")
    if preset.needs_url and server.url is None:
        raise mistake("config-server", f"the preset {server.preset} needs a `url`")
    if not preset.takes_url and server.url is not None:
        raise mistake("config-server", f"the preset {server.preset} takes no `url`")
    if server.agent is not None:
        raise mistake("config-agent", f"`agent` beside `preset`: {server.preset} is an agent executor already")


def _check_surplus(server: McpServer) -> None:
    """Refuse keys that mean nothing for this kind of server."""
    given = server.model_fields_set
    started = server.command is not None
    surplus = []
    if not started and server.preset is None:
        surplus += [(key, "a `command` or `preset`") for key in ("args", "env", "cwd")]
    if server.url is None:
        surplus += [("headers", "a `url`")]
    if server.url is None or server.preset is not None:
        surplus += [("transport", "a `url` without a `preset`")]
    if server.url is None or server.preset is None:
        surplus += [("token", "a `preset` with a `url`")]
    for key, owner in surplus:
        if key in given:
            raise mistake("config-server", f"`{key}` belongs to {owner}")
