"""The table from failures of models to error classes. What the wire looks like for each row: tests/contract/test_model_client.py."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from runner.core.recover import CLASSES
from runner.llms.answers import completion, no_json, price, refusal, tokens_of, told
from runner.llms.classify import LONGEST_MS, ROWS, classify, document, retry_after_ms
from runner.llms.exchange import Answer, Fault
from runner.llms.signs import chain, reason, sign_of

NOW = 1_800_000_000_000
PAGE = Path(__file__).parents[2] / "docs" / "error-classes.md"


def judged(**fault: object) -> tuple[str, str]:
    verdict = classify(Fault("it failed", **fault), NOW)  # type: ignore[arg-type]
    return verdict.row, verdict.error_class


def wait(said: str = "", **headers: str) -> int | None:
    found = {name.replace("_", "-"): value for name, value in headers.items()}
    return retry_after_ms(Fault("x", status=429, said=said, headers=found), NOW)


def test_the_page_of_the_documentation_is_what_the_table_says() -> None:
    assert PAGE.read_text() == document()


def test_every_row_has_a_name_of_its_own_and_a_class_that_recovery_knows() -> None:
    assert len({row.name for row in ROWS}) == len(ROWS)
    assert {row.error_class for row in ROWS} <= CLASSES.keys()


@pytest.mark.parametrize("row", [row for row in ROWS if row.signs], ids=lambda row: row.name)
def test_how_far_a_call_came_decides_before_any_status(row: object) -> None:
    for sign in row.signs:  # type: ignore[attr-defined]
        assert judged(sign=sign, status=500)[0] == row.name  # type: ignore[attr-defined]


@pytest.mark.parametrize("status", [*range(300, 600)])
def test_every_status_has_a_class(status: int) -> None:
    row, error_class = judged(status=status)
    assert row != "unknown"
    assert (error_class == "invalid") == (row == "request")


@pytest.mark.parametrize(
    ("status", "said", "row"),
    [
        (400, "Your credit balance is too low", "quota"),
        (403, "insufficient credits", "quota"),
        (400, "Please reduce: the input token count (9) exceeds the maximum number of tokens allowed", "overflow"),
        (413, "Request too large for model", "overflow"),
        (422, "too many input tokens", "overflow"),
        (403, "blocked by content management policy", "policy"),
        (400, "API key not valid. Please pass a valid API key.", "key-400"),
        (400, "temperature must be below 2", "request"),
        (500, "content_filter", "server"),
        (500, "insufficient_quota", "server"),
        (418, "teapot", "request"),
    ],
)
def test_words_decide_only_among_refusals(status: int, said: str, row: str) -> None:
    assert judged(status=status, said=said)[0] == row


def test_a_quota_of_a_minute_is_a_rate_limit() -> None:
    said = "You exceeded your current quota"
    assert judged(status=429, said=said) == ("quota", "quota")
    assert judged(status=429, said=f'{said} "retryDelay": "34s"') == ("rate", "rate_limit")
    assert judged(status=429, said=said, headers={"retry-after": "86400"}) == ("quota", "quota")


def test_a_fault_that_nobody_knows_is_in_doubt() -> None:
    assert classify(Fault("?"), NOW).row == "unknown"
    assert classify(Fault("?"), NOW).effect == "maybe"


# ---------------------------------------------------------------- when to come back


def test_when_to_come_back_is_read_from_headers_before_words() -> None:
    assert wait(retry_after="7") == 7_000
    assert wait(retry_after="0.5") == 500
    assert wait(retry_after="7", retry_after_ms="1234") == 1_234
    assert wait("try again in 9s", retry_after="7") == 7_000


def test_a_date_to_come_back_counts_from_now_and_one_in_the_past_is_now() -> None:
    assert wait(retry_after="Fri, 15 Jan 2027 08:01:00 GMT") == 60_000
    assert wait(retry_after="Fri, 15 Jan 2027 07:00:00 GMT") == 0


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("Please try again in 6m0s.", 360_000),
        ("Please try again in 20ms.", 20),
        ("Please try again in 1.5s", 1_500),
        ('"retryDelay": "34s"', 34_000),
        ("try again later", None),
        ("", None),
    ],
)
def test_when_to_come_back_is_read_from_words(said: str, expected: int | None) -> None:
    assert wait(said) == expected


NO_DATES = ["Mon, 01 Jan 2024 00:00:00 +99999999999999999999", "1 Jan 99999999999999999999 00:00 GMT"]


@pytest.mark.parametrize("value", ["soon", "-5", "", "1e9", "٣", "nan", *NO_DATES])
def test_a_time_that_is_none_is_no_time(value: str) -> None:
    assert wait(retry_after=value) is None


def test_a_price_or_a_count_that_no_call_can_have_is_none() -> None:
    assert [price(said) for said in ("0.25", "1e300", "nan", "-1", 10**400)] == [0.25, None, None, None, None]
    assert tokens_of({"prompt_tokens": 10**400, "completion_tokens": 1}) == {}
    assert tokens_of({"prompt_tokens": 5, "completion_tokens": 1}) == {"in": 5, "out": 1}


def test_nobody_waits_longer_than_a_week() -> None:
    assert wait(retry_after="99999999999") == LONGEST_MS


def test_only_classes_that_pass_with_time_have_a_time() -> None:
    headers = {"retry-after": "5"}
    assert classify(Fault("x", status=503, headers=headers), NOW).retry_after_ms == 5_000
    assert classify(Fault("x", status=400, headers=headers), NOW).retry_after_ms is None


# ---------------------------------------------------------------- exceptions


def wrapped(inner: BaseException, *outer: BaseException) -> BaseException:
    """As a library does it: each raised while the one before is handled."""
    for one in outer:
        one.__context__ = inner
        inner = one
    return inner


def test_what_is_deep_in_the_chain_is_found() -> None:
    assert sign_of(wrapped(ConnectionRefusedError(111, "x"), OSError("all failed"), RuntimeError("500"))) == "refused"
    assert sign_of(wrapped(socket.gaierror(-2, "x"), ConnectionRefusedError(111, "x"))) == "dns"
    assert sign_of(ExceptionGroup("many", [ValueError(), ConnectionResetError(104, "x")])) == "reset"
    assert sign_of(ValueError("x")) is None


def test_a_chain_that_leads_back_to_itself_ends() -> None:
    one, two = ValueError(), ValueError()
    one.__context__, two.__cause__ = two, one
    assert chain(one) == [one, two]


def test_the_reason_is_in_words_of_ours() -> None:
    assert reason(wrapped(ConnectionRefusedError(111, "sk-secret"), RuntimeError("sk-secret"))) == "connection refused"
    assert reason(socket.gaierror(-2, "sk-secret")) == "its name cannot be resolved"
    assert reason(RuntimeError("sk-secret")) == "RuntimeError"


# ---------------------------------------------------------------- bodies


def test_an_error_that_comes_with_a_success_is_still_an_error() -> None:
    found = completion({"error": {"message": "slow down", "code": 429}}, None)
    assert isinstance(found, Fault)
    assert classify(found, NOW).error_class == "rate_limit"
    other = completion({"error": "it broke"}, None)
    assert isinstance(other, Fault)
    assert classify(other, NOW).error_class == "bad_output"


@pytest.mark.parametrize(
    "body",
    [
        '{"error": {"message": "no money", "type": "insufficient_quota"}}',
        '{"error": {"message": "no", "code": "insufficient_quota"}}',
        '[{"error": {"code": 429, "message": "insufficient_quota"}}]',
        '{"error": "insufficient_quota"}',
        '{"detail": "insufficient_quota"}',
        "insufficient_quota",
    ],
)
def test_the_words_of_every_shape_of_error_are_read(body: str) -> None:
    assert classify(refusal(429, {}, body), NOW).error_class == "quota"


def test_a_message_shows_nothing_that_a_terminal_obeys_and_is_bounded() -> None:
    found = refusal(400, {}, "\x1b[2Jred" + "x" * 10_000)
    assert "\x1b" not in told(found, str)
    assert len(told(found, str)) < 2_100


def test_text_in_parts_is_joined() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "image"}, {"type": "text", "text": "b"}]
    found = completion({"choices": [{"message": {"content": parts}, "finish_reason": "stop"}]}, None)
    assert isinstance(found, Answer)
    assert found.text == "a\nb"


def test_a_model_that_declines_is_denied() -> None:
    found = completion({"choices": [{"message": {"content": None, "refusal": "I cannot"}}]}, None)
    assert isinstance(found, Fault)
    assert classify(found, NOW).error_class == "denied"


@pytest.mark.parametrize(
    ("text", "sign"), [("  <HTML>", "html"), ("<!doctype html>", "html"), ("x", "not_json"), (" ", "empty")]
)
def test_a_body_that_is_no_json_is_told_apart(text: str, sign: str) -> None:
    assert no_json(text).sign == sign
