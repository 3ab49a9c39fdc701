"""What jobs do when something goes away under them: the console, a worker, Trino, Keycloak, the owner."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.unit import console_world
from tests.unit.console_jobs import SOON, Owner, make_due, rows
from tests.unit.console_keycloak import CLIENT
from tests.unit.console_trino import Answer
from tests.unit.console_world import World, database, wait_for

postgres_server = console_world.postgres_server

STATE = r"FROM system.runtime.queries"


@pytest.fixture
def world(postgres_server: str, request: pytest.FixtureRequest) -> Iterator[World]:
    """A console of the test's own."""
    with tempfile.TemporaryDirectory(prefix="lab-jobs-") as folder:
        for url in database(postgres_server, f"jobs_{abs(hash(request.node.name)) % 10**9}"):
            found = World(url, Path(folder))
            found.trino.on("INSERT", Answer(update=("INSERT", 3)))
            found.start()
            await_worker(found)
            yield found
            if found.thread.is_alive():
                found.stop()


def await_worker(world: World) -> None:
    """Waits until permissions were asked after once and runs are worked on."""
    wait_for(lambda: world.console.jobs.worker.started == 1)


def another(world: World, folder: str) -> World:
    """A console that has the same database, address, realm and engine."""
    url = world.settings.database_url.replace("postgresql+psycopg://", "postgresql://")
    found = World(url, Path(folder))
    found.hosts, found.keycloak, found.trino = world.hosts, world.keycloak, world.trino
    return found


def as_seen_by(owner: Owner, world: World) -> Owner:
    """The same person and cookies, at another console's address."""
    seen = Owner.__new__(Owner)
    seen.world, seen.username = world, owner.username
    seen.browser = world.browser()
    place = f"__Host-console-{world.port}"
    seen.browser.cookies = {place: next(v for k, v in owner.browser.cookies.items() if "sign-in" not in k)}
    seen.browser.csrf = seen.browser.get("/api/v1/me").json()["csrf_token"]
    return seen


def held_insert(world: World) -> threading.Event:
    held = threading.Event()
    world.trino.on("INSERT", Answer(pages=[[]], update=("INSERT", 1), held=held))
    return held


def test_restarted_console_goes_on_with_the_very_query(world: World, tmp_path: Path) -> None:
    held = held_insert(world)
    owner = Owner(world, "engineer")
    run = owner.start(owner.make(sql="INSERT INTO a SELECT 1; INSERT INTO b SELECT 2"))
    wait_for(lambda: bool(world.trino.asked))
    owner.wait_until(run, "running")
    world.stop()
    assert not world.trino.asked[0].canceled, "the query goes on without the console"
    second = another(world, str(tmp_path))
    second.start()
    try:
        owner = as_seen_by(owner, second)
        wait_for(lambda: "taken up again" in owner.log(run))
        held.set()
        ended = owner.wait_until(run, "succeeded", "failed")
        assert (ended["state"], ended["attempt"]) == ("succeeded", 1)
        assert [asked.statement for asked in world.trino.asked] == [
            "INSERT INTO a SELECT 1",
            "INSERT INTO b SELECT 2",
        ]
    finally:
        second.stop()


def test_worker_that_seems_gone_and_comes_back_does_nothing_twice(world: World, tmp_path: Path) -> None:
    held = held_insert(world)
    owner = Owner(world, "engineer")
    run = owner.start(owner.make())
    owner.wait_until(run, "running")
    second = another(world, str(tmp_path))
    second.start()
    try:
        with rows(world) as connection:
            claim = connection.execute("SELECT claim FROM job_run").fetchone()

            def taken_over() -> bool:
                connection.execute(
                    "UPDATE procrastinate_workers SET last_heartbeat = now() - interval '1 hour'"
                )
                return connection.execute("SELECT claim FROM job_run").fetchone() != claim

            wait_for(taken_over, 30)
            connection.execute("UPDATE procrastinate_workers SET last_heartbeat = now()")
        held.set()
        assert owner.wait_until(run, "succeeded", "failed")["attempt"] == 1
        assert len(world.trino.asked) == 1
        with rows(world) as connection:
            wait_for(lambda: connection.execute("SELECT count(*) FROM procrastinate_jobs").fetchone() == (0,))
    finally:
        second.stop()


