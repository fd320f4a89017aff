"""`runner` and `python -m runner`: nothing but the way in."""

from __future__ import annotations

import gc
import os
import sys
from contextlib import suppress
from types import ModuleType
from typing import Any, NoReturn


def main() -> None:
    """Run the command line and exit with its code."""
    if sys.argv[1:] == ["--version"]:  # the one answer that needs no command line library
        from runner import __version__

        with suppress(OSError):  # what cannot be written is told below
            print(f"runner {__version__}", flush=True)
            return
    collect_seldom()
    without_plugins()
    try:
        from runner.cli.main import run

        leave(run(sys.argv[1:]))
    except KeyboardInterrupt:  # while libraries were being imported, or on the way out
        sys.exit(130)


def collect_seldom() -> None:
    """Search for garbage more seldom than Python would: imports and steps make many objects and hardly any cycles."""
    gc.set_threshold(100_000, 20, 50)


def leave(code: int) -> NoReturn:
    """End the process as `sys.exit` would, but without taking its memory apart object by object: 5 to 40 ms after Pydantic. Threads that
    are no daemons, and output that cannot be written, are left to Python."""
    import atexit
    import threading

    if all(thread.daemon for thread in threading.enumerate() if thread is not threading.main_thread()):
        atexit._run_exitfuncs()
        with suppress(OSError, ValueError):
            for stream in (sys.stdout, sys.stderr):
                stream.flush()
            os._exit(code)
    sys.exit(code)


class _NoPlugins(ModuleType):
    """Stands where Pydantic looks for its plugins, and has none. What else it may look for there one day comes from the real module."""

    def get_plugins(self) -> tuple[()]:
        return ()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        from importlib import import_module

        sys.modules.pop(self.__name__, None)
        return getattr(import_module(self.__name__), name)


def without_plugins() -> None:
    """In this program, plugins of Pydantic that happen to be installed do not take part; looking for them loads 33 modules (`email` and
    `zipfile` among them), a twentieth of a first `validate`."""
    name = "pydantic.plugin._loader"
    sys.modules.setdefault(name, _NoPlugins(name))


if __name__ == "__main__":
    main()
