"""No form of a secret gets through."""

from __future__ import annotations

import base64
import html
import json
import re
import time
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.redact import MASK, Redactor, head, shortened

PLAIN = "hunter2-correct/horse"
NASTY = 'p@ss "w&rd" \\ <ü€😀>\tline+1='
KEY = "-----BEGIN KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7\nabcdefghij\n-----END KEY-----"
SECRETS = {"PLAIN": PLAIN, "NASTY": NASTY, "KEY": KEY}


def lower_escapes(text: str) -> str:
    return re.sub("%..", lambda found: found[0].lower(), text)


FORMS = {
    "raw": lambda s: s,
    "json": lambda s: json.dumps(s)[1:-1],
    "json in unicode": lambda s: json.dumps(s, ensure_ascii=False)[1:-1],
    "json in json": lambda s: json.dumps(json.dumps(s))[3:-3],
    "json with slashes": lambda s: json.dumps(s)[1:-1].replace("/", "\\/"),
    "quote": quote,
    "quote all": lambda s: quote(s, safe=""),
    "quote plus": quote_plus,
    "quote in lower case": lambda s: lower_escapes(quote(s, safe="")),
    "html": lambda s: html.escape(s),
    "base64": lambda s: base64.b64encode(s.encode()).decode(),
    "base64 for urls": lambda s: base64.urlsafe_b64encode(s.encode()).decode(),
    "base64 in lines": lambda s: base64.encodebytes(s.encode()).decode(),
    "base64 in lines in json": lambda s: json.dumps(base64.encodebytes(s.encode()).decode())[1:-1],
    "base64 in a query": lambda s: quote(base64.b64encode(s.encode()).decode(), safe=""),
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS.keys())
@pytest.mark.parametrize("name", SECRETS)
def test_every_form_of_a_secret_is_masked(name: str, form: object) -> None:
    written = form(SECRETS[name])  # type: ignore[operator]

    masked = Redactor(SECRETS).text(f"before {written} after")

    assert MASK in masked
    assert written.strip() not in masked
    assert masked.startswith("before ***")
    assert masked.endswith(" after")


@pytest.mark.parametrize("prefix", ["", "u", "us", "usr:", "user:", "token:"])
@pytest.mark.parametrize("suffix", ["", "!", "!!", ":x"])
def test_base64_of_a_text_around_the_secret_is_masked_wherever_it_starts(prefix: str, suffix: str) -> None:
    code = base64.b64encode((prefix + PLAIN + suffix).encode()).decode()

    masked = Redactor(SECRETS).text(f"Basic {code}")

    assert MASK in masked
    assert len(masked) <= len("Basic ***") + len(prefix) * 4 // 3 + 4 + len(suffix) * 4 // 3 + 5


def test_other_text_stays_as_it_is() -> None:
    text = "nothing to see: hunter2, correct/horse, aHVudGVy, %20 \\u0041"

    assert Redactor(SECRETS).text(text) == text


def test_the_longer_of_two_secrets_goes_first() -> None:
    redactor = Redactor({"SHORT": "abcdefgh", "LONG": "abcdefghijkl"})

    assert redactor.text("abcdefghijkl abcdefghi") == "*** ***i"


def test_data_is_masked_in_values_and_keys_and_not_changed() -> None:
    data = {"a": [f"x {PLAIN}", 1, None, True], PLAIN: {"b": 2.5}}

    assert Redactor(SECRETS).data(data) == {"a": ["x ***", 1, None, True], MASK: {"b": 2.5}}
    assert data["a"][0] == f"x {PLAIN}"  # type: ignore[index]


def test_without_secrets_everything_is_passed_on_uncopied() -> None:
    data = {"a": [1]}
    redactor = Redactor({})

    assert redactor.empty
    assert not Redactor(SECRETS).empty
    assert redactor.data(data) is data
    assert redactor.text("x") == "x"
    assert redactor.stream().feed("x") == "x"


