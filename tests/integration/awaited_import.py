"""`awaited_import.py MODULE FILE ARGS…`: the program with ARGS; MODULE is imported only once FILE exists, and never if that takes 30 s."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

PATIENCE_S = 30.0


class Await:
    """First of those who are asked where a module is; holds up one of them, in whatever thread asks."""

    def __init__(self, module: str, file: Path) -> None:
        self._module, self._file = module, file

    def find_spec(self, name: str, *_: Any) -> None:
        if name != self._module:
            return
        late = time.monotonic() + PATIENCE_S
        while not self._file.exists():
            if time.monotonic() > late:
                raise ImportError(f"{self._file} did not come: nothing else went on")
            time.sleep(0.01)


if __name__ == "__main__":
    sys.meta_path.insert(0, Await(sys.argv[1], Path(sys.argv[2])))  # type: ignore[arg-type]  # one method is all that is asked for
    sys.argv[:] = ["runner", *sys.argv[3:]]
    from runner.__main__ import main

    main()
