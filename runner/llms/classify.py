"""What a failed call of a model means: one table from (sign, HTTP status, code, exception, words) to an error class and its effect.

Pure. The first row that fits decides, so the words that a status hides behind come before the status. docs/error-classes.md is
generated from here (`document()`). Not here: what follows from a class (`core.recover`)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Final, Literal

from runner.llms.exchange import Fault, Sign
from runner.llms.signs import KINDS
from runner.manifest.vocabulary import ErrorClass


@dataclass(frozen=True, slots=True)
class Row:
    """Fits when all of these that are given do. `statuses` are inclusive ranges; `marks`, a pattern, must be found in the
    error's type and code, in the names of the exception's classes, or in what the endpoint said.

    `effect`: may the question have been worked on, and billed? `means` and `example` are for people."""

    name: str
    error_class: ErrorClass
    effect: Literal["none", "maybe"]
    means: str
    signs: tuple[Sign, ...] = ()
    statuses: tuple[tuple[int, int], ...] = ()
    marks: str = ""
    patient: bool | None = None
    """True: only when the endpoint says when to come back; False: only when it does not."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """`row` is the name of the one that decided."""

    error_class: ErrorClass
    effect: Literal["none", "maybe"]
    retry_after_ms: int | None
    row: str


REFUSED: Final = ((400, 499),)
SOON_MS: Final = 15 * 60_000
"""Some APIs say "exceeded your current quota" for a minute's worth. Who names a time within this is not out of money."""

_QUOTA = r"insufficient.(quota|credits?|funds|balance)|exceeded your (current|monthly) (quota|usage)|billing_hard_limit|payment.?required|credit balance is too low|budget.{0,20}exceeded|ExceededBudget|out of credits|usage limit (reached|exceeded)"
_OVERFLOW = r"context_length_exceeded|ContextWindowExceeded|maximum context length|context (window|length|size).{0,40}(exceed|too)|(exceed|larger|longer).{0,60}context (window|length|size)|prompt is too long|input is too long|too many (input )?tokens|input token count.{0,40}exceeds|request_too_large|Request too large for model"
_POLICY = r"content_policy|ContentPolicyViolation|content_filter|content management policy|ResponsibleAI|safety system|moderation_blocked|Guardrail|BlockedPii|RejectedRequest"
_KEY = r"No connected db|invalid.?api.?key|api key not valid|API_KEY_INVALID|incorrect api key|authentication_error|no api key"

ROWS: Final[tuple[Row, ...]] = (
    Row("dns", "unavailable", "none", "the host has no address", signs=("dns",)),
    Row("refused", "unavailable", "none", "nobody listens there, or no way leads there", signs=("refused",)),
    Row("tls", "unavailable", "none", "the certificate or the handshake failed", signs=("tls",)),
    Row("connect", "unavailable", "none", "no connection in time", signs=("connect_timeout",)),
    Row("deadline", "timeout", "maybe", "no whole answer before the deadline", signs=("deadline",)),
    Row("reset", "crash", "maybe", "the connection broke once the request was under way", signs=("reset",)),
    Row("page", "bad_output", "none", "HTML where JSON was due: a login or loading page, or a wrong URL", signs=("html",)),
    Row("not-json", "bad_output", "none", "the answer is not what the API speaks, or is cut off", signs=("not_json",)),
    Row("empty", "bad_output", "none", "no choices, or no text in the first one", signs=("empty",)),
    Row("too-large", "bad_output", "none", "the answer is over our cap", signs=("too_large",)),
    Row("filtered", "denied", "none", "the provider withheld the text, or the model declined", signs=("filtered",)),
    Row("quota", "quota", "none", "the account has no money or allowance left", statuses=REFUSED, marks=_QUOTA, patient=False),
    Row("payment", "quota", "none", "payment required", statuses=((402, 402),)),
    Row("overflow", "context_overflow", "none", "the prompt is longer than the model takes", statuses=REFUSED, marks=_OVERFLOW),
    Row("too-long", "context_overflow", "none", "the request is larger than the endpoint takes", statuses=((413, 413),)),
    Row("policy", "denied", "none", "the content policy refuses it", statuses=REFUSED, marks=_POLICY),
    Row("key", "auth", "none", "the key is missing, wrong, or not allowed this", statuses=((401, 401), (403, 403))),
    Row("key-400", "auth", "none", "a wrong key, said with another status", statuses=((400, 400),), marks=_KEY),
    Row("rate", "rate_limit", "none", "too many requests or tokens a minute", statuses=((429, 429),)),
    Row("late", "timeout", "maybe", "the endpoint gave up waiting, which proxies say for their upstream", statuses=((408, 408),)),
    Row("missing", "unavailable", "none", "no such model or path at this endpoint", statuses=((404, 405), (410, 410))),
    Row("redirect", "unavailable", "none", "it leads elsewhere, and redirects are not followed", statuses=((300, 399),)),
    Row("server", "unavailable", "maybe", "the endpoint failed or is overloaded", statuses=((500, 599),)),
    Row("request", "invalid", "none", "the endpoint does not take this request", statuses=REFUSED),
    Row("unknown", "crash", "maybe", "nothing that this table knows"),
)  # fmt: skip
"""The last row takes all that is left."""

_PATTERNS: Final = {row.name: re.compile(row.marks, re.IGNORECASE) for row in ROWS if row.marks}


