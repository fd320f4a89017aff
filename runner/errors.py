"""What can go wrong with *us*: one tree, each error with its exit code and a hint. User mistakes are diagnostics instead.

RunnerError 8
├── UsageError 2            a flag, path or selector that makes no sense
├── InvalidInput 2          manifests or config with errors; carries the diagnostics
├── NeedsPerson 3           refused until somebody resolves an unknown outcome
└── StoreError 7            the state database
    ├── StoreBusy           another runner drives this run, or holds the database
    ├── Fenced              our lease was taken over; the kernel must be rebuilt
    ├── NoRun               a run that was there was removed meanwhile
    ├── StoreFull · StoreReadOnly · StoreCorrupt · StoreForeign · StoreNewer
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar


class RunnerError(Exception):
    """Base of every error that reaches the command line. `hint` says what to do next."""

    exit_code: ClassVar[int] = 8

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(RunnerError):
    """The request itself makes no sense; nothing ran."""

    exit_code = 2


class InvalidInput(RunnerError):
    """Manifests or config with errors. `diagnostics` are `runner.diagnostics.Diagnostic` values."""

    exit_code = 2

    def __init__(self, message: str, diagnostics: Sequence[Any] = (), *, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.diagnostics = tuple(diagnostics)


class NeedsPerson(RunnerError):
    """Refused until a person has resolved an unknown outcome."""

    exit_code = 3


class StoreError(RunnerError):
    """The state database cannot be used; no step starts and the file stays as it is."""

    exit_code = 7


class StoreBusy(StoreError):
    """Another live runner drives this run, or holds the database lock."""


class Fenced(StoreError):
    """Another owner took the lease: what we hold in memory is stale."""


class NoRun(StoreError):
    """No such run in the record: `gc` has removed it since somebody looked."""


class StoreFull(StoreError):
    """The disk (or a quota) is full."""


class StoreReadOnly(StoreError):
    """The database or its folder cannot be written."""


class StoreCorrupt(StoreError):
    """SQLite found the file damaged."""


class StoreForeign(StoreError):
    """The file is no database of this program."""


class StoreNewer(StoreError):
    """The database was written by a newer release."""
