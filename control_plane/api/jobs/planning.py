"""When a job is due: cron, and the pause before another attempt."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo, available_timezones

from cronsim import CronSim, CronSimError

from contracts.errors import UsageError, nearest
from control_plane.api.schemas.jobs import Retries, Schedule

_FIELDS = 5
_JITTER = 0.1
_RANDOM = random.SystemRandom()


@cache
def _zones() -> frozenset[str]:
    return frozenset(available_timezones())


def check_schedule(schedule: Schedule) -> None:
    """Raises UsageError unless it can be read and comes about at least once."""
    if schedule.time_zone not in _zones():
        close = nearest(schedule.time_zone, sorted(_zones()))
        raise UsageError(
            "there is no such time zone",
            value=schedule.time_zone,
            permitted=f"a name of the IANA data base, such as {close or 'Europe/Zurich'}",
        )
    next_time(schedule, datetime.now(tz=UTC))


def next_time(schedule: Schedule, after: datetime) -> datetime:
    """The first time after ``after``. An hour that the clocks skip is made up for, one that they repeat comes
    once, as with Debian's cron. Raises UsageError."""
    fields = schedule.cron.split()
    try:
        if len(fields) != _FIELDS:
            raise CronSimError(f"it has {len(fields)} fields")
        zone = ZoneInfo(schedule.time_zone)
        found = next(CronSim(" ".join(fields).upper(), after.astimezone(zone)))
        return found.astimezone(UTC)
    except (CronSimError, StopIteration, OverflowError) as error:
        raise UsageError(
            f"this is no schedule: {str(error) or 'it never comes about'}",
            value=schedule.cron,
            permitted="minute, hour, day of the month, month, day of the week, such as '30 6 * * MON-FRI'",
        ) from error


def next_times(schedule: Schedule, after: datetime, count: int) -> list[datetime]:
    """The first ``count`` times after ``after``. Raises UsageError."""
    found: list[datetime] = []
    for _ in range(count):
        after = next_time(schedule, after)
        found.append(after)
    return found


def missed(schedule: Schedule, due: datetime, now: datetime, most: int = 1000) -> int:
    """How many times lie between ``due`` and ``now``, both not counted; ``most`` at most."""
    count, at = 0, due
    while count < most and (at := next_time(schedule, at)) <= now:
        count += 1
    return count


def scheduled_date(schedule: Schedule | None, at: datetime) -> str:
    """The day of a time in the schedule's zone, as ISO 8601 has it."""
    return at.astimezone(ZoneInfo(schedule.time_zone if schedule else "UTC")).date().isoformat()


def wait(retries: Retries, failed: int) -> timedelta:
    """The pause after ``failed`` attempts, give or take a tenth, so that what failed together does not come
    back together."""
    seconds = min(retries.first_wait_s * 2 ** (failed - 1), retries.longest_wait_s)
    return timedelta(seconds=seconds * _RANDOM.uniform(1 - _JITTER, 1 + _JITTER))
