"""The schema of what Trino sends: the compiler holds the policies to it, and Trino keeps to it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.policies.server import POLICIES

SCHEMAS = POLICIES / "schemas"
RECORDED = sorted((Path(__file__).parent / "recorded").glob("*.jsonl"))


def check(program: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [str(program), "check", "--strict", "--schema", str(SCHEMAS), str(folder)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_policies_ask_for_what_the_schema_has(opa_program: Path) -> None:
    checked = check(opa_program, POLICIES / "trino")
    assert checked.returncode == 0, checked.stderr


@pytest.mark.parametrize(
    ("module", "right", "wrong"),
    [
        ("entry.rego", "input.action.resource.table)", "input.action.resource.tabel)"),
        ("requested.rego", "input.action.targetResource.table", "input.action.target.table"),
        ("actual.rego", "input.context.identity.user", "input.context.user"),
    ],
)
def test_a_misspelt_input_does_not_compile(
    opa_program: Path, tmp_path: Path, module: str, right: str, wrong: str
) -> None:
    """A planted hole: without the schema each of these is undefined at run time, and silent."""
    for path in (POLICIES / "trino").glob("*.rego"):
        text = path.read_text()
        if path.name == module:
            assert right in text
            text = text.replace(right, wrong)
        (tmp_path / path.name).write_text(text)
    checked = check(opa_program, tmp_path)
    assert checked.returncode != 0
    assert "undefined ref" in checked.stderr


def test_recorded_questions_keep_to_the_schema(opa_program: Path, tmp_path: Path) -> None:
    inputs = [json.loads(line)["input"] for path in RECORDED for line in path.read_text().splitlines()]
    assert len(inputs) > 100
    schema = json.loads((SCHEMAS / "input.json").read_text())
    # A key that nobody declared is a question that the policies may misread.
    broken = {"context": {"identity": {"user": "x", "groups": []}}, "action": {"operation": "X", "more": 1}}
    given = tmp_path / "input.json"
    given.write_text(json.dumps({"inputs": [*inputs, broken], "schema": schema}))
    query = "[errors | some one in input.inputs; [_, errors] := json.match_schema(one, input.schema)]"
    command = [str(opa_program), "eval", "--format=raw", "--input", str(given), query]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    *errors, last = json.loads(done.stdout)
    assert [(found, inputs[index]) for index, found in enumerate(errors) if found] == []
    assert last
