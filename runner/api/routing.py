"""What the router needs, from the settings, the environment and the state database: who there is, what they still need, what holds now.

Pure but for reads of `ports.Health`. No value of a secret is kept or shown: only whether there is one, and its fingerprint.
Not here: the choice itself (core/router), and how circuits and the mode move (core/circuits, core/modes).
"""

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import NamedTuple

from runner.api.facts import operator_policy
from runner.api.settings import Settings
from runner.core.circuits import Circuit, Limits, fingerprint
from runner.core.learning import Rank, Score, learn, ranks
from runner.core.modes import ModeState, advance, wanted
from runner.core.roster import Kind, Roster, roster
from runner.core.router import Outlook
from runner.llms.spec import catalog, endpoints
from runner.manifest.config import Config, FaultHandler
from runner.manifest.config_models import Endpoint
from runner.manifest.config_servers import McpServer
from runner.manifest.references import names
from runner.manifest.vocabulary import Mode
from runner.ports import Health
from runner.redact import SHORTEST

__all__ = [
    "Learned", "catalog", "credentials", "limits", "missing", "mode_state", "outlook", "roster", "variables",
]  # fmt: skip

REMEMBERED_MS = 8 * 7 * 86_400_000
"""Attempts in runs older than these eight half-lives count for nothing."""
TYPICAL_IN, TYPICAL_OUT = 1_000, 500
"""Tokens of a typical call, by which prices are compared where too few attempts are known."""


def outlook(
    settings: Settings, env: Mapping[str, str], health: Health | None, now: int, mode: Mode | None = None
) -> Outlook:
    """What holds at `now`. A given `mode` holds as if a person had set it. Without `health` nothing was ever recorded."""
    config = settings.config
    who = roster(config)
    circuits = {} if health is None else {subject: row.circuit for subject, row in health.circuits().items()}
    state = mode_state(who, config.fault_handler, health, circuits, now)
    return Outlook(
        now=now,
        mode=mode or state.mode,
        pinned=mode is not None or state.is_pinned(now),
        circuits=circuits,
        credentials=credentials(config, env),
        missing=missing(config, env),
        policy=operator_policy(config),
        ranks=Learned(who, health, now),
    )


def mode_state(
    who: Roster, fault_handler: FaultHandler, health: Health | None, circuits: Mapping[str, Circuit], now: int
) -> ModeState:
    """The mode as it stands: what was recorded, and what time alone has made of it since (a pin ends)."""
    if health is None:
        return ModeState()
    return advance(health.mode().state, *wanted(who.cloud, circuits), now, fault_handler.min_dwell)


def limits(fault_handler: FaultHandler) -> Limits:
    """The numbers of `fault_handler` that circuits go by."""
    return Limits(
        failure_threshold=fault_handler.failure_threshold,
        window=fault_handler.window,
        open_for=fault_handler.open_for,
        recover_after=fault_handler.recover_after,
        probe_interval=fault_handler.probe_interval,
    )


# ---------------------------------------------------------------- what is missing, whose credential it is


class Variable(NamedTuple):
    """A variable that an entry of the config refers to. `secret`: it must be long enough to be masked."""

    name: str
    secret: bool


def variables(entry: Endpoint | McpServer) -> Iterator[Variable]:
    """All that an endpoint or server refers to, in its order."""
    for text, secret in _texts(entry):
        yield from (Variable(name, secret) for name in names(text or ""))


def _texts(entry: Endpoint | McpServer) -> list[tuple[str | None, bool]]:
    if isinstance(entry, Endpoint):
        return [(entry.url, False), (entry.api_key, True)]
    headers = [(text, True) for text in entry.headers.values()]
    return [(entry.url, False), (entry.token, True), *headers, *((text, False) for text in entry.env.values())]


def missing(config: Config, env: Mapping[str, str]) -> dict[str, str]:
    """What an endpoint or server of a completed config still needs, by name: words that follow "needs"."""
    needs = {name: _needs(server, env) for name, server in config.mcp_servers.items()}
    for name, spec in endpoints(config.models, env).items():
        needs[name] = _needs(config.models.endpoints[name], env) or spec.unusable
    return {name: need for name, need in needs.items() if need}


def _needs(entry: Endpoint | McpServer, env: Mapping[str, str]) -> str:
    used = list(variables(entry))
    unset = list(dict.fromkeys(one.name for one in used if one.name not in env))
    if unset:
        return f"{' and '.join(unset)}, which {'is' if len(unset) == 1 else 'are'} not set"
    short = next((one.name for one in used if one.secret and len(env[one.name]) < SHORTEST), None)
    return f"a longer {short}: under {SHORTEST} characters it cannot be masked" if short else ""


def credentials(config: Config, env: Mapping[str, str]) -> dict[str, str]:
    """The fingerprint of what each endpoint and server would carry, by name; those that carry nothing are left out."""
    entries: dict[str, Endpoint | McpServer] = {**config.mcp_servers, **config.models.endpoints}
    found = {name: fingerprint("\0".join(_carried(entry, env))) for name, entry in entries.items()}
    return {name: mark for name, mark in found.items() if mark}


def _carried(entry: Endpoint | McpServer, env: Mapping[str, str]) -> Iterator[str]:
    return (env[one.name] for one in variables(entry) if one.secret and one.name in env)


# ---------------------------------------------------------------- what was learned


class Learned(Mapping[tuple[Kind, str], Mapping[str, Rank]]):
    """`Outlook.ranks`: by (kind, word of `prefer`). Attempts are read when a step first asks, and once; most steps never do."""

    def __init__(self, who: Roster, health: Health | None, now: int) -> None:
        self._who, self._health, self._now = who, health, now
        self._made: dict[tuple[Kind, str], Mapping[str, Rank]] = {}

    def __getitem__(self, key: tuple[Kind, str]) -> Mapping[str, Rank]:
        if key not in _LEARNED:
            raise KeyError(key)
        if key not in self._made:
            self._made[key] = self._rank(*key)
        return self._made[key]

    def __iter__(self) -> Iterator[tuple[Kind, str]]:
        return iter(_LEARNED)

    def __len__(self) -> int:
        return len(_LEARNED)

    def _rank(self, kind: Kind, prefer: str) -> Mapping[str, Rank]:
        entries = self._who.of(kind)
        prices = {name: entry.cost(TYPICAL_IN, TYPICAL_OUT) for name, entry in entries.items() if kind == "model"}
        declared = {name: price for name, price in prices.items() if price is not None}
        return ranks(prefer, entries, self.scores[kind], declared)

    @cached_property
    def scores(self) -> Mapping[Kind, Mapping[str, Score]]:
        """Agents by their own attempts, models by those at their endpoint: an agent may use a model of the same name."""
        agents, models = self._who.agents, self._who.models
        samples = [] if self._health is None else self._health.samples(
            [*agents, *models], self._now - REMEMBERED_MS
        )  # fmt: skip
        asked = [s for s in samples if s.model in models and s.executor == models[s.model].endpoint]
        done = [s for s in samples if s.executor in agents and s not in asked]
        return {"agent": learn(done, "agent", self._now), "model": learn(asked, "model", self._now)}


_LEARNED: Mapping[tuple[Kind, str], None] = dict.fromkeys(
    (kind, prefer) for kind in ("agent", "model") for prefer in ("cost", "speed", "reliability")
)