@pytest.mark.parametrize(
    ("state", "restart", "attempts", "ends"),
    [
        ("FINISHED", True, 1, "succeeded"),
        (None, True, 2, "succeeded"),
        (None, False, 1, "failed"),
        ("RUNNING", True, 2, "succeeded"),
    ],
)
def test_query_that_trino_gives_no_page_of_is_asked_after(
    world: World, state: str | None, restart: bool, attempts: int, ends: str
) -> None:
    """Finished, it counts as done; unknown, the attempt is lost, and made again unless the job says no."""
    held_insert(world)
    world.trino.on(STATE, Answer({"state": "varchar"}, [[[state]] if state else []]))
    world.trino.on("kill_query", Answer())
    owner = Owner(world, "engineer")
    run = owner.start(owner.make(restart_lost=restart))
    wait_for(lambda: bool(world.trino.asked))
    world.trino.on("INSERT", Answer(update=("INSERT", 3)))
    world.trino.asked[0].canceled = True  # its pages are answered by 404 from here on
    ended = owner.wait_until(run, "succeeded", "failed")
    assert (ended["state"], ended["attempt"]) == (ends, attempts)
    assert len(world.trino.of("INSERT")) == attempts
    assert ended["attempts"][0]["lost"] is (state != "FINISHED")
    assert bool(world.trino.of("kill_query")) is (state == "RUNNING"), "it is ended before another begins"


