"""What the governor takes for use of the lab, and the note that it writes of it."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError

from contracts.use import USE_KEY
from governance.client import GovernorError
from governance.governor.auth import Caller
from governance.governor.using import Uses
from governance.publish import PublishError
from tests.unit import governor_lab, governor_postgres
from tests.unit.governor_lab import Bucket, Lab

postgres_server = governor_postgres.postgres_server
database_url = governor_postgres.database_url
lab = governor_lab.lab


class Audit:
    """Knows of a query of somebody's, or fails."""

    def __init__(self) -> None:
        self.queried = self.failing = False
        self.asked: list[timedelta] = []

    def people_queried(self, within: timedelta) -> bool:
        if self.failing:
            raise OperationalError("SELECT 1", {}, Exception("the database is away"))
        self.asked.append(within)
        return self.queried


class World:
    """Uses on a clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now_s = 1000.0
        self.audit, self.bucket = Audit(), Bucket()
        self.uses = Uses(self.audit, self.bucket.put, clock=lambda: self.now_s)

    def note(self) -> dict[str, Any] | None:
        """The note that five minutes more bring; None where there is none."""
        self.now_s += 300
        before = self.bucket.puts
        assert self.uses.note() is (self.bucket.puts > before)
        found: dict[str, Any] = json.loads(self.bucket.objects[USE_KEY])
        return found if self.bucket.puts > before else None


@pytest.fixture
def world() -> World:
    made = World()
    made.bucket.objects[USE_KEY] = b"{}"
    return made


def caller(client: str | None = "cli", service: str | None = None) -> Caller:
    return Caller(username="ann", groups=frozenset(), service=service, client=client)


def test_use_is_noted_once_and_says_not_who(world: World) -> None:
    assert world.note() is None
    world.uses.asked(caller(), "/v1/access/effective")
    note = world.note()
    assert note is not None
    assert note.keys() == {"noted_at", "what"}, "and not who"
    assert note["what"] == "cli"
    assert abs(datetime.fromisoformat(note["noted_at"]) - datetime.now(tz=UTC)) < timedelta(minutes=1)
    assert world.note() is None


def test_a_query_of_a_person_is_use_and_none_is_missed_between_two_looks(world: World) -> None:
    world.audit.queried = True
    noted = world.note()
    assert noted is not None
    assert noted["what"] == "query"
    world.audit.queried = False
    assert world.note() is None
    first, second = world.audit.asked
    assert first > timedelta(minutes=30), "what a governor that was restarted has not noted"
    assert second == timedelta(minutes=6), "what was recorded while it was looked is looked for again"


@pytest.mark.parametrize(
    ("who", "path", "is_use"),
    [
        (caller("spark"), "/v1/access/raw", True),
        (caller("agent"), "/v1/access/effective", True),
        (caller(None), "/v1/access", True),
        (caller("seeder", service="seeder"), "/v1/access/seed", False),
        (caller("cli"), "/v1/status", False),
        (caller("cli"), "/v1/fingerprint", False),
        # It tells by itself when somebody works in it.
        (caller("control-plane"), "/v1/access", False),
    ],
)
def test_requests_of_people_are_use_and_probes_and_services_are_not(
    world: World, who: Caller, path: str, is_use: bool
) -> None:
    world.uses.asked(who, path)
    assert (world.note() is not None) is is_use


def test_a_note_that_could_not_be_written_is_written_later(world: World) -> None:
    world.uses.seen("console")
    world.bucket.failing = True
    with pytest.raises(PublishError):
        world.uses.note()
    world.bucket.failing = False
    note = world.note()
    assert note is not None
    assert note["what"] == "console"


def test_a_lab_whose_audit_can_not_be_asked_may_be_used_and_its_queries_are_found_afterwards(
    world: World,
) -> None:
    assert world.note() is None
    world.audit.failing = True
    for told in (1, 2, 3):
        world.now_s += 300
        with pytest.raises(OperationalError):
            world.uses.note()
        assert world.bucket.puts == told
        assert json.loads(world.bucket.objects[USE_KEY])["what"] == "unknown"
    world.audit.failing, world.audit.queried = False, True
    note = world.note()
    assert note is not None
    assert note["what"] == "query"
    assert world.audit.asked[-1] == timedelta(minutes=21), "all of the time in which it did not answer"


@pytest.mark.engine
def test_the_console_tells_of_people_and_no_service_counts_itself(lab: Lab) -> None:
    with lab.client("ann") as ann:
        ann.status()
        assert not lab.uses.note()
        ann.used()
        assert lab.uses.note()
        assert json.loads(lab.bucket.objects[USE_KEY])["what"] == "cli"
    with lab.client(service="seeder") as seeder:
        with pytest.raises(GovernorError, match="no use of the lab") as refused:
            seeder.used()
        assert refused.value.status == 403
        assert not lab.uses.note()
