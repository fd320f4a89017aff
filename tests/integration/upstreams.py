"""Two model endpoints on loopback for commands that run in this process."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

from servers.fake_llm import FakeLlm


class Upstreams:
    """They are on a loop of their own, so that commands in this thread find them. `usd`: what an answer of the proxy says that it costs."""

    def __init__(self, usd: float | None = None) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self.proxy, self.backup = FakeLlm(usd=usd), FakeLlm()
        for fake in (self.proxy, self.backup):
            self._do(fake.__aenter__())

    def _do(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    def stop(self, fake: FakeLlm) -> None:
        self._do(fake.stop())

    def start(self, fake: FakeLlm) -> None:
        self._do(fake.start())

    def close(self) -> None:
        for fake in (self.proxy, self.backup):
            self._do(fake.__aexit__())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()
