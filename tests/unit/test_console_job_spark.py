"""Programs of jobs in Spark, through a gateway that behaves as the real one."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.unit import console_world
from tests.unit.console_jobs import Owner
from tests.unit.console_spark import URL, FakeSpark
from tests.unit.console_world import World, database, wait_for

postgres_server = console_world.postgres_server

WORK: dict[str, Any] = {
    "kind": "spark",
    "source": "print('hello')",
    "arguments": ["--day", ":scheduled_date", ":n"],
    "modules": {"helper.py": "X = 1"},
}
N = [{"name": "n", "type": "bigint", "default": 4}]


@pytest.fixture(scope="module")
def world(postgres_server: str) -> Iterator[World]:
    with tempfile.TemporaryDirectory(prefix="lab-jobs-") as folder:
        for url in database(postgres_server, "console_spark_jobs"):
            found = World(url, Path(folder), SPARK_URL=URL)
            found.start()
            yield found
            found.stop()


@pytest.fixture(scope="module")
def owner(world: World) -> Owner:
    return Owner(world, "engineer")


@pytest.fixture
def spark(world: World) -> FakeSpark:
    world.spark.__init__()  # type: ignore[misc]  # the transport has this very object
    return world.spark


def running(spark: FakeSpark) -> str:
    """The id of the job that is under way."""
    wait_for(lambda: any(job["state"] == "running" for job in spark.jobs.values()))
    return next(str(job["id"]) for job in spark.jobs.values() if job["state"] == "running")


def test_program_runs_as_its_owner_and_its_output_is_the_log(owner: Owner, spark: FakeSpark) -> None:
    assert "spark" in owner.get("/api/v1/info")["services"]
    run = owner.start(owner.make(work=WORK, parameters=N), n=("bigint", 5))
    job_id = running(spark)
    spark.logs[job_id] = "first\n"
    wait_for(lambda: "first" in owner.log(run))
    spark.logs[job_id] += "second\n"
    spark.end(job_id, exit_code=0)
    ended = owner.wait_until(run, "succeeded", "failed")
    assert ended["attempts"][0]["spark_job_id"] == job_id
    log = owner.log(run)
    assert (log.count("first"), log.count("second")) == (1, 1)
    (program,) = spark.programs
    assert program["content"] == "print('hello')"
    assert program["arguments"][0::2] == ["--day", "5"]
    assert set(program["python_files"]) == {"helper.py"}


def test_failed_program_is_tried_again_a_killed_one_stops(owner: Owner, spark: FakeSpark) -> None:
    job = owner.make(work=WORK, parameters=N, retries={"count": 1, "first_wait_s": 1})
    run = owner.start(job)
    spark.end(running(spark), "failed", exit_code=3, reason="the program ended with 3")
    second = running(spark)
    assert len(spark.jobs) == 2
    assert len({job["file_name"] for job in spark.jobs.values()}) == 2
    owner.post(f"/api/v1/job-runs/{run['id']}/stop")
    ended = owner.wait_until(run, "canceled", "failed")
    assert (ended["state"], spark.jobs[second]["state"]) == ("canceled", "killed")
    assert ended["attempts"][0]["error"]["message"] == "the program ended with 3"


def test_submission_whose_answer_was_lost_is_found_again(owner: Owner, spark: FakeSpark) -> None:
    spark.forget_answers = 1
    run = owner.start(owner.make(work=WORK, parameters=N))
    spark.end(running(spark))
    assert owner.wait_until(run, "succeeded", "failed")["attempt"] == 1
    assert len(spark.jobs) == 1, "it was not handed in twice"


def test_full_gateway_is_waited_for_a_refusal_is_not_repeated(owner: Owner, spark: FakeSpark) -> None:
    spark.refusals = [(429, "as many drivers run as may")]
    job = owner.make(work=WORK, parameters=N, retries={"count": 3, "first_wait_s": 1})
    run = owner.start(job)
    spark.end(running(spark))
    owner.wait_until(run, "succeeded")
    assert "as many drivers run as may: waiting" in owner.log(run)
    spark.refusals = [(403, "a rule restricts 'engineer'")]
    ended = owner.wait_until(owner.start(job), "failed")
    assert (ended["attempt"], ended["error"]["message"]) == (1, "a rule restricts 'engineer'")


def test_job_that_the_gateway_lost_is_begun_again(owner: Owner, spark: FakeSpark) -> None:
    run = owner.start(owner.make(work=WORK, parameters=N))
    spark.end(running(spark), "lost", reason="the Spark gateway ended")
    spark.end(running(spark))
    ended = owner.wait_until(run, "succeeded", "failed")
    assert (ended["attempt"], [a["lost"] for a in ended["attempts"]]) == (2, [True, False])


def test_gateway_that_is_down_is_waited_for(owner: Owner, spark: FakeSpark) -> None:
    run = owner.start(owner.make(work=WORK, parameters=N))
    job_id = running(spark)
    spark.down = True
    wait_for(lambda: "waiting" in owner.log(run))
    spark.down = False
    spark.end(job_id)
    assert owner.wait_until(run, "succeeded", "failed")["attempt"] == 1
