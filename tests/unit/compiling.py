"""Compiling a manifest written in a test: YAML text in, graph and mistakes out."""

from __future__ import annotations

from textwrap import dedent
from typing import Any

from ruamel.yaml import YAML

from runner.core.compile import Facts, compile_manifest
from runner.core.graph import GraphStep, StepGraph
from runner.diagnostics.model import Loc, Problem
from runner.manifest.model import Manifest


def data_of(text: str) -> dict[str, Any]:
    """The data of a manifest; `ares` and `name` are filled in."""
    data: dict[str, Any] = YAML(typ="safe", pure=True).load(dedent(text))
    return {"ares": "v1", "name": "m", **data}


def compiled(text: str, **more: Any) -> tuple[StepGraph | None, list[Problem]]:
    """`compile_manifest` of the text."""
    data = data_of(text)
    return compile_manifest(Manifest.model_validate(data), data, **more)


def graph_of(text: str, **more: Any) -> StepGraph:
    """The graph of a manifest without any mistake."""
    graph, problems = compiled(text, **more)
    assert problems == []
    assert graph is not None
    return graph


def step_of(text: str, id: str = "a", **more: Any) -> GraphStep:
    """One step of such a graph."""
    return graph_of(text, **more).by_id[id]


def found(text: str, **more: Any) -> list[tuple[str, Loc]]:
    """Rule and place of every mistake."""
    return [(problem.rule, problem.loc) for problem in compiled(text, **more)[1]]


def only(text: str, **more: Any) -> Problem:
    """The one mistake of a manifest."""
    problems = compiled(text, **more)[1]
    assert len(problems) == 1, problems
    return problems[0]


__all__ = ["Facts", "compiled", "data_of", "found", "graph_of", "only", "step_of"]
