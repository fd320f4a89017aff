"""What an agent is told: the task, and in a further attempt what has become of it so far. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

_AGAIN: Final = "Your result was not accepted:\n\n{feedback}\n\nMend that, in the same files. The task was:\n\n{prompt}"
_NEW: Final = "{prompt}\n\nAn earlier attempt at this was not accepted:\n\n{feedback}"
_GO_ON: Final = "You were interrupted in the middle of this task. See what is done already, and go on from there. The task was:\n\n{prompt}"
_SCHEMA: Final = (
    "{prompt}\n\nEnd with an answer that is one JSON object and nothing else, valid against this JSON Schema:\n{schema}"
)


def told(prompt: str, *, feedback: str | None, resumed: bool, schema: Mapping[str, Any] | None) -> str:
    """The words of a call. `feedback`: what failed, unless the prompt quotes it itself. `resumed`: the agent has the conversation in
    which it was given this task. `schema`: of the answer, for an agent that can only be told in words."""
    if feedback and feedback not in prompt:
        prompt = (_AGAIN if resumed else _NEW).format(prompt=prompt, feedback=feedback)
    elif resumed and not feedback:
        prompt = _GO_ON.format(prompt=prompt)
    if schema is None:
        return prompt
    return _SCHEMA.format(prompt=prompt, schema=json.dumps(schema, ensure_ascii=False))
