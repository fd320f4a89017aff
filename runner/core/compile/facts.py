"""What compiling may know of the world besides the manifest: config's names, and the other manifests. Plain values, nothing is read here."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from runner.core.graph import Json, StepGraph

if TYPE_CHECKING:  # most manifests ask no model, and the router is a tenth of the start
    from runner.core.roster import Roster


class Facts(NamedTuple):
    """What config defines. None means unknown: then nothing of that kind is reported as not configured.

    `executors` are the servers that are agent executors; `capabilities` says what each executor and model declares; `local` the servers that work without the cloud. `tools` holds only servers
    whose tools are known without starting a process: {server: {tool: input schema or None}}. `policies` has the shape of a
    manifest's `faults` (delays in milliseconds). `allow_tools`, `deny_tools`, `run_allowed` are the operator's policy.
    """

    servers: frozenset[str] | None = None
    executors: frozenset[str] | None = None
    models: frozenset[str] | None = None
    chains: frozenset[str] = frozenset()
    capabilities: Mapping[str, frozenset[str]] | None = None
    secrets: frozenset[str] | None = None
    local: frozenset[str] = frozenset()
    tools: Mapping[str, Mapping[str, Mapping[str, Json] | None]] = {}
    policies: Mapping[str, Json] = {}
    allow_tools: tuple[str, ...] = ("*",)
    deny_tools: tuple[str, ...] = ()
    run_allowed: bool = True
    max_steps: int = 10_000
    roster: "Roster | None" = None
    """All that config says about who does `agent` and `model` steps; None = it is not asked."""


class Callees(NamedTuple):
    """The manifests that `call` may name. `cycles`: {callee: the names from the caller round to itself}. `broken` have mistakes of their
    own, reported elsewhere. `known` are further names, for suggestions only."""

    graphs: Mapping[str, StepGraph] = {}
    cycles: Mapping[str, tuple[str, ...]] = {}
    broken: frozenset[str] = frozenset()
    known: frozenset[str] = frozenset()
