"""What a decision costs, in expressions evaluated, which no other work on the machine changes."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from bench.policies import GROUP, access_of, named
from tests.policies.server import POLICIES, Json, compiled, question


def evaluated(program: Path, folder: Path, data: Json, decision: str, asked: Json) -> tuple[int, Any]:
    """How many expressions OPA evaluated for one decision, and the answer."""
    (folder / "data.json").write_text(json.dumps(data))
    (folder / "input.json").write_text(json.dumps(asked))
    modules = [p for p in sorted((POLICIES / "trino").glob("*.rego")) if "_test" not in p.name]
    given = [part for path in (*modules, folder / "data.json") for part in ("--data", str(path))]
    command = [str(program), "eval", "--format=json", "--profile", "--profile-limit=10000", *given]
    done = subprocess.run(
        [*command, "--input", str(folder / "input.json"), f"data.lab.trino.{decision}"],
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    answer = json.loads(done.stdout)
    return sum(one["num_eval"] for one in answer["profile"]), answer["result"][0]["expressions"][0]["value"]


@pytest.mark.parametrize("operation", ["FilterTables", "FilterColumns"])
def test_listings_are_linear_to_20_000_objects(opa_program: Path, tmp_path: Path, operation: str) -> None:
    data = compiled(access_of(20_000))
    counts = {}
    for size in (1_000, 20_000):
        candidates: list[Any] = [{"table": named(index)} for index in range(size)]
        if operation == "FilterColumns":
            wide: Json = {**named(0), "columns": [f"c{index}" for index in range(size)]}
            candidates = [{"table": wide}]
        asked = question("a", [GROUP], operation, filterResources=candidates)
        counts[size], answer = evaluated(opa_program, tmp_path, data, "batch", asked)
        assert len(answer) == (size // 2 if operation == "FilterTables" else size)
    assert counts[20_000] <= 20 * counts[1_000]


def test_masks_are_linear_to_250_columns_and_free_of_the_number_of_tables(
    opa_program: Path, tmp_path: Path
) -> None:
    counts = {}
    for tables in (100, 5_000):
        data = compiled(access_of(tables))
        for size in (25, 250):
            candidates = [
                {"column": {**named(0), "columnName": f"c{index}", "columnType": "varchar"}}
                for index in range(size)
            ]
            asked = question("a", [GROUP], "GetColumnMask", filterResources=candidates)
            counts[tables, size], answer = evaluated(opa_program, tmp_path, data, "columnMasks", asked)
            assert len(answer) == size - 1
    assert counts[100, 250] <= 10 * counts[100, 25]
    assert counts[5_000, 250] == counts[100, 250]


def test_a_single_decision_is_free_of_the_number_of_grants(opa_program: Path, tmp_path: Path) -> None:
    resource: Json = {"table": dict(named(0)) | {"columns": ["c0"]}}
    asked = question("a", [GROUP], "SelectFromColumns", resource=resource)
    found = [
        evaluated(opa_program, tmp_path, compiled(access_of(size)), "allow", asked) for size in (100, 20_000)
    ]
    assert [answer for _, answer in found] == [True, True]
    assert found[0][0] == found[1][0]
