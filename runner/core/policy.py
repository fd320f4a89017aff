"""The operator's guard rails (config `policy`): which tools and commands a manifest may use at all. Above any manifest."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase

from runner.core.graph import Body


@dataclass(frozen=True, slots=True)
class OperatorPolicy:
    """`allow` and `deny` are globs over `server.tool`; deny wins."""

    allow: tuple[str, ...] = ("*",)
    deny: tuple[str, ...] = ()
    run_allowed: bool = True

    def refusal(self, body: Body) -> str | None:
        """Why this way may not be tried, or None."""
        if body.verb == "run" and not self.run_allowed:
            return "the operator's policy denies local commands (policy.run)"
        if body.verb != "tool":
            return None
        name = f"{body.call['server']}.{body.call['tool']}"
        denied = next((pattern for pattern in self.deny if fnmatchcase(name, pattern)), None)
        if denied is not None:
            return f"the operator's policy denies {name} (policy.tools.deny: {denied})"
        if not any(fnmatchcase(name, pattern) for pattern in self.allow):
            return f"the operator's policy does not allow {name} (policy.tools.allow)"
        return None
