"""Jobs through the API: kept, versioned, shared; run by hand, by schedule and after one another."""

from __future__ import annotations

import json
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tests.unit import console_world
from tests.unit.console_jobs import SOON, Owner, make_due, rows
from tests.unit.console_trino import Answer, user_error
from tests.unit.console_world import World, database, wait_for

postgres_server = console_world.postgres_server

INSERTED = Answer(update=("INSERT", 3))
BROKEN = {**user_error("GENERIC_INTERNAL_ERROR", "a worker went away"), "errorType": "INTERNAL_ERROR"}


@pytest.fixture(scope="module")
def world(postgres_server: str) -> Iterator[World]:
    """One console for the module, where two runs of a person may be under way."""
    with tempfile.TemporaryDirectory(prefix="lab-jobs-") as folder:
        for url in database(postgres_server, "console_jobs"):
            found = World(url, Path(folder), RUNS_PER_USER="3")
            found.start()
            yield found
            found.stop()


@pytest.fixture(scope="module")
def owner(world: World) -> Owner:
    return Owner(world, "engineer")


@pytest.fixture(autouse=True)
def quiet_engine(world: World) -> None:
    world.trino.rules.clear()
    world.trino.asked.clear()
    world.trino.on("INSERT", INSERTED)


def test_run_sends_each_statement_once_and_notes_what_it_did(owner: Owner, world: World) -> None:
    world.trino.on("SELECT count", Answer({"n": "bigint"}, [[[1]], [[2]]]))
    job = owner.make(
        sql="INSERT INTO raw.t SELECT :n; -- twice\nSELECT count(*) FROM raw.t;",
        parameters=[{"name": "n", "type": "bigint", "default": 7}],
    )
    assert (job["version"], job["pause"], job["next_run_at"], job["last_run"]) == (1, None, None, None)
    run = owner.start(job, n=("bigint", 8))
    ended = owner.wait_until(run, "succeeded", "failed")
    assert (ended["state"], ended["number"], ended["trigger"], ended["attempt"]) == (
        "succeeded",
        1,
        "manual",
        1,
    )
    assert [asked.statement for asked in world.trino.asked] == [
        "INSERT INTO raw.t SELECT BIGINT '8'",
        "SELECT count(*) FROM raw.t",
    ]
    assert {asked.user for asked in world.trino.asked} == {"engineer"}
    (attempt,) = ended["attempts"]
    assert attempt["trino_query_ids"] == [asked.query_id for asked in world.trino.asked]
    assert {p["name"]: p["value"] for p in ended["parameters"]}["n"] == 8
    log = owner.log(run)
    assert "statement 1 is done: INSERT, 3 rows" in log
    assert "statement 2 is done: 2 rows, which are not kept" in log
    assert owner.get(f"/api/v1/jobs/{job['id']}")["last_run"]["id"] == run["id"]


def test_stream_tells_states_and_log_to_the_end(owner: Owner, world: World) -> None:
    held = threading.Event()
    world.trino.on("INSERT", Answer(pages=[[]], update=("INSERT", 1), held=held))
    run = owner.start(owner.make())
    events: list[dict[str, Any]] = []
    with owner.browser.http.stream(
        "GET",
        f"/api/v1/job-runs/{run['id']}/events",
        headers={"Cookie": "; ".join(f"{k}={v}" for k, v in owner.browser.cookies.items())},
    ) as stream:
        for line in stream.iter_lines():
            events.append(json.loads(line))
            if events[-1]["type"] == "log":
                held.set()
    assert [e["run"]["state"] for e in events if e["type"] == "run"][-1] == "succeeded"
    text = "\n".join(one["text"] for e in events if e["type"] == "log" for one in e["lines"])
    assert "as engineer" in text
    assert "is done" in text
    assert (events[-1]["type"], events[-1]["run"]["state"]) == ("end", "succeeded")


def test_error_points_into_the_jobs_text_and_is_not_repeated(owner: Owner, world: World) -> None:
    world.trino.on("SELECT nme", Answer(error=user_error("COLUMN_NOT_FOUND", "no nme", 1, 8)))
    job = owner.make(sql="INSERT INTO raw.t SELECT 1;\n  SELECT nme FROM t", retries={"count": 3})
    ended = owner.wait_until(owner.start(job), "failed")
    error = ended["error"]
    assert (error["name"], error["statement"], error["line"], error["column"]) == (
        "COLUMN_NOT_FOUND",
        2,
        2,
        10,
    )
    assert ended["attempt"] == 1
    assert len(world.trino.of("INSERT")) == 1


