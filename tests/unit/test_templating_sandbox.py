"""Templates that try to escape, and templates that try to take long or grow large: each must end at once, as an error or as harmless data."""

from __future__ import annotations

import time
from typing import Any

import pytest

from runner.templating import RESULT_LIMIT, SOURCE_LIMIT, TemplateError, evaluate, parse, parse_expression, render

BIG = "a" * RESULT_LIMIT
CONTEXT: dict[str, Any] = {
    "inputs": {"x": "text", "n": 3, "l": [1, 2], "m": {"k": "v"}, "cls": "__class__", "none": None},
    "vars": {"big": BIG, "many": list(range(10_000)), "words": ["word"] * 10_000},
    "steps": {"a": {"text": "t", "output": {"items": [1]}}},
}

ESCAPES = [
    "inputs.x.__class__",
    "inputs.x['__class__']",
    "inputs.x[inputs.cls]",
    "inputs.x|attr('__class__')",
    "inputs.x.__class__.__mro__[1].__subclasses__()",
    "inputs['x'].__class__.__base__",
    "''.__class__.__mro__[2].__subclasses__()[40]('/etc/passwd').read()",
    "().__class__.__bases__[0]",
    "[].append(1)",
    "[].__class__.__base__.__subclasses__()",
    "{}.__class__",
    "inputs.m.keys()",
    "inputs.m.items",
    "inputs.m.pop('k')",
    "inputs.m.update",
    "inputs.l.append",
    "inputs.l.sort",
    "inputs.x.upper",
    "inputs.x.format",
    "'{0.__class__}'.format(inputs)",
    "'{0.__class__}'.format_map({'a': 1})",
    "'%s' % inputs.x",
    "inputs.x.encode.__self__",
    "self",
    "self.__init__.__globals__",
    "self._TemplateReference__context",
    "super()",
    "caller()",
    "varargs",
    "kwargs",
    "context",
    "environment",
    "request.application.__globals__",
    "config.items()",
    "lipsum.__globals__.os",
    "cycler.__init__.__globals__.os.popen('id').read()",
    "joiner.__init__.__globals__",
    "namespace.__init__",
    "dict.__base__",
    "dict(a=1)",
    "range(10)",
    "get_flashed_messages.__globals__",
    "url_for.__globals__",
    "loop.__class__",
    "loop",
    "_getattr",
    "__builtins__",
    "open('/etc/passwd')",
    "inputs|attr('get')",
    "inputs.x|_text(0, 1)",
    "inputs.x|_end",
    "inputs.l|_loop(1)",
    "inputs.x|format(1)",
    "inputs.x|safe",
    "inputs.m|xmlattr",
    "inputs.m|dictsort",
    "inputs.l|batch(1)",
    "inputs.l|map('upper')",
    "inputs.l|map('attr', '__class__')",
    "inputs.l|groupby('__class__')",
    "inputs.x|pprint",
    "inputs.l|random",
    "inputs.x|filesizeformat",
    "inputs.x|urlize",
    "inputs.x is callable",
    "inputs.x is sameas inputs.x",
    "inputs.x is filter",
    "inputs.l | select('callable') | list",
    "inputs.l | selectattr('__class__', 'callable')",
    "inputs.x | default(*inputs.l)",
    "inputs.x | default(**inputs.m)",
    "inputs.x | replace(**{'old': 'a'})",
    "inputs[inputs.x.__class__]",
    "(inputs.x).__class__",
    "inputs.x[0].__class__",
    "(inputs.nope).__class__",
    "inputs.nope._undefined_obj",
    "inputs.nope.__init__.__globals__",
    "(1).real",
    "(1.5).hex",
    "true.__class__",
    "none.__class__",
]


@pytest.mark.parametrize("expression", ESCAPES)
def test_an_escape_is_refused_and_reaches_no_python_object(expression: str) -> None:
    with pytest.raises(TemplateError):
        evaluate(expression, CONTEXT)
    with pytest.raises(TemplateError):
        render("{{ " + expression + " }}", CONTEXT)
    with pytest.raises(TemplateError):
        render("{% if true %}{{ " + expression + " }}{% endif %}", CONTEXT, blocks=True)


