"""The messages of a call: what the step asks, in the conversation that a repair round goes on with.

A session is that conversation as JSON text, recorded with the attempt: any process can go on with it, and any model could."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from runner.llms.exchange import Message

SESSION_CHARS: Final = 256 * 1024
"""A longer conversation is not kept: the next round begins a new one."""
_AGAIN: Final = "Your answer was not accepted:\n{feedback}\n\nAnswer again, in full."
_NEW: Final = "An earlier answer was not accepted:\n{feedback}"
_SCHEMA: Final = "Answer with one JSON object and nothing else. It must be valid against this JSON Schema:\n{schema}"


def turns(prompt: str, feedback: str | None, session: str | None) -> list[Message]:
    """The conversation up to and with what is asked now.

    Feedback that the prompt does not quote itself is appended; in a conversation that had this very prompt, it alone is said."""
    before = _read(session)
    told = feedback if feedback and feedback not in prompt else None
    if not before:
        return [user(f"{prompt}\n\n{_NEW.format(feedback=told)}" if told else prompt)]
    asked = any(turn == user(prompt) for turn in before)
    parts = [] if asked and told else [prompt]
    if told:
        parts.append(_AGAIN.format(feedback=told))
    return [*before, user("\n\n".join(parts))]


def user(text: str) -> Message:
    return {"role": "user", "content": text}


def with_system(system: str | None, schema: Mapping[str, Any] | None, said: Sequence[Message]) -> tuple[Message, ...]:
    """All messages. `schema`: what an endpoint that takes no response format must be told in words."""
    parts = [system] if system else []
    if schema is not None:
        parts.append(_SCHEMA.format(schema=json.dumps(schema, ensure_ascii=False)))
    head: list[Message] = [{"role": "system", "content": "\n\n".join(parts)}] if parts else []
    return (*head, *said)


def session_of(said: Sequence[Message], answer: str) -> str | None:
    """The conversation as text; None when it is too long to be kept."""
    text = json.dumps([*map(dict, said), {"role": "assistant", "content": answer}], ensure_ascii=False)
    return text if len(text) <= SESSION_CHARS else None


def _read(session: str | None) -> list[Message]:
    """The turns of a session; none for one that is not ours."""
    try:
        found = json.loads(session or "[]")
    except ValueError:
        return []
    return found if isinstance(found, list) and all(map(_is_turn, found)) else []


def _is_turn(turn: Any) -> bool:
    return (
        isinstance(turn, dict)
        and turn.keys() == {"role", "content"}
        and turn["role"] in ("user", "assistant")
        and isinstance(turn["content"], str)
    )
