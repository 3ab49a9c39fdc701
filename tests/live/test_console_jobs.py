"""Jobs on a running lab: Keycloak's own offline token, and a query that outlives the console."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.live.conftest import LiveLab
from tests.live.console import Person

pytestmark = pytest.mark.live

LIMIT_S = 120.0
WRITE = """CREATE TABLE lake.raw.job_written AS SELECT :scheduled_date AS day, count(*) AS n
FROM retail.lineitem a CROSS JOIN retail.nation b CROSS JOIN retail.nation c"""
DROP = "DROP TABLE IF EXISTS lake.raw.job_written"


@pytest.fixture(scope="module")
def console(lab: LiveLab) -> Iterator[LiveLab]:
    """The lab with its console, which leaves again."""
    lab.ok("up", "console")
    yield lab
    lab.ok("up", "--without", "console")


@pytest.fixture(scope="module")
def engineer(console: LiveLab) -> Iterator[Person]:
    """Somebody who let the console run jobs for them."""
    with Person(console, "engineer") as person:
        permit(person)
        yield person
        sent = {"X-CSRF-Token": person.csrf, "Origin": person.url}
        assert person.http.delete(f"{person.url}/api/v1/job-permission", headers=sent).status_code == 204


def permit(person: Person) -> None:
    """The way through Keycloak; who is signed in there sees no page of it."""
    url = person.post("/api/v1/job-permission", {"next": "/jobs"})["url"]
    landed = person.http.get(url)
    assert landed.url.path == "/jobs", landed.text[:500]


def make(person: Person, statement: str, **more: Any) -> dict[str, Any]:
    work = {"kind": "sql", "statement": statement, "catalog": "lake"}
    made: dict[str, Any] = person.post("/api/v1/jobs", {"title": "live", "work": work, **more}, 201)
    return made


def remove(person: Person, job: dict[str, Any]) -> None:
    sent = {"X-CSRF-Token": person.csrf, "Origin": person.url, "If-Match": '"1"'}
    person.http.delete(f"{person.url}/api/v1/jobs/{job['id']}", headers=sent).raise_for_status()


def wait_for(person: Person, run: dict[str, Any], *states: str) -> dict[str, Any]:
    """The run once it is in one of the states; the console may be away meanwhile."""
    deadline = time.monotonic() + LIMIT_S
    found: dict[str, Any] = {}
    while found.get("state") not in states:
        assert time.monotonic() < deadline, found
        time.sleep(0.3)
        try:
            answer = person.http.get(f"{person.url}/api/v1/job-runs/{run['id']}")
            found = answer.json() if answer.status_code == 200 else found
        except httpx.TransportError:
            continue
    return found


def test_permission_is_an_offline_token_and_the_session_lives_on(engineer: Person) -> None:
    told = engineer.get("/api/v1/job-permission")
    assert (told["granted"], told["groups"]) == (True, ["data_engineers"])
    assert engineer.get("/api/v1/me")["username"] == "engineer"


def test_run_outlives_the_console_that_began_it(console: LiveLab, engineer: Person) -> None:
    engineer.run(DROP)
    job = make(engineer, WRITE)
    run = engineer.post(f"/api/v1/jobs/{job['id']}/runs", {}, 202)
    wait_for(engineer, run, "running")
    deadline = time.monotonic() + LIMIT_S
    while not (begun := engineer.get(f"/api/v1/job-runs/{run['id']}"))["attempts"][0]["trino_query_ids"]:
        assert time.monotonic() < deadline, begun
        time.sleep(0.1)
    pid = console.service("control-plane")["pid"]
    console.shell(f"kill -9 {pid}")
    ended = wait_for(engineer, run, "succeeded", "failed", "timed_out")
    try:
        assert (ended["state"], ended["attempt"]) == ("succeeded", 1), ended
        assert ended["attempts"][0]["trino_query_ids"] == begun["attempts"][0]["trino_query_ids"]
        _, rows = engineer.run("SELECT count(*) FROM lake.raw.job_written")
        assert rows == [[1]]
    finally:
        engineer.run(DROP)
        remove(engineer, job)


def test_run_has_its_owners_rights(engineer: Person) -> None:
    job = make(engineer, "SELECT * FROM hr.employees WHERE salary > 0", retries={"count": 3})
    run = engineer.post(f"/api/v1/jobs/{job['id']}/runs", {}, 202)
    ended = wait_for(engineer, run, "succeeded", "failed")
    assert (ended["state"], ended["attempt"]) == ("failed", 1)
    remove(engineer, job)
    assert ended["error"]["name"] in ("PERMISSION_DENIED", "COLUMN_NOT_FOUND", "TABLE_NOT_FOUND")
