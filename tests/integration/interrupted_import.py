"""`interrupted_import.py MODULE ARGS…`: the program with ARGS, interrupted (Ctrl-C) at the moment when it begins to import MODULE."""

from __future__ import annotations

import os
import signal
import sys
from typing import Any


class Interrupt:
    """First of those who are asked where a module is; says nothing about any."""

    def __init__(self, module: str) -> None:
        self._module = module

    def find_spec(self, name: str, *_: Any) -> None:
        if name == self._module:
            os.kill(os.getpid(), signal.SIGINT)


if __name__ == "__main__":
    sys.meta_path.insert(0, Interrupt(sys.argv[1]))  # type: ignore[arg-type]  # one method is all that is asked for
    sys.argv[:] = ["runner", *sys.argv[2:]]
    from runner.__main__ import main

    main()
