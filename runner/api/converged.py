"""An apply that has nothing to do, told without compiling anything: every manifest is known, and its latest run stands."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from runner.api.checking import Checked, Head
from runner.api.queries import latest_run, products_of, run_result
from runner.api.results import ApplyResult, RunResult
from runner.clock import SystemClock
from runner.core.reuse import task_digest
from runner.engine.world import changed_product
from runner.errors import StoreError
from runner.ports import Store
from runner.store.sqlite import SqliteStore


def converged(checked: Checked) -> ApplyResult | None:
    """What an apply without inputs would answer if it has nothing to do; None when it may have, or when only graphs could tell."""
    top = [head for head in checked.heads if not head.called]
    if checked.failed or not top or not checked.state_path.exists():
        return None
    try:
        with closing(SqliteStore.open(checked.state_path, clock=SystemClock(), read_only=True)) as store:
            results = [_standing(head, store, checked.workspace) for head in top]
    except StoreError:  # whoever opens it for writing may help it, and says what is wrong
        return None
    done = tuple(result for result in results if result is not None)
    return ApplyResult(done, 0) if len(done) == len(top) else None


def _standing(head: Head, store: Store, workspace: Path) -> RunResult | None:
    """The result of a manifest that has nothing to do."""
    if head.required or head.files:
        return None
    row = latest_run(store, task_digest(head.name, {}))
    if row is None or (row.state, row.manifest, row.fingerprint) != ("succeeded", head.digest, ""):
        return None
    steps = store.steps(row.run)
    if changed_product(workspace, products_of(steps)) is not None:
        return None
    return run_result(store, row.run, "unchanged", steps)
