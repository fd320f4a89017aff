"""The process of `runner mcp`: stdin and stdout belong to the protocol alone, and signals end it in order.

How soon it answers counts: OpenClaw gives a server 5 s for `initialize` and then 1.5 s for `tools/list`, on a busy machine, too. So the first
needs neither config nor record, but leaves most of its time to what the second needs (see `office`)."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import FrameType
from typing import TYPE_CHECKING, BinaryIO

from runner import __version__
from runner.bridges.stdio import Peer, Server, lines
from runner.endings import HANGUP, endings
from runner.mcp_server.catalog import INSTRUCTIONS
from runner.mcp_server.office import Office

if TYPE_CHECKING:
    from runner.api.settings import Settings

HELLO_S = 3.0
"""The longest that a client waits for the answer to its first words, for the sake of the next ones."""


def run(settings: Callable[[], Settings], user: Callable[[], str]) -> int:
    """Serve until stdin ends or a signal comes. `settings` and `user` (who we are, for the record) are called in another thread. Returns
    the exit code. Raises what they raise."""
    with _own_streams() as (source, sink):
        office = Office(settings, user)
        ending = Ending(office.drives.stop)
        peer = Peer(
            Server(
                "ares", office.descriptions, office.call, parallel=True, version=__version__, instructions=INSTRUCTIONS
            ),
            sink,
        )
        with ending.signals():
            try:
                office.open(failed=ending.give_up)
                office.wait(HELLO_S)
                for line in lines(source):
                    if line.strip():
                        peer.take(line)
                ending.begun = True
            except Ended as end:
                ending.code = 128 + end.number
            if office.error is not None:
                raise office.error
            _say(
                "ending: running steps may end; a signal ends them, too. The state is saved; what is left can be resumed."
            )
            office.drives.drain()
            peer.end()
            office.drives.join()
    return ending.code


class Ended(BaseException):
    """A signal told us to end. No Exception: nothing on the way may take it for one of its own."""

    def __init__(self, number: int) -> None:
        self.number = number


@dataclass(slots=True)
class Ending:
    """How we end. The end of stdin, or a first signal, lets running steps end; the next signal ends them; one more ends us. A hang-up
    is never more than a first signal. The record is safe in any case."""

    stop: Callable[[], None]
    """Ends running steps."""
    code: int = 0
    begun: bool = False
    _stopped: bool = False

    @contextmanager
    def signals(self) -> Iterator[None]:
        before = {number: signal.signal(number, self._come) for number in endings()}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def give_up(self) -> None:
        """End our own thread, from another one."""
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)

    def _come(self, number: int, frame: FrameType | None) -> None:
        if not self.begun:
            self.begun = True
            raise Ended(number)
        if number == HANGUP:  # the end of one terminal may be told more than once, and that of a client before it
            return
        if self._stopped:
            os._exit(128 + number)
        self._stopped = True
        _say("stopping now")
        self.stop()


def _say(text: str) -> None:
    """On stderr, past its buffer: a signal may come while that is being written."""
    with suppress(OSError):
        os.write(2, f"{text}\n".encode())


@contextmanager
def _own_streams() -> Iterator[tuple[BinaryIO, BinaryIO]]:
    """Stdin and stdout for the protocol alone: whatever else reads gets nothing, whatever else prints, children too, goes to stderr."""
    sys.stdout.flush()
    with os.fdopen(os.dup(0), "rb") as source, os.fdopen(os.dup(1), "wb") as sink:  # a duplicate is not inherited
        nowhere = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nowhere, 0)
        os.close(nowhere)
        os.dup2(2, 1)
        yield source, sink
