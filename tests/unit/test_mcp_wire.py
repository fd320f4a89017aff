"""What comes over HTTP, without a server: events from bytes, what a failure means, which addresses are refused."""

from __future__ import annotations

from datetime import UTC, datetime

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.executors.mcp_events import Event, EventFramer
from runner.executors.mcp_process import Overlong
from runner.executors.mcp_spec import ServerSpec
from runner.executors.mcp_wire import Wire, is_metadata, same_origin, spec_problem

CAP = 1000


def fed(stream: bytes, cap: int = CAP) -> list[tuple[str, str]]:
    events = EventFramer(cap).feed(stream)
    return [(event.kind, event.data.decode()) for event in events if isinstance(event, Event)]


# ---------------------------------------------------------------- events


@pytest.mark.parametrize(
    ("stream", "events"),
    [
        (b"data: one\n\ndata:two\n\n", [("message", "one"), ("message", "two")]),
        (b"event: endpoint\r\ndata: /x\r\n\r\n", [("endpoint", "/x")]),
        (b"\xef\xbb\xbfdata: x\n\n", [("message", "x")]),
        (b"data: a\ndata: b\n\n", [("message", "a\nb")]),
        (b": comment\n\ndata\n\nevent: e\n\n", []),
        (b"data: unfinished\n", []),
        (b"unknown: x\ndata:  two spaces\n\n", [("message", " two spaces")]),
    ],
)
def test_events_are_cut_as_the_standard_says(stream: bytes, events: list[tuple[str, str]]) -> None:
    assert fed(stream) == events


@given(st.lists(st.integers(1, 12)), st.sampled_from([b"\n", b"\r\n"]))
def test_it_does_not_matter_how_the_bytes_are_cut(sizes: list[int], end: bytes) -> None:
    stream = end.join(
        [b"event: e", b"id: 7", b"data: one", b"data: two", b"", b"retry: 1500", b"data: three", b"", b""]
    )
    framer, events = EventFramer(CAP), []
    for size in [*sizes, len(stream)]:
        chunk, stream = stream[:size], stream[size:]
        events += framer.feed(chunk)
    assert events == [Event("e", bytearray(b"one\ntwo")), Event("message", bytearray(b"three"))]
    assert (framer.last_id, framer.retry_s) == ("7", 1.5)


def test_an_event_over_the_cap_is_thrown_away_and_the_next_one_is_read() -> None:
    stream = b'data: {"id":1' + b"x" * 2 * CAP + b"y}\n\ndata: next\n\n"
    at_cap, at_end, after = EventFramer(CAP).feed(stream)
    assert isinstance(at_cap, Overlong) and at_cap.head.startswith(b'{"id":1') and at_cap.tail is None
    assert isinstance(at_end, Overlong) and at_end.tail is not None and at_end.tail.endswith(b"y}")
    assert after == Event("message", bytearray(b"next"))


def test_many_short_lines_of_one_event_are_over_the_cap_too() -> None:
    events = EventFramer(CAP).feed(b"data: 123456789\n" * 200 + b"\ndata: next\n\n")
    assert [type(event) for event in events] == [Overlong, Event]


def test_a_stream_that_is_taken_up_remembers_where_it_was() -> None:
    framer = EventFramer(CAP)
    framer.feed(b"id: 3\nretry: 10\ndata: a\n\ndata: half of")
    framer.restart()
    assert framer.feed(b"data: b\n\n") == [Event("message", bytearray(b"b"))]
    assert (framer.last_id, framer.retry_s) == ("3", 0.01)


# ---------------------------------------------------------------- failures


@pytest.mark.parametrize(
    ("value", "after_ms"),
    [
        ("7", 7000),
        ("0", 0),
        ("Sun, 22 Nov 2026 12:01:00 GMT", 60_000),
        ("Sun, 22 Nov 2026 11:00:00 GMT", 0),
        ("", None),
        ("soon", None),
        ("-1", None),
        ("99999999999999", None),
        ("Mon, 01 Jan 2024 00:00:00 +99999999999999999999", None),
    ],
)
async def test_retry_after_is_seconds_or_a_date(value: str, after_ms: int | None) -> None:
    wire = Wire(ServerSpec("s", url="http://127.0.0.1:9/"))
    response = httpx2.Response(429, headers={"retry-after": value})
    result = wire.refused(response, "", lambda: datetime(2026, 11, 22, 12, tzinfo=UTC))
    await wire.close()
    assert result.retry_after_ms == after_ms


@pytest.mark.parametrize(
    ("host", "refused"),
    [
        ("169.254.169.254", True),
        ("169.254.1.1", True),
        ("fe80::1", True),
        ("fe80::1%eth0", True),
        ("fd00:ec2::254", True),
        ("100.100.100.200", True),
        ("::ffff:169.254.169.254", True),
        ("127.0.0.1", False),
        ("::1", False),
        ("10.0.0.1", False),
        ("example.com", False),
    ],
)
def test_addresses_of_metadata_are_known_in_every_spelling(host: str, refused: bool) -> None:
    assert is_metadata(host) is refused


@pytest.mark.parametrize(
    "url",
    ["", "s3cret", "file:///s3cret", "http://", "http://u:s3cret@host/", "http://host:s3cret/", "http://[s3cret/"],
)
def test_what_is_no_url_is_refused_and_not_shown(url: str) -> None:
    problem = spec_problem(ServerSpec("s", url=url))
    assert problem.startswith("its URL") and "s3cret" not in problem


@pytest.mark.parametrize(
    ("other", "same"),
    [
        ("http://host/b?c", True),
        ("http://HOST:80/", True),
        ("https://host/", False),
        ("http://host:81/", False),
        ("http://host.evil/", False),
    ],
)
def test_an_origin_is_scheme_host_and_port(other: str, same: bool) -> None:
    assert same_origin("http://host/a", other) is same
