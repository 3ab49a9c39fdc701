"""Logs and maintenance in the console: who may read them, and how they are read while they grow."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from control_plane.api.health import Component
from control_plane.api.logs import LONGEST_LINE, READ_BYTES, Logs
from control_plane.api.problems import AbsentServiceError, NotFoundError
from tests.unit import console_world
from tests.unit.console_world import GovernedWorld

postgres_server = console_world.postgres_server
governed = console_world.governed

LOGS = "/api/v1/admin/logs"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "trino.log").write_text("one\ntwo\nthree\n", encoding="utf-8")
    (tmp_path / "opa.log").write_text("", encoding="utf-8")
    (tmp_path / "trino.log.1").write_text("older\n", encoding="utf-8")
    (tmp_path / "secret.txt").write_text("not a log\n", encoding="utf-8")
    (tmp_path / "linked.log").symlink_to(tmp_path / "secret.txt")
    return tmp_path


@pytest.fixture
def people(governed: GovernedWorld, folder: Path) -> Iterator[dict[str, httpx.Client]]:
    before, governed.console.logs = governed.console.logs, Logs(folder)
    clients = {name: governed.as_user(name) for name in governed.keycloak.people}
    yield clients
    for client in clients.values():
        client.close()
    governed.console.logs = before


def test_a_log_is_followed_while_it_grows(folder: Path) -> None:
    logs, path = Logs(folder), folder / "trino.log"
    assert [one.service for one in logs.files()] == ["opa", "trino"]
    assert logs.files()[1].size_bytes == 14
    begun = logs.read("trino", lines=2)
    assert (begun.lines, begun.skipped) == (("two", "three"), True)
    with path.open("a", encoding="utf-8") as file:
        file.write("four\nhalf")
    more = logs.read("trino", lines=10, after=begun.next)
    assert (more.lines, more.skipped) == (("four",), False)
    with path.open("a", encoding="utf-8") as file:
        file.write(" done\n")
    rest = logs.read("trino", lines=10, after=more.next)
    assert rest.lines == ("half done",)
    assert logs.read("trino", lines=10, after=rest.next).lines == ()
    path.write_text("new\n", encoding="utf-8")
    assert logs.read("trino", lines=10, after=rest.next).lines == ("new",)
    assert logs.read("opa", lines=10).lines == ()


def test_a_long_log_is_read_from_its_end(folder: Path) -> None:
    line = b"x" * 99 + b"\n"
    (folder / "trino.log").write_bytes(line * (3 * READ_BYTES // 100))
    found = Logs(folder).read("trino", lines=1_000_000)
    assert found.skipped
    assert len(found.lines) == READ_BYTES // 100
    assert set(found.lines) == {"x" * 99}, "no line is cut"


def test_a_line_is_plain_text_of_bounded_length(folder: Path) -> None:
    (folder / "trino.log").write_bytes(
        b"\x1b[31mred\x1b[0m \x00\x07\xff<img src=x>\r\n" + b"y" * (LONGEST_LINE + 5) + b"\n"
    )
    first, second = Logs(folder).read("trino", lines=2).lines
    assert first == "red \ufffd<img src=x>"
    assert second == "y" * LONGEST_LINE + "…"


@pytest.mark.parametrize("name", ["linked", "secret", "../trino", "/etc/passwd", "trino.log", "", "*"])
def test_nothing_but_a_log_is_read(folder: Path, name: str) -> None:
    with pytest.raises(NotFoundError) as refused:
        Logs(folder / ".").read(name, lines=1)
    assert refused.value.permitted == "opa, trino"


def test_logs_may_be_kept_elsewhere() -> None:
    with pytest.raises(AbsentServiceError) as absent:
        Logs(None).files()
    assert absent.value.next_command == "lab logs SERVICE"


def test_logs_are_for_lab_admins(people: dict[str, httpx.Client]) -> None:
    for path in (LOGS, f"{LOGS}/trino", f"{LOGS}/nothing"):
        assert {name: client.get(path).status_code for name, client in people.items() if name != "admin"} == {
            name: 403 for name in people if name != "admin"
        }
    admin = people["admin"]
    assert [one["service"] for one in admin.get(LOGS).json()] == ["opa", "trino"]
    found = admin.get(f"{LOGS}/trino", params={"lines": 1}).json()
    assert found == {"service": "trino", "lines": ["three"], "next": 14, "skipped": True}
    assert admin.get(f"{LOGS}/trino", params={"after": 8}).json()["lines"] == ["three"]
    assert admin.get(f"{LOGS}/nothing").status_code == 404
    assert admin.get(f"{LOGS}/..%2Fsecret").status_code == 404
    assert admin.get(f"{LOGS}/trino", params={"lines": 0}).status_code == 422


def test_maintenance_is_told_to_whom_the_governor_tells_it(
    governed: GovernedWorld, people: dict[str, httpx.Client]
) -> None:
    with governed.lab.client("engineer", "data_engineers") as engineer:
        run = engineer.maintenance.run("retail.part")
    path = "/api/v1/maintenance"
    for name in ("steward", "engineer"):
        (told,) = people[name].get(f"{path}/runs").json()
        assert (told["id"], told["table"], told["asked_by"]) == (run.id, "retail.part", "engineer")
        assert told["outcome"] == run.outcome.value
        assert [step["procedure"] for step in told["steps"]] == [step.procedure for step in run.steps]
    assert people["analyst"].get(f"{path}/runs").json() == []
    assert people["analyst"].get(f"{path}/policies").status_code == 403
    assert people["steward"].get(f"{path}/policies").json()["revision"] >= 1
    assert "retail.part" in people["engineer"].get(f"{path}/scope").json()["tables"]
    assert people["analyst"].get(f"{path}/scope").json()["tables"] == []
    plan = people["engineer"].post(f"{path}/plans", json={"table": "retail.part"})
    assert plan.json()["table"] == "retail.part"
    assert {step["verdict"] for step in plan.json()["steps"]} <= {"run", "unneeded", "off", "unsafe", "waits"}
    assert people["analyst"].post(f"{path}/plans", json={"table": "retail.part"}).status_code == 403
    assert people["engineer"].post(f"{path}/plans", json={"table": "retail.nothing"}).status_code == 422
    named = people["engineer"].get(f"{path}/runs", params={"table": "retail.orders"})
    assert named.json() == []


def test_an_admin_ends_the_sessions_of_all_others(
    governed: GovernedWorld, people: dict[str, httpx.Client]
) -> None:
    own, other = (governed.browser().sign_in(name) for name in ("admin", "analyst"))
    path = "/api/v1/admin/sessions/end"
    assert other.post(path).status_code == 403
    assert people["steward"].post(path).status_code == 403
    answer = own.post(path)
    assert answer.status_code == 200
    assert answer.json()["ended"] >= 1
    assert own.get("/api/v1/me").status_code == 200
    assert other.get("/api/v1/me").status_code == 401
    assert people["admin"].post(path).json() == {"ended": 1}
    assert own.get("/api/v1/me").status_code == 401


def test_secrets_are_listed_with_what_makes_them_anew(
    governed: GovernedWorld, people: dict[str, httpx.Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = governed.console.settings
    spark = Component(name="spark", title="Spark")
    monkeypatch.setattr(governed.console, "settings", replace(settings, components=(spark,)))
    answer = people["admin"].get("/api/v1/admin/secrets")
    listed = {one["title"]: one for one in answer.json()}
    clients = listed["Secrets with which services sign in at Keycloak"]
    assert "spark" not in clients["services"], "this lab runs without it"
    assert {"trino", "governor"} < set(clients["services"])
    assert (clients["command"], clients["stays"]) == ("lab rotate keys", None)
    assert listed["Passwords of the sample users"]["command"] == "lab rotate people"
    salt = listed["Key of pseudonyms"]
    assert (salt["command"], bool(salt["stays"])) == (None, True)
    told = "First principal of Polaris" in listed
    assert told is (settings.catalog_kind == "polaris")
    for secret in (settings.client_secret, settings.encryption_key):
        assert str(secret) not in answer.text
