"""The policies' own tests, their coverage, and what the compiler, formatter and linter say."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from tests.policies.server import POLICIES

FOLDERS = (str(POLICIES / "trino"), str(POLICIES / "system"))
MINIMUM_COVERAGE = 95
TIMEOUT = "--timeout=120s"
"""OPA gives a test 5 s, which a machine with other work to do needs more than."""


def run(program: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(program), *arguments], capture_output=True, text=True, timeout=120)


def test_rego_tests_pass_and_cover(opa_program: Path) -> None:
    passed = run(opa_program, "test", TIMEOUT, *FOLDERS)
    assert passed.returncode == 0, passed.stdout + passed.stderr
    covered = run(opa_program, "test", TIMEOUT, "--coverage", *FOLDERS)
    files = json.loads(covered.stdout)["files"]
    modules = {name: found for name, found in files.items() if not name.endswith("_test.rego")}
    assert {Path(name).name for name in modules} == {
        path.name for folder in FOLDERS for path in Path(folder).glob("*.rego") if "_test" not in path.name
    }
    short = {
        name: found["coverage"] for name, found in modules.items() if found["coverage"] < MINIMUM_COVERAGE
    }
    assert not short


def test_strict_compiler_accepts(opa_program: Path) -> None:
    checked = run(opa_program, "check", "--strict", *FOLDERS)
    assert checked.returncode == 0, checked.stderr


def test_formatted(opa_program: Path) -> None:
    assert run(opa_program, "fmt", "--list", *FOLDERS).stdout == ""


def test_regal_finds_nothing(regal_program: Path) -> None:
    config = str(POLICIES / ".regal" / "config.yaml")
    linted = run(regal_program, "lint", "--config-file", config, *FOLDERS)
    assert linted.returncode == 0, linted.stdout + linted.stderr