def test_trino_that_is_down_is_waited_for(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("control_plane.api.queries.trino._ASK_AGAIN_FOR_S", 0.2)
    monkeypatch.setattr("control_plane.api.jobs.sql_engine.ENGINE_PAUSE_S", 0.1)
    world.trino.down = True
    owner = Owner(world, "engineer")
    run = owner.start(owner.make())
    wait_for(lambda: "Trino does not answer" in owner.log(run))
    world.trino.down = False
    assert owner.wait_until(run, "succeeded", "failed")["attempt"] == 1
    assert len(world.trino.asked) == 1


def test_schedule_rests_until_its_owner_gives_the_permission(world: World) -> None:
    owner = Owner(world, "engineer", permission=False)
    assert owner.get("/api/v1/job-permission")["granted"] is False
    job = owner.make(schedule=SOON)
    assert (job["pause"], job["next_run_at"]) == ("permission", None)
    owner.post(f"/api/v1/jobs/{job['id']}/resume", status=409)
    owner.give_permission()
    told = owner.get("/api/v1/job-permission")
    assert (told["granted"], told["groups"]) == (True, ["data_engineers"])
    assert owner.get(f"/api/v1/jobs/{job['id']}")["next_run_at"] is not None
    with rows(world) as connection:
        (token,) = world.keycloak.offline_tokens
        kept = connection.execute("SELECT token FROM job_permission").fetchone()
        assert kept is not None
        assert token.encode() not in kept[0]
    make_due(world, job)
    wait_for(lambda: bool(owner.runs(job)))
    owner.wait_until(owner.runs(job)[0], "succeeded")
    owner.delete("/api/v1/job-permission")
    assert world.keycloak.offline_tokens == {}, "Keycloak forgot it, too"
    rests = owner.get(f"/api/v1/jobs/{job['id']}")
    assert (rests["pause"], rests["next_run_at"]) == ("permission", None)


def test_owner_whose_rights_go_takes_their_jobs_along(world: World) -> None:
    owner, keycloak = Owner(world, "engineer"), world.keycloak
    job = owner.make(schedule=SOON)
    keycloak.disabled.add("engineer")
    make_due(world, job)
    with rows(world) as connection:
        wait_for(lambda: connection.execute("SELECT pause FROM job").fetchone() == ("rights",))
        wait_for(lambda: connection.execute("SELECT state FROM job_run").fetchone() == ("failed",))
        assert connection.execute("SELECT ended_reason FROM job_permission").fetchone() is not None
    assert world.trino.asked == []
    keycloak.disabled.clear()
    rests = owner.get(f"/api/v1/jobs/{job['id']}")
    assert (rests["pause"], rests["next_run_at"]) == ("rights", None)
    assert "Session not active" in rests["pause_reason"]
    assert owner.runs(job)[0]["attempt"] == 1, "it is not tried again"
    owner.give_permission()
    assert owner.get(f"/api/v1/jobs/{job['id']}")["pause"] is None


def test_owner_who_leaves_the_jobs_group_stops_it(world: World) -> None:
    world.keycloak.people["engineer"] = {"data_engineers", "analysts"}
    owner = Owner(world, "engineer")
    job, other = owner.make(schedule=SOON, group="analysts"), owner.make(schedule=SOON)
    world.keycloak.people["engineer"] = {"data_engineers"}
    make_due(world, job)
    make_due(world, other)
    wait_for(lambda: bool(owner.runs(job) and owner.runs(other)))
    failed = owner.wait_until(owner.runs(job)[0], "failed", "succeeded")
    assert failed["error"]["name"] == "RIGHTS_GONE"
    assert "no member of 'analysts'" in owner.get(f"/api/v1/jobs/{job['id']}")["pause_reason"]
    owner.wait_until(owner.runs(other)[0], "succeeded")
    assert owner.get(f"/api/v1/jobs/{other['id']}")["pause"] is None


def test_owner_in_no_group_any_more_loses_the_permission(world: World) -> None:
    owner = Owner(world, "engineer")
    job = owner.make(schedule=SOON)
    world.keycloak.people["engineer"] = set()
    make_due(world, job)
    with rows(world) as connection:
        wait_for(lambda: connection.execute("SELECT pause FROM job").fetchone() == ("rights",))
    assert "in no group" in owner.get("/api/v1/job-permission")["ended_reason"]
    assert world.trino.asked == []


def test_keycloak_that_is_down_is_waited_for(world: World) -> None:
    owner = Owner(world, "engineer")
    job = owner.make(schedule=SOON)
    world.keycloak.down = True
    make_due(world, job)
    with rows(world) as connection:
        wait_for(lambda: connection.execute("SELECT state FROM job_run").fetchone() == ("running",))
    assert world.trino.asked == []
    world.keycloak.down = False
    assert owner.wait_until(owner.runs(job)[0], "succeeded", "failed")["attempt"] == 1


def test_permission_of_somebody_else_is_not_taken(world: World) -> None:
    owner = Owner(world, "engineer", permission=False)
    url = owner.post("/api/v1/job-permission", {"next": "/jobs"})["url"]
    assert "offline_access" in url
    back = world.keycloak.sign_in(url, "admin")
    refused = owner.browser.get(back.removeprefix(world.url))
    assert (refused.status_code, refused.json()["permitted"]) == (400, "engineer")
    assert world.keycloak.offline_tokens == {}, "what came is given back"
    world.keycloak.without_offline.add("engineer")
    url = owner.post("/api/v1/job-permission", {"next": "/jobs"})["url"]
    back = world.keycloak.sign_in(url, "engineer")
    assert "no offline token" in owner.browser.get(back.removeprefix(world.url)).json()["title"]
    assert owner.get("/api/v1/job-permission")["granted"] is False
    stranger = world.browser()
    assert stranger.get(back.removeprefix(world.url)).status_code == 400


def test_run_by_hand_needs_a_sign_in_and_ends_with_it(world: World) -> None:
    held_insert(world)
    owner = Owner(world, "engineer", permission=False)
    job = owner.make()
    with httpx.Client(base_url=world.url, trust_env=False) as http:
        bearer = {"Authorization": f"Bearer {world.keycloak.token('engineer', CLIENT)}"}
        refused = http.post(f"/api/v1/jobs/{job['id']}/runs", json={}, headers=bearer)
        assert refused.status_code == 409
        asked = http.post("/api/v1/job-permission", json={}, headers=bearer)
        assert asked.status_code == 422
    world.keycloak.access_life_s = 31
    other = Owner(world, "engineer", permission=False)
    run = other.start(job)
    other.wait_until(run, "running")
    other.post("/auth/logout")
    ended = owner.wait_until(run, "failed", timeout_s=20)
    assert ended["error"]["name"] == "RIGHTS_GONE"


def test_entries_wait_for_a_database_that_is_away(world: World) -> None:
    owner = Owner(world, "engineer")
    started = world.console.jobs.worker.started
    with rows(world) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE application_name LIKE 'console%' AND datname = current_database()"
        )
    run = owner.start(owner.make())
    assert owner.wait_until(run, "succeeded", "failed")["state"] == "succeeded"
    assert world.console.jobs.worker.started >= started