def test_failed_attempt_is_repeated_after_a_growing_pause(owner: Owner, world: World) -> None:
    world.trino.on("INSERT", Answer(error=BROKEN))
    job = owner.make(retries={"count": 2, "first_wait_s": 1, "longest_wait_s": 2})
    run = owner.start(job)
    waiting = owner.wait_until(run, "retrying")
    assert waiting["next_attempt_at"] is not None
    ended = owner.wait_until(run, "failed")
    assert ended["max_attempts"] == ended["attempt"] == len(ended["attempts"]) == len(world.trino.asked) == 3
    assert [a["state"] for a in ended["attempts"]] == ["failed"] * 3
    again = owner.post(f"/api/v1/job-runs/{run['id']}/retry", status=202)
    assert (again["trigger"], again["retry_of"], again["number"]) == ("retry", run["id"], 2)
    world.trino.on("INSERT", INSERTED)
    assert owner.wait_until(again, "succeeded", "failed")["state"] == "succeeded"


def test_attempt_that_takes_too_long_is_ended_in_the_engine(owner: Owner, world: World) -> None:
    world.trino.on("INSERT", Answer(pages=[[]], held=threading.Event()))
    ended = owner.wait_until(owner.start(owner.make(timeout_s=1)), "timed_out")
    assert ended["error"]["name"] == "TIMEOUT"
    assert world.trino.asked[0].canceled


def test_stopping_ends_the_query_and_what_waits(owner: Owner, world: World) -> None:
    world.trino.on("INSERT", Answer(pages=[[]], held=threading.Event()))
    job = owner.make(retries={"count": 5})
    running, waiting = owner.start(job), owner.start(job)
    owner.wait_until(running, "running")
    assert owner.run(waiting)["state"] == "waiting", "one at a time"
    owner.post(f"/api/v1/job-runs/{running['id']}/retry", status=409)
    owner.delete(f"/api/v1/jobs/{job['id']}", 409)
    assert owner.post(f"/api/v1/job-runs/{waiting['id']}/stop")["state"] == "canceled"
    owner.post(f"/api/v1/job-runs/{running['id']}/stop")
    assert owner.wait_until(running, "canceled", "failed")["state"] == "canceled"
    assert world.trino.asked[0].canceled
    assert len(world.trino.asked) == 1
    assert owner.post(f"/api/v1/job-runs/{running['id']}/stop")["state"] == "canceled"
    owner.delete(f"/api/v1/jobs/{job['id']}")
    owner.get(f"/api/v1/job-runs/{running['id']}", 404)


def test_no_more_run_at_once_than_job_and_owner_may(owner: Owner, world: World) -> None:
    held = threading.Event()
    world.trino.on("INSERT", Answer(pages=[[]], update=("INSERT", 1), held=held))
    two, other = owner.make(max_concurrent=2), owner.make(max_concurrent=2)
    begun = [owner.start(two) for _ in range(3)] + [owner.start(other) for _ in range(2)]
    for run in (begun[0], begun[1], begun[3]):
        owner.wait_until(run, "running")
    assert [owner.run(run)["state"] for run in begun] == [
        "running",
        "running",
        "waiting",
        "running",
        "waiting",
    ]
    held.set()
    for run in begun:
        owner.wait_until(run, "succeeded")
    assert len(world.trino.asked) == 5


def test_schedule_begins_a_run_for_its_time_and_plans_the_next(owner: Owner, world: World) -> None:
    job = owner.make(
        sql="INSERT INTO raw.t SELECT :scheduled_date, :scheduled_at",
        schedule={"cron": "0 0 1 1 *", "time_zone": "Pacific/Kiritimati"},
    )
    assert job["pause"] is None
    assert job["next_run_at"].startswith("20")
    make_due(world, job)
    wait_for(lambda: bool(owner.runs(job)))
    (run,) = owner.runs(job)
    ended = owner.wait_until(run, "succeeded")
    assert (ended["trigger"], ended["requested_by"]) == ("schedule", "engineer")
    day = {p["name"]: p["value"] for p in ended["parameters"]}["scheduled_date"]
    assert f"DATE '{day}'" in world.trino.asked[0].statement
    assert owner.get(f"/api/v1/jobs/{job['id']}")["next_run_at"] == job["next_run_at"], "the next new year"
    with rows(world) as connection:
        planned = connection.execute(
            "SELECT count(*) FROM procrastinate_jobs WHERE task_name = 'tick' AND args->>'job_id' = %s",
            (job["id"],),
        ).fetchone()
    assert planned == (1,)
    paused = owner.post(f"/api/v1/jobs/{job['id']}/pause")
    assert (paused["pause"], paused["next_run_at"]) == ("owner", None)
    assert owner.post(f"/api/v1/jobs/{job['id']}/resume")["next_run_at"] == job["next_run_at"]


