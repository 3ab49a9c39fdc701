"""The sample company: who is whose supervisor."""

from __future__ import annotations

from typing import Any

import pytest

from contracts.errors import LabError
from contracts.identity import PERSONAS
from seed.catalogue import seed_tables_for
from seed.model import SeedOptions
from seed.people import management_chains


def test_personas_are_employees_and_see_different_shares() -> None:
    tables = {table.name: table for table in seed_tables_for(SeedOptions(scale_factor=0.001))}
    people: list[dict[str, Any]] = next(tables["hr.employees"].batches()[0].chunks()).to_pylist()
    by_name = {person["username"]: person for person in people}
    seen = {}
    for persona in PERSONAS:
        person = by_name[persona.username]
        assert (person["first_name"], person["email"]) == (persona.first_name, persona.email)
        assert person["management_chain"][0] == persona.username
        seen[persona.username] = sum(persona.username in row["management_chain"] for row in people)
    assert seen["admin"] == len(people) == len({person["employee_id"] for person in people})
    assert seen["outsider"] == 1
    assert len(set(seen.values())) == len(seen)
    assert all(person["email"].endswith("@lakehouse.example") for person in people)


def test_chains_are_checked() -> None:
    assert management_chains({"a": None, "b": "a", "c": "b"})["c"] == ["c", "b", "a"]
    with pytest.raises(LabError, match="form a circle"):
        management_chains({"a": "b", "b": "a"})
    with pytest.raises(LabError, match="is not an employee"):
        management_chains({"a": "z"})
