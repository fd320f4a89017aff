"""The server behind the protocol: it opens while the client still says hello, and every question about tools waits for that."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from runner.bridges.stdio import Call, Fault, Json
from runner.mcp_server.border import answer
from runner.mcp_server.catalog import descriptions
from runner.mcp_server.desk import Desk
from runner.mcp_server.drives import Drives
from runner.mcp_server.policy import permitted

if TYPE_CHECKING:
    from runner.api.settings import Settings


class Office:
    """`open` once; then tools are listed and called, from any thread. `error`: why it could not open."""

    def __init__(self, settings: Callable[[], Settings], user: Callable[[], str]) -> None:
        self._settings, self._user = settings, user
        self._opened = threading.Event()
        self._desk: Desk | None = None
        self.drives = Drives()
        self.error: BaseException | None = None

    def open(self, failed: Callable[[], None]) -> None:
        """Begin to open, in a thread; `failed()` is called there when that does not succeed."""
        threading.Thread(target=self._open, args=(failed,), name="ares-open").start()

    def wait(self, seconds: float) -> None:
        """Until it has opened, or cannot, or the time is over."""
        self._opened.wait(seconds)

    def _open(self, failed: Callable[[], None]) -> None:
        try:
            self._desk = self._made()
        except BaseException as error:  # noqa: BLE001  it is raised again, in the thread that can end the process
            self.error = error
            failed()
        finally:
            self._opened.set()

    def _made(self) -> Desk:
        """The working directory becomes the project root."""
        settings = self._settings()
        from runner.api.secrets import SecretSource  # needs the models of the config, as the settings do

        os.chdir(settings.project_root)
        self.drives.most = settings.config.concurrency.runs
        redactor = SecretSource(settings.config, os.environ).redactor()
        return Desk(settings, settings.project_root.resolve(), self._user(), redactor, self.drives)

    @property
    def desk(self) -> Desk:
        """Waits until it is there. Raises Fault when it never will be."""
        self._opened.wait()
        if self._desk is None:
            raise Fault(-32603, f"the server cannot start: {self.error}")
        return self._desk

    def descriptions(self) -> Sequence[Json]:
        """The tools that the operator allows."""
        return descriptions(permitted(self.desk.settings.config.policy.mcp))

    def call(self, name: str, given: Mapping[str, Any], one: Call) -> Json:
        return answer(self.desk, name, given, one)
