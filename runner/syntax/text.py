"""From bytes to text: the byte cap, strict UTF-8, refused characters, and the table from offsets to lines and columns."""

from __future__ import annotations

import re
from bisect import bisect_right

from runner.diagnostics.model import Diagnostic
from runner.source import Span
from runner.syntax.limits import Limits

LINE_BREAK = re.compile(r"\r\n|\n|\r")
CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ufffe\uffff]")
# U+2028 and U+2029 end a line for the parser (YAML 1.1) but not for YAML 1.2 and editors: text after them could hide in a comment.
_REFUSED = re.compile(CONTROL.pattern[:-1] + "\u2028\u2029]")
_PLAIN_BYTES = bytes([9, 10, 13, *range(32, 127), *range(128, 256)])
_SHOWN_CHARACTERS = 20
_UTF16_32_MARKS = (b"\xff\xfe", b"\xfe\xff", b"\x00\x00\xfe\xff")


class Text:
    """The text of one file. Line starts are found on first use: a file without mistakes never needs them."""

    __slots__ = ("_starts", "content", "file")

    def __init__(self, file: str, content: str) -> None:
        self.file = file
        self.content = content
        self._starts: list[int] | None = None

    @property
    def line_starts(self) -> list[int]:
        """The offset at which each line begins."""
        if self._starts is None:
            self._starts = [0, *(match.end() for match in LINE_BREAK.finditer(self.content))]
        return self._starts

    def line(self, number: int) -> str:
        """The line with that number (from 1), without its break; empty when there is none."""
        starts = self.line_starts
        if not 1 <= number <= len(starts):
            return ""
        end = starts[number] if number < len(starts) else len(self.content)
        return self.content[starts[number - 1] : end].rstrip("\r\n")

    def position(self, offset: int) -> tuple[int, int]:
        """Line and column (from 1) of an offset."""
        line = bisect_right(self.line_starts, offset)
        return line, offset - self.line_starts[line - 1] + 1

    def span(self, start: int, end: int) -> Span:
        """The stretch between two offsets."""
        return Span(*self.position(start), *self.position(max(start, end)))


def decode(data: bytes, file: str, limits: Limits) -> Text | list[Diagnostic]:
    """The text of a file, or why it has none."""
    if len(data) > limits.file_bytes:
        message = f"the file has more bytes than the limit `file_bytes`: {limits.file_bytes:,}"
        return [
            Diagnostic(
                file, None, "error", "limit", "", message, "split the file, or raise `limits.file_bytes` in config"
            )
        ]
    if data.startswith(_UTF16_32_MARKS):
        return [
            Diagnostic(file, None, "error", "encoding", "", "the file is UTF-16 or UTF-32", "save the file as UTF-8")
        ]
    try:
        # The parser drops a byte order mark and counts from behind it, so it goes here already.
        text = Text(file, data.removeprefix(b"\xef\xbb\xbf").decode("utf-8"))
    except UnicodeDecodeError as error:
        return [_not_utf8(error, file)]
    # Two passes in C over the bytes spare plain ASCII files the slower regular expression.
    if data.translate(None, _PLAIN_BYTES) or not data.isascii():
        refused = _refused(text)
        if refused:
            return refused
    return text


def _not_utf8(error: UnicodeDecodeError, file: str) -> Diagnostic:
    good = Text(file, error.object[: error.start].decode("utf-8"))
    place = good.span(len(good.content), len(good.content))
    message = f"byte 0x{error.object[error.start]:02x} is not UTF-8"
    return Diagnostic(file, place, "error", "encoding", "", message, "save the file as UTF-8")


def _refused(text: Text) -> list[Diagnostic]:
    found: list[Diagnostic] = []
    for match in _REFUSED.finditer(text.content):
        if len(found) == _SHOWN_CHARACTERS:
            break
        span = text.span(match.start(), match.end())
        message = f"the character U+{ord(match[0]):04X} is not allowed"
        fix = (
            "remove it, or write it as an escape in a double-quoted value"
            if match[0] in "\u2028\u2029"
            else "remove it"
        )
        found.append(Diagnostic(text.file, span, "error", "yaml-character", "", message, fix))
    return found
