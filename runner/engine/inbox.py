"""What second terminals say: their messages as the kernel's, and the watch over them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

from runner.errors import StoreError
from runner.ports import InboxRow, Store

INBOX_S = 0.15


class Inbox:
    """Hands the messages of other terminals to the runs that we drive, each once. A row of the inbox is taken in the transaction of what
    follows from it, which is later."""

    def __init__(
        self, store: Store, ours: Callable[[str], bool], put: Callable[[str, tuple[Any, ...], int], None]
    ) -> None:
        """`ours(root)`: do we drive it? `put(run, message, row)`."""
        self._store, self._ours, self._put = store, ours, put
        self._seen: set[int] = set()
        """Rows that were handed over, taken or not."""

    async def watch(self) -> None:
        """Look whenever the database has changed, until cancelled."""
        look = False
        while True:
            await asyncio.sleep(INBOX_S)
            with contextlib.suppress(StoreError):  # locked for the moment: looked at again
                look = self._store.changed() or look
                if look:
                    self._read()
                    look = False

    def _read(self) -> None:
        waiting = self._store.inbox()
        self._seen.intersection_update(row.id for row in waiting)  # one that was taken does not come back
        for row in waiting:
            if self._ours(row.root) and row.id not in self._seen:
                self._seen.add(row.id)
                self._put(*message_of(row), row.id)

    def left_for(self, root: str) -> list[tuple[str, tuple[Any, ...], int]]:
        """(run, message, row) of all that waits for a tree which we have just taken over."""
        waiting = self._store.inbox(root)
        self._seen.update(row.id for row in waiting)
        return [(*message_of(row), row.id) for row in waiting]


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
