"""What the config says of one MCP server, as the executor needs it. Not here: how it is read (`runner.api`) or used (`mcp_pool`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

LINE_BYTES = 64 * 1024 * 1024
"""Longest message of a server: the hard cap of an output."""


@dataclass(frozen=True, slots=True)
class ServerSpec:
    """A server that is started (`command`) or connected to (`url`). `digest` names this configuration.

    `env` and `headers` are resolved: they may hold secrets, so they are in no text of this value. `env` comes on top of a minimal
    environment; `cwd` None = ours. Times are seconds; `call_timeout_s` None = only the step's own deadline holds.
    `unusable`, when it is set, says what is missing before the server can be used at all: each of its calls fails with it.
    `masked`: a text without the secrets that we know, for who cuts what the server says."""

    name: str
    command: str = ""
    args: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    cwd: str | None = None
    connect_timeout_s: float = 15.0
    call_timeout_s: float | None = None
    idle_timeout_s: float = 300.0
    max_in_flight: int = 4
    max_line_bytes: int = LINE_BYTES
    digest: str = ""
    url: str = ""
    transport: Literal["http", "sse"] = "http"
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    unusable: str = ""
    masked: Callable[[str], str] = field(default=str, repr=False, compare=False)