@pytest.mark.parametrize("expression", [e for e in ESCAPES if "__" not in e])
def test_an_escape_gives_at_most_none_in_tolerant_reading(expression: str) -> None:
    try:
        assert evaluate(expression, CONTEXT, tolerant=True) is None
    except TemplateError:
        pass


def test_an_attribute_path_in_a_filter_reads_items_only() -> None:
    for attribute in ("__class__", "__class__.__mro__", "upper", "_x", "0.__class__"):
        with pytest.raises(TemplateError, match="has no"):
            evaluate(f"['text'] | map(attribute='{attribute}')", CONTEXT)
        assert evaluate(f"['text'] | selectattr('{attribute}')", CONTEXT) == []


def test_objects_that_are_no_plain_data_offer_nothing() -> None:
    class Secret:
        value = "hidden"

        def __getitem__(self, key: str) -> str:
            return "hidden"

    for text in (
        "{{ inputs.s.value | upper }}",
        "{{ inputs.s['value'] | upper }}",
        "{{ inputs.s | string }}",
        "<{{ inputs.s }}>",
    ):
        with pytest.raises(TemplateError) as caught:
            render(text, {"inputs": {"s": Secret()}})
        assert "hidden" not in str(caught.value)


LOOP = "{% for x in vars.many %}BODY{% endfor %}"
BOMBS = {
    "text times number": "{{ 'a' * 10**9 }}",
    "list times number": "{{ [1] * 10**9 }}",
    "power": "{{ 9 ** 9 ** 9 }}",
    "power of powers": "{{ ((99 ** 64) ** 64) ** 64 }}",
    "negative power": "{{ (0 - 8) ** 0.5 }}",
    "zero to minus one": "{{ 0 ** -1 }}",
    "division by zero": "{{ 1 // 0 }}",
    "float overflow": "{{ 1e300 * 1e300 }}",
    "huge number": "{{ " + "9" * 5000 + " }}",
    "huge product": "{{ " + "*".join(["9999999999"] * 30) + " }}",
    "percent format": "{{ '%999999999d' % 1 }}",
    "format method": "{{ '{:>999999999}'.format(1) }}",
    "center": "{{ 'x'.center(10**9) }}",
    "center filter": "{{ 'x' | center(1000000000) }}",
    "indent filter": "{{ 'x' | indent(1000000000) }}",
    "wordwrap filter": "{{ 'x' | wordwrap(1) }}",
    "range": "{{ range(10**9) | list }}",
    "concat doubling": "{{ " + "(" * 8 + "vars.big" + " ~ vars.big)" * 8 + " }}",
    "plus doubling": "{{ vars.big + vars.big }}",
    "big upper": "{{ (vars.big ~ 'ß') | upper }}",
    "growing upper": "{{ vars.big | replace('a', 'ß', 400000) | upper }}",
    "join": "{{ vars.words | join(vars.big) }}",
    "join of joins": "{{ [vars.big, vars.big] | join }}",
    "replace": "{{ vars.big | replace('a', 'aa') }}",
    "replace nothing": "{{ vars.big | replace('', 'xxxx') }}",
    "replace chain": "{{ 'a,'" + " | replace('a', 'a,a,a,a')" * 30 + " }}",
    "truncate end": "{{ 'abc' | truncate(1, end=vars.big) }}",
    "list plus": "{{ " + " + ".join(["vars.many"] * 35) + " | length }}",
    "list of text": "{{ (vars.big | list) + (vars.big | list) }}",
    "nested sort": "{{ [" + "vars.many" + " | sort" * 30 + "] | tojson }}",
    "chains of unique": "{{ [" + ", ".join(["vars.many | unique | length"] * 150) + "] }}",
    "sum of floats": "{{ [1e308, 1e308] | sum }}",
    "sort of mixed": "{{ [1, 'a', none] | sort }}",
    "round": "{{ 1.5 | round(100000000) }}",
    "int base": "{{ 'zz' | int(base=99) }}",
    "int of digits": "{{ vars.big | replace('a', '9') | int }}",
    "float of nan": "{{ 'nan' | float }}",
    "float of inf": "{{ 'inf' | float }}",
    "deep brackets": "{{ " + "[" * 300 + "]" * 300 + " }}",
    "very deep brackets": "{{ " + "[" * 30_000 + "]" * 30_000 + " }}",
    "deep parentheses": "{{ " + "(" * 30_000 + "1" + ")" * 30_000 + " }}",
    "deep maps": "{{ " + "{'a':" * 5_000 + "1" + "}" * 5_000 + " }}",
    "many nots": "{{ " + "not " * 15_000 + "true }}",
    "many minus": "{{ " + "-" * 30_000 + "1 }}",
    "many ors": "{{ " + " or ".join(["inputs.x"] * 5_000) + " }}",
    "many plus": "{{ " + " + ".join(["1"] * 15_000) + " }}",
    "many conditions": "{{ " + "1 if false else " * 3_000 + "2 }}",
    "many filters": "{{ inputs.x" + " | upper" * 5_000 + " }}",
    "many keys": "{{ inputs" + ".x" * 20_000 + " | upper }}",
    "many subscripts": "{{ inputs" + "[inputs" * 2_000 + "]" * 2_000 + " }}",
    "many compares": "{{ " + " < ".join(["1"] * 10_000) + " }}",
    "many braces": "{{ inputs.x | upper }}" * 2_900,
    "many items": "{{ [" + "1," * 20_000 + "] }}",
    "long string": "{{ '" + "a" * SOURCE_LIMIT + "' }}",
    "long name": "{{ " + "a" * 60_000 + " }}",
    "open braces": "{{ " * 10_000,
    "open strings": "{{ '" + "\\" * 60_000 + " }}",
    "unclosed quotes": "{{ " + "'a' " * 10_000 + "'",
    "many newlines": "{{" + "\n" * 60_000 + "}}",
    "loop body": LOOP.replace("BODY", "{{ vars.many | sum }}"),
    "loop of text": LOOP.replace("BODY", "{{ vars.big | upper | length }}"),
    "loop of replace": LOOP.replace("BODY", "{{ vars.big | replace('b', 'c') | length }}"),
    "loop of contains": LOOP.replace("BODY", "{{ 'b' in vars.big }}"),
    "loop of equals": LOOP.replace("BODY", "{{ vars.many == vars.many }}"),
    "loop of output": LOOP.replace("BODY", "{{ vars.many }}"),
    "loop of words": LOOP.replace("BODY", "x" * 200),
    "loop of many nodes": LOOP.replace("BODY", "{{ x + 1 }}" * 200),
    "loop of json": LOOP.replace("BODY", "{{ vars.words | tojson | length }}"),
    "loop of tests": LOOP.replace("BODY", "{{ vars.many | select('in', vars.many) | length }}"),
    "loop of chars": "{% for x in vars.big %}{% endfor %}",
    "loop of a long list": "{% for x in vars.big | list %}{{ x }}{% endfor %}",
    "loops in loops": "{% for a in vars.many %}{% for b in vars.many %}{% endfor %}{% endfor %}",
    "loop filter": "{% for x in vars.many if vars.many | sum > x %}{% endfor %}",
    "many loops": LOOP.replace("BODY", "{{ x }}{{ x }}{{ x }}{{ x }}") * 30,
    "deep ifs": "{% if true %}" * 500 + "{% endif %}" * 500,
    "deep else": "{% if false %}{% else %}" * 500 + "{% endif %}" * 500,
    "text output": "{{ vars.big }}{{ vars.big }}",
    "text output through a filter": "{{ vars.big | trim }}{{ vars.big | trim }}",
    "select in": "{{ vars.many | select('in', vars.many) | length }}",
    "bad escapes": "{{ '\\ud800' }}",
    "beyond unicode": "{{ '\\U99999999' }}",
}


