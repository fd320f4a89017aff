"""What the record holds, as values."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from runner.core.events import Event, Recorded
from runner.core.messages import EMPTY


class OwnerId(NamedTuple):
    """A process that drives runs. `pid_start` (clock ticks since boot, field 22 of /proc/PID/stat; 0 when unknown) tells a pid from its reuse."""

    owner: str
    host: str
    pid: int
    pid_start: int


class NewRun(NamedTuple):
    """The row of a run that is about to start. `task` names the work: digest of manifest name and inputs as given."""

    run: str
    root: str
    name: str
    manifest: str
    """Digest of its graph; see `NewManifest`."""
    task: str
    inputs: Mapping[str, Any]
    created: int
    fingerprint: str = ""
    """Digest of the contents of the `files` globs when the run was made."""
    parent: str | None = None
    parent_node: str | None = None
    forked_from: str | None = None
    reason: str = ""


class NewManifest(NamedTuple):
    """A compiled manifest, stored once by digest. `graph` is JSON, `source` the text as the user wrote it."""

    digest: str
    name: str
    graph: str
    source: str


class Unit(NamedTuple):
    """What one turn of one tree decided: committed whole or not at all, before any of its consequences.

    `events` carry their run and seq. `blobs`: {digest: bytes} that `result.ref` names. `taken`: inbox rows that led to this turn."""

    root: str
    epoch: int
    events: Sequence[Recorded] = ()
    runs: Sequence[NewRun] = ()
    manifests: Sequence[NewManifest] = ()
    blobs: Mapping[str, bytes] = EMPTY
    taken: Sequence[int] = ()


Told = Callable[[Exception | None], None]
"""Is told how a unit's commit ended: None = it is on record."""


class RunRow(NamedTuple):
    """One line of `runs`, with what `status` shows. `state` is the recorded one; `interrupted` = running or suspended-in-flight
    with a dead owner is derived: see `owner_alive`."""

    run: str
    root: str
    parent: str | None
    parent_node: str | None
    name: str
    manifest: str
    task: str
    inputs: Mapping[str, Any]
    state: str
    verdict: str | None
    leg: int
    reason: str
    fingerprint: str
    forked_from: str | None
    superseded_by: str | None
    created: int
    finished: int | None
    cost: int
    steps_done: int
    steps_total: int
    owner_alive: bool


class StepRow(NamedTuple):
    """Projection of a step (or item): never read by the kernel."""

    run: str
    node: str
    state: str
    attempt: int
    tries: int
    lost: int
    key: str | None
    producer: str | None
    result: Mapping[str, Any] | None
    reason: str
    until: int | None
    item_key: str | None
    cost: int
    started: int | None
    ended: int | None
    products: Mapping[str, str]
    executor: str = ""
    model: str = ""
    error: Mapping[str, Any] | None = None
    reused: bool = False


class AttemptRow(NamedTuple):
    """Projection of an attempt."""

    run: str
    node: str
    n: int
    executor: str
    model: str
    mode: str
    session: str | None
    effect_key: str
    started: int
    ended: int | None
    state: str
    error_class: str
    message: str
    effect: str
    cost: int
    cost_source: str
    tokens: Mapping[str, int]
    log: str
    reason: str


class Reusable(NamedTuple):
    """A recorded success that another run may take over."""

    key: str
    producer: str
    result: Mapping[str, Any]
    products: Mapping[str, str]
    at: int


class InboxRow(NamedTuple):
    """A message from another terminal: kind `cancel|resolve|redo|approve|reject|raise`."""

    id: int
    root: str
    kind: str
    body: Mapping[str, Any]
    by: str
    at: int


class RunRecord(NamedTuple):
    """All that a kernel is rebuilt from."""

    row: RunRow
    graph: str
    events: Sequence[Event]
