"""What the policies decide: tested, explained for one user, and compared before a change is made."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx

from cli.access import governor_client
from cli.operations.access import own_governor
from cli.project import ROOT
from cli.session import Session
from contracts.errors import LabError, UsageError
from governance.query import CATALOG

if TYPE_CHECKING:
    from governance.reports import Explanation, ImpactReport

POLICIES = ROOT / "policies"
LIVING = "living"
TREE = "tree"
_TIMEOUT_S = 10.0
_TEST_TIMEOUT = "--timeout=120s"


@dataclass(frozen=True, kw_only=True)
class Explained:
    """An explanation from the access data, and whether OPA decides the same. ``agrees`` is None when
    OPA could not be asked or does not have the revision yet; ``differences`` says what it decides."""

    explanation: Explanation
    agrees: bool | None
    differences: tuple[str, ...]


def explain(session: Session, table: str, *, user: str | None = None) -> Explained:
    """Why ``user`` sees of ``ns.table`` what they see; None: whoever is signed in.

    Raises:
        UsageError: there is no such user or table (nearest suggested).
    """
    outputs = session.outputs()
    if user is None:
        with own_governor(session, None) as client:
            found = client.explain(table)
    else:
        with governor_client(session, outputs) as client:
            found = client.explain(table, user)
    if found.revision != found.published:
        return Explained(explanation=found, agrees=None, differences=())
    try:
        differences = opa_differences(found, outputs.opa_url)
    except (httpx.HTTPError, ValueError) as error:
        return Explained(explanation=found, agrees=None, differences=(f"OPA does not answer: {error}",))
    return Explained(explanation=found, agrees=not differences, differences=tuple(differences))


def opa_differences(
    found: Explanation, opa_url: str, *, transport: httpx.BaseTransport | None = None
) -> list[str]:
    """Where OPA, asked as Trino asks it, decides otherwise than the explanation says. Raises
    httpx.HTTPError."""
    namespace, _, name = found.view.table.rpartition(".")
    table = {"catalogName": CATALOG, "schemaName": namespace, "tableName": name}
    columns = [use.column for use in found.view.columns]
    identity = {"user": found.username, "groups": list(found.groups)}

    with httpx.Client(base_url=opa_url, timeout=_TIMEOUT_S, trust_env=False, transport=transport) as client:

        def decide(decision: str, action: Mapping[str, Any]) -> Any:
            asked = {"context": {"identity": identity}, "action": action}
            answer = client.post(f"/v1/data/lab/trino/{decision}", json={"input": asked})
            answer.raise_for_status()
            return answer.json().get("result")

        select = {"operation": "SelectFromColumns", "resource": {"table": {**table, "columns": []}}}
        readable = decide("allow", select)
        if readable is not found.readable:
            return [f"OPA {'permits' if readable else 'denies'} reading the table"]
        if not readable:
            return []
        filters = decide("rowFilters", {"operation": "GetRowFilters", "resource": {"table": table}})
        listing = [{"table": {**table, "columns": columns}}]
        visible = decide("batch", {"operation": "FilterColumns", "filterResources": listing})
        asked = [{"column": {**table, "columnName": column, "columnType": "varchar"}} for column in columns]
        masks = decide("columnMasks", {"operation": "GetColumnMask", "filterResources": asked})
    return [
        *_filter_differences(found, filters),
        *_column_differences(found, set(visible), {entry["index"] for entry in masks}),
    ]


def _filter_differences(found: Explanation, filters: Sequence[Mapping[str, Any]]) -> list[str]:
    decided = sorted((entry["expression"], entry.get("identity") or "") for entry in filters)
    said = sorted((use.told, use.identity or "") for use in found.view.filters)
    return [] if decided == said else [f"OPA filters rows by {[text for text, _ in decided]}"]


def _column_differences(found: Explanation, visible: set[int], masked: set[int]) -> list[str]:
    differences = []
    for index, use in enumerate(found.view.columns):
        look = "denied" if index not in visible else "masked" if index in masked else "plain"
        if look != use.visibility.value:
            differences.append(f"OPA has {use.column} {look}, not {use.visibility.value}")
    return differences


def compare(
    session: Session,
    span: str | None = None,
    *,
    users: Sequence[str] = (),
    tables: Sequence[str] = (),
    count: bool = True,
) -> ImpactReport:
    """What differs for whom between two states of the access data, counted on the tables.

    Args:
        span: ``A..B``, each a revision's number or ``living``; B may be ``tree``, what seeding the
            working tree's policies/data would make of A. None: ``living..tree``.
        users: limit it to these; empty means every sample user.

    Raises:
        UsageError: a malformed span, an unknown user, table or revision.
    """
    from seed.access import read_access_data

    before, after, tree = parse_span(span)
    seed = read_access_data(POLICIES / "data") if tree else None
    with governor_client(session, session.outputs()) as client:
        return client.impact(before=before, after=after, seed=seed, users=users, tables=tables, count=count)


def parse_span(text: str | None) -> tuple[int | None, int | None, bool]:
    """Revision before and after (None: the living one), and whether after is the working tree."""
    before, separator, after = (text or f"{LIVING}..{TREE}").partition("..")
    if not separator:
        raise UsageError(
            "two states are compared",
            value=text,
            permitted="A..B: revisions, 'living', or 'tree' as the second",
            next_command="lab access history",
        )
    return _revision(before, text), None if after == TREE else _revision(after, text), after == TREE


def _revision(word: str, text: str | None) -> int | None:
    if word in ("", LIVING):
        return None
    if not word.isdecimal():
        raise UsageError(
            f"{word!r} is not a revision",
            value=text,
            permitted="a number, 'living', or 'tree' as the second",
            next_command="lab access history",
        )
    return int(word)


@dataclass(frozen=True, kw_only=True)
class PolicyTest:
    """What ``opa test`` and the checks of the seed's access data came to. ``coverage`` in percent."""

    passed: int
    failed: tuple[str, ...]
    coverage: float
    problems: tuple[str, ...]

    @property
    def ok(self) -> bool:
        return not self.failed and not self.problems