@pytest.mark.parametrize("text", BOMBS.values(), ids=BOMBS.keys())
@pytest.mark.parametrize("tolerant", [False, True])
def test_a_bomb_is_refused_within_a_second(text: str, tolerant: bool) -> None:
    start = time.process_time()

    with pytest.raises(TemplateError) as caught:
        render(text, CONTEXT, blocks=True, tolerant=tolerant)

    assert time.process_time() - start < 1
    assert len(caught.value.message) < 500


HARMLESS = {
    "many elifs": "{% if false %}" + "{% elif false %}" * 500 + "{% endif %}",
    "a long loop": "{% for x in vars.many %}{{ x }},{% endfor %}",
    "a large value": "{{ vars.big }}",
    "a large text": "{{ vars.big | lower }}",
    "bounded depth": "{{ " + "[" * 20 + "inputs.x" + "]" * 20 + " }}",
    "a chain of filters": "{{ inputs.x" + " | upper" * 30 + " }}",
    "nested calls of all kinds": "{{ " + "('a' ~ (" * 11 + "inputs.x" + ") if not inputs.n == 4 else 'b')" * 11 + " }}",
    "many expressions": "{{ inputs.x | upper }}" * 500,
    "many plain paths": "{{ inputs.x }}" * 4_000,
}


