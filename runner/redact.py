"""Masks secrets in everything that leaves the runner: raw, and as base64, percent escapes, JSON escapes and markup write them.

Built once per run from the resolved values. Which text passes through here is for the borders (store, logs, reporters) to see to.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

MASK: Final = "***"
SHORTEST: Final = 8
"""Characters. A shorter secret would shred the output: it is refused."""

SENSITIVE: Final = re.compile(r"(?i)authorization|token|secret|password|api-?_?key|cookie")
"""Names of what may hold a secret."""
ROOM: Final = 1 << 16
"""Characters. Behind what is to be kept of a text, that much is looked at for a secret that the cut would go through."""

_BACKSLASHES: Final = 4
"""JSON within JSON within JSON: how many backslashes may stand before one escaped character."""
_JSON_LETTERS: Final = {"\n": "n", "\r": "r", "\t": "t", "\b": "b", "\f": "f"}
_MARKUP: Final = {
    "&": ("&amp;",),
    "<": ("&lt;",),
    ">": ("&gt;",),
    '"': ("&quot;", "&#34;"),
    "'": ("&#39;", "&#x27;", "&apos;"),
}
_NUMBER: Final = re.compile(r"-?\d[\d.]*(?:[eE][+-]?\d+)?", re.ASCII)
"""A secret that some program may take for a number: JSON then shows it without quotes."""
_PART: Final = 4
"""A stream is searched when a part of what it holds back has come anew, one in so many: else each line would be searched with all that is
held back, which is 50,000 characters for a private key of 3,000."""
_LINE_BREAK: Final = r"(?:\r?\n|(?:\\{1,4}r)?\\{1,4}n)?"
_LINE_BREAK_WIDTH: Final = 10
_OTHER_ALPHABET: Final = {"+": "-", "/": "_"}
"""Of base64: for addresses and file names."""


class Redactor:
    """Masks the given secrets (name → value). Raises ValueError, which names the secret only, for one shorter than 8 characters."""

    def __init__(self, secrets: Mapping[str, str]) -> None:
        for name, value in secrets.items():
            if len(value) < SHORTEST:
                raise ValueError(f"secret {name}: shorter than {SHORTEST} characters, so it cannot be masked")
        raw = {form for value in secrets.values() for form in _raw_forms(value)}
        encoded = {form for value in secrets.values() for form in _base64_forms(value)} - raw
        longest_first = sorted(
            [(form, "", 0) for form in raw] + [(form, _LINE_BREAK, _LINE_BREAK_WIDTH) for form in encoded],
            key=lambda entry: (-len(entry[0]), entry[0]),
        )
        patterns = [_pattern(form, between, width) for form, between, width in longest_first]
        self._numbers = any(map(_NUMBER.fullmatch, raw))
        self._pattern = re.compile("|".join(pattern for pattern, _ in patterns)) if patterns else None
        self._width = max((width for _, width in patterns), default=0)

    @property
    def empty(self) -> bool:
        """There is nothing to mask."""
        return self._pattern is None

    def text(self, text: str) -> str:
        """`text` with every secret as `***`."""
        return text if self._pattern is None else self._pattern.sub(MASK, text)

    def data(self, value: Any) -> Any:
        """A JSON value with every secret masked, in keys and numbers too. The same object when there are no secrets."""
        if self._pattern is None:
            return value
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            return {self.text(key): self.data(item) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [self.data(item) for item in value]
        if self._numbers and isinstance(value, int | float) and not isinstance(value, bool):
            return MASK if self._pattern.search(_digits(value)) else value
        return value

    def stream(self) -> RedactedStream:
        """A masker for one text that arrives in chunks."""
        return RedactedStream(self._pattern, self._width)


def head(text: str, most: int, masked: Callable[[str], str]) -> tuple[str, bool]:
    """What `masked` leaves of the first `most` characters, with no half of a secret at the end, and whether something was cut off."""
    told = masked(text[: most + ROOM])
    if len(told) <= most and len(text) > most + ROOM:
        told = masked(text)
    return told[:most], len(told) > most


def shortened(text: str, most: int, masked: Callable[[str], str] = str) -> str:
    """`head`, with the cut marked."""
    told, cut = head(text, most, masked)
    return f"{told}… [cut: {len(text)} characters]" if cut else told


class RedactedStream:
    """Masks a text that arrives in chunks, a secret cut in two included: it holds back as much as a secret may be long, and a quarter."""

    def __init__(self, pattern: re.Pattern[str] | None, width: int) -> None:
        self._pattern = pattern
        self._width = width
        self._held = ""
        self._new: list[str] = []
        self._new_chars = 0

    def feed(self, chunk: str) -> str:
        """Takes the next chunk; returns what is safe to write by now."""
        if self._pattern is None:
            return chunk
        self._new.append(chunk)
        self._new_chars += len(chunk)
        if self._new_chars * _PART < self._width:
            return ""
        text = self._taken()
        # a secret that begins before `safe` has arrived in full
        safe = max(len(text) - self._width + 1, 0)
        out: list[str] = []
        at = 0
        for match in self._pattern.finditer(text):
            if match.start() >= safe:
                break
            out += (text[at : match.start()], MASK)
            at = match.end()
        end = max(at, safe)
        self._held = text[end:]
        return "".join((*out, text[at:end]))

    def close(self) -> str:
        """The rest, once nothing more comes."""
        rest, self._held = self._taken(), ""
        return rest if self._pattern is None else self._pattern.sub(MASK, rest)

    def _taken(self) -> str:
        text = self._held + "".join(self._new)
        self._new, self._new_chars = [], 0
        return text


def _raw_forms(value: str) -> Iterator[str]:
    """The secret, and its lines: what logs a text line by line would show them one by one. One that is no UTF-8 is read from the output of
    a command with marks in place of its odd bytes."""
    yield value
    yield value.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    yield from (line for line in map(str.strip, value.splitlines()) if len(line) >= SHORTEST)


def _base64_forms(value: str) -> Iterator[str]:
    """What of the base64 of any text around the secret is the secret's alone, for each of the three places it may start at."""
    data = value.encode("utf-8", "surrogateescape")
    for shift in range(3):
        code = base64.b64encode(b"\0" * shift + data).decode().rstrip("=")
        start = (shift * 8 + 5) // 6
        end = (shift + len(data)) * 8 // 6
        yield code[start:end]
        if shift == 0:
            yield code


