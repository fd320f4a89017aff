"""`runner completion`."""

from __future__ import annotations

import os

import click

from runner.cli.output import out
from runner.cli.shared import verb

EPILOG = """\b
Examples:
  runner completion bash > ~/.local/share/bash-completion/completions/runner
  runner completion zsh > "${fpath[1]}/_runner"      then: autoload -U compinit; compinit
  runner completion fish > ~/.config/fish/completions/runner.fish

\b
Or for this shell only:
  source <(runner completion bash)
  runner completion fish | source

Tab then offers verbs, options and their values, runs by name and id, steps of a run, servers, rules and keys.

\b
Exit codes: 0 ok, 2 no such shell.
"""

INSTALL = {
    "bash": "runner completion bash > ~/.local/share/bash-completion/completions/runner",
    "zsh": 'runner completion zsh > "${fpath[1]}/_runner"',
    "fish": "runner completion fish > ~/.config/fish/completions/runner.fish",
}


@verb(EPILOG)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def command(shell: str) -> int:
    """Print the script that completes `runner` in a shell."""
    from runner.cli.completing import VARIABLE, answer, script

    if VARIABLE in os.environ:  # it is the script that asks
        out(answer(shell))
        return 0
    text = script(shell)
    note = f"# Install: {INSTALL[shell]}\n"
    # The first line of a zsh script says what it completes.
    first, newline, rest = text.partition("\n")
    out(f"{first}{newline}{note}{rest}" if first.startswith("#compdef") else f"{note}{text}")
    return 0
