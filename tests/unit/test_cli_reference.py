"""docs/cli.md is what the commands say."""

from __future__ import annotations

from pathlib import Path

import pytest

from runner.api import results
from runner.cli.main import cli
from runner.cli.reference import EXIT_CODES, reference
from runner.cli.registry import ALIASES, VERBS
from runner.errors import RunnerError

PAGE = Path(__file__).parents[2] / "docs" / "cli.md"


def test_the_page_is_fresh() -> None:
    assert PAGE.read_text(encoding="utf-8") == reference(), "see runner/cli/reference.py for the command that writes it"


@pytest.mark.parametrize("name", VERBS)
def test_every_command_is_documented_with_its_options_and_examples(name: str) -> None:
    page = PAGE.read_text(encoding="utf-8")
    section = page.partition(f"\n## runner {name}\n")[2].partition("\n## ")[0]
    command = cli.get_command(None, name)  # type: ignore[arg-type]
    assert command is not None
    assert "```text\nrunner " in section or "RUNNER_" in section
    for param in command.params:
        for option in param.opts if param.param_type_name == "option" and not param.hidden else ():  # type: ignore[attr-defined]
            assert option in section, f"{name} {option}"


def test_every_exit_code_that_we_can_end_with_is_documented() -> None:
    def family(error: type[RunnerError]) -> set[int]:
        return {error.exit_code}.union(*(family(child) for child in error.__subclasses__()))

    known = {
        *results.GRAVEST_FIRST,
        *results.EXIT_OF_OUTCOME.values(),
        *results.EXIT_OF_REASON.values(),
        *family(RunnerError),
        6,
    }
    page = PAGE.read_text(encoding="utf-8")
    assert known == set(EXIT_CODES)
    for code in EXIT_CODES:
        assert f"\n| {code} | " in page


def test_aliases_are_documented() -> None:
    for alias in ALIASES:
        assert f"`runner {alias}`" in PAGE.read_text(encoding="utf-8")


def test_help_of_the_registry_is_the_help_of_the_commands() -> None:
    for name, verb in VERBS.items():
        command = cli.get_command(None, name)  # type: ignore[arg-type]
        assert command is not None and command.help
        assert verb.help.endswith(".")
