"""What a session needs of the way to its server, whatever it is: pipes (`mcp_stdio`) or HTTP (`mcp_http`). Loads nothing heavy."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Final, Protocol

from runner.executors.mcp_results import failed
from runner.ports import CallResult

if TYPE_CHECKING:
    from mcp.client._transport import TransportStreams

OURS: Final = -31_998
"""Error code with which a link answers a request itself; `data` is then a CallResult, or a ServerGone. No peer can send such data."""
REMEMBERED: Final = 100
"""Requests of a server that we keep the names of."""


class ServerGone(Exception):
    """The call was not taken: the server, or our session with it, had ended already. Another session may be tried."""


class CannotOpen(Exception):
    """No session: the message says why, with the server's last words. Nothing was done, whatever the class."""

    def __init__(
        self,
        why: str,
        *,
        error_class: str = "unavailable",
        status: int | None = None,
        retry_after_ms: int | None = None,
    ) -> None:
        super().__init__(why)
        self.error_class, self.status, self.retry_after_ms = error_class, status, retry_after_ms

    def result(self, server: str) -> CallResult:
        """As the answer to a call."""
        return failed(self.error_class, f"{server}: {self}", status=self.status, retry_after_ms=self.retry_after_ms)


class Link(Protocol):
    """The SDK's transport, with what is known of the other end. Entered and left by the owner of the session."""

    asked: list[str]
    """What the server requested of us (see `mcp_results.wanted`)."""

    @property
    def ended(self) -> bool:
        """True once nothing more can come from the server."""
        ...

    def fail(self, reason: str) -> None:
        """End it by force, now: whoever waits for the server is told."""
        ...

    def unopened(self, error: str) -> CannotOpen:
        """Why there was no session. `error`: what the SDK made of it."""
        ...

    def death(self, closing: bool) -> str:
        """Why a call that was under way has no answer; asked when the link has ended. `closing`: we ended it."""
        ...

    async def __aenter__(self) -> TransportStreams: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
