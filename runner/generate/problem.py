"""What is wrong with a template, or with one row of data."""

from __future__ import annotations


class GenerateError(Exception):
    """Nothing is generated from this. `fix` says what to do about it."""

    def __init__(self, message: str, fix: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.fix = fix
