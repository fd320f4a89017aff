"""What an agent is told: the task, and in a further attempt what has become of it so far. Pure."""

from __future__ import annotations

import json
from typing import Final

from runner.ports import Request

_AGAIN: Final = "Your result was not accepted:\n\n{feedback}\n\nMend that, in the same files. The task was:\n\n{prompt}"
_NEW: Final = "{prompt}\n\nAn earlier attempt at this was not accepted:\n\n{feedback}"
_GO_ON: Final = "You were interrupted in the middle of this task. See what is done already, and go on from there. The task was:\n\n{prompt}"
_SCHEMA: Final = (
    "{prompt}\n\nEnd with an answer that is one JSON object and nothing else, valid against this JSON Schema:\n{schema}"
)


def told(request: Request, *, resumed: bool, in_words: bool) -> str:
    """The words of a call: the prompt; what failed, unless the prompt says that itself; that it was interrupted. `resumed`: the agent
    has the conversation in which it was given this task. `in_words`: the schema of the answer has to be asked for so."""
    prompt, feedback = str(request.inputs["prompt"]), request.feedback
    if feedback and feedback not in prompt:
        prompt = (_AGAIN if resumed else _NEW).format(prompt=prompt, feedback=feedback)
    elif request.interrupted and resumed:
        prompt = _GO_ON.format(prompt=prompt)
    if request.returns is None or not in_words:
        return prompt
    return _SCHEMA.format(prompt=prompt, schema=json.dumps(request.returns, ensure_ascii=False))
