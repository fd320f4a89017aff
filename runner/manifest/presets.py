"""The agents that `preset` of `mcp_servers` knows: plain values, so that who only reads them loads no models of config."""

from typing import NamedTuple


class Preset(NamedTuple):
    """What a known agent brings along. `connect_timeout` in milliseconds. `program`: the command that must be installed (an agent with
    a URL needs none). `keeps`: arguments of `run_task` that are limits, and that it keeps to. `inherits`: variables of our environment
    that its process gets when they are set: where its login is."""

    capabilities: tuple[str, ...]
    connect_timeout: int
    needs_url: bool
    takes_url: bool
    program: str = ""
    keeps: frozenset[str] = frozenset()
    inherits: tuple[str, ...] = ()


_GATEWAY = ("browser", "chat", "code_edit", "shell")
_ANTHROPIC = (
    "ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "ANTHROPIC_BASE_URL", "CLAUDE_CODE_OAUTH_TOKEN", "CLAUDE_CONFIG_DIR",
)  # fmt: skip
_OPENAI = ("CODEX_HOME", "CODEX_API_KEY", "OPENAI_API_KEY", "OPENAI_BASE_URL")
_OPENCLAW = ("OPENCLAW_HOME", "OPENCLAW_STATE_DIR", "OPENCLAW_CONFIG_PATH")
_NETWORK = (
    "HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY", "https_proxy", "http_proxy", "no_proxy", "NODE_EXTRA_CA_CERTS", "SSL_CERT_FILE",
    "LANG", "LC_ALL", "TZ", "TMPDIR", "XDG_CONFIG_HOME",
)  # fmt: skip

PRESETS = {
    "claude-code": Preset(
        ("code_edit", "shell", "web"),
        15_000,
        needs_url=False,
        takes_url=False,
        program="claude",
        keeps=frozenset({"allowed_tools", "max_usd"}),
        inherits=(*_ANTHROPIC, *_NETWORK),
    ),
    "openclaw": Preset(
        _GATEWAY, 60_000, needs_url=False, takes_url=True, program="openclaw", inherits=(*_OPENCLAW, *_NETWORK)
    ),
    "moltworker": Preset(_GATEWAY, 200_000, needs_url=True, takes_url=True, inherits=_NETWORK),
    "codex": Preset(
        ("code_edit", "shell", "web"),
        15_000,
        needs_url=False,
        takes_url=False,
        program="codex",
        inherits=(*_OPENAI, *_NETWORK),
    ),
}