@pytest.mark.parametrize("text", HARMLESS.values(), ids=HARMLESS.keys())
def test_large_but_honest_templates_pass_within_a_second(text: str) -> None:
    start = time.process_time()

    assert isinstance(render(text, CONTEXT, blocks=True), str)

    assert time.process_time() - start < 1


def test_data_nested_beyond_reason_is_an_error_not_a_crash() -> None:
    deep: Any = "x"
    for _ in range(50_000):
        deep = [deep]

    for text in ("<{{ inputs.d }}>", "{{ inputs.d | tojson }}", "{{ inputs.d == [inputs.d] }}", "{{ 'a' ~ inputs.d }}"):
        with pytest.raises(TemplateError):
            render(text, {"inputs": {"d": deep}})
    while isinstance(deep, list):  # taken apart here: Python itself recurses when it frees it
        deep = deep.pop()


def test_every_limit_is_named_when_it_is_hit() -> None:
    with pytest.raises(TemplateError, match="64 KiB"):
        parse("{{ x }}" + "a" * SOURCE_LIMIT)
    with pytest.raises(TemplateError, match="64 KiB"):
        parse_expression("1" * (SOURCE_LIMIT + 1))
    with pytest.raises(TemplateError, match="1024 KiB"):
        render("{{ vars.big }}b", CONTEXT)
    with pytest.raises(TemplateError, match="1024 KiB"):
        render("é{{ vars.big }}", {"vars": {"big": "é" * (RESULT_LIMIT // 2)}})
    with pytest.raises(TemplateError, match="limit is"):
        render(BOMBS["loop body"], CONTEXT, blocks=True)
    with pytest.raises(TemplateError, match="nested deeper than"):
        parse("{{ " + "inputs.x" + " | upper" * 50 + " }}")


def test_a_failed_rendering_leaves_nothing_behind_for_the_next() -> None:
    text = LOOP.replace("BODY", "{{ x }}")
    with pytest.raises(TemplateError):
        render(BOMBS["loop body"], CONTEXT, blocks=True)

    assert render(text, CONTEXT, blocks=True) == render(text, CONTEXT, blocks=True)


def test_the_data_is_never_changed() -> None:
    before = repr(CONTEXT["inputs"])

    evaluate("[inputs.l | sort(reverse=true), inputs.l + [3], inputs.m | list, inputs.l | unique | list]", CONTEXT)

    assert repr(CONTEXT["inputs"]) == before


@pytest.mark.parametrize(
    "filter", ["map(attribute=PATH)", "join('', PATH)", "sum(PATH)", "selectattr(PATH)", "max(attribute=PATH)"]
)
def test_a_long_attribute_path_costs_a_step_for_each_key_of_each_item(filter: str) -> None:
    path = "'" + ".".join(["0"] * 3_000) + "'"
    with pytest.raises(TemplateError, match="too much work"):
        evaluate(f"vars.words | {filter.replace('PATH', path)}", CONTEXT)


def test_trimming_looks_for_each_character_among_all_that_are_trimmed() -> None:
    context = {"vars": {"big": BIG, "other": "b" * 100_000 + "a"}}
    with pytest.raises(TemplateError, match="too much work"):
        evaluate("vars.big | trim(vars.other) | length", context)
    assert evaluate("vars.big | trim('abc') | length", context) == 0
