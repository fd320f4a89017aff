"""The workloads as manifests, written as text: what is measured begins where a user begins."""

from __future__ import annotations

STEP = "  s{i}: {{run: [step{reads}], effects: none}}\n"
SET = "  s{i}: {{set: {{v: {value}}}}}\n"


def chain(count: int, name: str = "chain") -> str:
    """Steps that each read the output of the one before."""
    steps = (STEP.format(i=i, reads=f', "{{{{ steps.s{i - 1}.output }}}}"' if i else "") for i in range(count))
    return f"ares: v1\nname: {name}\nsteps:\n{''.join(steps)}"


def chain_of_set(count: int) -> str:
    """The same with `set`: nothing runs, yet every value is recorded."""
    steps = (SET.format(i=i, value=f'"{{{{ steps.s{i - 1}.output.v }}}}"' if i else 1) for i in range(count))
    return f"ares: v1\nname: chain-of-set\nsteps:\n{''.join(steps)}"


def fan(count: int, at_once: int) -> str:
    """A fan-out over a list and a step that reads what became of it."""
    return f"""\
ares: v1
name: fan
vars: {{rows: {list(range(count))}}}
concurrency: {at_once}
steps:
  each: {{foreach: "{{{{ vars.rows }}}}", max_parallel: {at_once}, run: [step, "{{{{ item }}}}"], effects: none}}
  join: {{run: [step, "{{{{ steps.each.output | length }}}}"], effects: none}}
"""


def fan_of_steps(count: int, at_once: int) -> str:
    """The same as steps of their own, joined by `needs`."""
    steps = "".join(f"  s{i}: {{run: [step, '{i}'], effects: none}}\n" for i in range(count))
    needs = ", ".join(f"s{i}" for i in range(count))
    return f"ares: v1\nname: fan-of-steps\nconcurrency: {at_once}\nsteps:\n{steps}  join: {{run: [step], needs: [{needs}], effects: none}}\n"


def bad_days(count: int) -> str:
    """Steps in three lanes that read each other, with retries, a fallback, a fan-out and effects that happen once: for `simulate`."""
    kinds = (
        "effects: none",
        "effects: idempotent, fallback: [{run: [other], effects: idempotent, errors: [tool_error, crash, timeout]}]",
        "effects: once, faults: {retry: {errors: [tool_error]}}",
        "effects: none, foreach: [1, 2, 3], max_parallel: 2, join: settled",
    )
    read = ', "{{{{ steps.s{i}.text }}}}"'
    steps = "".join(
        f"  s{i}: {{run: [step{read.format(i=i - 3) if i > 2 else ''}], {kinds[i % 4]}}}\n" for i in range(count)
    )
    return f"ares: v1\nname: bad-days\nsteps:\n{steps}"


def commands(count: int) -> str:
    """Independent local commands that do nothing."""
    steps = "".join(f"  s{i}: {{run: ['true', '{i}'], effects: none}}\n" for i in range(count))
    return f"ares: v1\nname: commands\nsteps:\n{steps}"


def models(count: int) -> str:
    """Model steps one after the other."""
    steps = "".join(
        f"  s{i}: {{model: say {i}, route: {{models: [echo]}}{f', needs: [s{i - 1}]' if i else ''}}}\n"
        for i in range(count)
    )
    return f"ares: v1\nname: models\nsteps:\n{steps}"


def tools(count: int) -> str:
    """MCP calls one after the other."""
    steps = "".join(
        f"  s{i}: {{tool: bench.echo, with: {{text: t{i}}}{f', needs: [s{i - 1}]' if i else ''}}}\n"
        for i in range(count)
    )
    return f"ares: v1\nname: tools\nsteps:\n{steps}"


def tools_at_once(count: int, at_once: int) -> str:
    """MCP calls beside each other."""
    return f"""\
ares: v1
name: tools-at-once
vars: {{rows: {list(range(count))}}}
concurrency: {at_once}
steps:
  each: {{foreach: "{{{{ vars.rows }}}}", max_parallel: {at_once}, tool: bench.echo, with: {{text: "t{{{{ item }}}}"}}}}
"""


def ordinary(name: str) -> str:
    """Sixty lines that use the language as people do: the unit of the validate rows."""
    return f"""\
ares: v1
name: {name}
description: Checks, builds and reports on a small project
labels: {{team: core, kind: build}}
inputs:
  version: {{type: string, default: "1.0", description: Version to build}}
  deep: {{type: boolean, default: false}}
vars:
  targets: [linux, macos, windows]
  flags: [--release, --locked]
defaults:
  timeout: 10m
  faults:
    retry: {{max: 2, delay: 2s, errors: [unavailable, timeout, tool_error]}}
budget: {{usd: 1.50}}
steps:
  files:
    tool: workspace.list_files
    with: {{pattern: "src/**/*.py"}}
    effects: none
  lint:
    run: [ruff, check, .]
    effects: none
    checks:
      - {{expr: "text | length < 20000"}}
  test:
    run: [pytest, -q, "{{{{ vars.flags | first }}}}"]
    effects: idempotent
    env: {{VERSION: "{{{{ inputs.version }}}}"}}
    needs: [lint]
  build:
    matrix: {{target: "{{{{ vars.targets }}}}"}}
    run: [make, "TARGET={{{{ matrix.target }}}}", "VERSION={{{{ inputs.version }}}}"]
    effects: idempotent
    needs: [test]
    files: [Makefile, "src/**"]
  sizes:
    foreach: "{{{{ steps.build.output }}}}"
    run: [echo, "{{{{ item }}}}"]
    effects: none
    max_parallel: 2
    join: settled
  audit:
    run: [audit, --deep]
    when: inputs.deep
    effects: none
    optional: true
  report:
    set:
      version: "{{{{ inputs.version }}}}"
      files: "{{{{ steps.files.text | truncate(200) }}}}"
      tests: "{{{{ steps.test.text | trim }}}}"
      sizes: "{{{{ steps.sizes.output | join(', ') }}}}"
      audit: "{{{{ steps.audit.text | default('not done') }}}}"
finally:
  tell:
    run: [echo, "{{{{ run.state }}}}"]
    effects: none
outputs:
  report: "{{{{ steps.report.output }}}}"
"""
