"""What an agent is told: the task, and in a further attempt what has become of it so far. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from runner.ports import Request

_AGAIN: Final = "Your result was not accepted:\n\n{feedback}\n\nMend that, in the same files. The task was:\n\n{prompt}"
_NEW: Final = "{prompt}\n\nAn earlier attempt at this was not accepted:\n\n{feedback}"
_GO_ON: Final = "You were interrupted in the middle of this task. See what is done already, and go on from there. The task was:\n\n{prompt}"
_BEFORE: Final = "{prompt}\n\nOthers were at this task before you, and did not finish it.\n\n{tried}"
_SCHEMA: Final = (
    "{prompt}\n\nEnd with an answer that is one JSON object and nothing else, valid against this JSON Schema:\n{schema}"
)


def told(request: Request, *, resumed: bool, in_words: bool) -> str:
    """The words of a call: the prompt; what others tried; what failed, unless the prompt says that itself; that it was interrupted. `resumed`: the agent
    has the conversation in which it was given this task. `in_words`: the schema of the answer has to be asked for so."""
    prompt, feedback = str(request.inputs["prompt"]), request.feedback
    if feedback and feedback not in prompt:
        prompt = (_AGAIN if resumed else _NEW).format(prompt=prompt, feedback=feedback)
    elif request.interrupted and resumed:
        prompt = _GO_ON.format(prompt=prompt)
    if tried := [one for one in request.tried if _worth_telling(one)]:
        prompt = _BEFORE.format(prompt=prompt, tried="\n\n".join(map(_earlier, tried)))
    if request.returns is None or not in_words:
        return prompt
    return _SCHEMA.format(prompt=prompt, schema=json.dumps(request.returns, ensure_ascii=False))


def _worth_telling(one: Mapping[str, Any]) -> bool:
    """Not one that never began: there is nothing to learn from it."""
    return bool(one.get("text") or one.get("diff")) or one["class"] not in (
        "auth",
        "unavailable",
        "rate_limit",
        "quota",
        "invalid",
    )


def _earlier(one: Mapping[str, Any]) -> str:
    """What one of the others came to."""
    parts = [f"{one['executor']} failed ({one['class']}): {one.get('message') or 'it did not say why'}"]
    if text := one.get("text"):
        parts.append(f"Its last words:\n{text}")
    if diff := one.get("diff"):
        what = (
            "What was changed and not committed by then"
            if one.get("kept")
            else "Its changes, which are not in the files"
        )
        parts.append(f"{what}:\n{diff}")
    return "\n".join(parts)
