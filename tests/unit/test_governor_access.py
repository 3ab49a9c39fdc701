"""Changing, explaining and comparing access data through the governor, as its callers see it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from governance.bundle import BUNDLE_KEY
from governance.client import GovernorError, RefusedInputError
from governance.reports import Visibility
from tests.unit import governor_lab, governor_postgres
from tests.unit.governor_lab import SEED, Lab, wait_for

pytestmark = pytest.mark.engine
postgres_server = governor_postgres.postgres_server
database_url = governor_postgres.database_url
lab = governor_lab.lab
seeded = governor_lab.seeded

DENY_ID = {"id": "deny-id", "kind": "column_deny", "object": "retail.orders.id"}


def exception(**changed: Any) -> dict[str, Any]:
    until = datetime.now(tz=UTC).replace(microsecond=0) + timedelta(hours=1)
    given = {
        "id": "e1",
        "user": "stranger",
        "object": "retail.customer",
        "expires_at": until.isoformat(),
        "reason": "incident 7",
        "privileges": ["select"],
        "lifts": ["email"],
    }
    return {**given, **changed}


def grant(group: str, name: str, *privileges: str) -> dict[str, Any]:
    return {"group": group, "object": name, "privileges": list(privileges or ("select",))}


def test_items_are_added_published_and_taken_back(seeded: Lab) -> None:
    tag = {"object": "retail.orders.email", "tag": "pii.email"}
    with seeded.client("steward", "data_stewards") as steward:
        before = steward.access()
        tried = steward.change_access(add={"tags": [tag]}, reason="why", only_try=True)
        assert (tried.changed, tried.tried_only, tried.revision) == (False, True, before.revision)
        assert [(c.verb, c.section) for c in tried.changes] == [("added", "tags")]
        assert steward.access() == before
        done = steward.change_access(add={"tags": [tag]}, reason="mail addresses")
        assert (done.changed, done.published, done.revision) == (True, True, before.revision + 1)
        assert seeded.bucket.bundle()["access"]["masks"]["retail"]["orders"]["email"]
        again = steward.change_access(add={"tags": [tag]}, reason="again")
        assert (again.changed, again.revision) == (False, done.revision)
        detail = steward.revision_changes(done.revision)
        assert (detail.author, detail.reason, detail.based_on) == (
            "steward",
            "mail addresses",
            before.revision,
        )
        assert [c.name for c in detail.changes] == ["pii.email on retail.orders.email"]


def test_what_shows_more_needs_to_be_meant(seeded: Lab) -> None:
    with seeded.client("steward", "data_stewards") as steward:
        before = steward.access()
        with pytest.raises(RefusedInputError, match=r"analysts on retail\.customer\.email: masked by email"):
            steward.change_access(remove={"rules": [{"id": "email"}]}, reason="away")
        document = {**before.document, "rules": []}
        with pytest.raises(RefusedInputError, match="show somebody more"):
            steward.put_access(document, base_revision=before.revision, reason="away")
        assert steward.access() == before
        done = steward.change_access(remove={"rules": [{"id": "email"}]}, reason="away", widen=True)
        assert done.changed
        assert len(done.widenings) >= 2
        assert "masks" not in str(seeded.bucket.bundle()["access"]["masks"].get("retail"))
        # Going back narrows, going forth again widens.
        back = steward.rollback(before.revision, reason="it was wrong")
        assert back.document == before.document
        assert back.reason == f"roll back to revision {before.revision}: it was wrong"
        with pytest.raises(RefusedInputError, match="show somebody more"):
            steward.rollback(done.revision)
        assert steward.rollback(done.revision, widen=True).document["rules"] == []


@pytest.mark.parametrize(
    ("add", "said"),
    [
        ({"tags": [{"object": "retail.ordes.id", "tag": "x"}]}, "did you mean 'retail.orders'"),
        ({"tags": [{"object": "retial.*", "tag": "x"}]}, "did you mean 'retail'"),
        ({"tags": [{"object": "retail.orders.emial", "tag": "x"}]}, "did you mean 'email'"),
        ({"rules": [{**DENY_ID, "exempt": ["auditor"]}]}, "did you mean 'auditors'"),
        (
            {
                "rules": [
                    {"id": "r", "kind": "row_filter", "object": "retail.orders", "expression": "id = = 1"}
                ]
            },
            "not usable",
        ),
        ({"rules": [{"id": "r", "kind": "column_mask", "tag": "t", "mask": "email"}]}, "'email_domain'"),
        ({"exceptions": [exception(lifts=["emial"])]}, "there is no rule 'emial'; did you mean 'email'"),
        ({"exceptions": [exception(user="strangr")]}, "did you mean 'stranger'"),
        ({"exceptions": [exception(expires_at="2020-01-01T00:00:00+00:00")]}, "within the time permitted"),
        (
            {"exceptions": [exception(expires_at=(datetime.now(tz=UTC) + timedelta(days=9)).isoformat())]},
            "within the time permitted",
        ),
    ],
)
def test_what_is_wrong_changes_nothing(seeded: Lab, add: dict[str, Any], said: str) -> None:
    with seeded.client() as admin:
        before = admin.access()
        with pytest.raises(RefusedInputError, match=said):
            admin.change_access(add=add, reason="r")
        assert admin.access() == before


def test_stewards_write_rules_and_admins_grants(seeded: Lab) -> None:
    wide = {"grants": [grant("strangers", "retail.part")]}
    rule = {"rules": [DENY_ID]}
    with seeded.client("steward", "data_stewards") as steward, seeded.client() as admin:
        assert steward.change_access(add=rule, reason="r").changed
        for change in (wide, {**wide, **rule}):
            with pytest.raises(GovernorError, match="may not edit grants") as refusal:
                steward.change_access(add=change, reason="r")
            assert refusal.value.status == 403
        assert admin.change_access(add=wide, reason="r").changed
        with pytest.raises(GovernorError, match="may not edit grants"):
            steward.rollback(1, widen=True)
    with seeded.client("auditor", "auditors") as auditor:
        with pytest.raises(GovernorError, match="may not edit tags and rules"):
            auditor.change_access(add=rule, reason="r")
        assert auditor.revision_changes(1).revision == 1


def test_break_glass_ends_and_does_not_come_back(seeded: Lab) -> None:
    with seeded.client() as admin:
        first = admin.access()
        made = admin.change_access(add={"exceptions": [exception()]}, reason="incident 7")
        filed = seeded.bucket.bundle()["access"]["exceptions"]["stranger"]["retail"]["customer"]
        assert [entry["lifts"] for entry in filed] == [{"email": True}]
        ended = admin.change_access(remove={"exceptions": [{"id": "e1"}]}, reason="over")
        assert seeded.bucket.bundle()["access"]["exceptions"] == {}
        # The revision with the exception is the same as the first one, once it is not brought back.
        back = admin.rollback(made.revision)
        assert back.document == first.document
        assert back.revision == ended.revision
        assert [r.reason for r in admin.revisions(limit=2)] == ["over", "incident 7"]


def test_nobody_but_an_admin_makes_an_exception_for_themselves(seeded: Lab) -> None:
    with seeded.client("steward", "data_stewards") as steward:
        with pytest.raises(GovernorError, match="for themselves") as refusal:
            steward.change_access(add={"exceptions": [exception(user="steward")]}, reason="r")
        assert refusal.value.status == 403
        assert steward.change_access(add={"exceptions": [exception()]}, reason="r").changed
    with seeded.client() as admin:
        assert admin.change_access(add={"exceptions": [exception(id="e2", user="admin")]}, reason="r").changed


def test_an_exception_goes_with_the_rule_it_lifts(seeded: Lab) -> None:
    only_lifts = exception(privileges=[], user="analyst")
    with seeded.client() as admin:
        admin.change_access(add={"exceptions": [only_lifts]}, reason="r")
        admin.change_access(remove={"rules": [{"id": "email"}]}, reason="r", widen=True)
        assert "exceptions" not in admin.access().document


def test_a_seed_or_a_rollback_without_a_rule_is_not_held_up_by_who_lifts_it(seeded: Lab) -> None:
    with seeded.client() as admin, seeded.client(service="seeder") as seeder:
        seeder.seed_access({**SEED, "rules": [*SEED["rules"], DENY_ID]}, "with")
        lifting = exception(user="analyst", lifts=["deny-id"])
        made = admin.change_access(add={"exceptions": [lifting]}, reason="r").revision
        assert seeder.seed_access(SEED, "without").removed == 1
        (left,) = admin.access().document["exceptions"]
        assert "lifts" not in left
        admin.rollback(made)
        admin.change_access(add={"exceptions": [lifting]}, reason="r")
        back = admin.rollback(1, widen=True)
        assert "exceptions" not in back.document


def test_explanations_say_why(seeded: Lab) -> None:
    with seeded.client("analyst", "analysts") as analyst:
        mine = analyst.explain("retail.customer")
        assert mine.readable
        assert (mine.username, mine.groups) == ("analyst", ("analysts",))
        looks = {use.column: (use.visibility, use.rules) for use in mine.view.columns}
        assert looks == {
            "id": (Visibility.PLAIN, ()),
            "email": (Visibility.MASKED, ("email",)),
        }
        assert mine.revision == mine.published
        # Neither others nor tables one can't see are told of.
        with pytest.raises(GovernorError, match="may not read access data"):
            analyst.explain("retail.customer", "engineer")
        assert analyst.explain("retail.part").view.columns == ()
        assert not analyst.explain("no.where").readable
    with seeded.client("auditor", "auditors") as auditor:
        engineer = auditor.explain("retail.customer", "engineer")
        assert engineer.groups == ("analysts", "data_engineers")
        assert [e.by for e in engineer.view.exemptions] == ["data_engineers is exempt"]
        with pytest.raises(RefusedInputError, match="did you mean 'engineer'"):
            auditor.explain("retail.customer", "enginer")
        with pytest.raises(RefusedInputError, match=r"did you mean 'retail\.customer'"):
            auditor.explain("retail.custmer", "engineer")


def test_denied_columns_are_named_to_who_may_read_access_data(seeded: Lab) -> None:
    rule = {**DENY_ID, "object": "retail.orders.email", "exempt": ["data_engineers"]}
    with seeded.client() as admin:
        admin.change_access(add={"rules": [rule]}, reason="r")
        told = admin.explain("retail.orders", "analyst")
        assert [use.visibility for use in told.view.columns] == [Visibility.PLAIN, Visibility.DENIED]
    with seeded.client("analyst", "analysts") as analyst:
        mine = analyst.explain("retail.orders")
        assert ([use.column for use in mine.view.columns], mine.denied) == (["id"], 1)


def test_comparisons_of_revisions_are_counted(seeded: Lab) -> None:
    rule = {"id": "some", "kind": "row_filter", "object": "retail.orders", "expression": "id < 3"}
    with seeded.client() as admin:
        first = admin.access().revision
        second = admin.change_access(add={"rules": [rule]}, reason="r").revision
        users = ["analyst", "auditor", "engineer"]
        report = admin.impact(before=first, after=second, users=users)
        assert (report.before, report.after) == (f"revision {first}", f"revision {second}")
        assert {(one.username, one.table) for one in report.impacts} == {(u, "retail.orders") for u in users}
        assert len(seeded.counter.asked) == 1
        assert "coalesce((id < 3), false)" in seeded.counter.asked[0].replace("((id", "(id").replace(
            "3))", "3)"
        )
        assert report.counted
        assert admin.impact(before=first, after=first, users=users).impacts == ()
        uncounted = admin.impact(before=first, after=second, users=users, count=False)
        assert [one.rows for one in uncounted.impacts] == [None] * 3
        assert len(seeded.counter.asked) == 1
        with pytest.raises(GovernorError, match="no revision 99"):
            admin.impact(before=99)
        with pytest.raises(RefusedInputError, match=r"did you mean 'retail\.orders'"):
            admin.impact(tables=["retail.order"])


def test_a_seed_is_compared_as_it_would_be_merged(seeded: Lab) -> None:
    """What people edited stays; what nobody touched follows the seed."""
    mine = grant("strangers", "retail.part")
    narrower = {**SEED, "grants": [g for g in SEED["grants"] if g["object"] != "retail.customer"]}
    with seeded.client() as admin:
        admin.change_access(add={"grants": [mine]}, reason="by hand")
        living = admin.access()
        report = admin.impact(seed=narrower, users=["analyst", "stranger"])
        assert report.after == "working tree"
        assert [(c.verb, c.name) for c in report.changes] == [("removed", "retail.customer to analysts")]
        (one,) = report.impacts
        assert (one.username, one.filter_after) == ("analyst", "false")
        assert admin.access() == living


def test_who_may_compare_and_count(seeded: Lab) -> None:
    with seeded.client("auditor", "auditors") as auditor:
        assert auditor.impact(before=1, users=["analyst"]).impacts == ()
        with pytest.raises(GovernorError, match="may not edit tags and rules"):
            auditor.impact(seed=SEED, users=["analyst"])
        assert auditor.impact(seed=SEED, users=["analyst"], count=False).impacts == ()
    with seeded.client("analyst", "analysts") as analyst:
        for call in (lambda: analyst.impact(before=1), analyst.drift, analyst.publish):
            with pytest.raises(GovernorError) as refusal:
                call()
            assert refusal.value.status == 403
    with seeded.client(service="seeder") as seeder:
        assert seeder.impact(seed=SEED, users=["analyst"]).impacts == ()


def test_sample_users_that_are_not_there_are_left_out(seeded: Lab) -> None:
    with seeded.client() as admin:
        report = admin.impact(before=1)
    assert set(report.readers) == {"engineer", "auditor", "admin", "steward", "hr"}
    assert "sample user outsider is not in the realm" in report.notes


def test_drift_between_database_and_bundle_is_told_and_mended(seeded: Lab) -> None:
    with seeded.client() as admin:
        wait_for(lambda: admin.drift().problems == ())
        seeded.bucket.puts += 1  # as if somebody had put another object there
        assert "is not the one that was published" in admin.drift().problems[0]
        assert admin.publish().problems == ()
        del seeded.bucket.objects[BUNDLE_KEY]
        assert "is not in the object store" in admin.drift().problems[0]
        assert admin.publish().problems == ()
        assert BUNDLE_KEY in seeded.bucket.objects
        living = seeded.store.current()
        assert living is not None
        document = {**living.document, "tags": []}
        seeded.store.write(document, base_revision=living.revision, author="x", reason="past the governor")
        report = admin.drift()
        assert report.problems == (
            f"revision {living.revision + 1} is living and {living.revision} is published",
        )
        assert admin.publish().problems == ()


def test_an_extra_catalog_grant_is_undone_and_told(seeded: Lab) -> None:
    """A planted hole: somebody lets analysts read a masked table's files."""
    with seeded.client() as admin:
        assert admin.reconcile().changes == ()
        held = next(grants for role, grants in seeded.world.polaris.grants.items() if "analysts" in role)
        held.add(("table", "TABLE_READ_DATA", ("retail",), "customer"))
        assert seeded.world.read("analyst", "retail.customer") == 200
        report = admin.reconcile()
        assert any("customer" in change for change in report.drift)
        assert seeded.world.read("analyst", "retail.customer") == 403
