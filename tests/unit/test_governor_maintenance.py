"""Maintenance as callers of the governor meet it: who may have what maintained, and by which policy."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest

from governance.client import GovernorError, RefusedInputError
from governance.maintenance.reports import StepOutcome
from governance.maintenance.runner import Maintainer
from tests.unit import governor_lab, governor_postgres
from tests.unit.governor_lab import Lab
from tests.unit.governor_world import RETAIL

pytestmark = pytest.mark.engine
postgres_server = governor_postgres.postgres_server
database_url = governor_postgres.database_url
lab = governor_lab.lab
seeded = governor_lab.seeded


@contextmanager
def refused(status: int, message: str) -> Iterator[None]:
    """What is inside must be refused so."""
    with pytest.raises(GovernorError, match=message) as raised:
        yield
    assert raised.value.status == status


def test_who_holds_maintain_has_tables_maintained(seeded: Lab) -> None:
    with seeded.client("engineer", "data_engineers") as client:
        scope = client.maintenance.scope()
        assert scope.tables == tuple(RETAIL)
        assert (scope.catalog_kind, scope.unsafe, scope.min_retention_s) == ("polaris", {}, 7 * 86400)
        plan = client.maintenance.plan("retail.orders")
        assert [step.verdict for step in plan.steps] == ["run"] * 4
        assert seeded.engine.executed == []
        run = client.maintenance.run("Retail.Orders")
        assert (run.table, run.asked_by, run.outcome) == ("retail.orders", "engineer", StepOutcome.DONE)
        assert client.maintenance.runs(["retail.orders"]) == client.maintenance.runs() == (run,)
    assert {one.partition(" ")[2] for one in seeded.engine.executed} == {"retail.orders"}
    assert ("engineer", "maintenance.run", {"table": "retail.orders"}) in seeded.store.events()


def test_who_does_not_is_refused(seeded: Lab) -> None:
    with seeded.client("analyst", "analysts") as client:
        assert client.maintenance.scope().tables == ()
        for ask in (
            lambda: client.maintenance.scope(["retail.orders"]),
            lambda: client.maintenance.plan("retail.orders"),
            lambda: client.maintenance.run("retail.orders"),
            lambda: client.maintenance.runs(["retail.orders"]),
            lambda: client.maintenance.policies(),
            lambda: client.maintenance.revisions(),
            lambda: client.maintenance.change("retail.orders", values={"every": "2d"}, reason="r"),
        ):
            with refused(403, "may not"):
                ask()
        # Whether there is such a table is not told either.
        with refused(403, "may not"):
            client.maintenance.plan("retail.nothing")
        assert client.maintenance.runs() == ()
    assert seeded.engine.executed == []


def test_a_name_that_is_not_there_is_told_with_the_nearest_of_one_s_own(seeded: Lab) -> None:
    seeded.world.polaris.create_table("secret", "orders")
    with seeded.client("engineer", "data_engineers") as client:
        with pytest.raises(RefusedInputError, match=r"did you mean 'retail\.orders'") as raised:
            client.maintenance.run("retail.oders")
        assert "secret" not in str(raised.value)
        with refused(403, "may not"):
            client.maintenance.run("secret.orders")


def test_an_owner_and_an_exception_count(seeded: Lab) -> None:
    seeded.world.polaris.create_table("raw", "mine")
    seeded.engine.tables["raw.mine"] = seeded.engine.tables["retail.part"]
    with seeded.client("engineer", "data_engineers") as client:
        client.register_owner("raw.mine", "data_engineers")
        assert client.maintenance.run("raw.mine").outcome is StepOutcome.DONE
    with seeded.client("analyst", "analysts") as client, refused(403, "may not"):
        client.maintenance.plan("retail.part")
    exception = {
        "id": "analyst-1",
        "user": "analyst",
        "object": "retail.part",
        "expires_at": (datetime.now(tz=UTC) + timedelta(hours=1)).isoformat(),
        "reason": "incident",
        "privileges": ["maintain"],
    }
    with seeded.client() as admin:
        admin.change_access(add={"exceptions": [exception]}, reason="incident", widen=True)
    with seeded.client("analyst", "analysts") as client:
        assert client.maintenance.plan("retail.part").table == "retail.part"


def test_policies_are_seeded_edited_and_have_a_history(seeded: Lab) -> None:
    with seeded.client("engineer", "data_engineers") as client:
        seed = client.maintenance.policies()
        assert (seed.revision, seed.author) == (1, "governor")
        assert seed.document["policies"][0]["object"] == "*"
        changed = client.maintenance.change("retail.orders", values={"min_files": 100}, reason="large")
        assert (changed.revision, changed.author, changed.reason) == (2, "engineer", "large")
        assert client.maintenance.plan("retail.orders").policy["min_files"] == 100
        assert client.maintenance.plan("retail.orders").steps[0].verdict == "unneeded"
        client.maintenance.change("retail.*", values={"compact": "false"}, reason="for a while")
        assert client.maintenance.plan("retail.part").steps[0].verdict == "off"
        client.maintenance.change("retail.*", values={}, unset=["*"], reason="again")
        assert [one.reason for one in client.maintenance.revisions()][:3] == ["again", "for a while", "large"]
    with seeded.client("steward", "data_stewards") as steward:
        assert len(steward.maintenance.revisions()) == 4


@pytest.mark.parametrize(
    ("name", "values", "said"),
    [
        ("retail.orders", {"keep_snapshots": "6d"}, "shorter than this lab permits anybody"),
        ("retail.*", {"keep_orphans": "1h"}, "shorter than this lab permits anybody"),
        ("retail.orders", {"min_fils": "3"}, "did you mean 'min_files'"),
        ("retail.orders", {"every": "often"}, "not valid"),
        ("retail.oders", {"every": "2d"}, "did you mean 'retail.orders'"),
    ],
)
def test_what_is_not_valid_changes_nothing(seeded: Lab, name: str, values: dict[str, str], said: str) -> None:
    with seeded.client("engineer", "data_engineers") as client:
        before = client.maintenance.policies()
        with pytest.raises(RefusedInputError, match=said):
            client.maintenance.change(name, values=values, reason="r")
        assert client.maintenance.policies() == before


def test_not_even_an_admin_goes_below_the_floor(seeded: Lab) -> None:
    with seeded.client() as admin:
        with pytest.raises(RefusedInputError, match="shorter"):
            admin.maintenance.change("*", values={"keep_snapshots": "1d"}, reason="r")
        assert admin.maintenance.change("*", values={"keep_snapshots": "8d"}, reason="r").revision == 2


def test_only_admins_decide_for_all_tables(seeded: Lab) -> None:
    with seeded.client("engineer", "data_engineers") as client:
        with refused(403, "every table"):
            client.maintenance.change("*", values={"every": "2d"}, reason="r")
        with refused(403, r"maintenance of hr\.\*"):
            client.maintenance.change("hr.*", values={"every": "2d"}, reason="r")


def test_the_schedule_maintains_what_is_due_and_some_group_s_to_maintain(seeded: Lab) -> None:
    seeded.world.polaris.create_table("vault", "gold")
    seeded.engine.tables["vault.gold"] = seeded.engine.tables["retail.part"]
    seeded.engine.broken.add("retail.nation")
    seeded.maintenance.work()
    assert seeded.engine.executed == [], "a new lab is left alone"
    later = datetime.now(tz=UTC) + timedelta(days=2)
    seeded.maintenance._maintainer = Maintainer(
        seeded.maintenance_store,
        seeded.engine,
        unsafe={},
        limits=seeded.maintenance.settings.limits,
        clock=lambda: later,
    )
    seeded.maintenance.work()
    last = seeded.maintenance_store.last_runs()
    assert set(last) == set(RETAIL)
    assert last["retail.nation"].outcome is StepOutcome.FAILED
    assert last["retail.part"].outcome is StepOutcome.DONE
    assert seeded.governor.errors["maintain retail.nation"] == "metadata of retail.nation can't be read"
    seeded.engine.broken.clear()
    much_later = later + timedelta(days=1)
    seeded.maintenance._maintainer._clock = lambda: much_later
    seeded.maintenance.work()
    assert not [key for key in seeded.governor.errors if key.startswith("maintain ")]


def test_tables_in_one_another_s_folders_keep_their_files(seeded: Lab) -> None:
    known = seeded.governor.knowledge.locations()
    assert len(set(known.values())) == len(RETAIL)
    seeded.world.polaris.locations["retail.part"] = f"{known['retail.orders']}/data"
    assert seeded.governor.knowledge.refresh()
    with seeded.client("engineer", "data_engineers") as client:
        for table in ("retail.orders", "retail.part"):
            step = client.maintenance.plan(table).steps[3]
            assert (step.procedure, step.verdict) == ("remove_orphan_files", "unsafe")


def test_a_lab_without_trino_says_so(seeded: Lab) -> None:
    seeded.maintenance._maintainer = None
    with seeded.client("engineer", "data_engineers") as client:
        assert client.maintenance.scope().tables
        with refused(503, "has none"):
            client.maintenance.run("retail.orders")
        assert client.maintenance.policies().revision == 1
    seeded.maintenance.work()
