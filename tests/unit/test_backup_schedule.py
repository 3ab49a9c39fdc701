"""When backups are made: what a Kubernetes CronJob takes, and nothing else."""

from __future__ import annotations

import pytest

from contracts.errors import UsageError
from contracts.settings import read_settings


@pytest.mark.parametrize(
    "text",
    [
        *("1 2 * *", "61 * * * *", "* * * * * *", "@daily", "1 2 * * * ", "x 2 * * *", "0 0 30 feb *"),
        *("0 0 L * *", "0 0 LW * *", "0 0 * * 5L", "0 0 * * 5#2", "0 0 * * 7", "0 0 * * 5-7", "0 0 * * 1,7"),
        *(
            "0 0 * * L",
            "0 0 ? * *",
            "0 0 l * *",
            "TZ=UTC 0 0 * * *",
            "5-1 * * * *",
            "*/0 * * * *",
            "0 0 * jul-x *",
        ),
    ],
)
def test_a_schedule_is_what_a_cronjob_takes(text: str) -> None:
    given = {"role": "persistent", "placement": "kubernetes"}
    with pytest.raises(UsageError, match="backupSchedule") as caught:
        read_settings({**given, "backupSchedule": text})
    assert caught.value.value == text
    assert "as a Kubernetes CronJob has them" in str(caught.value.permitted)


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "17 2 * * *",
            "*/15 6-18 * * 1-5",
            "0 0 1 jan,jul *",
            "0 0 * JUL *",
            "0 0 * * sun",
            "0 0 * * 0,6",
        ),
        *("5/10 * * * *", "0 0 1-7/2 * MON-FRI", "0 0 */7 * */2"),
    ],
)
def test_a_schedule_that_a_cronjob_takes_is_taken(text: str) -> None:
    given = {"role": "persistent", "placement": "kubernetes"}
    assert read_settings({**given, "backupSchedule": text}).values["backupSchedule"] == text
