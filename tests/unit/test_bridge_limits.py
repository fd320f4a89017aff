"""Notices of usage limits: which texts are one, and when they say that it ends."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from runner.bridges.limits import is_notice, resets_at, speaks_of_limit

NOW = datetime(2026, 11, 22, 20, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    "text",
    [
        "Claude AI usage limit reached|1900000000",
        "5-hour limit reached ∙ resets 3pm",
        "Weekly limit reached · resets Dec 5 at 3pm (Europe/Paris)",
        "You've hit your limit · resets 11pm (UTC)",
        "You've hit your weekly limit",
        "Usage limit exceeded, resets at 2026-11-23T04:00:00Z",
        "Credit balance is too low",
        "You exceeded your current quota, please check your plan",
        "You're out of extra usage",
    ],
)
def test_a_notice_of_a_limit_is_known_as_one(text: str) -> None:
    assert is_notice(text)


@pytest.mark.parametrize(
    "text",
    [
        "I added a rate limit to the API and tests for it.",
        "The loop stops when the limit is reached.",
        "Done: the API now answers 429 when the usage limit is exceeded.",
        "Usage limit reached is now an error of its own.",
        "done",
        "",
        "I documented the message `usage limit reached`. " + "More words about it follow here. " * 20,
    ],
)
def test_an_answer_that_speaks_of_limits_is_no_notice(text: str) -> None:
    assert not is_notice(text)


def test_an_error_may_name_the_limit_anywhere() -> None:
    assert speaks_of_limit("API Error: Request rejected (429) · You have hit your limit · resets 3pm")
    assert not speaks_of_limit("API Error: Request rejected (429) · slow down")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Claude AI usage limit reached|1900000000", "2030-03-17T17:46:40+00:00"),
        ("Claude AI usage limit reached|1900000000000", "2030-03-17T17:46:40+00:00"),
        ("limit reached ∙ resets 11pm", "2026-11-22T23:00:00+00:00"),
        ("limit reached ∙ resets 3pm", "2026-11-23T15:00:00+00:00"),
        ("limit reached ∙ resets at 12:30am", "2026-11-23T00:30:00+00:00"),
        ("limit reached · resets 22:15 (Europe/Paris)", "2026-11-22T21:15:00+00:00"),
        ("limit reached · resets Dec 5 at 3pm (Europe/Paris)", "2026-12-05T14:00:00+00:00"),
        ("limit reached · resets Jan 2, 9am (UTC)", "2027-01-02T09:00:00+00:00"),
        ("limit reached, resets at 2026-11-23T04:00:00Z", "2026-11-23T04:00:00+00:00"),
        ("limit reached, resets on 2026-11-23 04:00", "2026-11-23T04:00:00+00:00"),
        ("limit reached, resets in 1h 30m", "2026-11-22T21:30:00+00:00"),
        ("limit reached, resets in 2 days", "2026-11-24T20:00:00+00:00"),
    ],
)
def test_the_end_of_a_limit_is_read_in_every_form_that_agents_use(text: str, expected: str) -> None:
    found = resets_at(text, NOW)
    assert found is not None
    assert datetime.fromtimestamp(found, UTC).isoformat() == expected


@pytest.mark.parametrize(
    "text",
    [
        "limit reached",
        "resets 5",
        "resets 27:00",
        "resets Foo 3 at 3pm",
        "resets 3pm (Mars/Olympus)",
        "resets Feb 30 at 3pm",
    ],
)
def test_what_is_no_moment_is_not_guessed(text: str) -> None:
    assert resets_at(text, NOW) is None


@pytest.mark.parametrize(
    "text",
    [
        "limit reached, resets in 99999999999 days",
        "limit reached, resets in " + "9" * 5_000 + " days",
        "limit reached, resets 3pm (" + "Europe/" * 200 + ")",
    ],
)
def test_a_moment_that_no_calendar_holds_is_as_if_none_were_told(text: str) -> None:
    assert resets_at(text, NOW) is None