def _digits(number: float) -> str:
    """As JSON writes it; nothing for an integer of thousands of digits, which nobody can write."""
    try:
        return repr(number)
    except ValueError:
        return ""


def _pattern(form: str, between: str, between_width: int) -> tuple[str, int]:
    """A regular expression for a form however its signs are escaped, and the most characters that it can match. `between`: what may stand
    between the signs of base64, which has another alphabet for addresses."""
    parts = [_base64_sign(char) if between else _sign(char) for char in form]
    width = sum(width for _, width in parts) + between_width * (len(parts) - 1)
    return between.join(pattern for pattern, _ in parts), width


def _base64_sign(char: str) -> tuple[str, int]:
    other = _OTHER_ALPHABET.get(char)
    if other is None:
        return _sign(char)
    (one, width), (two, width_of_two) = _sign(char), _sign(other)
    return f"(?:{one}|{two})", max(width, width_of_two)


def _sign(char: str) -> tuple[str, int]:
    """A character as it stands or escaped. Letters and digits are escaped by no common encoder, which keeps the search fast."""
    if char.isascii() and char.isalnum():
        return char, 1
    written = [re.escape(char), _percent(char), _unicode(char), *map(re.escape, _MARKUP.get(char, ()))]
    width = max(12, len(char.encode("utf-8", "surrogateescape")) * 3, 2 * (_BACKSLASHES + 5))
    if char in '"/\\':
        written.insert(0, rf"\\{{1,{_BACKSLASHES}}}{re.escape(char)}")
    if char in _JSON_LETTERS:
        written.append(rf"\\{{1,{_BACKSLASHES}}}{_JSON_LETTERS[char]}")
    if char == " ":
        written.append(r"\+")
    return f"(?:{'|'.join(written)})", width


def _percent(char: str) -> str:
    data = char.encode("utf-8", "surrogateescape")
    return "".join("%" + "".join(_any_case(digit) for digit in f"{byte:02x}") for byte in data)


def _unicode(char: str) -> str:
    """`\\u00e9` as JSON writes it, a pair of them for a character beyond the first plane."""
    units = char.encode("utf-16-be", "surrogatepass").hex()
    codes = (units[at : at + 4] for at in range(0, len(units), 4))
    return "".join(rf"\\{{1,{_BACKSLASHES}}}u" + "".join(map(_any_case, code)) for code in codes)


def _any_case(digit: str) -> str:
    return f"[{digit}{digit.upper()}]" if digit.isalpha() else digit
