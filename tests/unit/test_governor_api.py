"""The governor as its callers see it: the real service and client, and a real PostgreSQL."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import httpx
import psycopg
import pytest

from contracts.access import AccessData
from contracts.errors import LabError
from governance.bundle import BUNDLE_KEY
from governance.client import (
    AccessRevision,
    GovernorClient,
    GovernorError,
    RefusedInputError,
    StaleRevisionError,
    TableGrantedError,
)
from governance.governor.loops import Loop, retry_delay_s
from governance.models import SCHEMA_VERSION
from governance.publish import PublishError
from tests.unit import governor_lab, governor_postgres
from tests.unit.governor_lab import SEED, Lab, wait_for, with_tag
from tests.unit.test_governor_auth import token

pytestmark = pytest.mark.engine
postgres_server = governor_postgres.postgres_server
database_url = governor_postgres.database_url
lab = governor_lab.lab
seeded = governor_lab.seeded


def test_seed_publishes_reconciles_and_a_second_one_changes_nothing(lab: Lab) -> None:
    with lab.client(service="seeder") as seeder:
        first = seeder.seed_access(SEED, "digest-1")
        assert (first.changed, first.added, first.published) == (True, 6, True)
        puts = lab.bucket.puts
        again = seeder.seed_access(SEED, "digest-1")
        assert (again.changed, again.revision, again.published) == (False, first.revision, True)
        assert lab.bucket.puts == puts
        wait_for(lambda: "analysts" in lab.world.polaris.principal_roles)
        status = seeder.status()
    assert lab.bucket.bundle()["bundle"]["revision"] == first.revision == status.revision
    assert status.publication is not None
    assert status.publication.revision == first.revision
    assert status.errors == {}


def test_raw_access_is_said_with_the_rules_that_stand_against_it(seeded: Lab) -> None:
    with seeded.client("engineer", "data_engineers") as client:
        engineer = client.raw_access()
    with seeded.client("auditor", "auditors") as client:
        auditor = client.raw_access()
    with seeded.client("stranger", "strangers") as client:
        stranger = client.raw_access()
    assert engineer.restricted == stranger.restricted == {}
    assert "select" in engineer.tables["retail.customer"]
    assert stranger.tables == {}
    assert auditor.restricted == {"retail.customer": ("email",)}
    assert sorted(auditor.tables) == ["retail.nation", "retail.orders", "retail.part", "retail.region"]
    assert (auditor.username, auditor.groups) == ("auditor", ("auditors",))


def test_seed_keeps_what_people_changed_until_reset(seeded: Lab) -> None:
    with seeded.client() as admin, seeded.client(service="seeder") as seeder:
        living = admin.access()
        grants = [g for g in living.document["grants"] if g["group"] != "analysts"]
        edited = admin.put_access(
            {**living.document, "grants": grants}, base_revision=living.revision, reason="no analysts"
        )
        assert (edited.author, edited.based_on) == ("admin", living.revision)
        kept = seeder.seed_access(with_tag(SEED), "digest-2")
        assert (kept.changed, kept.added, kept.kept) == (True, 1, 2)
        assert not [g for g in admin.access().document["grants"] if g["group"] == "analysts"]
        restored = seeder.seed_access(with_tag(SEED), "digest-2", reset=True)
        assert restored.changed
        document = admin.access().document
    assert document == AccessData.from_document(with_tag(SEED)).as_document()


def test_stale_base_is_409_and_loses_nothing(seeded: Lab) -> None:
    with seeded.client() as admin:
        living = admin.access()
        admin.put_access(with_tag(living.document), base_revision=living.revision, reason="first")
        with pytest.raises(StaleRevisionError) as refusal:
            admin.put_access(living.document, base_revision=living.revision, reason="second")
        assert refusal.value.status == 409
        assert admin.access().document == with_tag(living.document)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("grants", {"group": "analyst", "object": "retail.orders", "privileges": ["select"]}), "'analysts'"),
        (
            ("grants", {"group": "analysts", "object": "retail.order", "privileges": ["select"]}),
            "'retail.orders'",
        ),
        (("tags", {"object": "retail.orders.emial", "tag": "pii.email"}), "'email'"),
        (("grants", {"group": "analysts", "object": "retail.part", "privileges": ["selekt"]}), "'select'"),
    ],
)
def test_unknown_names_are_refused_with_the_nearest(
    seeded: Lab, change: tuple[str, dict[str, Any]], words: str
) -> None:
    section, item = change
    with seeded.client() as admin:
        living = admin.access()
        document = {**living.document, section: [*living.document[section], item]}
        with pytest.raises(RefusedInputError, match=f"did you mean {words}"):
            admin.put_access(document, base_revision=living.revision, reason="typo")
        assert admin.access() == living


def test_table_made_a_moment_ago_is_known(seeded: Lab) -> None:
    seeded.world.polaris.create_table("retail", "fresh")
    item = {"group": "analysts", "object": "retail.fresh", "privileges": ["select"]}
    with seeded.client() as admin:
        living = admin.access()
        document = {**living.document, "grants": [*living.document["grants"], item]}
        admin.put_access(document, base_revision=living.revision, reason="fresh")


def test_old_problems_do_not_block_an_unrelated_change(seeded: Lab) -> None:
    seeded.world.polaris.drop_table("retail", "customer")
    with seeded.client() as admin:
        admin.reconcile()
        living = admin.access()
        admin.put_access(with_tag(living.document), base_revision=living.revision, reason="unrelated")


def test_seed_with_an_unknown_group_changes_nothing(lab: Lab) -> None:
    wrong = {**SEED, "grants": [{"group": "auditor", "object": "a.*", "privileges": ["select"]}]}
    with lab.client(service="seeder") as seeder:
        with pytest.raises(RefusedInputError, match="did you mean 'auditors'"):
            seeder.seed_access(wrong, "digest")
        assert seeder.status().revision is None
        with pytest.raises(GovernorError, match="no access data yet") as missing:
            seeder.access()
    assert missing.value.status == 404
    assert lab.bucket.objects == {}


def test_history_and_roll_back(seeded: Lab) -> None:
    with seeded.client() as admin:
        first = admin.access()
        before = admin.fingerprint()
        admin.put_access(with_tag(first.document), base_revision=first.revision, reason="tagged")
        assert admin.fingerprint().digest != before.digest
        back = admin.rollback(first.revision, widen=True)
        assert back.document == first.document
        assert back.reason == f"roll back to revision {first.revision}"
        assert admin.fingerprint().digest == before.digest
        assert [r.reason for r in admin.revisions(limit=2)] == [back.reason, "tagged"]
        assert admin.access(first.revision) == first
        with pytest.raises(GovernorError, match="no revision 99") as missing:
            admin.rollback(99)
    assert missing.value.status == 404
    wait_for(lambda: seeded.bucket.bundle()["bundle"]["revision"] == back.revision)
    assert ("admin", "access.rollback") in [(who, what) for who, what, _ in seeded.store.events()]


def test_signing_anew_makes_no_revision(seeded: Lab) -> None:
    with seeded.client() as admin:
        revisions = admin.revisions()
        old = seeded.bucket.bundle()["bundle"]
        seeded.now_ns += 60 * 10**9
        seeded.governor.publish()
        new = seeded.bucket.bundle()["bundle"]
        assert new == {**old, "issued_at_ns": old["issued_at_ns"] + 60 * 10**9}
        assert admin.revisions() == revisions
        publication = admin.status().publication
    assert publication is not None
    assert publication.issued_at.timestamp() == pytest.approx(seeded.now_ns / 1e9, abs=1e-3)


@pytest.mark.parametrize("moved_s", [3600, -3600])
def test_a_clock_moved_by_an_hour_is_followed_by_a_signature_of_the_new_time(
    seeded: Lab, moved_s: int
) -> None:
    with seeded.client() as admin:
        seeded.now_ns += moved_s * 10**9
        seeded.governor.publish()
        assert seeded.bucket.bundle()["bundle"]["issued_at_ns"] == seeded.now_ns
        publication = admin.status().publication
    assert publication is not None
    assert publication.issued_at.timestamp() == pytest.approx(seeded.now_ns / 1e9, abs=1e-3)


def test_failed_publication_leaves_the_old_bundle_whole_and_shows(seeded: Lab) -> None:
    old = seeded.bucket.objects[BUNDLE_KEY]
    seeded.bucket.failing = True
    with seeded.client() as admin:
        published_before = admin.status().publication
        living = admin.access()
        changed = admin.put_access(with_tag(living.document), base_revision=living.revision, reason="x")
        wait_for(lambda: "publish" in admin.status().errors)
        assert "did not take the access bundle" in admin.status().errors["publish"]
        assert admin.status().publication == published_before
        assert seeded.bucket.objects == {BUNDLE_KEY: old}
        seeded.bucket.failing = False
        wait_for(lambda: admin.status().errors == {})
        publication = admin.status().publication
    assert publication is not None
    assert publication.revision == changed.revision == seeded.bucket.bundle()["bundle"]["revision"]
    assert seeded.bucket.bundle()["access"]["masks"]["retail"]["orders"]


def test_seed_tells_when_its_publication_is_not_through(lab: Lab) -> None:
    lab.bucket.failing = True
    with lab.client(service="seeder") as seeder:
        result = seeder.seed_access(SEED, "digest-1")
    assert (result.changed, result.published) == (True, False)


def test_data_that_does_not_compile_leaves_the_old_bundle(seeded: Lab) -> None:
    old = seeded.bucket.objects[BUNDLE_KEY]
    living = seeded.store.current()
    assert living is not None
    broken = {**living.document, "tags": [{"object": "nonsense", "tag": "pii.email"}]}
    # As if an older version had let it through.
    seeded.store.write(broken, base_revision=living.revision, author="x", reason="x")
    with pytest.raises(LabError, match="must name one table"):
        seeded.governor.publish()
    assert seeded.bucket.objects == {BUNDLE_KEY: old}


def test_owner_of_a_loaded_table(seeded: Lab) -> None:
    seeded.world.polaris.create_table("raw", "loaded")
    with seeded.client("engineer", "data_engineers", "analysts") as engineer:
        owner = engineer.register_owner("raw.loaded", "data_engineers")
        assert engineer.register_owner("raw.loaded", "data_engineers") == owner
        assert owner.registered_by == "engineer"
        assert engineer.owners() == (owner,)
        assert engineer.effective_access().owned_tables == ("raw.loaded",)
        wait_for(lambda: seeded.world.read("engineer", "raw.loaded") == 200)
        wait_for(lambda: "raw" in seeded.bucket.bundle()["access"]["grants"]["data_engineers"]["tables"])

        for table, group, kind, words in (
            ("retail.orders", "data_engineers", TableGrantedError, "is granted already"),
            ("raw.loadet", "data_engineers", RefusedInputError, "did you mean 'raw.loaded'"),
            ("raw.loaded", "data_engineer", RefusedInputError, "did you mean 'data_engineers'"),
            ("raw.loaded", "auditors", GovernorError, "is not a member"),
            ("raw.loaded", "analysts", GovernorError, "may not create tables"),
        ):
            with pytest.raises(kind, match=words):
                engineer.register_owner(table, group)
    with seeded.client() as admin:
        with pytest.raises(GovernorError, match="belongs to another group") as conflict:
            admin.register_owner("raw.loaded", "auditors")
        assert conflict.value.status == 409
        seeded.world.polaris.drop_table("raw", "loaded")
        admin.reconcile()
        assert admin.owners() == ()


def test_who_may_do_what(seeded: Lab) -> None:
    def calls(client: GovernorClient) -> dict[str, Callable[[], Any]]:
        living = seeded.store.current()
        assert living is not None
        return {
            "access": client.access,
            "revisions": client.revisions,
            "put": lambda: client.put_access(living.document, base_revision=living.revision, reason="r"),
            "rollback": lambda: client.rollback(living.revision),
            "seed": lambda: client.seed_access(SEED, "digest-1"),
            "reconcile": client.reconcile,
            "status": client.status,
            "effective": client.effective_access,
            "fingerprint": client.fingerprint,
            "owners": client.owners,
        }

    everyone = {"status", "effective", "fingerprint", "owners"}
    allowed = {
        seeded.client("admin", "lab_admins"): set(calls(seeded.client())),
        seeded.client("steward", "data_stewards"): set(calls(seeded.client())) - {"seed"},
        seeded.client("auditor", "auditors"): everyone | {"access", "revisions"},
        seeded.client("engineer", "data_engineers"): everyone,
        seeded.client(service="seeder"): everyone | {"access", "revisions", "seed", "reconcile"},
        seeded.client(service="trino"): everyone,
    }
    for client, may in allowed.items():
        for name, call in calls(client).items():
            if name in may:
                call()
            else:
                with pytest.raises(GovernorError) as refusal:
                    call()
                assert refusal.value.status == 403
        client.close()


def test_effective_access_is_the_callers_own(seeded: Lab) -> None:
    with seeded.client("analyst", "analysts") as analyst:
        mine = analyst.effective_access()
    assert mine.grants == {"retail.customer": ("select",), "retail.orders": ("select",)}
    assert mine.rules == ("email",)
    with seeded.client("engineer", "data_engineers") as engineer:
        assert engineer.effective_access().rules == ()


def test_refusals_are_problem_documents(seeded: Lab) -> None:
    anonymous = httpx.get(f"{seeded.url}/v1/status")
    assert anonymous.status_code == 401
    assert anonymous.headers["WWW-Authenticate"] == "Bearer"
    assert anonymous.headers["Content-Type"] == "application/problem+json"
    assert anonymous.json()["status"] == 401
    headers = {"Authorization": f"Bearer {token(groups=['lab_admins'])}"}
    for method, path, body, status in (
        ("PUT", "/v1/access", {"document": {}}, 422),
        ("PUT", "/v1/access", {"document": {}, "base_revision": 1, "reason": "x", "more": 1}, 422),
        ("POST", "/v1/access", {}, 405),
        ("GET", "/v1/nothing", None, 404),
        ("GET", "/docs", None, 404),
    ):
        answer = httpx.request(method, f"{seeded.url}{path}", json=body, headers=headers)
        assert answer.status_code == status
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert answer.json()["title"]


def test_every_call_of_the_api_needs_a_token(lab: Lab) -> None:
    paths = httpx.get(f"{lab.url}/openapi.json").json()["paths"]
    calls = [(method, path) for path, methods in paths.items() for method in methods]
    assert len(calls) == 39
    for method, path in calls:
        answer = httpx.request(method, f"{lab.url}{path}".replace("{revision}", "1"))
        assert answer.status_code == (200 if path.startswith("/health") else 401), path


def test_keycloak_down_is_503_for_what_needs_its_groups(seeded: Lab) -> None:
    seeded.world.keycloak.down = True
    with seeded.client() as admin:
        living = admin.access()
        with pytest.raises(GovernorError, match="Keycloak can't be asked") as refusal:
            admin.put_access(living.document, base_revision=living.revision, reason="x")
        assert refusal.value.status == 503
        assert admin.reconcile().errors == ("reconcile: connection refused",)


def test_governor_that_is_not_there_is_named() -> None:
    with GovernorClient("http://127.0.0.1:9", lambda: "t") as client, pytest.raises(GovernorError) as refusal:
        client.status()
    assert refusal.value.status is None
    assert "lab status" in str(refusal.value)


def test_starts_before_its_database_and_becomes_ready(database_url: str, postgres_server: str) -> None:
    lab = Lab(database_url.replace("postgres@", "nobody_yet@"))
    lab.thread.start()
    wait_for(lambda: lab.server.started)
    lab.url = f"http://127.0.0.1:{lab.server.servers[0].sockets[0].getsockname()[1]}"
    assert httpx.get(f"{lab.url}/health").status_code == 200
    wait_for(lambda: "publish" in lab.governor.errors)
    assert httpx.get(f"{lab.url}/health/ready").status_code == 503
    with lab.client() as admin, pytest.raises(GovernorError, match="database does not answer") as refusal:
        admin.status()
    assert refusal.value.status == 503
    with psycopg.connect(f"{postgres_server}/postgres", autocommit=True) as connection:
        connection.execute("CREATE ROLE nobody_yet LOGIN SUPERUSER")
    try:
        wait_for(lambda: httpx.get(f"{lab.url}/health/ready").status_code == 200, 20)
    finally:
        lab.stop()


def test_says_that_a_newer_release_was_at_its_database(database_url: str) -> None:
    lab = Lab(database_url)
    lab.store.upgrade()

    def stamp(version: str) -> None:
        with psycopg.connect(database_url.replace("+psycopg", ""), autocommit=True) as connection:
            connection.execute("UPDATE alembic_version SET version_num = %s", (version,))

    stamp("9999")
    lab.thread.start()
    wait_for(lambda: lab.server.started)
    lab.url = f"http://127.0.0.1:{lab.server.servers[0].sockets[0].getsockname()[1]}"
    try:
        wait_for(lambda: "publish" in lab.governor.errors)
        answer = httpx.get(f"{lab.url}/health/ready")
        assert (answer.status_code, answer.json()["status"]) == (503, lab.governor.errors["publish"])
        assert "a newer release has been at the database" in lab.governor.errors["publish"]
        stamp(SCHEMA_VERSION)
        wait_for(lambda: httpx.get(f"{lab.url}/health/ready").json() == {"status": "ready"}, 20)
    finally:
        lab.stop()


def test_loop_survives_a_defect_and_shows_it() -> None:
    errors: dict[str, str] = {}
    outcomes: list[Exception | None] = [ValueError("defect"), PublishError("down"), None]

    def work() -> None:
        outcome = outcomes.pop(0)
        if outcome is not None:
            raise outcome

    loop = Loop("publish", work, wake=threading.Event(), every_s=60, errors=errors)
    assert loop.step() < 1
    assert errors == {"publish": "ValueError: defect"}
    assert loop.step() < 2
    assert errors == {"publish": "down"}
    assert loop.step() == 60
    assert errors == {}


def test_back_off_doubles_up_to_its_cap() -> None:
    assert all(0.4 <= retry_delay_s(1) <= 0.5 for _ in range(20))
    assert all(24 <= retry_delay_s(40) <= 30 for _ in range(20))


def test_revision_reads_as_it_was_written(seeded: Lab) -> None:
    with seeded.client() as admin:
        living = admin.access()
    assert isinstance(living, AccessRevision)
    assert living == seeded.store.current()
