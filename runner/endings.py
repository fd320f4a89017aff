"""Which signals ask this process to end. Not here: how it then ends (cli/driving.py, cli/ending.py, mcp_server/serving.py, bridges/stdio.py)."""

from __future__ import annotations

import signal

HANGUP = signal.SIGHUP
"""Our terminal was closed, or the connection to it was lost. One end of a terminal may be told of more than once: by the shell that it kills
and by the kernel."""


def endings() -> tuple[signal.Signals, ...]:
    """Ctrl-C, SIGTERM and, unless whoever started us wants us to outlive the terminal (`nohup`), SIGHUP."""
    asked = (signal.SIGINT, signal.SIGTERM)
    return asked if signal.getsignal(HANGUP) is signal.SIG_IGN else (*asked, HANGUP)
