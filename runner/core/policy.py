"""The operator's guard rails (config `policy`, `limits`): which tools and commands a manifest may use at all, and how often. Above any manifest."""

from fnmatch import fnmatchcase
from typing import NamedTuple

from runner.core.graph import Body, GraphStep


class OperatorPolicy(NamedTuple):
    """`allow` and `deny` are globs over `server.tool`; deny wins."""

    allow: tuple[str, ...] = ("*",)
    deny: tuple[str, ...] = ()
    run_allowed: bool = True
    approve: tuple[str, ...] = ()
    """Globs over `server.tool`, and `label:x`: what always needs a person."""
    most_attempts: int = 50
    """Of one step in one leg of its run (config `limits.attempts`)."""
    most_items: int = 10_000
    """Of one fan-out (config `limits.steps`)."""
    most_nodes: int = 100_000
    """Steps and items of a run with its sub-runs (config `limits.run_steps`)."""

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

    def asks(self, step: GraphStep, body: Body) -> str | None:
        """What a person is asked before this way is tried, or None."""
        name = f"{body.call['server']}.{body.call['tool']}" if body.verb == "tool" else ""
        for pattern in self.approve:
            label = pattern.removeprefix("label:")
            if label != pattern and step.labels.get(label, False) not in (False, None):
                return f"The operator's policy asks for a person: {step.id} has the label {label}. Run it?"
            if name and fnmatchcase(name, pattern):
                return f"The operator's policy asks for a person before {name}. Call it?"
        return None
