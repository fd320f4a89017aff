"""What a second terminal may say, as the kernel's messages."""

from __future__ import annotations

from typing import Any

from runner.ports import InboxRow


def message_of(row: InboxRow) -> tuple[str, tuple[Any, ...]]:
    """(run, message) of an inbox row. The run is a sub-run's when `body` names one."""
    body, by = row.body, row.by
    run = str(body.get("run") or row.root)
    match row.kind:
        case "cancel":
            return run, ("cancel", by, str(body.get("reason", "")))
        case "resolve":
            return run, ("answer", body["node"], "succeeded", {"value": {"output": body.get("output")}}, by, "")
        case "redo":
            return run, ("redo", body["node"], by)
        case "raise":
            return run, ("raise", int(body["micro_usd"]), by)
        case kind:  # approve, reject
            state = "succeeded" if kind == "approve" else "failed"
            return run, ("answer", body["node"], state, None, by, str(body.get("comment", "")))
