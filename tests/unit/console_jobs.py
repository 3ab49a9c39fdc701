"""What tests of jobs do over and over."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg

from tests.unit.console_world import Browser, World, wait_for

JOB: dict[str, Any] = {
    "title": "Nightly",
    "work": {"kind": "sql", "statement": "INSERT INTO raw.t SELECT 1", "catalog": "lake"},
}
SOON = {"cron": "0 0 1 1 *", "time_zone": "UTC"}
"""A schedule that comes about when a test says so: see :func:`make_due`."""


class Owner:
    """Somebody with a browser on the page of jobs."""

    def __init__(self, world: World, username: str, *, permission: bool = True) -> None:
        self.world, self.username = world, username
        self.browser: Browser = world.browser().sign_in(username)
        if permission:
            self.give_permission()

    def give_permission(self) -> None:
        """What a person clicks through."""
        url = self.post("/api/v1/job-permission", {"next": "/jobs"})["url"]
        back = self.world.keycloak.sign_in(url, self.username)
        landed = self.browser.get(back.removeprefix(self.world.url))
        assert (landed.status_code, landed.headers.get("location")) == (302, "/jobs"), landed.text

    def get(self, path: str, status: int = 200, **query: Any) -> Any:
        answer = self.browser.get(path, params=query)
        assert answer.status_code == status, answer.text
        return answer.json()

    def post(self, path: str, body: Any = None, status: int = 200) -> Any:
        answer = self.browser.post(path, json={} if body is None else body)
        assert answer.status_code == status, answer.text
        return answer.json()

    def put(self, job: dict[str, Any], status: int = 200, **changes: Any) -> Any:
        """Saves a job anew."""
        headers = {"If-Match": f'"{job["version"]}"'}
        answer = self.browser.send(
            "PUT", f"/api/v1/jobs/{job['id']}", json={**as_given(job), **changes}, headers=headers
        )
        assert answer.status_code == status, answer.text
        return answer.json()

    def delete(self, path: str, status: int = 204, version: int = 1) -> None:
        answer = self.browser.send("DELETE", path, headers={"If-Match": f'"{version}"'})
        assert answer.status_code == status, answer.text

    def make(self, status: int = 201, **changes: Any) -> Any:
        """A job."""
        work = {**JOB["work"], **({"statement": s} if (s := changes.pop("sql", None)) else {})}
        return self.post("/api/v1/jobs", {**JOB, "work": work, **changes}, status)

    def start(self, job: dict[str, Any], status: int = 202, **parameters: Any) -> Any:
        """A run of a job by hand."""
        given = [{"name": name, "type": kind, "value": value} for name, (kind, value) in parameters.items()]
        return self.post(f"/api/v1/jobs/{job['id']}/runs", {"parameters": given}, status)

    def runs(self, job: dict[str, Any]) -> list[dict[str, Any]]:
        """All runs of a job, the newest first."""
        found: list[dict[str, Any]] = self.get(f"/api/v1/jobs/{job['id']}/runs")["runs"]
        return found

    def run(self, run: dict[str, Any]) -> Any:
        return self.get(f"/api/v1/job-runs/{run['id']}")

    def wait_until(self, run: dict[str, Any], *states: str, timeout_s: float = 120.0) -> Any:
        """The run once it is in one of the states."""
        found: dict[str, Any] = {}

        def reached() -> bool:
            found.update(self.run(run))
            return found["state"] in states

        try:
            wait_for(reached, timeout_s)
        except AssertionError:
            raise AssertionError(f"{found}\n{self.log(run)}") from None
        return found

    def log(self, run: dict[str, Any]) -> str:
        """The run's log."""
        lines = self.get(f"/api/v1/job-runs/{run['id']}/log")["lines"]
        return "\n".join(line["text"] for line in lines)


def as_given(job: dict[str, Any]) -> dict[str, Any]:
    """What the API shows of a job, as it takes it."""
    names = (
        "title description work parameters schedule after max_concurrent when_busy retries timeout_s"
        " restart_lost group shares"
    )
    return {name: job[name] for name in names.split()}


@contextmanager
def rows(world: World) -> Iterator[psycopg.Connection[Any]]:
    """The console's database."""
    url = world.settings.database_url.replace("postgresql+psycopg://", "postgresql://")
    with psycopg.connect(url, autocommit=True) as connection:
        yield connection


def make_due(world: World, job: dict[str, Any], ago: str = "0 seconds") -> None:
    """A job's next time is now, or was some time ago."""
    with rows(world) as connection:
        done = connection.execute(
            "WITH due AS (UPDATE job SET next_run_at = date_trunc('second', now()) - %s::interval "
            "WHERE id = %s RETURNING tick_entry, next_run_at) "
            "UPDATE procrastinate_jobs SET scheduled_at = next_run_at FROM due WHERE id = tick_entry",
            (ago, job["id"]),
        )
        assert done.rowcount == 1, "nothing is planned"
