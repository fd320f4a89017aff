"""The plain way and the Jinja way are one language: same references, same values, same errors. And no text breaks the reader."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from runner.templating import ROOTS, TemplateError, compiled, parse, parse_expression, plain, render, render_text

KEYS = st.sampled_from(["a", "b", "items", "if", "x1"])
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-3, 10**20)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=3)
)
DATA = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3), max_leaves=12
)
CONTEXTS = st.fixed_dictionaries(
    {}, optional={"inputs": DATA, "item": DATA, "steps": st.dictionaries(KEYS, DATA, max_size=3), "error": DATA}
)
STEPS = (
    KEYS.map(".{}".format)
    | st.integers(-3, 3).map("[{}]".format)
    | KEYS.map("['{}']".format)
    | KEYS.map('["{}"]'.format)
)
PATHS = st.builds(
    lambda root, links: root + "".join(links),
    st.sampled_from(["inputs", "item", "steps.a", "steps.b", "steps['a']", "error"]),
    st.lists(STEPS, max_size=4),
)
LITERALS = st.sampled_from(
    ["none", "true", "false", "0", "-7", "'x'", '"y"', "''", "[]", "{}", "'| default(1)'", "'}}'"]
)
DEFAULTS = st.builds(" | default({})".format, PATHS | LITERALS)
EXPRESSIONS = st.builds(lambda path, defaults: path + "".join(defaults), PATHS, st.lists(DEFAULTS, max_size=3))
BRACES = st.builds("{{{{{}{}{}}}}}".format, st.sampled_from(["", " ", "\n"]), EXPRESSIONS, st.sampled_from(["", "  "]))
TEMPLATES = st.lists(BRACES | st.sampled_from([" ", "text", "}}", "{", "\n", "é"]), min_size=1, max_size=4).map("".join)


def outcome(work: Any) -> Any:
    try:
        return ("value", repr(work()))
    except TemplateError as error:
        return ("error", error.message)


@settings(max_examples=300, deadline=None)
@given(TEMPLATES, CONTEXTS, st.booleans())
def test_the_plain_way_gives_what_jinja_gives(text: str, context: dict[str, Any], tolerant: bool) -> None:
    found = plain.read(text)
    if found is None or "{{" not in text:
        return
    tree = compiled.template(text, blocks=False)

    assert found.parsed == tree.parsed
    assert outcome(lambda: plain.render_text(found, context, tolerant=tolerant)) == outcome(
        lambda: compiled.in_text(text, context, blocks=False, tolerant=tolerant)
    )
    if found.parsed.whole:
        assert outcome(lambda: plain.render_whole(found, context, tolerant=tolerant)) == outcome(
            lambda: compiled.whole(text, context, bare=False, tolerant=tolerant)
        )


@settings(max_examples=100, deadline=None)
@given(PATHS, st.none() | DEFAULTS)
def test_a_path_with_one_default_needs_no_jinja(path: str, default: str | None) -> None:
    assert plain.read(f"x {{{{ {path}{default or ''} }}}}") is not None


@settings(max_examples=300, deadline=None)
@given(TEMPLATES)
def test_every_reference_lies_where_it_says(text: str) -> None:
    try:
        found = parse(text)
    except TemplateError:
        return  # a stray brace next to a template
    for ref in found.refs:
        assert text[ref.offset : ref.offset + ref.length].startswith(ref.root)
        assert not text[ref.offset : ref.offset + ref.length].endswith(" ")


WORDS = st.sampled_from(
    [*ROOTS, "{{", "}}", "{%", "%}", "{#", "(", ")", "[", "]", "{", "}", "|", ".", ",", ":", "~", "+", "-", "**", "'", '"', "\\",
     "if", "else", "elif", "endif", "for", "in", "endfor", "not", "is", "defined", "and", "or", "default", "upper", "map", "1", "2.5",
     "==", "<", "=", "x", "loop", "_", "set", "none", "true", "\n", "é", "\x00", "\u2028"]
)  # fmt: skip


@settings(max_examples=400, deadline=None)
@given(st.lists(WORDS, max_size=25), st.booleans(), st.sampled_from(["", " "]), CONTEXTS)
def test_any_text_is_a_template_or_a_template_error(
    words: list[str], blocks: bool, between: str, context: dict[str, Any]
) -> None:
    text = between.join(words)
    for work in (
        lambda: render(text, context, blocks=blocks),
        lambda: render(f"{{{{ {text} }}}}", context, tolerant=True),
        lambda: render_text(text, context),
        lambda: parse_expression(text),
    ):
        try:
            work()
        except TemplateError as error:
            assert error.message
            assert 0 <= error.offset <= len(text) + 6


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet=st.characters(exclude_characters="{", exclude_categories=["Cs"])))
def test_text_without_braces_is_itself(text: str) -> None:
    assert render(text, {}) == text
    assert parse(text).literal
    assert render("{{ inputs.x }}", {"inputs": {"x": text}}) == text
    assert render("{{ inputs.x | string }}.", {"inputs": {"x": text}}) == text + "."
