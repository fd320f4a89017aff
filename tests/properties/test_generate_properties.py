"""No data leaves its place: whatever a row holds, the manifest that is made has the template's structure and the row's values."""

from __future__ import annotations

from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from runner.generate.fill import fill
from runner.generate.template import Template
from runner.syntax import read
from runner.templating import render

TEMPLATE = Template("""\
# for [[ row.x ]]
ares: v1
description: [[ row.x ]]   # [[ row.x ]]
labels: {"a label": [[ row.x ]], [[ row.x ]]: key}
vars:
  plain: [[ row.x ]]
  single: 'a [[ row.x ]] b'
  double: "[[ row.x ]][[ row.y ]]"
  flow: ["{[[ row.x ]]", [[ row.x ]], 'x{{ inputs.i }}[[ row.x ]]']
  last: [[ row.x ]]
steps:
  ask:
    model: |
      Hello [[ row.x ]]
      {[[ row.x ]]{{ inputs.i }}

    run: [echo, [[ row.x ]]]
  fold:
    set:
      a: >-
        [[ row.x ]]
        b
    env: {A: [[ row.x ]]}
outputs: {end: [[ row.x ]]}
""")
SIGNS = ["{{", "}}", "{%", "%}", "{", "}", "'", '"', "\\", "\n", "\r", "\t", " ", ":", "#", " #", ": ", "- ", "---", "...", "&a", "*a", "!!python/object:os.system", "%YAML", "|", ">",
         "[", "]", "[[", "]]", "[%", "%]", "<<", "null", "true", "1e3", "0x1", "~", "=", "\u2028", "\u2029", "\ufeff", "\u00e9", "\U0001f600", "zq0q0z", "zq0q", "secrets.X",
         "steps.a.text", ",", "?", "@", "`", "$(id)", "# runner: ignore[x]", "a" * 50]  # fmt: skip
NASTY = st.one_of(
    st.lists(st.sampled_from(SIGNS), max_size=12).map("".join),
    st.text(st.characters(exclude_categories=["Cc", "Cs"], exclude_characters="\ufffe\uffff"), max_size=30),
)


def rendered(value: Any, *, blocks: bool = False) -> Any:
    return render(value, {"inputs": {"i": "I"}}, blocks=blocks)


@settings(max_examples=3000, deadline=None)
@given(x=NASTY, y=NASTY)
@example(x="{", y="{")
@example(x="  {{ ", y=" ")
@example(x="{", y="% if %}")
@example(x="\n", y="\n")
@example(x="'}} ~ secrets.X ~ {{'", y="")
def test_no_data_leaves_its_scalar_or_is_ever_rendered(x: str, y: str) -> None:
    text = fill(TEMPLATE.render({"x": x, "y": y}, 1))

    documents, diagnostics = read(text.encode(), "made")
    assert diagnostics == []
    [document] = documents
    data = document.data
    assert list(data) == ["ares", "description", "labels", "vars", "steps", "outputs"]
    assert data["description"] == x
    assert data["labels"] == {"a label": x, x: "key"}
    read_by_runner = {name: rendered(value) for name, value in data["vars"].items() if name != "flow"}
    assert read_by_runner == {"plain": x, "single": f"a {x} b", "double": x + y, "last": x}
    assert [rendered(value) for value in data["vars"]["flow"]] == ["{" + x, x, f"xI{x}"]
    assert rendered(data["steps"]["ask"]["model"], blocks=True) == f"Hello {x}\n{{{x}I\n"
    assert rendered(data["steps"]["ask"]["run"][1]) == x
    assert rendered(data["steps"]["fold"]["set"]["a"]) == f"{x} b"
    assert rendered(data["steps"]["fold"]["env"]["A"]) == x
    assert rendered(data["outputs"]["end"]) == x
