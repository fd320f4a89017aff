"""A step's RESULT: {"output", "text" (only when it differs from the output's own text), "checks" (when there are any)}, made fit
for the record: plain JSON, bounded, small ones inline and large ones by digest."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from runner.core.context import text_of
from runner.core.graph import Json
from runner.core.messages import Stored
from runner.digest import canonical_json, digest_bytes
from runner.redact import head

__all__ = ["INLINE_BYTES", "MAX_DEPTH", "TOO_DEEP", "Unfit", "cut", "fit", "result_of", "stored", "text_of", "too_deep"]

INLINE_BYTES = 4_096
"""A RESULT up to this size rides in the event itself."""
LARGE = 1 << 20
"""Characters of a text that is handled with an eye on memory."""
MAX_DEPTH = 100
TOO_DEEP = f"the output is nested too deeply: more than {MAX_DEPTH} levels"


_CONTROLS = [chr(code) for code in range(32) if chr(code) not in "\n\r\t\b\f"]


class Unfit(Exception):
    """A value that the record cannot hold; the text says why."""


def stored(result: Mapping[str, Any], inline_bytes: int = INLINE_BYTES) -> tuple[Stored, bytes | None]:
    """How events hold `result`, and the bytes that must be committed with them when it is held by reference.

    `result` must be `fit`; ValueError, TypeError else."""
    data = canonical_json(result).encode()
    if len(data) <= inline_bytes:
        return {"value": dict(result)}, None
    return {"ref": digest_bytes(data), "size": len(data)}, data


def cut(text: str, limit: int, masked: Callable[[str], str] = str) -> str:
    """At most `limit` characters of `text` as it is masked, the cut marked."""
    told, more = head(text, limit, masked)
    return f"{told}\n[cut: {len(text) - limit} characters more]" if more else told


def result_of(output: Json, text: str | None, checks: Sequence[Mapping[str, Json]] = ()) -> dict[str, Json]:
    """The RESULT of these; `text` is kept only when it says more than `output`."""
    result: dict[str, Json] = {"output": output}
    if text is not None and text != text_of(result):
        result["text"] = text
    if checks:
        result["checks"] = [dict(check) for check in checks]
    return result


def fit(value: Json, limit: int) -> Json:
    """`value` as plain JSON of at most `limit` bytes, lone surrogates replaced. Raises Unfit for all that is not JSON."""
    if isinstance(value, str) and len(value) > LARGE:
        return _fit_text(value, limit)
    try:
        text = canonical_json(value)
        size = len(text.encode())
    except UnicodeEncodeError:  # half of a UTF-16 pair, as "\ud800" in JSON gives it: no database or file takes it
        return fit(_replace_surrogates(value), limit)
    except ValueError as error:
        circular = "Circular" in str(error)
        raise Unfit(
            "the output contains itself" if circular else "the output has NaN or Infinity, which is not JSON"
        ) from error
    except TypeError as error:
        raise Unfit(f"the output is not JSON: {error}") from error
    except RecursionError as error:
        raise Unfit(TOO_DEEP) from error
    if size > limit:
        raise Unfit(too_large(limit))
    if too_deep(value, text):
        raise Unfit(TOO_DEEP)
    return value


def _fit_text(text: str, limit: int) -> str:
    """`fit` for a long text, measured without writing it as JSON: that could take six times its size."""
    if len(text) <= limit and not text.isascii():
        data = text.encode("utf-8", "replace")
        extra = len(data) - len(text)
        text = data.decode()
    else:
        extra = 0
    if len(text) + extra + 2 > limit or len(text) + extra + 2 + _escapes(text) > limit:
        raise Unfit(too_large(limit))
    return text


def _escapes(text: str) -> int:
    """Characters that JSON adds to `text`."""
    return sum(text.count(char) for char in '"\\\n\r\t\b\f') + 5 * sum(map(text.count, _CONTROLS))


def too_large(limit: int) -> str:
    return f"the output is over the limit of {limit} bytes (limits.output_bytes)"


def too_deep(value: Json, text: str) -> bool:
    """Whether `value`, which `text` is the JSON of, has more levels than what reads it later (templates, masking) can walk."""
    if text.count("[") + text.count("{") <= MAX_DEPTH:
        return False
    level = [value]
    for _ in range(MAX_DEPTH + 1):
        level = [child for node in level if isinstance(node, dict | list) for child in _children(node)]
        if not level:
            return False
    return True


def _children(node: dict[str, Json] | list[Json]) -> Iterable[Json]:
    return node.values() if isinstance(node, dict) else node


def _replace_surrogates(value: Json) -> Json:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, Mapping):
        return {_replace_surrogates(key): _replace_surrogates(child) for key, child in value.items()}
    if isinstance(value, list | tuple):
        return [_replace_surrogates(child) for child in value]
    return value
