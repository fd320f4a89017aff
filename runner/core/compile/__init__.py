"""Compiling: a validated manifest becomes a `StepGraph`, through a list of small passes, without inputs and without any I/O.

What the caller reads beforehand: the partials of `extends` (merge them with `merge_partials`, then validate), the contents of `file:`
(`file_references`), and the callees (`callee_names`, `call_order`). Every mistake is found in one go.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from runner.core.compile.calls import call_order, callee_names, check_calls
from runner.core.compile.configured import check_configured
from runner.core.compile.edges import find_cycles, read_needs
from runner.core.compile.extends import merge_partials, origin_of
from runner.core.compile.facts import Callees, Facts
from runner.core.compile.fans import check_fans
from runner.core.compile.freeze import freeze
from runner.core.compile.lint import check_credentials, check_finally, check_triggers, check_ways
from runner.core.compile.references import read_references
from runner.core.compile.sources import file_references
from runner.core.compile.state import Compiling, collect
from runner.core.graph import StepGraph
from runner.diagnostics.model import Loc, Problem
from runner.manifest.model import Manifest

__all__ = [
    "Callees", "Facts", "call_order", "callee_names", "compile_manifest", "file_references", "merge_partials", "origin_of",
]  # fmt: skip

PASSES = (
    collect,
    read_references,
    read_needs,
    find_cycles,
    check_fans,
    check_finally,
    check_calls,
    check_triggers,
    check_ways,
    check_configured,
    check_credentials,
)


_MAY_ROUTE = re.compile('"(?:agent|model|judge)":')
"""In the canonical text of a manifest: a step, a fallback or a check that the router chooses for."""


def compile_manifest(
    manifest: Manifest,
    data: Mapping[str, Any],
    *,
    file: str = "",
    sources: Mapping[str, str] | None = None,
    origins: Mapping[Loc, str] | None = None,
    facts: Facts | None = None,
    callees: Callees | None = None,
    lines: Mapping[str, int] | None = None,
) -> tuple[StepGraph | None, list[Problem]]:
    """The graph, and every mistake found; no graph when one of them is an error (`RULES[problem.rule].severity`).

    `data` is what `manifest` was validated from (after `merge_partials`, whose second result is `origins`). `sources`: the content of
    each `file:` by its path as written; one that could not be read is left out, and is the caller's to report. `lines`: step id →
    line in the file. Places of mistakes are places in `data`; those for which `origin_of` gives a path stand in that partial.
    """
    c = Compiling(manifest, data, sources or {}, origins or {}, facts or Facts(), callees or Callees())
    for run in PASSES:
        run(c)
    if c.failed:
        return None, c.problems
    graph = freeze(c, file=file, lines=lines or {})
    if c.facts.roster is not None and _MAY_ROUTE.search(c.text):
        from runner.core.compile.routed import check_routes  # loads the router, which nobody else needs here

        check_routes(c, graph)
    return graph, c.problems