def test_times_that_were_missed_are_made_up_for_by_one_run(owner: Owner, world: World) -> None:
    job = owner.make(schedule={"cron": "*/10 * * * *"})
    make_due(world, job, ago="65 minutes")
    wait_for(lambda: bool(owner.runs(job)))
    (run,) = owner.runs(job)
    owner.wait_until(run, "succeeded")
    assert "it makes up for" in owner.log(run)
    owner.put(job, schedule=None)
    assert len(owner.runs(job)) == 1


def test_busy_job_skips_its_time_if_it_is_told_to(owner: Owner, world: World) -> None:
    held = threading.Event()
    world.trino.on("INSERT", Answer(pages=[[]], update=("INSERT", 1), held=held))
    job = owner.make(schedule=SOON, when_busy="skip")
    first = owner.start(job)
    owner.wait_until(first, "running")
    make_due(world, job)
    wait_for(lambda: len(owner.runs(job)) == 2)
    skipped = owner.run(owner.runs(job)[0])
    assert (skipped["state"], skipped["trigger"]) == ("skipped", "schedule")
    held.set()
    owner.wait_until(first, "succeeded")
    assert len(world.trino.asked) == 1


def test_job_runs_when_all_that_it_waits_for_have_succeeded(owner: Owner, world: World) -> None:
    one, two = owner.make(title="one"), owner.make(title="two")
    last = owner.make(title="last", after=[one["id"], two["id"]])
    owner.wait_until(owner.start(one), "succeeded")
    owner.wait_until(owner.start(one), "succeeded")
    assert owner.get(f"/api/v1/jobs/{last['id']}")["waiting_for"] == [two["id"]]
    assert owner.runs(last) == []
    world.trino.on("INSERT", Answer(error=user_error("DIVISION_BY_ZERO", "no")))
    owner.wait_until(owner.start(two), "failed")
    assert owner.runs(last) == []
    world.trino.on("INSERT", INSERTED)
    owner.wait_until(owner.start(two), "succeeded")
    wait_for(lambda: bool(owner.runs(last)))
    assert owner.runs(last)[0]["trigger"] == "dependency"
    owner.wait_until(owner.runs(last)[0], "succeeded")
    assert owner.put(one, 422, after=[last["id"]])["title"].endswith("in a circle")
    owner.put(one, 422, after=[one["id"]])
    owner.put(one, 422, after=[str(uuid4())])
    owner.delete(f"/api/v1/jobs/{one['id']}", 409)


def test_versions_are_kept_and_a_retry_takes_its_own(owner: Owner, world: World) -> None:
    job = owner.make(sql="INSERT INTO raw.t SELECT 1")
    first = owner.wait_until(owner.start(job), "succeeded")
    owner.put(
        job,
        412 if job["version"] != 1 else 200,
        title="Second",
        work={**job["work"], "statement": "INSERT INTO raw.t SELECT 2"},
    )
    assert [v["version"] for v in owner.get(f"/api/v1/jobs/{job['id']}/versions")] == [2, 1]
    kept = owner.get(f"/api/v1/jobs/{job['id']}/versions/1")
    assert (kept["title"], kept["job"]["work"]["statement"]) == ("Nightly", "INSERT INTO raw.t SELECT 1")
    owner.get(f"/api/v1/jobs/{job['id']}/versions/3", 404)
    owner.put(job, 412)
    world.trino.asked.clear()
    again = owner.post(f"/api/v1/job-runs/{first['id']}/retry", status=202)
    assert owner.wait_until(again, "succeeded")["version"] == 1
    assert world.trino.asked[0].statement.endswith("SELECT 1")


