"""Templates: `{{ expr }}` in strings, and bare expressions. What a template names, and what it gives, over plain JSON data.

Pure: no I/O, no clock. Jinja is imported with the first template of an unusual form, or when one of more than plain paths is computed.
Which name may stand where is for the compiler of manifests to check; secrets are found here, never rendered.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from runner.templating import plain
from runner.templating.model import (
    RESULT_LIMIT,
    ROOTS,
    SOURCE_LIMIT,
    Context,
    Json,
    Parsed,
    Ref,
    SecretRef,
    TemplateError,
    exceeds,
)

_KEPT: Final = 4096


@lru_cache(_KEPT)
def _read(text: str, blocks: bool) -> Parsed | plain.Plain:
    """The template as far as it is known without data; `Plain` when it needs no Jinja."""
    if "{{" not in text and "{%" not in text:
        return Parsed(text, literal=True, whole=False)
    if exceeds(text, SOURCE_LIMIT):
        raise TemplateError(f"a template is {SOURCE_LIMIT // 1024} KiB long at most")
    found: Parsed | plain.Plain | None = None if "{%" in text else plain.read(text)
    if found is None and "{%" not in text:
        from runner.templating import usual

        found = usual.template(text)
    if found is not None:
        return found
    from runner.templating import compiled  # imports Jinja: what most manifests need not wait for

    return compiled.template(text, blocks=blocks).parsed


def parse(text: str, *, blocks: bool = False) -> Parsed:
    """What `text` names. `blocks`: it is a prompt, which may hold `{% if %}` and `{% for %}`. Raises TemplateError."""
    found = _read(text, blocks)
    return found.parsed if isinstance(found, plain.Plain) else found


@lru_cache(_KEPT)
def parse_expression(text: str) -> Parsed:
    """What the bare expression of a `when` or `expr` names. Raises TemplateError."""
    if exceeds(text, SOURCE_LIMIT):
        raise TemplateError(f"an expression is {SOURCE_LIMIT // 1024} KiB long at most")
    from runner.templating import usual

    found = usual.expression(text)
    if found is not None:
        return found
    from runner.templating import compiled  # imports Jinja

    return compiled.expression(text).parsed


def render(text: str, context: Context, *, blocks: bool = False, tolerant: bool = False) -> Json:
    """What `text` gives: a whole `{{ expr }}` the value itself (not copied), a prompt (`blocks`) and all else text, and text without
    braces itself. `tolerant`: absent values are none, and none is the empty text. Raises TemplateError."""
    found = _read(text, blocks)
    if isinstance(found, plain.Plain):
        if found.parsed.whole and not blocks:
            return plain.render_whole(found, context, tolerant=tolerant)
        return plain.render_text(found, context, tolerant=tolerant)
    if found.literal:
        return text
    from runner.templating import compiled  # imports Jinja

    if found.whole and not blocks:
        return compiled.whole(text, context, bare=False, tolerant=tolerant)
    return compiled.in_text(text, context, blocks=blocks, tolerant=tolerant)


def render_text(text: str, context: Context, *, tolerant: bool = False) -> str:
    """As `render`, but always text: for a part of a longer text, such as a piece between secrets."""
    found = _read(text, False)
    if isinstance(found, plain.Plain):
        return plain.render_text(found, context, tolerant=tolerant)
    if found.literal:
        return text
    from runner.templating import compiled  # imports Jinja

    return compiled.in_text(text, context, blocks=False, tolerant=tolerant)


def evaluate(expression: str, context: Context, *, tolerant: bool = False) -> Json:
    """The value of a bare expression. `tolerant`: absent is none. Raises TemplateError."""
    parse_expression(expression)
    from runner.templating import compiled  # imports Jinja

    return compiled.whole(expression, context, bare=True, tolerant=tolerant)


def truth(expression: str, context: Context, *, tolerant: bool = False) -> bool:
    """Whether a condition holds. Raises TemplateError when it gives anything but true or false."""
    value = evaluate(expression, context, tolerant=tolerant)
    if isinstance(value, bool):
        return value
    from runner.templating.text import kind_of

    raise TemplateError(
        f"a condition gives true or false; this one gives {kind_of(value)}",
        0,
        len(expression),
        "compare it with something: `… == 'x'`, `… is none`, `… | length > 0`",
    )


def render_tree(value: Json, context: Context, *, tolerant: bool = False) -> Json:
    """`value` with every string in its lists and maps rendered; keys stay as they are. Parts without templates are not copied."""
    if isinstance(value, str):
        return render(value, context, tolerant=tolerant)
    if isinstance(value, dict):
        fields = {key: render_tree(item, context, tolerant=tolerant) for key, item in value.items()}
        return fields if any(fields[key] is not value[key] for key in fields) else value
    if isinstance(value, list):
        items = [render_tree(item, context, tolerant=tolerant) for item in value]
        return items if any(new is not old for new, old in zip(items, value, strict=True)) else value
    return value


def has_template(value: Json) -> bool:
    """Whether a string anywhere in `value` (keys aside) is a template."""
    if isinstance(value, str):
        return "{{" in value or "{%" in value
    if isinstance(value, dict):
        return any(map(has_template, value.values()))
    return isinstance(value, list) and any(map(has_template, value))


def segments(text: str) -> tuple[str | SecretRef, ...]:
    """`text` cut at its secrets: templates (for `render_text`) and secrets in turn, empty pieces left out. A text that is one whole
    secret is that secret alone. Raises TemplateError for a secret that does not stand alone in its braces."""
    parsed = parse(text)
    if not parsed.secrets:
        return (text,)
    if parsed.whole:
        return (SecretRef(parsed.secrets[0]),)
    pieces: list[str | SecretRef] = []
    at = 0
    for ref in parsed.refs:
        if ref.root == "secrets":
            start, end = text.rindex("{{", at, ref.offset), text.index("}}", ref.offset + ref.length) + 2
            pieces += [text[at:start], SecretRef(str(ref.path[0]))]
            at = end
    pieces.append(text[at:])
    return tuple(piece for piece in pieces if piece)


__all__ = [
    "RESULT_LIMIT",
    "ROOTS",
    "SOURCE_LIMIT",
    "Context",
    "Json",
    "Parsed",
    "Ref",
    "SecretRef",
    "TemplateError",
    "evaluate",
    "has_template",
    "parse",
    "parse_expression",
    "render",
    "render_text",
    "render_tree",
    "segments",
    "truth",
]
