"""Mistakes of users: their shapes (`model`), the table of rules (`rules`), and how they are shown (`render`)."""

from __future__ import annotations

from runner.diagnostics.model import Diagnostic, Loc, Problem, Severity

__all__ = ["Diagnostic", "Loc", "Problem", "Severity"]
