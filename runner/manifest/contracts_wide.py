"""More JSON documents, version 1: the file of `plan --out`, and what `diff` and `gc` write. As in contracts.py, these are their contract."""

from __future__ import annotations

from typing import Any, Literal

from runner.manifest.contracts import Contract, RunState
from runner.manifest.vocabulary import Mode


class LatestRun(Contract):
    """The newest run of a manifest's task, when the plan was made."""

    run: str
    """Its id."""
    state: RunState
    """Its state."""
    leg: int
    """How often it was begun."""
    steps_done: int
    """How many of its steps had ended."""


class StepIntent(Contract):
    """What was planned for a step."""

    id: str
    """The step's id."""
    action: Literal["run", "reuse", "resume", "skip", "unknown"]
    """What apply would do; `unknown` depends on results that were not there yet."""


class ManifestIntent(Contract):
    """What was planned for a manifest, and all that it was planned from."""

    name: str
    """The manifest's name."""
    file: str
    """Its file, as it was named."""
    digest: str
    """Digest of the compiled manifest, with what it names and calls."""
    task: str | None
    """Digest of the name and the inputs as given; null when some of them are not in this file."""
    fingerprint: str
    """Digest of the contents of its `files`, and of the steps that were selected."""
    action: Literal["create", "update", "resume", "unchanged", "callable"]
    """What apply would do."""
    supersedes: tuple[str, ...]
    """Runs that this would end."""
    latest: LatestRun | None
    """The newest run of its task; null when there was none."""
    steps: tuple[StepIntent, ...]
    """Its steps."""


class PlanFile(Contract):
    """The file of `runner plan --out`, for `runner apply FILE.json`. It holds no secret."""

    version: Literal[1]
    """The version of this document's form."""
    kind: Literal["ares-plan"]
    """What this file is."""
    runner: str
    """The release that made it."""
    made: int
    """When it was made, in Unix milliseconds."""
    paths: tuple[str, ...]
    """What was planned: paths relative to the project's folder."""
    mode: Mode | None
    """The system mode that was planned for."""
    select: tuple[str, ...]
    """`--select` options."""
    texts: dict[str, str]
    """Inputs as typed (`-i`)."""
    values: dict[str, Any]
    """Inputs from a file (`-f`)."""
    left_out: tuple[str, ...]
    """Inputs that may be secrets, so they are not here: apply needs them again."""
    config: dict[str, str]
    """Section of the config → digest."""
    manifests: tuple[ManifestIntent, ...]
    """Every manifest, in the order of its file's path."""


class PairJson(Contract):
    """A value in both runs."""

    a: Any
    """In the first run; null when it is not there."""
    b: Any
    """In the second."""


class DiffRun(Contract):
    """One of the two runs."""

    run: str
    """Its id."""
    manifest: str
    """The manifest's name."""
    state: RunState
    """Its state."""


class DiffStep(Contract):
    """A step that is different."""

    step: str
    """Its id; `STEP[KEY]` for an item."""
    changes: dict[str, PairJson]
    """What is different: state, reason, error, attempts, reused, executor, model, cost_usd."""
    output: tuple[str, ...]
    """Lines of a unified diff of its output."""


class DiffDocument(Contract):
    """`runner diff --json`."""

    version: Literal[1]
    """The version of this document's form."""
    a: DiffRun
    """The first run."""
    b: DiffRun
    """The second run."""
    same: bool
    """Whether nothing is different."""
    run: dict[str, PairJson]
    """What is different about the runs: manifest, state, legs, cost_usd."""
    inputs: dict[str, PairJson]
    """Inputs that are different."""
    manifest: tuple[str, ...]
    """Lines of a unified diff of the manifests."""
    steps: tuple[DiffStep, ...]
    """Steps that are different."""
    outputs: tuple[str, ...]
    """Lines of a unified diff of the runs' `outputs`."""
    unchanged_steps: int
    """How many steps are not different."""


class OldRun(Contract):
    """A run that ended long ago."""

    run: str
    """Its id."""
    manifest: str
    """The manifest's name."""
    state: RunState
    """Its state."""
    ended: int | None
    """When it ended, in Unix milliseconds; null while it has not."""


class KeptRun(OldRun):
    """An old run that stays."""

    reason: str
    """Why."""


class GcDocument(Contract):
    """`runner gc --json`."""

    version: Literal[1]
    """The version of this document's form."""
    dry_run: bool
    """Whether nothing was removed."""
    removed: tuple[OldRun, ...]
    """What was removed, or would be; sub-runs go with their run."""
    kept: tuple[KeptRun, ...]
    """Old runs that stay."""
    freed_bytes: int
    """Bytes given back to the disk."""
    left: tuple[str, ...]
    """Folders that could not be removed, with the reason."""
