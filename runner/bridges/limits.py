"""The words in which agents say that a usage limit is reached, and the moment at which it ends.

Pure: text and the present moment in, a moment out. An agent says so in its *answer*, often with a status of success."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

NOTICE_CHARS = 400
"""A longer text is an answer that speaks of limits, not a notice of one."""
_LIMIT = (
    r"(?:usage|weekly|daily|monthly|session|spend(?:ing)?|opus|sonnet|fable|\d+[- ]?h(?:ou)?r)s? (?:usage )?limit "
    r"(?:has been |is |was )?(?:reached|exceeded|hit)(?=\s*(?:$|[|.,;:!·∙•(—-]|resets?\b))"
    r"|limit reached\b.{0,8}\bresets?\b|hit your (?:\w+ ){0,3}limit\b|out of (?:extra )?(?:usage|credits?)\b"
    r"|credit balance is too low|insufficient[_ ]quota|exceeded your current quota"
)
_SPEAKS = re.compile(rf"(?i)\b(?:{_LIMIT})")
_NOTICE = re.compile(
    rf"(?i)\W*(?:(?:claude(?: ai| code)?|you(?:['’]ve| have)?|you(?:['’]re| are)|your|api error:?(?: \d+)?:?|error:)\s+)*(?:{_LIMIT})"
)
_EPOCH = re.compile(r"limit reached\s*\|\s*(\d{10})(\d{3})?\b")
_ISO = re.compile(r"(?i)resets?\b.{0,12}?(\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d)?(?:\.\d+)?(?:Z|[+-]\d\d:?\d\d)?)")
_CLOCK = re.compile(
    r"(?i)resets?\s+(?:at\s+|on\s+)?(?:(?P<month>[a-z]{3})[a-z]*\.?\s+(?P<day>\d{1,2})(?:,?\s+at|,)?\s+)?"
    r"(?P<hour>\d{1,2})(?::(?P<minute>\d\d))?\s*(?P<half>[ap]m)?(?:\s*\((?P<zone>[\w/+-]+)\))?(?![\w:-])"
)
_IN = re.compile(r"(?i)resets?\s+in\s+(?:(\d+)\s*d\w*[ ,]*)?(?:(\d+)\s*h\w*[ ,]*)?(?:(\d+)\s*m\w*)?")
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")


def is_notice(text: str) -> bool:
    """Is this short answer the notice of a usage limit, and nothing else? It has to begin with it: who has worked on limits speaks of
    them."""
    return len(text) <= NOTICE_CHARS and _NOTICE.match(text) is not None


def speaks_of_limit(message: str) -> bool:
    """Does this message of an error name a usage limit as its cause?"""
    return _SPEAKS.search(message) is not None


def resets_at(text: str, now: datetime) -> int | None:
    """When the limit ends, in Unix seconds; None when the text does not say. `now` has a time zone, which is meant where
    the text names none."""
    try:
        return _told(text, now)
    except (ValueError, OverflowError):  # a number that no calendar holds
        return None


def _told(text: str, now: datetime) -> int | None:
    if found := _EPOCH.search(text):
        return int(found[1])
    if found := _ISO.search(text):
        return _iso(found[1], now)
    if (found := _IN.search(text)) and any(found.groups()):
        days, hours, minutes = (int(part or 0) for part in found.groups())
        return int((now + timedelta(days=days, hours=hours, minutes=minutes)).timestamp())
    found = _CLOCK.search(text)
    return _clock(found, now) if found else None


def _iso(text: str, now: datetime) -> int:
    moment = datetime.fromisoformat(text)
    return int((moment if moment.tzinfo else moment.replace(tzinfo=now.tzinfo)).timestamp())


def _clock(found: re.Match[str], now: datetime) -> int | None:
    """`3pm`, `15:30 (Europe/Paris)`, `Dec 5 at 3pm`: the next moment of that description."""
    zone = _zone(found["zone"], now)
    if zone is None or not (found["half"] or found["minute"]):
        return None  # "resets 5" is no time of day
    hour = int(found["hour"])
    if found["half"]:
        hour = hour % 12 + (12 if found["half"].lower() == "pm" else 0)
    local = now.astimezone(zone)
    moment = local.replace(hour=hour, minute=int(found["minute"] or 0), second=0, microsecond=0)
    if found["month"]:
        moment = moment.replace(month=_MONTHS.index(found["month"].lower()) + 1, day=int(found["day"]))
        later = moment.replace(year=moment.year + 1)
    else:
        later = moment + timedelta(days=1)
    return int((moment if moment > local else later).timestamp())


def _zone(name: str | None, now: datetime) -> tzinfo | None:
    if name is None:
        return now.tzinfo
    try:
        return UTC if name.upper() in ("UTC", "GMT") else ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):  # OSError: a name that is a folder, or too long for a file
        return None
