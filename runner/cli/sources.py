"""The text of files that are not manifests (config.yaml, files of inputs), for showing mistakes at their lines.

A line that may hold a secret is shown to nobody: a literal key is what such a mistake is often about."""

from __future__ import annotations

import re
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path

from runner.api.config_place import at_home
from runner.diagnostics.model import Diagnostic
from runner.redact import SENSITIVE

_MOST = 1024 * 1024
_SECRET_RULES = ("config-secret", "config-url")
_WITH_PASSWORD = re.compile(r"://[^/\s]*@")


def sources_of(diagnostics: Sequence[Diagnostic]) -> Mapping[str, str]:
    """Text by file name, of the files that diagnostics have a place in; lines that may hold a secret are empty, what cannot be read
    is not there."""
    files = dict.fromkeys(one.file for one in diagnostics if one.span)
    found = {file: _text(at_home(Path(file))) for file in files if file != "stdin"}
    return {file: _without_secrets(text, file, diagnostics) for file, text in found.items() if text}


def _text(path: Path) -> str:
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            return ""
        with path.open("rb") as file:
            return file.read(_MOST).decode("utf-8", "replace")
    except OSError:
        return ""


def _without_secrets(text: str, file: str, diagnostics: Sequence[Diagnostic]) -> str:
    told = {
        one.span.line for one in diagnostics if one.file == file and one.span and one.rule.startswith(_SECRET_RULES)
    }
    lines = re.split(r"\r\n|\n|\r", text)
    return "\n".join(
        "" if number in told or SENSITIVE.search(line) or _WITH_PASSWORD.search(line) else line
        for number, line in enumerate(lines, 1)
    )
