"""`uv run python benchmarks/run.py`: start-up, loading, engine and memory as ratios to two anchors, against the goals of the design.

Rows are interleaved: every row once, then every row again, so that a busy minute hits all of them. What is shown is the median of the
ratios, each of a figure and the anchor measured beside it. `--peers` measures the rows against other engines instead.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from anchors import HERE, clean, commits_per_second, pass_cpu
from peers.compare import PEER_ROWS
from peers.venvs import REQUIRED, install
from rows import ROWS, Row, Sample, number

ROOT = HERE.parent
HEADINGS = ("what", "ours", "anchor", "ratio", "goal", "", "beside it")


def main(argv: Sequence[str] | None = None) -> int:
    """Measure the chosen rows, print the table, write the samples as JSON."""
    options = _options(argv)
    rows = PEER_ROWS if options.peers else ROWS
    chosen = [row for row in rows if not options.only or row.id in options.only]
    if unknown := set(options.only or ()) - {row.id for row in rows}:
        print(f"no row {', '.join(sorted(unknown))}; rows: {', '.join(row.id for row in rows)}", file=sys.stderr)
        return 2
    _compile_bytecode()
    peers = _peers() if options.peers else {}
    about = _about(options.dir) | peers
    samples: dict[str, list[Sample]] = {row.id: [] for row in chosen}
    failures: dict[str, str] = {}
    for turn in range(options.repeat):
        for row in chosen:
            print(f"\r{turn + 1}/{options.repeat} {row.id:<20}", end="", file=sys.stderr, flush=True)
            _measure(row, options.dir, samples[row.id], failures)
    print("\r" + " " * 40 + "\r", end="", file=sys.stderr)
    about["load_after"] = os.getloadavg()[0]
    print(_heading(about, options.repeat))
    print(_table(chosen, samples, failures))
    kept = options.json or HERE / ("results-peers.json" if options.peers else "results.json")
    kept.write_text(json.dumps(_document(about, chosen, samples, failures), indent=1, ensure_ascii=False) + "\n")
    return 0


def _peers() -> dict[str, Any]:
    """Install the other engines, and tell on the spot which cannot be."""
    reasons = {name: install(name) for name in REQUIRED}
    for name, reason in reasons.items():
        if reason:
            print(f"without {name}: {reason}", file=sys.stderr)
    return {"peers": [version for name in REQUIRED if not reasons[name] for version in REQUIRED[name]]}


def _measure(row: Row, folder: Path, samples: list[Sample], failures: dict[str, str]) -> None:
    """One sample of a row. A row that cannot be measured here says why in the table; the others go on."""
    try:
        samples.append(row.measure(folder))
    except (RuntimeError, AssertionError) as error:
        failures[row.id] = str(error) or type(error).__name__


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", metavar="ROW", help="only this row (may be repeated)")
    parser.add_argument("--peers", action="store_true", help="the rows against other engines, installed with pip")
    parser.add_argument("--repeat", type=int, default=5, metavar="N", help="samples of each row (default 5)")
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="where samples are kept (results.json or results-peers.json here)"
    )
    parser.add_argument(
        "--dir",
        type=Path,
        default=Path(tempfile.gettempdir()),
        help="where databases are made: a real disk, not a tmpfs",
    )
    return parser.parse_args(argv)


def _compile_bytecode() -> None:
    """Nobody's start-up is measured with source that has to be compiled first."""
    packages = Path(json.__file__).parent.parent, *(Path(p) for p in sys.path if p.endswith("site-packages"))
    for folder in (*packages, ROOT / "runner"):
        subprocess.run(
            [sys.executable, "-m", "compileall", "-q", str(folder)], env=clean(), capture_output=True, check=False
        )


def _about(folder: Path) -> dict[str, Any]:
    """The machine and the moment."""
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return {
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.release()}, {os.cpu_count()} CPUs",
        "file_system": _file_system(folder),
        "commit": commit.stdout.strip(),
        "load_before": os.getloadavg()[0],
        "a_per_s": commits_per_second(folder),
        "pass_ms": pass_cpu(folder) * 1e3,
    }


def _file_system(folder: Path) -> str:
    """The kind of file system that `folder` is on; "" where /proc does not tell."""
    mounts = Path("/proc/self/mounts")
    lines = mounts.read_text().splitlines() if mounts.exists() else []
    places = [(fields[1], fields[2]) for fields in map(str.split, lines)]
    real = str(folder.resolve())
    fitting = [p for p in places if p[0] == "/" or real == p[0] or real.startswith(p[0] + "/")]
    return max(fitting, key=lambda place: len(place[0]))[1] if fitting else ""


# ---------------------------------------------------------------- what is printed


def _heading(about: dict[str, Any], repeat: int) -> str:
    return (
        f"Python {about['python']}, {about['machine']}, {about['file_system']}, commit {about['commit']}; medians of {repeat}.\n"
        f"Load {about['load_before']:.1f} before, {about['load_after']:.1f} after. "
        f"a = {about['a_per_s']:.0f} commits/s, pass = {about['pass_ms']:.1f} ms CPU (each row has its own, measured beside it).\n"
        + (f"{', '.join(about['peers'])}.\n" if "peers" in about else "")
    )


def _table(rows: Sequence[Row], samples: dict[str, list[Sample]], failures: dict[str, str]) -> str:
    lines = [HEADINGS, ("---",) * len(HEADINGS)]
    lines += [_line(row, samples[row.id], failures.get(row.id, "")) for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _line(row: Row, samples: Sequence[Sample], failure: str) -> tuple[str, ...]:
    goal = "" if row.goal is None else f"{row.sense} {row.goal:g}"
    if not samples:
        return (row.title, "", "", "", goal, "not measured", failure)
    ratio = median(sample.ratio for sample in samples)
    anchor = f"{number(median(s.anchor for s in samples))} ({row.against})" if row.against else ""
    met = {True: "met", False: "**not met**", None: ""}[row.met(ratio)]
    note = min(samples, key=lambda sample: abs(sample.ratio - ratio)).note
    figure = f"{number(median(s.figure for s in samples))} {row.unit}"
    return (row.title, figure, anchor, number(ratio) if row.against else "", goal, met, note)


def _document(
    about: dict[str, Any], rows: Sequence[Row], samples: dict[str, list[Sample]], failures: dict[str, str]
) -> dict[str, Any]:
    return {"version": 1, "about": about, "rows": [_row_json(r, samples[r.id], failures.get(r.id)) for r in rows]}


def _row_json(row: Row, samples: Sequence[Sample], failure: str | None) -> dict[str, Any]:
    ratio = median(s.ratio for s in samples) if samples else None
    return {
        "id": row.id,
        "title": row.title,
        "unit": row.unit,
        "against": row.against or None,
        "goal": f"{row.sense} {row.goal:g}" if row.goal is not None else None,
        "ratio": ratio,
        "met": None if ratio is None else row.met(ratio),
        "failure": failure,
        "samples": [{"figure": s.figure, "anchor": s.anchor, "ratio": s.ratio, "note": s.note} for s in samples],
    }


if __name__ == "__main__":
    sys.exit(main())
