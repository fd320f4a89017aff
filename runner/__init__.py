"""Omni-Orchestrator (ARES): a declarative pipeline runner for agent work.

`from runner import load, validate, plan, apply, resume, status`; everything that the command line does is a call of these.
Imports are lazy (PEP 562): `import runner` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_WHERE = {
    "load": "runner.api",
    "validate": "runner.api",
    "plan": "runner.api",
    "apply": "runner.api",
    "resume": "runner.api",
    "status": "runner.api",
    "Request": "runner.api",
    "Control": "runner.api",
    "load_config": "runner.api",
}
__all__ = ["__version__", *_WHERE]


def __getattr__(name: str) -> Any:
    if name in _WHERE:
        return getattr(import_module(_WHERE[name]), name)
    raise AttributeError(f"module 'runner' has no attribute {name!r}")