def test_a_short_secret_is_refused_without_being_shown() -> None:
    with pytest.raises(ValueError, match="TOKEN") as caught:
        Redactor({"TOKEN": "1234567"})

    assert "1234567" not in str(caught.value)
    assert Redactor({"TOKEN": "12345678"}).text("12345678") == MASK


def test_each_line_of_a_secret_with_several_is_masked() -> None:
    masked = Redactor(SECRETS).text("log: abcdefghij\nlog: -----END KEY-----")

    assert masked == "log: ***\nlog: ***"


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS.keys())
def test_a_secret_cut_anywhere_is_masked_in_a_stream(form: object) -> None:
    text = f"one {form(NASTY)} two {form(PLAIN)} three"  # type: ignore[operator]
    redactor = Redactor(SECRETS)
    whole = redactor.text(text)

    for cut in range(len(text)):
        stream = redactor.stream()
        assert stream.feed(text[:cut]) + stream.feed(text[cut:]) + stream.close() == whole


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.sampled_from([PLAIN, PLAIN[:9], PLAIN[9:], "hunter", "\n", "x" * 50, KEY, KEY[:30], KEY[30:]]), max_size=12
    )
)
def test_a_stream_gives_what_the_whole_text_gives(chunks: list[str]) -> None:
    redactor = Redactor(SECRETS)
    stream = redactor.stream()

    result = "".join([*map(stream.feed, chunks), stream.close()])

    assert result == redactor.text("".join(chunks))
    assert PLAIN not in result


def test_a_stream_holds_back_a_bounded_tail() -> None:
    stream = Redactor({"A": PLAIN}).stream()

    written = sum(len(stream.feed("x" * 1000)) for _ in range(100))

    assert written > 99_000


def test_masking_is_fast_enough_for_logs() -> None:
    text = "2026-01-01 12:00:00 INFO some ordinary line of a log with words, numbers 123 and /paths/x.py\n" * 10_000
    redactor = Redactor({f"S{n}": f"ghp_{n:04}AbCdEfGhIjKlMnOpQrStUvWxYz012345" for n in range(10)})
    start = time.process_time()

    assert redactor.text(text) == text

    assert time.process_time() - start < 1


def test_a_stream_of_lines_is_fast_enough_for_a_private_key() -> None:
    key = "-----BEGIN KEY-----\n" + "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7+ab/cdefghi\n" * 40
    stream = Redactor({"KEY": key}).stream()
    start = time.process_time()

    written = [stream.feed("2026-01-01 12:00:00 INFO some ordinary line of a log\n") for _ in range(2000)]

    assert time.process_time() - start < 2
    assert "".join([*written, stream.close()]).count("INFO") == 2000


def test_a_secret_that_was_read_as_a_number_is_masked() -> None:
    redactor = Redactor({"PIN": "9876543210123456", "RATIO": "3.14159265358"})

    found = redactor.data({"pin": 9876543210123456, "ratio": [3.14159265358], "other": [12, 0.5, True, 10**5000]})

    assert found == {"pin": MASK, "ratio": [MASK], "other": [12, 0.5, True, 10**5000]}
    assert Redactor({"WORD": PLAIN}).data([9876543210123456]) == [9876543210123456]


def test_a_secret_that_is_no_utf_8_is_masked_as_the_output_of_a_command_shows_it() -> None:
    secret = b"pass\xffword1".decode("utf-8", "surrogateescape")

    assert Redactor({"ODD": secret}).text("said pass\ufffdword1") == "said ***"


def test_no_cut_goes_through_a_secret() -> None:
    secret = "correct-horse-battery"
    masked = Redactor({"s": secret}).text
    for before in range(80, 101):
        told, cut = head("." * before + secret + "." * 100, 100, masked)
        assert "corr" not in told
        assert (len(told), cut) == (100, True)
    assert head(secret, 3, masked) == (MASK, False)
    assert shortened(f"{secret} and more", 5, masked) == "*** a… [cut: 30 characters]"
    assert head(secret * 40_000, 5_000, masked) == ((MASK * 1_667)[:5_000], True)
