"""`simulate` over seeds: every recipe keeps every promise, and a bug that is planted in the kernel is found."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from kernel_mutants import planted
from simulated import cases, config_for, project, recipes, valid

from runner.simulate.campaign import Summary, every_death, every_seed, study
from runner.simulate.scenario import Case, Scenario

RECIPES = {name: (text, config) for name, text, config in recipes()}
HANDFUL, MANY, OF_THE_LANGUAGE = 12, 1_000, 100
"""Seeds of each: in the default suite, in the slow one, and for the manifests that show one rule of the language."""
LANGUAGE = Path(__file__).parent.parent / "acceptance" / "language"

FOUND = {
    "dependents_decide_early": "ends",
    "a_loss_uses_a_retry": "same-end",
    "an_unknown_outcome_is_repeated": "once",
    "a_new_key_after_an_unknown_outcome": "effect-key",
    "the_same_key_after_a_known_outcome": "effect-key",
    "lanes_are_not_counted": "limits",
    "claims_are_not_counted": "limits",
    "an_approved_gate_is_asked_again": "ends",
}
"""A rule turned the other way → the promise that it breaks. (`test_kernel_crash` looks for all of them.)"""


def checked(case: Case, seeds: int) -> Summary:
    summary = Summary()
    for one in every_seed(study(case), Scenario(), range(1, seeds + 1)):
        assert one.broken is None, f"seed {one.scenario.seed}: {one.broken}"
        summary.add(one)
    return summary


def recipe(name: str, folder: Path) -> Case:
    """A recipe on its own, with its config, else one that has everything that it names."""
    text, config = RECIPES[name]
    file = folder / f"{name}.yaml"
    file.write_text(text)
    [bare] = cases(folder, file)
    (folder / "config.yaml").write_text(config or config_for(list(bare.graphs.values())))
    [case] = cases(folder, file)
    return case


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_keeps_every_promise(name: str, tmp_path: Path) -> None:
    checked(recipe(name, tmp_path), HANDFUL)


@pytest.mark.slow
@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_keeps_every_promise_with_a_thousand_seeds_and_every_death(name: str, tmp_path: Path) -> None:
    case = recipe(name, tmp_path)
    checked(case, MANY)
    assert all(one.broken is None for one in every_death(study(case), Scenario()))


@pytest.mark.slow
def test_every_rule_of_the_language_keeps_every_promise(tmp_path: Path) -> None:
    simulated = 0
    for place in sorted(LANGUAGE.glob("*/manifest.yaml")):
        folder = tmp_path / place.parent.name
        shutil.copytree(place.parent, folder)
        if valid(folder / "manifest.yaml"):
            for case in cases(folder, folder / "manifest.yaml"):
                simulated += 1
                checked(case, OF_THE_LANGUAGE)
    assert simulated > 60


def twenty(folder: Path) -> Case:
    [case] = cases(project(folder), folder / "twenty.yaml")
    return case


def test_twenty_steps_with_nearly_everything_keep_every_promise(tmp_path: Path) -> None:
    case = twenty(tmp_path)
    assert len(case.graph.steps) == 20
    summary = checked(case, 40)
    assert summary.compared > 5 and len(summary.outcomes) > 2


@pytest.mark.slow
def test_twenty_steps_keep_every_promise_with_a_thousand_seeds_and_every_death(tmp_path: Path) -> None:
    case = twenty(tmp_path)
    checked(case, MANY)
    assert all(one.broken is None for one in every_death(study(case), Scenario()))


@pytest.mark.parametrize("name", FOUND)
def test_a_bug_that_is_planted_in_the_kernel_is_found(name: str, tmp_path: Path) -> None:
    case = twenty(tmp_path)
    with planted(name):
        broken = next((one.broken for one in every_seed(study(case), Scenario(), range(1, 151)) if one.broken), None)
    assert broken is not None and broken.promise == FOUND[name], broken
    assert broken.seed is not None