def test_jobs_of_others_are_not_there_and_shared_ones_are_only_seen(owner: Owner, world: World) -> None:
    secret = owner.make(title="secret")
    shared = owner.make(title="shared", shares=[{"group": "data_engineers", "access": "read"}])
    world.trino.on("INSERT", Answer(error=user_error("INVALID_CAST", "Cannot cast 'Alice'")))
    run = owner.wait_until(owner.start(shared), "failed")
    hidden = owner.start(secret)
    world.keycloak.people["auditor"] = {"auditors", "data_engineers"}
    other = Owner(world, "auditor", permission=False)
    try:
        for path in ("", "/versions", "/versions/1", "/runs"):
            other.get(f"/api/v1/jobs/{secret['id']}{path}", 404)
        for path in ("", "/log", "/events"):
            other.get(f"/api/v1/job-runs/{hidden['id']}{path}", 404)
        for path in (
            f"jobs/{secret['id']}/runs",
            f"jobs/{secret['id']}/pause",
            f"job-runs/{hidden['id']}/stop",
        ):
            other.post(f"/api/v1/{path}", status=404)
        assert [job["title"] for job in other.get("/api/v1/jobs")] == ["shared"]
        seen = other.get(f"/api/v1/jobs/{shared['id']}")
        assert (seen["can_edit"], seen["owner"]) == (False, "engineer")
        told = other.run(run)
        assert (told["error"]["name"], told["error"]["message"]) == ("INVALID_CAST", None)
        assert told["attempts"][0]["error"]["message"] is None
        assert "Alice" not in json.dumps(told)
        other.get(f"/api/v1/job-runs/{run['id']}/log", 403)
        assert "Alice" in owner.log(run)
        for path in (
            f"jobs/{shared['id']}/runs",
            f"job-runs/{run['id']}/retry",
            f"jobs/{shared['id']}/resume",
        ):
            assert other.post(f"/api/v1/{path}", status=403)["permitted"] == "engineer"
        other.put(seen, 403)
        assert other.get("/api/v1/job-runs")["runs"] == []
        edit = [{"group": "data_engineers", "access": "edit"}]
        assert "owner's rights" in owner.put(shared, 422, shares=edit)["title"]
    finally:
        world.keycloak.people["auditor"] = {"auditors"}


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"schedule": {"cron": "99 * * * *"}}, "no schedule"),
        ({"schedule": {"cron": "* * * * * *"}}, "6 fields"),
        ({"schedule": {"cron": "0 0 30 2 *"}}, "no schedule"),
        ({"schedule": {"cron": "0 6 * * *", "time_zone": "Europe/Zurch"}}, "no such time zone"),
        ({"sql": "SELECT :missing"}, ":missing is not declared"),
        ({"sql": "-- nothing"}, "no statement"),
        ({"sql": "SELECT 'open"}, "can't be read"),
        ({"parameters": [{"name": "scheduled_at"}]}, "given to every run"),
        ({"parameters": [{"name": "a", "type": "date", "default": "soon"}]}, "not of type date"),
        ({"group": "lab_admins"}, "owner is in"),
    ],
)
def test_what_could_not_run_is_not_kept(owner: Owner, changes: dict[str, Any], says: str) -> None:
    before = len(owner.get("/api/v1/jobs"))
    assert says in owner.make(422, **changes)["title"]
    assert len(owner.get("/api/v1/jobs")) == before


def test_parameters_of_a_run_are_the_jobs(owner: Owner) -> None:
    job = owner.make(sql="INSERT INTO t SELECT :d", parameters=[{"name": "d", "type": "date"}])
    assert "no parameter" in owner.start(job, 422, e=("date", "2026-01-01"))["title"]
    assert "not of type" in owner.start(job, 422, d=("date", "soon"))["title"]
    assert owner.runs(job) == []


def test_schedule_is_previewed_in_its_zone(owner: Owner) -> None:
    times = owner.get("/api/v1/job-schedule", cron="30 6 * * mon-fri", time_zone="Asia/Tokyo")["times"]
    assert len(times) == 5
    assert {time[11:19] for time in times} == {"21:30:00"}
    owner.get("/api/v1/job-schedule", 422, cron="61 * * * *")


def test_lab_without_spark_says_so(owner: Owner) -> None:
    assert "spark" not in owner.get("/api/v1/info")["services"]
    job = owner.make(work={"kind": "spark", "source": "print(1)"})
    refused = owner.start(job, 404)
    assert (refused["title"], refused["next_command"]) == ("this lab runs without Spark", "lab up spark")
