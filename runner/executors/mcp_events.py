"""Server-sent events from bytes: only what MCP uses of them, in bounded memory. Pure. Not here: what an event means (`mcp_http`)."""

from __future__ import annotations

from dataclasses import dataclass

from runner.executors.mcp_process import LineFramer, Overlong

_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Event:
    """One event: `kind` is `message` unless the server named another."""

    kind: str
    data: bytearray


class EventFramer:
    """Cuts a byte stream into events of at most `cap` bytes. Lines end with LF or CR LF, as every server writes them.

    `last_id` and `retry_s` are what the server last said for a client that has to come back."""

    def __init__(self, cap: int) -> None:
        self.last_id = ""
        self.retry_s: float | None = None
        self._cap = cap
        self.restart()

    def restart(self) -> None:
        """Another stream follows; what was said of coming back stays."""
        self._lines = LineFramer(self._cap)
        self._fresh = True
        self._kind = ""
        self._data: bytearray | None = None
        self._over = False

    def feed(self, chunk: bytes) -> list[Event | Overlong]:
        """The events that `chunk` completes. One over the cap gives an Overlong, or two: at the cap and at its end."""
        done: list[Event | Overlong] = []
        for line in self._lines.feed(chunk):
            if isinstance(line, Overlong):
                self._over = True
                done.append(Overlong(_value(line.head), line.tail))
            elif stripped := self._stripped(line):
                self._field(stripped, done)
            else:
                self._dispatch(done)
        return done

    def _stripped(self, line: bytearray) -> bytearray:
        if self._fresh:
            self._fresh = False
            line = line.removeprefix(_BOM)
        if line.endswith(b"\r"):
            del line[-1:]
        return line

    def _field(self, line: bytearray, done: list[Event | Overlong]) -> None:
        name, _, _ = line[:16].partition(b":")
        if name == b"data":
            self._add(line, done)
        elif name == b"event":
            self._kind = _value(bytes(line)).decode(errors="replace")
        elif name == b"id":
            self.last_id = _value(bytes(line)).decode(errors="replace")
        elif name == b"retry" and (digits := _value(bytes(line))).isdigit() and len(digits) < 10:
            self.retry_s = int(digits) / 1000

    def _add(self, line: bytearray, done: list[Event | Overlong]) -> None:
        del line[: 6 if line[5:6] == b" " else 5]
        if self._data is None:
            self._data = line
        elif len(self._data) + len(line) < self._cap:
            self._data += b"\n" + line
        elif not self._over:
            self._over = True
            done.append(Overlong(bytes(self._data[:512]), b""))

    def _dispatch(self, done: list[Event | Overlong]) -> None:
        data, kind, over = self._data, self._kind or "message", self._over
        self._data, self._kind, self._over = None, "", False
        if data and not over:
            done.append(Event(kind, data))


def _value(line: bytes) -> bytes:
    """What follows the name of a field."""
    return line.partition(b":")[2].removeprefix(b" ")
