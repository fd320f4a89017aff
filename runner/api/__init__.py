"""What users of the package import; everything that the command line does is a call of it. Lazy, as `runner` itself."""

from __future__ import annotations

from importlib import import_module
from typing import Any

_WHERE = {
    "load": "runner.api.load",
    "validate": "runner.api.load",
    "plan": "runner.api.planning",
    "simulate": "runner.api.simulating",
    "apply": "runner.api.apply",
    "resume": "runner.api.apply",
    "status": "runner.api.queries",
    "Request": "runner.api.request",
    "Control": "runner.api.request",
    "load_config": "runner.api.settings",
}
__all__ = list(_WHERE)


def __getattr__(name: str) -> Any:
    if name in _WHERE:
        return getattr(import_module(_WHERE[name]), name)
    raise AttributeError(f"module 'runner.api' has no attribute {name!r}")
