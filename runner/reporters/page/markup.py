"""Text on its way into HTML: escaped, and with every character that could play tricks made visible."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from html import escape
from typing import Any

from runner.reporters.page.model import Cut
from runner.reporters.words import ODD

_COLOURS = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)")


def plain(value: object) -> str:
    """Text as an attribute's value."""
    return escape(re.sub(ODD, lambda found: _name(found[0]), str(value)), quote=True)


def text(value: object) -> str:
    """Text as character data: odd characters are marked, so that nobody takes them for the letters that name them."""
    return re.sub(ODD, lambda found: f'<span class="odd">{_name(found[0])}</span>', escape(str(value), quote=True))


def block(cut: Cut, kind: str = "") -> str:
    """A text of several lines, with a mark where it was cut."""
    mark = (
        f'<p class="cut">{cut.more:,} characters more: cut {"before" if cut.tail else "after"} this</p>'
        if cut.more
        else ""
    )
    # A parser drops the first line break of a `pre`, so it gets one of ours.
    shown = f'<pre{f" class={kind}" if kind else ""} tabindex="0">\n{text(cut.text)}</pre>'
    return f"{mark}{shown}" if cut.tail else f"{shown}{mark}"


def readable(log: str) -> str:
    """What a program wrote, without the colours and titles that it meant for a terminal."""
    return _COLOURS.sub("", log).replace("\r\n", "\n")


def pretty(value: Any) -> str:
    """A value for reading: text as it is, anything else as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=2)


def cut(value: str, most: int, *, tail: bool = False) -> Cut:
    """At most `most` characters of a text."""
    if len(value) <= most:
        return Cut(value)
    return Cut(value[-most:] if tail else value[:most], len(value) - most, tail)


def dollars(micro: int) -> str:
    """Money for people: what is not nothing never looks like nothing."""
    if not micro:
        return "$0"
    return f"${micro / 1_000_000:,.4f}" if micro >= 50 else f"${micro / 1_000_000:.6f}"


def moment(millis: int, *, day_below: bool = False) -> str:
    """A point in time, in UTC: a page is read anywhere."""
    at = datetime.fromtimestamp(millis / 1000, UTC)
    words = f"{at:%H:%M:%S}<small>{at:%Y-%m-%d} UTC</small>" if day_below else f"{at:%Y-%m-%d %H:%M:%S} UTC"
    return f'<time datetime="{at:%Y-%m-%dT%H:%M:%S}.{millis % 1000:03d}Z">{words}</time>'


def many(count: int, one: str, more: str = "") -> str:
    """`1 step`, `3 steps`."""
    return f"{count:,} {one if count == 1 else more or f'{one}s'}"


def _name(character: str) -> str:
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
