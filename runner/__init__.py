"""Omni-Orchestrator (ARES): a declarative pipeline runner for agent work.

`from runner import load, validate, plan, apply, resume, status`; everything that the command line does is a call of these.
Imports are lazy (PEP 562): `import runner` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_WHERE = {
    "load": "runner.api.load",
    "validate": "runner.api.load",
    "plan": "runner.api.planning",
    "apply": "runner.api.apply",
    "resume": "runner.api.apply",
    "status": "runner.api.status",
    "Request": "runner.api.request",
    "Control": "runner.api.request",
    "load_config": "runner.api.settings",
}
"""Straight to where they are: `runner.api` has modules of the same names, and a package's module hides what is called as it is."""
__all__ = ["__version__", *_WHERE]


def __getattr__(name: str) -> Any:
    if name in _WHERE:
        return getattr(import_module(_WHERE[name]), name)
    raise AttributeError(f"module 'runner' has no attribute {name!r}")
