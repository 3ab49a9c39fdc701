"""Schedules, pauses, parameters, and the queue's own tables."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest

from contracts.errors import UsageError
from control_plane.api.jobs.parameters import arguments, resolve
from control_plane.api.jobs.planning import missed, next_time, next_times, scheduled_date, wait
from control_plane.api.jobs.queue_schema import migration_names, migrations_until
from control_plane.api.schemas.common import Parameter
from control_plane.api.schemas.jobs import Retries, SaveJob, Schedule, SparkWork
from governance.parameters import ParameterType


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def test_hour_that_the_clocks_skip_is_made_up_for_and_a_repeated_one_comes_once() -> None:
    nightly = Schedule(cron="30 2 * * *", time_zone="Europe/Zurich")
    # In the night to 2026-03-29 the clocks go from 02:00 to 03:00, in that to 2026-10-25 from 03:00 to 02:00.
    spring = next_times(nightly, at("2026-03-27T12:00"), 3)
    assert spring == [at("2026-03-28T01:30"), at("2026-03-29T01:00"), at("2026-03-30T00:30")]
    autumn = next_times(nightly, at("2026-10-24T12:00"), 2)
    assert [time.date().day for time in autumn] == [25, 26]
    assert autumn[1] == at("2026-10-26T01:30")
    hourly = next_times(Schedule(cron="0 * * * *", time_zone="Europe/Zurich"), at("2026-10-24T23:30"), 4)
    assert [later - earlier for earlier, later in pairwise(hourly)] == [timedelta(hours=1)] * 3


def test_times_missed_are_counted_up_to_a_limit() -> None:
    schedule = Schedule(cron="*/10 * * * *")
    assert missed(schedule, at("2026-01-01T00:00"), at("2026-01-01T00:09")) == 0
    assert missed(schedule, at("2026-01-01T00:00"), at("2026-01-01T01:05")) == 6
    assert missed(schedule, at("2026-01-01T00:00"), at("2026-12-31T00:00"), most=50) == 50


def test_day_of_a_run_is_that_of_its_schedules_zone() -> None:
    late = at("2026-01-01T11:30")
    assert scheduled_date(Schedule(cron="0 0 * * *", time_zone="Pacific/Kiritimati"), late) == "2026-01-02"
    assert scheduled_date(None, late) == "2026-01-01"


def test_leap_days_come_about() -> None:
    assert next_time(Schedule(cron="0 0 29 2 *"), at("2026-03-01T00:00")) == at("2028-02-29T00:00")


@pytest.mark.parametrize(("failed", "expected_s"), [(1, 10), (2, 20), (3, 40), (4, 60), (9, 60)])
def test_pause_doubles_up_to_the_longest(failed: int, expected_s: int) -> None:
    retries = Retries(count=10, first_wait_s=10, longest_wait_s=60)
    seconds = {wait(retries, failed).total_seconds() for _ in range(50)}
    assert all(0.9 * expected_s <= one <= 1.1 * expected_s for one in seconds)
    assert len(seconds) > 1, "what failed together must not come back together"


def spark_job(arguments: list[str], **parameters: Any) -> SaveJob:
    specs = [{"name": name, "type": kind, "default": value} for name, (kind, value) in parameters.items()]
    work = {"kind": "spark", "source": "print()", "arguments": arguments}
    return SaveJob.model_validate({"title": "J", "work": work, "parameters": specs})


def test_programs_get_values_as_text() -> None:
    job = spark_job(
        ["--day", ":scheduled_date", "a:b", ":all", ":on", "x :on"],
        all=("bigint", [1, 2]),
        on=("boolean", True),
    )
    assert isinstance(job.work, SparkWork)
    values = resolve(job, [], at("2026-05-06T07:08"))
    assert arguments(job.work, values) == ["--day", "2026-05-06", "a:b", "1,2", "true", "x :on"]


def test_program_without_a_value_is_refused() -> None:
    job = spark_job([":day"], day=("date", None))
    assert isinstance(job.work, SparkWork)
    with pytest.raises(UsageError, match="has no value"):
        arguments(job.work, resolve(job, [], at("2026-01-01T00:00")))


def test_given_values_take_the_type_of_the_job() -> None:
    job = spark_job([], day=("date", "2026-01-01"))
    with pytest.raises(UsageError, match="not of type date"):
        resolve(
            job, [Parameter(name="day", type=ParameterType.VARCHAR, value="soon")], at("2026-01-01T00:00")
        )


def test_queue_has_no_migration_that_ours_do_not_apply() -> None:
    """Else: a new migration of the console's that applies the rest, as 0002 does."""
    last = "03.04.00_50"
    assert migration_names()[-1].startswith(last)
    assert len(migrations_until(last)) == len(migration_names())
    assert migrations_until(last, after=migration_names()[-2]) == migrations_until("99")[-1:]
