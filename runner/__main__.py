"""`runner` and `python -m runner`: nothing but the way in."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line and exit with its code."""
    if sys.argv[1:] == ["--version"]:  # the one answer that needs no command line library
        from runner import __version__

        print(f"runner {__version__}")
        return
    try:
        from runner.cli.main import run

        sys.exit(run(sys.argv[1:]))
    except KeyboardInterrupt:  # while libraries were being imported, or on the way out
        sys.exit(130)


if __name__ == "__main__":
    main()
