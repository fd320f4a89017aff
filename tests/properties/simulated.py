"""A manifest of twenty steps with nearly everything in it, ready to simulate; and what stands in the documentation."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from runner.api.load import load
from runner.api.planning import plan
from runner.api.request import Request
from runner.api.settings import load_config
from runner.api.simulating import case_of
from runner.clock import SystemClock
from runner.core.graph import StepGraph
from runner.simulate.scenario import Case

ROOT = Path(__file__).parent.parent.parent

CONFIG = """
mcp_servers:
  github: {command: github-mcp, max_in_flight: 1}
  notes: {command: notes-mcp, max_in_flight: 2}
policy: {approve: ["github.merge"]}
"""
INNER = """
ares: v1
name: inner
inputs: {path: {type: string, default: x}}
steps:
  look: {run: [cat, "{{ inputs.path }}"], effects: none, returns: {score: {type: integer, minimum: 0}}}
  note: {tool: notes.add, with: {text: "{{ steps.look.output.score }}"}, effects: once}
finally:
  tidy: {run: [rm, -f, tmp], effects: idempotent, faults: {retry: {errors: [tool_error]}}}
outputs: {score: "{{ steps.look.output.score }}"}
"""
TWENTY = """
ares: v1
name: twenty
defaults:
  faults: {retry: {max: 2, delay: 2s, errors: [rate_limit, unavailable, timeout, tool_error]}, degraded: {skip: [optional]}}
steps:
  fetch: {tool: github.get_issue, with: {number: 1}, effects: none}
  triage:
    run: [triage, "{{ steps.fetch.text }}"]
    returns: {type: {enum: [bug, feature]}, files: {type: array, items: {type: string}, maxItems: 4}}
    effects: none
    repair: {max: 1}
    checks: [{expr: output.files | length < 4}]
  fix:
    run: [fix, "{{ steps.triage.output.type }}"]
    when: steps.triage.output.type == 'bug'
    effects: idempotent
    fallback: [{run: [other-fix], errors: [tool_error, timeout, crash], effects: idempotent}]
  lint: {run: [lint], needs: [fix], effects: none}
  test:
    run: [tox, -e, "{{ matrix.env }}"]
    matrix: {env: [a, b, c]}
    max_parallel: 1
    needs: [triage]
    effects: once
  review:
    foreach: "{{ steps.triage.output.files }}"
    max_parallel: 2
    join: settled
    call: inner
    with: {path: "{{ item }}"}
    optional: true
  pause: {wait: 5m, needs: [fetch]}
  gate: {approve: "Go on with {{ steps.triage.output.type }}?", needs: [test], timeout: 24h, otherwise: reject}
  merge: {tool: github.merge, with: {number: 1}, needs: [gate], effects: once}
  tag: {run: [git, tag], needs: [merge], effects: once, faults: {exhausted: suspend}}
  upload: {run: [upload], needs: [tag], effects: once, faults: {retry: {errors: [tool_error]}}}
  announce: {tool: notes.add, with: {text: "{{ steps.upload.text | default('nothing') }}"}, effects: once, optional: true}
  counts: {set: {n: "{{ steps.triage.output.files | length }}"}}
  small: {run: [small], when: steps.counts.output.n < 2, effects: none}
  large: {run: [large], when: steps.counts.output.n >= 2, effects: none}
  both: {set: {text: "{{ steps.small.text | default(steps.large.text) | default(none) }}"}}
  docs: {run: [docs], effects: idempotent, checks: [{changed: {only: ["docs/**"]}}], repair: {max: 2}}
  again: {call: inner, with: {path: "{{ steps.docs.text }}"}, checks: [{expr: output.score >= 0}], repair: {max: 1}}
  extra: {run: [extra], labels: [optional], optional: true, effects: none}
finally:
  report: {run: [report, "{{ run.state }}"], effects: idempotent}
"""


def project(folder: Path) -> Path:
    """A folder with the manifests and a config."""
    (folder / "config.yaml").write_text(CONFIG)
    (folder / "twenty.yaml").write_text(TWENTY)
    (folder / "inner.yaml").write_text(INNER)
    return folder


def valid(file: Path) -> bool:
    """Is it no example of a mistake?"""
    return not load([file], load_config(None, start=file.parent, env={})).failed


def cases(folder: Path, *files: Path) -> list[Case]:
    """What `runner simulate FILES` would simulate, in this project."""
    settings = load_config(None, start=folder, env={})
    assert settings.ok, settings.diagnostics
    loaded = load(files, settings)
    assert not loaded.failed, [str(one) for one in loaded.diagnostics]
    planned = plan(loaded, settings, None, Request(), SystemClock(), steps=False)
    return [case_of(entry, loaded, settings) for entry in planned if entry.plan.action != "callable"]


HEAD = re.compile(r"^ares: ", re.MULTILINE)
"""A manifest; other YAML beside it (suites, recordings) is not."""
BLOCK = re.compile(r"^```yaml manifest\n((?:.*\n)*?)^```$", re.MULTILINE)


def recipes() -> Iterator[tuple[str, str, str]]:
    """(name, text, its config or "") of every manifest of the recipes and the quickstart."""
    folder = ROOT / "docs" / "recipes"
    for page in sorted(folder.glob("*.md")):
        for number, found in enumerate(BLOCK.finditer(page.read_text()), start=1):
            yield f"{page.stem}-{number}", found[1], ""
    for top in (folder, ROOT / "manifests"):
        for file in sorted(top.rglob("*.yaml")):
            if HEAD.search(file.read_text()):
                config = file.parent / "config.yaml"
                name = "-".join(file.relative_to(top).with_suffix("").parts)
                yield name, file.read_text(), config.read_text() if config.exists() else ""


def config_for(graphs: list[StepGraph]) -> str:
    """A config in which everything that these manifests name is there."""
    bodies: list[Any] = [body for graph in graphs for step in graph.steps for body in step.bodies]
    servers = sorted({str(body.call["server"]) for body in bodies if body.verb == "tool"} - {"workspace"})
    return "\n".join(["mcp_servers:", *(f"  {name}: {{command: {name}}}" for name in servers)]) if servers else ""
