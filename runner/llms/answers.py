"""Reading what an OpenAI-compatible API sent: a completion, or an error object. Pure; shared by both clients."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from runner.llms.exchange import Answer, Bill, Fault, Sign
from runner.redact import shortened

MOST_USD: Final = 1e9
MOST_TOKENS: Final = 10**12
"""More of either is no amount: no record could hold what is computed from it."""
COST_HEADER: Final = "x-litellm-response-cost"
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
"""What a terminal might obey."""


def told(fault: Fault, masked: Callable[[str], str]) -> str:
    """What went wrong, with the words of the other side: harmless, masked, bounded, the cut marked."""
    words = shortened(_CONTROL.sub("", fault.quote).strip(), fault.quoted, masked)
    return ": ".join(part for part in (fault.message, words) if part)


def read(body: bytes, usd: float | None = None) -> Answer | Fault:
    """The body of a success, as `completion`."""
    try:
        decoded = json.loads(body)
    except (ValueError, RecursionError):
        return no_json(body.decode("utf-8", "replace"))
    return completion(decoded, usd)


def completion(data: Any, usd: float | None, guess: float | None = None) -> Answer | Fault:
    """A decoded chat completion. `usd`: the price that the endpoint named beside it; `guess`: the client's own idea of it."""
    if not isinstance(data, Mapping):
        return Fault("the answer is not a completion", sign="not_json")
    bill = Bill(tokens_of(data.get("usage")), usd, guess)
    if data.get("error"):  # some gateways send it with status 200
        code, said = error_object(data)
        status = _status(data["error"])
        sign: Sign | None = None if status else "not_json"
        return Fault("", sign=sign, status=status, code=code, said=said, bill=bill, quote=said)
    choices = data.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    if not isinstance(first, Mapping):
        return Fault("the answer has no choices", sign="empty", bill=bill)
    return _choice(first, bill)


def _choice(choice: Mapping[str, Any], bill: Bill) -> Answer | Fault:
    message = choice.get("message")
    said = message if isinstance(message, Mapping) else {}
    finish = str(choice.get("finish_reason") or "")
    if refusal := said.get("refusal"):
        return Fault("the model declined", sign="filtered", bill=bill, quote=str(refusal))
    if finish == "content_filter":
        return Fault("the provider's content filter withheld the answer", sign="filtered", bill=bill)
    text = _text(said.get("content"))
    if not text.strip():
        why = " (the token limit was used up before any text)" if finish == "length" else ""
        return Fault(f"the answer is empty{why}", sign="empty", bill=bill)
    return Answer(text, bill, cut=finish == "length")


def _text(content: Any) -> str:
    """Text, or a list of parts, of which those with text count."""
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    return "\n".join(str(part["text"]) for part in parts if isinstance(part, Mapping) and part.get("text"))


def tokens_of(usage: Any) -> dict[str, int]:
    """{"in", "out"}; empty when the endpoint did not count both."""
    if not isinstance(usage, Mapping):
        return {}
    prompt, answer = usage.get("prompt_tokens"), usage.get("completion_tokens")
    if not isinstance(prompt, int) or not isinstance(answer, int):
        return {}
    if not (1 <= prompt < MOST_TOKENS and 0 <= answer < MOST_TOKENS):
        return {}  # no prompt has 0 tokens: LiteLLM writes 0 for what nobody counted
    return {"in": prompt, "out": answer}


def price(text: Any) -> float | None:
    """US dollars as an endpoint writes them; None for what is no amount."""
    try:
        amount = float(text)
    except (TypeError, ValueError, OverflowError):
        return None
    return amount if 0 <= amount <= MOST_USD else None


def error_object(data: Any) -> tuple[str, str]:
    """(type and code, message) of an error body: {"error": {…}}, {"error": text}, {"detail": …} or {"message": text}."""
    if isinstance(data, list) and data:  # Gemini wraps it so
        data = data[0]
    if not isinstance(data, Mapping):
        return "", str(data or "")
    error = data.get("error", data)
    if not isinstance(error, Mapping):
        return "", str(error)
    code = " ".join(str(error[key]) for key in ("type", "code", "status") if error.get(key))
    said = error.get("message") or error.get("detail") or error
    return code, str(said)


def refusal(status: int, headers: Mapping[str, str], text: str, kinds: frozenset[str] = frozenset()) -> Fault:
    """An answer whose HTTP status is no success, with its body."""
    headers = {name.lower(): value for name, value in headers.items()}
    try:
        code, said = error_object(json.loads(text))
    except (ValueError, RecursionError):
        code, said = "", "" if looks_like_page(text) else text
    said = said or _where(headers.get("location", ""))
    return Fault(f"HTTP {status}", status=status, kinds=kinds, code=code, said=said, headers=headers, quote=said)


def _where(location: str) -> str:
    """Where a redirect leads: the host alone, a path may hold secrets."""
    try:
        target = urlsplit(location).hostname
    except ValueError:
        target = None
    return f"it leads to {target}, and redirects are not followed" if target else ""


def _status(error: Any) -> int | None:
    code = str(error.get("code")) if isinstance(error, Mapping) else ""
    return int(code) if re.fullmatch(r"[45]\d\d", code, re.ASCII) else None


def looks_like_page(text: str) -> bool:
    """Is this HTML?"""
    return bool(re.match(r"\s*(<!doctype html|<html|<head|<body)", text[:200], re.IGNORECASE))


def no_json(text: str) -> Fault:
    """A success whose body is no JSON."""
    if looks_like_page(text):
        return Fault("the answer is an HTML page", sign="html")
    if not text.strip():
        return Fault("the answer is empty", sign="empty")
    return Fault("the answer is not JSON", sign="not_json", quote=text, quoted=200)
