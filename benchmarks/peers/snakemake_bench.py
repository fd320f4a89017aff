"""Snakemake: `python snakemake_bench.py CELL FOLDER` prints steps a second as JSON. Runs in a venv of its own.

A step is a job of a rule: a shell that writes 40 bytes, as it has no job that costs less and gives something (its Python jobs are new processes
of Snakemake). A job is done when its output file is there, with a record of it under `.snakemake`; neither is synchronised. Reading the
workflow and finding out what is to be done are within the clock, as they are a part of each run.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from snakemake.api import SnakemakeApi
from snakemake.scheduling.greedy import SchedulerSettings
from snakemake.settings.types import DAGSettings, OutputSettings, Quietness, ResourceSettings, SchedulingSettings

SHELL = "printf %040d 0 > {output}"
CHAIN = f"""
rule first:
    output: "s0"
    shell: "{SHELL}"
for number in range(1, COUNT):
    rule:
        input: f"s{{number - 1}}"
        output: f"s{{number}}"
        shell: "{SHELL}"
"""
FAN = f"""
rule join:
    input: [f"s{{number}}" for number in range(COUNT)]
    output: "join"
    shell: "cat s* > {{output}}"
rule item:
    output: "s{{number}}"
    shell: "{SHELL}"
"""
ONE = """
rule one:
    output: touch("one")
    shell: "true"
"""
AT_ONCE = 16


def run(folder: Path, text: str, count: int, target: str) -> None:
    """One run: what `snakemake TARGET` does."""
    folder.mkdir(exist_ok=True)
    file = folder / "Snakefile"
    file.write_text(f"COUNT = {count}\n{text}")
    with SnakemakeApi(OutputSettings(quiet={Quietness.ALL})) as api:
        workflow = api.workflow(ResourceSettings(cores=AT_ONCE), snakefile=file, workdir=folder)
        workflow.dag(DAGSettings(targets={target})).execute_workflow(
            scheduling_settings=SchedulingSettings(scheduler="greedy"), scheduler_settings=SchedulerSettings()
        )
    assert (folder / target).exists()


def main() -> None:
    """`chain-N`, `fan-N` (with a join, 16 at once), `runs-N` (N runs of three, one after the other) and `one`."""
    kind, _, number = sys.argv[1].partition("-")
    count, folder = int(number or 1), Path(sys.argv[2])
    begun = time.perf_counter()
    if kind == "runs":
        for one in range(count):
            run(folder / f"run{one}", CHAIN, 3, "s2")
    else:
        text, target = {"chain": (CHAIN, f"s{count - 1}"), "fan": (FAN, "join"), "one": (ONE, "one")}[kind]
        run(folder / kind, text, count, target)
    spent = time.perf_counter() - begun
    steps = {"chain": count, "fan": count + 1, "runs": count * 3, "one": 1}[kind]
    print(json.dumps({"per_s": steps / spent}))


if __name__ == "__main__":
    main()
