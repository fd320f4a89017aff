"""When a schedule is due: five cron fields in a time zone. Pure; only the fields themselves are read by croniter.

Where clocks are put forward or back: a time that the day does not have is taken at the end of the gap, one that it has twice is taken the
first time. A schedule whose hour is `*` (or `*/n`) means every so often rather than a time of day: it goes on evenly through both.
"""

from datetime import UTC, datetime, timedelta, tzinfo
from typing import NamedTuple

from runner.clock import Millis

MOST_COUNTED = 100
_LONGEST_GAP = timedelta(hours=3)
_DAY, _SECOND = timedelta(days=1), timedelta(seconds=1)


class Due(NamedTuple):
    """A schedule that has to run now. `at`: the latest time that it was due; `missed`: how many times before that one nobody ran it,
    counted up to MOST_COUNTED (then `at` is now)."""

    at: Millis
    missed: int


def due(schedule: str, where: tzinfo, since: Millis, now: Millis) -> Due | None:
    """Whether the schedule came due after `since` and up to `now`: once, however often. None = not yet."""
    at = next_time(schedule, where, since)
    if at is None or at > now:
        return None
    missed = 0
    while missed < MOST_COUNTED and (later := next_time(schedule, where, at)) is not None and later <= now:
        at, missed = later, missed + 1
    return Due(now if missed == MOST_COUNTED else at, missed)


def next_time(schedule: str, where: tzinfo, after: Millis) -> Millis | None:
    """The first time later than `after`; None when there is none."""
    begin = datetime.fromtimestamp(after / 1000, UTC)
    evenly = schedule.split()[1].startswith("*")
    found = _next_even(schedule, where, begin) if evenly else _next_of_day(schedule, where, begin)
    return None if found is None else round(found.timestamp() * 1000)


def _next_of_day(schedule: str, where: tzinfo, begin: datetime) -> datetime | None:
    """Each time of day once: the first instant of it that is later than `begin`."""
    wall = (
        begin.astimezone(where).replace(tzinfo=None) - _LONGEST_GAP
    )  # a time in a gap is taken later than its name says
    while (matched := _match(schedule, wall)) is not None:
        if (found := _instant(matched, where)) > begin:
            return found
        wall = matched
    return None


def _instant(wall: datetime, where: tzinfo) -> datetime:
    """The moment when the clock on the wall first shows `wall`, or jumps over it."""
    found = wall.replace(tzinfo=where, fold=0).astimezone(UTC)
    if found.astimezone(where).replace(tzinfo=None) == wall:
        return found
    return _turn(wall.replace(tzinfo=where, fold=1).astimezone(UTC), found, where) or found


def _next_even(schedule: str, where: tzinfo, begin: datetime) -> datetime | None:
    """What the clock on the wall shows, matched through every change of it."""
    wall = begin.astimezone(where).replace(tzinfo=None)
    while (matched := _match(schedule, wall)) is not None:
        found = (matched - _offset(begin, where)).replace(tzinfo=UTC)
        if (turn := _turn(begin, found, where)) is None:
            return found
        begin = turn
        wall = turn.astimezone(where).replace(tzinfo=None) - timedelta(seconds=1)  # the turn itself may match
    return None


def _turn(begin: datetime, end: datetime, where: tzinfo) -> datetime | None:
    """The first moment after `begin`, up to `end`, at which clocks are put forward or back."""
    offset, late = _offset(begin, where), begin
    while late < end:
        early, late = late, min(late + _DAY, end)
        if _offset(late, where) != offset:
            while late - early > _SECOND:
                middle = early + (late - early) // 2
                early, late = (middle, late) if _offset(middle, where) == offset else (early, middle)
            return late.replace(microsecond=0)
    return None


def _offset(at: datetime, where: tzinfo) -> timedelta:
    found = at.astimezone(where).utcoffset()
    assert found is not None
    return found


def _match(schedule: str, after: datetime) -> datetime | None:
    """The next date and time, as a clock without a zone, that the five fields allow."""
    from croniter import CroniterBadDateError, croniter  # costs 30 ms: only for manifests with a schedule

    try:
        found: datetime = croniter(schedule, after).get_next(datetime)
    except CroniterBadDateError:
        return None
    return found
