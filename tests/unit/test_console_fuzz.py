"""Whatever the API's description permits, and some of what it does not, is answered without a fault of the
console's, whoever asks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.core.result import Ok

from control_plane.api.openapi import FILE
from tests.unit import console_world
from tests.unit.console_keycloak import CLIENT, PEOPLE
from tests.unit.console_trino import Answer
from tests.unit.console_world import GovernedWorld, wait_for

postgres_server = console_world.postgres_server
governed = console_world.governed

EXAMPLES = 3
"""Of each operation, for each person."""
OPERATIONS: dict[str, Any] = {
    operation.ok().label: operation.ok()
    for operation in schemathesis.openapi.from_path(str(FILE)).get_all_operations()
    if isinstance(operation, Ok)
}
SNAPSHOT: list[Any] = [1, None, "2026-01-31 17:00:00.123 UTC", "append", {}, True]


@pytest.fixture(scope="module")
def sessions(governed: GovernedWorld) -> Iterator[dict[str, requests.Session]]:
    """An HTTP session for each person, before an engine that has an answer to everything."""
    trino = governed.trino
    column = [["retail", "customer", "id", "bigint", "NO", None]]
    trino.on(".", Answer(dict.fromkeys("abcdef", "varchar"), [column]))
    trino.on("SHOW CATALOGS", Answer({"Catalog": "varchar"}, [[["lake"]]]))
    trino.on("information_schema.tables", Answer({"a": "varchar", "b": "varchar"}, [[["customer", "VIEW"]]]))
    trino.on("table_comments", Answer({"a": "varchar", "b": "varchar"}, [[["customer", "who"]]]))
    trino.on(r"\$snapshots", Answer(dict.fromkeys("abcdef", "varchar"), [[SNAPSHOT]]))
    trino.on("EXCEPT ALL", Answer({"a": "varchar", "n": "bigint"}, [[["x", 1]]]))
    trino.on("EXPLAIN .TYPE (LOGICAL|IO)", Answer({"Query Plan": "varchar"}, [[["{}"]]]))
    governed.keycloak.access_life_s = 3600
    # Its pool of connections draws random numbers while it is made; hypothesis takes them for a case's.
    wait_for(lambda: governed.console.jobs.worker.started == 1)
    made = {}
    for name in PEOPLE:
        made[name] = requests.Session()
        made[name].trust_env = False
        made[name].headers["Authorization"] = f"Bearer {governed.keycloak.token(name, CLIENT)}"
    yield made
    for session in made.values():
        session.close()


@pytest.mark.parametrize("person", PEOPLE)
@pytest.mark.parametrize("label", OPERATIONS)
def test_no_request_that_is_described_meets_a_fault(
    governed: GovernedWorld, sessions: dict[str, requests.Session], label: str, person: str
) -> None:
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        derandomize=True,
        phases=(Phase.generate,),
        suppress_health_check=list(HealthCheck),
    )
    @given(case=OPERATIONS[label].as_strategy())
    def ask(case: Any) -> None:
        given_headers = {"Authorization": sessions[person].headers["Authorization"]}
        answer = case.call(
            base_url=governed.url,
            session=sessions[person],
            headers=given_headers,
            allow_redirects=False,
            timeout=60,
        )
        assert answer.status_code < 500, f"{case.as_curl_command()}\n{answer.text}"
        if answer.status_code >= 400:
            assert answer.headers["content-type"][0] == "application/problem+json"

    ask()
