"""What `doctor` has to say of one thing that it looked at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

Verdict = Literal["ok", "warning", "broken"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. `detail` says how it stands, `fix` what to do when it is not well."""

    area: str
    name: str
    verdict: Verdict
    detail: str
    fix: str = ""

    def to_json(self) -> dict[str, Any]:
        """As `doctor --json` tells it."""
        return {
            "area": self.area,
            "name": self.name,
            "verdict": self.verdict,
            "detail": self.detail,
            "fix": self.fix or None,
        }
