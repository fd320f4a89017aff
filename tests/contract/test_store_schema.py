"""The schema agrees with the tables of states, and the named queries with the schema."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import fields

import apsw
import pytest

from runner.core.states import RUN_STATES, SETTLED, STEP_STATES
from runner.manifest.vocabulary import MODES
from runner.store.cells import AttemptCells, StepCells
from runner.store.opening import open_empty
from runner.store.queries import SQL, named, read_sql


@pytest.fixture
def db() -> Iterator[apsw.Connection]:
    opened = open_empty()
    yield opened
    opened.close()


def checked(db: apsw.Connection, table: str, column: str) -> set[str]:
    """The words that the CHECK of a column allows."""
    text = db.execute("select sql from sqlite_schema where name = ?", (table,)).get
    found = re.search(rf"check \({column} in \((.*?)\)\)", text, re.DOTALL)
    assert found, f"{table}.{column} has no CHECK"
    return set(re.findall(r"'(\w+)'", found[1]))


def test_the_checks_of_steps_and_runs_name_every_state_and_no_other(db: apsw.Connection) -> None:
    assert checked(db, "steps", "state") == set(STEP_STATES)
    assert checked(db, "runs", "state") == set(RUN_STATES)
    assert checked(db, "modes", "mode") == set(MODES)


def test_the_view_of_runs_counts_the_settled_states(db: apsw.Connection) -> None:
    text = db.execute("select sql from sqlite_schema where name = 'run_rows'").get
    counted = re.search(r"s\.state in \((.*?)\)", text, re.DOTALL)
    assert counted
    assert set(re.findall(r"'(\w+)'", counted[1])) == SETTLED


@pytest.mark.parametrize(("table", "cells"), [("steps", StepCells), ("attempts", AttemptCells)])
def test_cells_are_in_the_order_of_their_columns(db: apsw.Connection, table: str, cells: type) -> None:
    columns = [row[1] for row in db.execute(f"pragma table_info({table})")]
    renamed = {"error_class": "class"}
    assert [renamed.get(field.name, field.name) for field in fields(cells)] == columns


@pytest.mark.parametrize("name", sorted(SQL))
def test_every_named_query_fits_the_schema(db: apsw.Connection, name: str) -> None:
    db.execute(f"explain {SQL[name]}", [None] * SQL[name].count("?")) if "?1" not in SQL[name] else db.execute(
        f"explain {SQL[name]}", [None] * len(set(re.findall(r"\?\d", SQL[name])))
    )


def test_every_named_query_says_what_it_is_for() -> None:
    for block in read_sql("queries.sql").split("-- name: ")[1:]:
        name, description = block.splitlines()[:2]
        assert description.startswith("-- "), name


def test_two_queries_cannot_have_the_same_name() -> None:
    with pytest.raises(ValueError, match="two queries are named 'x'"):
        named("-- name: x\n-- one\nselect 1\n-- name: x\n-- two\nselect 2\n")


def test_a_list_of_runs_is_read_from_an_index(db: apsw.Connection) -> None:
    for query, values in [
        ("runs", (1,)),
        ("runs_of_name", ("n", 1)),
        ("runs_of_task", ("t", 1)),
        ("run", ("r",)),
        ("tree", ("r",)),
        ("has_reusable", ("n",)),
    ]:
        plan = " ".join(row[3] for row in db.execute(f"explain query plan {SQL[query]}", values))
        assert "SCAN r " not in f"{plan} ", f"{query}: {plan}"
