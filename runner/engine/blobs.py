"""Results too large for an event: held until the commit that names them, then read back from the record when needed."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from runner.core.messages import Stored

RECENT = 16
"""Decoded results kept in memory, so that a fan-out over one large output does not decode it for every item."""


class Blobs:
    """`keep` before the commit, `take` for it, `fetch` at any time."""

    def __init__(self, read: Callable[[str], bytes]) -> None:
        self._read = read
        self._pending: dict[str, bytes] = {}
        self._recent: OrderedDict[str, Mapping[str, Any]] = OrderedDict()

    def keep(self, digest: str, data: bytes) -> None:
        self._pending[digest] = data

    def take(self, digests: Iterable[str]) -> dict[str, bytes]:
        """The kept ones among `digests`; they stay readable until `committed`."""
        return {digest: self._pending[digest] for digest in digests if digest in self._pending}

    def committed(self, digests: Iterable[str]) -> None:
        for digest in digests:
            self._pending.pop(digest, None)

    def drop(self, stored: Stored | None) -> None:
        """A result that nobody will commit."""
        if stored is not None and "ref" in stored:
            self._pending.pop(stored["ref"], None)

    def fetch(self, stored: Stored) -> Mapping[str, Any]:
        """The RESULT behind `stored`. Raises StoreError when the record lacks it."""
        if "value" in stored:
            value: Mapping[str, Any] = stored["value"]
            return value
        digest = stored["ref"]
        if digest in self._recent:
            self._recent.move_to_end(digest)
            return self._recent[digest]
        data = self._pending[digest] if digest in self._pending else self._read(digest)
        result: Mapping[str, Any] = json.loads(data)
        self._recent[digest] = result
        if len(self._recent) > RECENT:
            self._recent.popitem(last=False)
        return result
