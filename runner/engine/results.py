"""A step's RESULT: {"output", "text" (only when it differs from the output's own text), "checks" (when there are any)}, made fit
for the record: plain JSON, bounded, small ones inline and large ones by digest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from runner.core.context import text_of
from runner.core.graph import Json
from runner.core.messages import Stored
from runner.digest import canonical_json, digest_bytes

__all__ = ["INLINE_BYTES", "Unfit", "fit", "result_of", "stored", "text_of"]

INLINE_BYTES = 4_096
"""A RESULT up to this size rides in the event itself."""


class Unfit(Exception):
    """A value that the record cannot hold; the text says why."""


def stored(result: Mapping[str, Any], inline_bytes: int = INLINE_BYTES) -> tuple[Stored, bytes | None]:
    """How events hold `result`, and the bytes that must be committed with them when it is held by reference.

    `result` must be `fit`; ValueError, TypeError else."""
    data = canonical_json(result).encode()
    if len(data) <= inline_bytes:
        return {"value": dict(result)}, None
    return {"ref": digest_bytes(data), "size": len(data)}, data


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
    if isinstance(value, str) and len(value) > limit:
        raise Unfit(too_large(limit))
    try:
        size = len(canonical_json(value).encode())
    except UnicodeEncodeError:  # half of a UTF-16 pair, as "\ud800" in JSON gives it: no database or file takes it
        value = _replace_surrogates(value)
        return fit(value, limit)
    except ValueError as error:
        circular = "Circular" in str(error)
        raise Unfit("the output contains itself" if circular else "the output has NaN or Infinity, which is not JSON") from error
    except TypeError as error:
        raise Unfit(f"the output is not JSON: {error}") from error
    except RecursionError as error:
        raise Unfit("the output is nested too deeply") from error
    if size > limit:
        raise Unfit(too_large(limit))
    return value


def too_large(limit: int) -> str:
    return f"the output is over the limit of {limit} bytes (limits.output_bytes)"


def _replace_surrogates(value: Json) -> Json:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, Mapping):
        return {_replace_surrogates(key): _replace_surrogates(child) for key, child in value.items()}
    if isinstance(value, list | tuple):
        return [_replace_surrogates(child) for child in value]
    return value
