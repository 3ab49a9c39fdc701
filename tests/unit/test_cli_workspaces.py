"""``lab workspace``: what is sent to the governor, what is asked first, and how answers are shown."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

import httpx
import pytest

from cli import app, operations
from cli.commands import workspaces as commands
from tests.unit import cli_governor
from tests.unit.cli_governor import NOW, FakeGovernor

run = cli_governor.run
governor = cli_governor.governor

ID = UUID("11111111-2222-3333-4444-555555555555")
PATH = f"/v1/workspaces/{ID}"
WORKSPACE: dict[str, Any] = {
    "id": str(ID),
    "name": "leads",
    "description": "what we sell",
    "namespace": "leads",
    "group": "workspace_leads",
    "location": "s3://b/leads",
    "owners": ["ada"],
    "quota": {"queries": 4, "jobs": 2, "storage_mib": 100},
    "state": "ready",
    "steps": [],
    "error": None,
    "created_by": "ada",
    "created_at": NOW.isoformat(),
    "role": "owner",
    "may_manage": True,
    "may_set_quota": False,
    "usage": {"tables": 1, "size_bytes": 95 * 1024 * 1024},
    "warnings": ["95 MiB of live data comes near the workspace's 100 MiB"],
}
MEMBERS = [{"username": "ada", "owner": True}, {"username": "bob", "owner": False}]
PLAN: dict[str, Any] = {
    "name": "leads",
    "namespace": "leads",
    "group": "workspace_leads",
    "tables": ["leads.people"],
    "members": ["ada", "bob"],
    "access": ["grant on leads.* to workspace_leads"],
    "refused": None,
    "done": False,
}


@pytest.fixture
def spaces(governor: FakeGovernor) -> FakeGovernor:
    governor.answers |= {
        "/v1/workspaces": [WORKSPACE],
        PATH: WORKSPACE,
        f"{PATH}/members": MEMBERS,
        f"{PATH}/members/bob": MEMBERS,
        f"{PATH}/members/cy": MEMBERS[:1],
        f"{PATH}/removal": PLAN,
    }
    return governor


def writes(governor: FakeGovernor) -> list[tuple[str, str, Any]]:
    return [one for one in governor.asked if one[0] != "GET"]


def answer_once(governor: FakeGovernor, monkeypatch: pytest.MonkeyPatch, answer: Any) -> None:
    """``answer`` to what makes a workspace; the list is as before."""
    plain = FakeGovernor.__call__

    def call(self: FakeGovernor, request: httpx.Request) -> httpx.Response:
        found = plain(self, request)
        made = (request.method, request.url.path) == ("POST", "/v1/workspaces")
        return httpx.Response(200, json=answer) if made else found

    monkeypatch.setattr(FakeGovernor, "__call__", call)
    assert governor.answers


def test_those_one_is_in_are_listed(spaces: FakeGovernor, capsys: pytest.CaptureFixture[str]) -> None:
    assert app.run(["workspace", "list", "--as", "engineer"]) == 0
    found = capsys.readouterr()
    row = found.out.splitlines()[-1].split()
    assert row[:6] == ["leads", "owner", "ready", "ada", "1", "95"]
    assert row[6:] == ["what", "we", "sell"]
    spaces.answers["/v1/workspaces"] = []
    assert app.run(["workspace", "list"]) == 0
    found = capsys.readouterr()
    assert found.out.strip() == "you are in no workspace"
    assert "workspace create NAME" in found.err


def test_one_is_shown_with_its_warnings(spaces: FakeGovernor, capsys: pytest.CaptureFixture[str]) -> None:
    spaces.answers["/v1/workspaces"] = [{**WORKSPACE, "state": "making", "error": "Keycloak does not answer"}]
    assert app.run(["workspace", "show", "leads"]) == 0
    out = capsys.readouterr().out
    assert "95 of 100 MiB" in out
    assert "warning: 95 MiB of live data comes near" in out
    assert "it waits: Keycloak does not answer" in out


def test_an_unknown_name_is_refused_before_anything_is_sent(
    spaces: FakeGovernor, capsys: pytest.CaptureFixture[str]
) -> None:
    for words in (["show"], ["members"], ["add", "--owner"], ["take"], ["change", "--jobs", "1"], ["remove"]):
        users = ["bob"] if words[0] in ("add", "take") else []
        assert app.run(["workspace", words[0], "lead", *users, *words[1:]]) == 2
        err = capsys.readouterr().err
        assert "you are in no workspace named 'lead'; did you mean 'leads'?" in err
        assert "lab workspace list" in err
    assert writes(spaces) == []


def test_it_is_made_with_what_is_said(
    spaces: FakeGovernor, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answer_once(spaces, monkeypatch, WORKSPACE)
    words = [
        "create",
        "leads",
        "--description",
        "d",
        "--owner",
        "ada",
        "--owner",
        "bob",
        "--storage-mib",
        "5",
    ]
    assert app.run(["workspace", *words, "--as", "admin"]) == 0
    assert writes(spaces)[-1][2] == {
        "name": "leads",
        "description": "d",
        "owners": ["ada", "bob"],
        "quota": {"queries": 4, "jobs": 2, "storage_mib": 5},
    }
    assert "workspace add leads USER" in capsys.readouterr().err
    assert app.run(["workspace", "create", "leads"]) == 0
    assert writes(spaces)[-1][2] == {"name": "leads", "description": "", "owners": [], "quota": None}


def test_a_change_keeps_the_rest_of_the_quota(
    spaces: FakeGovernor, capsys: pytest.CaptureFixture[str]
) -> None:
    assert app.run(["workspace", "change", "leads", "--jobs", "7"]) == 0
    quota = {"queries": 4, "jobs": 7, "storage_mib": 100}
    assert writes(spaces) == [("PATCH", PATH, {"description": None, "quota": quota})]
    assert app.run(["workspace", "change", "leads"]) == 2
    assert "nothing was asked for" in capsys.readouterr().err
    assert len(writes(spaces)) == 1


def test_members_come_and_go(spaces: FakeGovernor, capsys: pytest.CaptureFixture[str]) -> None:
    assert app.run(["workspace", "add", "leads", "bob", "cy", "--owner"]) == 0
    assert writes(spaces) == [
        ("PUT", f"{PATH}/members/bob", {"owner": True}),
        ("PUT", f"{PATH}/members/cy", {"owner": True}),
    ]
    out = capsys.readouterr().out
    assert [line.split() for line in out.splitlines()[-2:]] == [["ada", "owner"], ["bob", "member"]]
    assert app.run(["workspace", "take", "leads", "cy"]) == 0
    assert writes(spaces)[-1][:2] == ("DELETE", f"{PATH}/members/cy")
    assert "bob" not in capsys.readouterr().out


def test_a_refusal_of_the_governor_is_passed_on(
    spaces: FakeGovernor, capsys: pytest.CaptureFixture[str]
) -> None:
    spaces.status = 422
    spaces.answers["/v1/workspaces"] = {"title": "this can't be the name of a workspace", "permitted": "a-z"}
    assert app.run(["workspace", "create", "No"]) == 2
    assert "this can't be the name of a workspace" in capsys.readouterr().err


def test_what_goes_is_said_and_tables_go_only_when_the_name_was_typed(
    spaces: FakeGovernor, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert app.run(["workspace", "remove", "leads", "--tables", "--dry-run"]) == 0
    assert "table leads.people with its rows" in capsys.readouterr().out
    assert app.run(["workspace", "remove", "leads", "--tables"]) == 2
    assert "nobody is there to confirm" in capsys.readouterr().err
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr("click.prompt", lambda *_, **__: "lead")
    assert app.run(["workspace", "remove", "leads", "--tables"]) == 2
    assert "nothing was removed" in capsys.readouterr().err
    assert {body["only_try"] for _, _, body in writes(spaces)} == {True}
    monkeypatch.setattr("click.prompt", lambda *_, **__: "leads")
    assert app.run(["workspace", "remove", "leads", "--tables"]) == 0
    assert writes(spaces)[-1][2] == {"tables": True, "only_try": False}
    assert "is being removed, which goes on by itself" in capsys.readouterr().out


def test_an_empty_one_goes_without_a_question(
    spaces: FakeGovernor, capsys: pytest.CaptureFixture[str]
) -> None:
    spaces.answers[f"{PATH}/removal"] = {**PLAN, "tables": [], "done": True}
    assert app.run(["--json", "workspace", "remove", "leads"]) == 0
    assert json.loads(capsys.readouterr().out)["done"] is True
    assert writes(spaces)[-1][2] == {"tables": False, "only_try": False}


def test_each_is_a_function_to_use_from_python() -> None:
    for name in ("create", "change", "remove"):
        assert callable(getattr(operations, f"{name}_workspace"))
    assert callable(operations.workspaces)
    assert {one.name for one in commands.workspace.commands.values()} == {
        *("list", "show", "create", "change", "members", "add", "take", "remove")
    }
