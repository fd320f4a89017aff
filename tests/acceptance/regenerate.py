"""Writes what the acceptance tests compare with, and the generated parts of the documentation:

    uv run python tests/acceptance/regenerate.py

Look at what `git diff` says before you commit it.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from project import GOLDEN, QUICKSTART, applied, document, planned, small_project, told
from reference import PAGES, filled

NAMES = tuple(sorted(path.stem for path in QUICKSTART.glob("*.yaml")))
"""Every manifest of the quickstart has the name of its file."""


def goldens(folder: Path) -> dict[str, str]:
    """Golden file → its content, made in `folder`, which must be empty."""
    project = small_project(folder)
    plan = document("plan", "manifests", "--format", "json", cwd=project)
    events, _ = applied("manifests", cwd=project)
    made = {f"{name}.plan.json": planned(plan, name) for name in NAMES}
    made |= {f"{name}.events.txt": told(events, name) for name in NAMES}
    return made | {"repository.md": (project / "reports" / "repository.md").read_text()}


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        for name, text in goldens(Path(folder)).items():
            (GOLDEN / name).write_text(text)
    for page in PAGES:
        page.write_text(filled(page.read_text()))


if __name__ == "__main__":
    main()
