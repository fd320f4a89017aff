"""What the server drives. A drive outlives the call that began it when nobody waits for it; all of them end with the server."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from runner.errors import UsageError

if TYPE_CHECKING:  # a server that nobody asks to run anything need not know how
    from runner.mcp_server.drive import Drive


class Drives:
    """All that is under way. `most` at once."""

    def __init__(self, most: int = 1) -> None:
        self.most = most
        self._lock = threading.RLock()  # a signal may come while our own thread holds it
        self._all: list[Drive] = []
        self._closed = False

    def begin(self, drive: Drive) -> None:
        """Start it. Raises UsageError when there are too many already, or when the server is about to end."""
        with self._lock:
            self._all = [one for one in self._all if one.thread.is_alive()]
            if self._closed:
                raise UsageError("the server is ending: it starts nothing more")
            if len(self._all) >= self.most:
                raise UsageError(
                    f"{self.most} applies are under way: one more is too many (config concurrency.runs)",
                    hint="wait until one has ended (`status` shows them), or `cancel` one",
                )
            self._all.append(drive)
            drive.thread.start()

    @property
    def busy(self) -> bool:
        return any(drive.thread.is_alive() for drive in self._all)

    def drain(self) -> None:
        for drive in self._closing():
            drive.drain()

    def stop(self) -> None:
        for drive in self._closing():
            drive.stop()

    def join(self) -> None:
        """Until nothing is driven any more."""
        for drive in self._closing():
            drive.thread.join()

    def _closing(self) -> list[Drive]:
        with self._lock:
            self._closed = True
            return list(self._all)