def policy_test(session: Session, *, folder: Path = POLICIES) -> PolicyTest:
    """Runs the Rego tests with the pinned OPA, compiles strictly, and validates policies/data. Needs no
    running lab.

    Raises:
        LabError: OPA can't be obtained or does not run.
    """
    from contracts.versions import OPA
    from placements.local.artifacts import ensure

    program = ensure(OPA, session.lab.cache, session.progress) / "opa"
    rooms = [str(path) for path in sorted(folder.iterdir()) if any(path.glob("*.rego"))]
    schemas = folder / "schemas"
    strict = [*("check", "--strict"), *(("--schema", str(schemas)) if schemas.is_dir() else ())]
    checked = _opa(program, *strict, *rooms)
    problems = [line for line in checked.stderr.splitlines() if line.strip()] if checked.returncode else []
    tests = _opa(program, "test", _TEST_TIMEOUT, "--format=json", *rooms)
    covered = _opa(program, "test", _TEST_TIMEOUT, "--coverage", "--format=json", *rooms)
    try:
        results = json.loads(tests.stdout) or []
        coverage = float(json.loads(covered.stdout)["coverage"]) if not tests.returncode else 0.0
    except (ValueError, KeyError) as error:
        raise LabError(
            f"opa test did not run (exit code {tests.returncode})",
            value=tests.stderr.strip()[-500:] or str(error),
        ) from error
    failed = tuple(
        f"{one['package']}.{one['name']}" for one in results if one.get("fail") or one.get("error")
    )
    return PolicyTest(
        passed=len(results) - len(failed),
        failed=failed,
        coverage=round(coverage, 1),
        problems=(*problems, *_seed_problems(folder / "data")),
    )


def _seed_problems(folder: Path) -> list[str]:
    from governance.documents import read_access
    from governance.validation import validate

    try:
        return [str(problem) for problem in validate(read_access(folder))]
    except UsageError as error:
        return [error.what]


def _opa(program: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            [str(program), *arguments], capture_output=True, text=True, timeout=300, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise LabError(f"OPA does not run: {error}", value=str(program), next_command="lab doctor") from error
