"""What the config says of one agent executor, as the executor of the verb `agent` needs it. Not here: how its server is started
(`mcp_spec`)."""

from collections.abc import Mapping
from typing import Any, NamedTuple

RUN_TASK = "run_task"


class AgentSpec(NamedTuple):
    """The server `name` as an agent. Without `args` its tool speaks the contract of `run_task` (docs/executors.md).

    `args`: the tool's arguments, with templates over `prompt`, `cwd`, `model`, `session`; one that gives none is left out. `paths`: where
    the parts of the answer are (`text`, `structured`, `cost_usd`, `session_id`, `turns`), dotted. `rules`: (regular expression, class);
    the first that is found in an answer or an error names its class. `free`: it costs nothing, whatever it says."""

    name: str
    tool: str = RUN_TASK
    args: Mapping[str, Any] | None = None
    paths: Mapping[str, str] = {}
    rules: tuple[tuple[str, str], ...] = ()
    free: bool = False