def classify(fault: Fault, now_ms: int) -> Verdict:
    """The class of a fault. `now_ms` (Unix) turns a date in `retry-after` into a delay."""
    wait = retry_after_ms(fault, now_ms)
    row = next(row for row in ROWS if _fits(row, fault, wait))
    return Verdict(row.error_class, row.effect, wait if row.error_class in WAITS else None, row.name)


WAITS: Final = frozenset({"rate_limit", "quota", "unavailable"})
"""Classes after which the endpoint may say when to come back."""


def _fits(row: Row, fault: Fault, wait: int | None) -> bool:
    if row.signs and fault.sign not in row.signs:
        return False
    if row.statuses and not any(low <= (fault.status or 0) <= high for low, high in row.statuses):
        return False
    if row.patient is not None and row.patient != (wait is not None and wait <= SOON_MS):
        return False
    return not row.marks or _PATTERNS[row.name].search(" ".join((fault.code, *fault.kinds, fault.said))) is not None


# ---------------------------------------------------------------- when to come back


_AGAIN: Final = re.compile(
    r"(?:try again in|retry in|retry ?delay\W{1,5})\s*(?:(\d+)m(?!s))?\s*(\d+(?:\.\d+)?)\s*(ms|s)", re.IGNORECASE
)
LONGEST_MS: Final = 7 * 86_400_000


def retry_after_ms(fault: Fault, now_ms: int) -> int | None:
    """Milliseconds until the endpoint wants to be asked again: its headers `retry-after-ms` or `retry-after` (seconds or a date),
    else its words ("try again in 1m2.5s"). None when it does not say; at most a week."""
    found = _milliseconds(fault.headers.get("retry-after-ms", ""), 1)
    if found is None:
        found = _milliseconds(fault.headers.get("retry-after", ""), 1000)
    if found is None:
        found = _until(fault.headers.get("retry-after", ""), now_ms)
    if found is None:
        found = _in_words(fault.said)
    return None if found is None else min(max(found, 0), LONGEST_MS)


def _milliseconds(text: str, unit: int) -> int | None:
    return round(float(text) * unit) if re.fullmatch(r"\s*\d{1,12}(\.\d{1,9})?\s*", text, re.ASCII) else None


def _until(text: str, now_ms: int) -> int | None:
    try:
        date = parsedate_to_datetime(text)
    except (ValueError, OverflowError):  # the latter for a year or a zone of twenty digits
        return None
    return int(date.replace(tzinfo=date.tzinfo or UTC).timestamp() * 1000) - now_ms


def _in_words(text: str) -> int | None:
    found = _AGAIN.search(text)
    if found is None:
        return None
    minutes, amount, unit = found.groups()
    return int(minutes or 0) * 60_000 + round(float(amount) * (1 if unit.lower() == "ms" else 1000))


# ---------------------------------------------------------------- the documentation


_SIGNS: Final[Mapping[Sign, str]] = {
    "dns": "no address", "refused": "refused", "tls": "TLS", "connect_timeout": "no connection", "deadline": "deadline",
    "reset": "connection broke", "html": "HTML", "not_json": "not JSON", "empty": "empty", "too_large": "too large",
    "filtered": "withheld",
}  # fmt: skip


def document() -> str:
    """docs/error-classes.md."""
    rows = [f"| `{row.name}` | {_when(row)} | `{row.error_class}` | {row.effect} | {row.means} |" for row in ROWS]
    signs = [f"| {_SIGNS[sign]} | {', '.join(f'`{name}`' for name in sorted(kinds))} |" for sign, kinds in KINDS]
    words = [f"| `{row.name}` | `{row.marks.replace('|', BAR)}` |" for row in ROWS if row.marks]
    return "\n".join([*_HEAD, *rows, *_EXCEPTIONS, *signs, *_WORDS, *words, *_WAITING, ""])


BAR: Final = "\\|"


def _when(row: Row) -> str:
    parts = [_SIGNS[sign] for sign in row.signs]
    parts += [str(low) if low == high else f"{low}–{high}" for low, high in row.statuses]
    told = ", ".join(parts) or "anything else"
    if row.marks:
        told += " with its words (below)"
    if row.patient is False:
        told += ", and no time to come back within 15 minutes"
    return told


_HEAD: Final = (
    "# How a model's failure is classified",
    "",
    "Generated from `runner/llms/classify.py` (`document()`); a test keeps it fresh. What follows from a class is in",
    "the [manifest reference](manifest-reference.md) and `runner/core/recover.py`.",
    "",
    "The first row that fits decides. *effect* `maybe`: the question may have been worked on and billed although no answer came, so",
    "its cost is unknown; `none`: it was not, or the answer is known.",
    "",
    "| row | when | class | effect | meaning |",
    "|---|---|---|---|---|",
)
_EXCEPTIONS: Final = (
    "",
    "## Exceptions",
    "",
    "Looked for by name in the whole chain of causes and contexts, before any status: LiteLLM reports a refused connection as a 500.",
    "",
    "| sign | exceptions |",
    "|---|---|",
)
_WORDS: Final = (
    "",
    "## Words",
    "",
    "Looked for, in any case, in the error's `type` and `code`, in the names of exception classes, and in the message.",
    "",
    "| row | pattern |",
    "|---|---|",
)
_WAITING: Final = (
    "",
    "## When to come back",
    "",
    "`retry-after-ms`, `retry-after` (seconds or a date), else the words “try again in 1m2.5s” or a `retryDelay`; at most a week.",
    "It is kept for `rate_limit`, `quota` and `unavailable`.",
)
