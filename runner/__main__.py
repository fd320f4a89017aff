"""`runner` and `python -m runner`: nothing but the way in."""

from __future__ import annotations

import gc
import sys


def main() -> None:
    """Run the command line and exit with its code."""
    if sys.argv[1:] == ["--version"]:  # the one answer that needs no command line library
        from runner import __version__

        print(f"runner {__version__}")
        return
    collect_seldom()
    try:
        from runner.cli.main import run

        code = run(sys.argv[1:])
        gc.freeze()  # else the interpreter searches all of it for cycles before it ends: 35 ms after Pydantic
        sys.exit(code)
    except KeyboardInterrupt:  # while libraries were being imported, or on the way out
        sys.exit(130)


def collect_seldom() -> None:
    """Search for garbage more seldom than Python would: imports and steps make many objects and hardly any cycles."""
    gc.set_threshold(50_000, 20, 50)


if __name__ == "__main__":
    main()
