"""Rules of suites (`ares-test: v1`) and recordings. Form and names share the rules of manifests; these are their own."""

from __future__ import annotations

from runner.diagnostics.rule import Rule

TEST_RULES: tuple[Rule, ...] = (
    Rule(
        "test-file",
        "error",
        "a file that the suite names is not there",
        "Paths in a suite are relative to the suite.",
        "manifest: report.yaml",
        "manifest: ../report.yaml",
    ),
    Rule(
        "test-manifest",
        "error",
        "no manifest, or not one alone, is meant",
        "A case runs one manifest: the only one of its file that no other one calls, or the one that `name` says.",
        "manifest: two-manifests.yaml",
        "manifest: two-manifests.yaml\nname: nightly",
    ),
    Rule(
        "test-stub",
        "error",
        "a stub of a step that asks no executor",
        "Stubs stand in for executors: `tool`, `agent`, `model` and `run` ask one. The steps of a called manifest are named `STEP/INNER`; who answers "
        "an `approve` is said in `approvals`.",
        "stubs: {gate: {output: yes}}",
        "approvals: {gate: approve}",
    ),
    Rule(
        "test-recording",
        "error",
        "a recording that cannot be used",
        "The file of a recording, or one that lies beside it, is missing or damaged. `runner test SUITE --record` writes it anew.",
        "text: {$file: suite.recording/gone.txt}",
        "text: It worked",
    ),
)
