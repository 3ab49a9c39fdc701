"""Charts and dashboards of workspaces: their members have them, each with their own rows, and nobody else."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import httpx
import pytest

from governance.workspaces.model import group_of
from tests.unit import console_world
from tests.unit.console_trino import Answer
from tests.unit.console_world import GovernedWorld, wait_for

pytestmark = pytest.mark.engine
postgres_server = console_world.postgres_server
governed = console_world.governed

CHART: dict[str, Any] = {
    "title": "By region",
    "statement": "SELECT region, n FROM calls",
    "spec": {"kind": "bar", "x": "region", "y": ["n"]},
}
BOARD: dict[str, Any] = {"title": "Calls"}
KINDS = {"charts": CHART, "dashboards": BOARD}
TEAM = "marketing"


class People:
    """Clients by name. ``engineer`` owns the workspace ``marketing``, ``analyst`` is a member, those
    who read access data know of it."""

    def __init__(self, world: GovernedWorld) -> None:
        self.world = world
        self._open: list[httpx.Client] = []
        self.engineer = self.client("engineer")
        self.admin = self.client("admin")
        made = self.engineer.post("/api/v1/workspaces", json={"name": TEAM})
        assert made.status_code == 201, made.text
        self.workspace: dict[str, Any] = made.json()
        self.id: str = self.workspace["id"]
        self.path = f"/api/v1/workspaces/{self.id}"
        self.join("analyst")
        self.analyst = self.client("analyst")

    def client(self, username: str) -> httpx.Client:
        """The API with a token of now."""
        self._open.append(self.world.as_user(username))
        # A workspace is made in several steps, which take their time on a busy machine.
        self._open[-1].timeout = httpx.Timeout(120)
        return self._open[-1]

    def join(self, username: str) -> None:
        """Made a member; the group is in tokens from now on."""
        assert self.engineer.put(f"{self.path}/members/{username}", json={"owner": False}).status_code == 200
        self.world.keycloak.people[username].add(group_of(TEAM))

    def leave(self, username: str) -> None:
        """Taken out of it."""
        assert self.engineer.delete(f"{self.path}/members/{username}").status_code == 200
        self.world.keycloak.people[username].discard(group_of(TEAM))

    def close(self) -> None:
        """Everything gone."""
        for groups in self.world.keycloak.people.values():
            groups.discard(group_of(TEAM))
        self.admin.post(f"{self.path}/removal", json={"tables": True})
        for client in self._open:
            client.close()


@pytest.fixture
def people(governed: GovernedWorld) -> Iterator[People]:
    governed.trino.rules.clear()
    governed.trino.asked.clear()
    found = People(governed)
    yield found
    found.close()


def make(client: httpx.Client, kind: str, **more: Any) -> dict[str, Any]:
    """Something kept."""
    answer = client.post(f"/api/v1/{kind}", json={**KINDS[kind], **more})
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


def ids(client: httpx.Client, kind: str, **query: Any) -> list[str]:
    """What a list has."""
    answer = client.get(f"/api/v1/{kind}", params=query)
    assert answer.status_code == 200, answer.text
    return [one["id"] for one in answer.json()]


@pytest.mark.parametrize("kind", KINDS)
def test_members_have_it_and_nobody_else(people: People, kind: str) -> None:
    made = make(people.analyst, kind, workspace_id=people.id)
    assert made["workspace"] == {"id": people.id, "name": TEAM}
    alone = make(people.analyst, kind)
    assert alone["workspace"] is None
    path = f"/api/v1/{kind}/{made['id']}"
    for member, manages in ((people.analyst, True), (people.engineer, True)):
        seen = member.get(path).json()
        assert (seen["can_edit"], seen["can_manage"], seen["owner"]) == (True, manages, "analyst")
        assert ids(member, kind, workspace_id=people.id) == [made["id"]]
    assert {made["id"], alone["id"]} <= set(ids(people.analyst, kind))
    assert alone["id"] not in ids(people.engineer, kind), "what is the analyst's alone stays so"
    for name in ("admin", "steward", "auditor", "outsider"):
        other = people.client(name)
        assert other.get(path).status_code == 404, name
        assert other.put(path, json=KINDS[kind], headers={"If-Match": '"1"'}).status_code == 404, name
        assert other.delete(path, headers={"If-Match": '"1"'}).status_code == 404, name
        assert made["id"] not in ids(other, kind)
        assert other.get(f"/api/v1/{kind}", params={"workspace_id": people.id}).status_code == 404, name
        run = f"{path}/data" if kind == "charts" else f"{path}/tiles/a/data"
        assert other.post(run, json={}).status_code == 404, name


@pytest.mark.parametrize("kind", KINDS)
def test_who_left_has_it_no_more_though_they_made_it(people: People, kind: str) -> None:
    made = make(people.analyst, kind, workspace_id=people.id)
    path = f"/api/v1/{kind}/{made['id']}"
    people.leave("analyst")
    gone = people.client("analyst")
    assert gone.get(path).status_code == 404
    assert made["id"] not in ids(gone, kind)
    # The workspace goes on with it, and its owner may take it out as their own.
    kept = people.engineer.put(path, json=KINDS[kind], headers={"If-Match": '"1"'}).json()
    assert (kept["workspace"], kept["owner"]) == (None, "engineer")
    assert gone.get(path).status_code == 404


@pytest.mark.parametrize("kind", KINDS)
def test_members_edit_and_owners_remove(people: People, kind: str) -> None:
    people.join("steward")
    steward = people.client("steward")
    made = make(people.engineer, kind, workspace_id=people.id, shares=[{"group": "auditors"}])
    path = f"/api/v1/{kind}/{made['id']}"
    mine = {**KINDS[kind], "title": "Ours", "workspace_id": None, "shares": []}
    changed = steward.put(path, json=mine, headers={"If-Match": '"1"'})
    assert (changed.status_code, changed.json()["title"]) == (200, "Ours")
    assert changed.json()["workspace"]["id"] == people.id, "to move it is its owner's"
    assert people.engineer.get(path).json()["shares"] == [{"group": "auditors", "access": "read"}]
    refused = steward.delete(path, headers={"If-Match": '"2"'})
    assert (refused.status_code, refused.json()["permitted"]) == (403, "engineer, owners of its workspace")
    assert steward.get(path).json()["can_manage"] is False
    of_a_member = make(steward, kind, workspace_id=people.id)
    theirs = f"/api/v1/{kind}/{of_a_member['id']}"
    assert people.engineer.delete(theirs, headers={"If-Match": '"1"'}).status_code == 204
    assert people.engineer.delete(path, headers={"If-Match": '"2"'}).status_code == 204
    assert ids(people.analyst, kind, workspace_id=people.id) == []


@pytest.mark.parametrize("kind", KINDS)
def test_two_members_do_not_overwrite_each_other(people: People, kind: str) -> None:
    made = make(people.engineer, kind, workspace_id=people.id)
    path, body = f"/api/v1/{kind}/{made['id']}", {**KINDS[kind], "workspace_id": people.id}
    assert people.analyst.put(path, json=body).status_code == 428
    first = people.analyst.put(path, json={**body, "title": "Mine"}, headers={"If-Match": '"1"'})
    assert (first.status_code, first.headers["etag"]) == (200, '"2"')
    stale = people.engineer.put(path, json={**body, "title": "Yours"}, headers={"If-Match": '"1"'})
    assert stale.status_code == 412
    assert "'analyst' changed this" in stale.json()["title"]
    assert people.engineer.get(path).json()["title"] == "Mine"

    def change(client: httpx.Client) -> int:
        return client.put(path, json=body, headers={"If-Match": '"2"'}).status_code

    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(change, [people.engineer, people.analyst] * 3))
    assert sorted(answers) == [200, *([412] * 5)]


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_put_into_what_one_does_not_work_in(people: People, kind: str) -> None:
    people.leave("analyst")
    # Who reads access data knows of it; in no group at all one is told so by the governor.
    for name, status in (("analyst", 404), ("steward", 403), ("auditor", 403), ("outsider", 403)):
        client = people.client(name)
        answer = client.post(f"/api/v1/{kind}", json={**KINDS[kind], "workspace_id": people.id})
        assert answer.status_code == status, answer.text
        own = make(client, kind)
        path = f"/api/v1/{kind}/{own['id']}"
        moved = client.put(path, json={**KINDS[kind], "workspace_id": people.id}, headers={"If-Match": '"1"'})
        assert moved.status_code == status, moved.text
        assert client.get(path).json()["version"] == 1
    unknown = people.engineer.post(f"/api/v1/{kind}", json={**KINDS[kind], "workspace_id": str(uuid4())})
    assert unknown.status_code == 404
    assert ids(people.engineer, kind, workspace_id=people.id) == []


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_ones_own_is_brought_into_a_workspace_and_out_again(people: People, kind: str) -> None:
    own = make(people.analyst, kind)
    path = f"/api/v1/{kind}/{own['id']}"
    assert people.engineer.get(path).status_code == 404
    inside = {**KINDS[kind], "workspace_id": people.id}
    assert people.analyst.put(path, json=inside, headers={"If-Match": '"1"'}).json()["version"] == 2
    assert people.engineer.get(path).json()["title"] == KINDS[kind]["title"]
    assert people.analyst.put(path, json=KINDS[kind], headers={"If-Match": '"2"'}).status_code == 200
    assert people.engineer.get(path).status_code == 404


def test_each_member_asks_with_their_own_rights(people: People, governed: GovernedWorld) -> None:
    governed.trino.on("FROM calls", Answer({"region": "varchar", "n": "bigint"}, [[["EMEA", 1]]]))
    governed.trino.on("DISTINCT", Answer({"r": "varchar"}, [[["EMEA"]]]))
    chart = make(people.engineer, "charts", workspace_id=people.id)
    tile = {"id": "a", "kind": "chart", "chart_id": chart["id"], "x": 0, "y": 0, "width": 6, "height": 4}
    region = {"parameter": "region", "options_statement": "SELECT DISTINCT r FROM calls"}
    board = make(people.engineer, "dashboards", workspace_id=people.id, tiles=[tile], filters=[region])
    path = f"/api/v1/dashboards/{board['id']}"
    assert [one["id"] for one in people.analyst.get(path).json()["charts"]] == [chart["id"]]
    for client in (people.analyst, people.engineer):
        assert client.post(f"/api/v1/charts/{chart['id']}/data", json={}).status_code == 202
        assert client.post(f"{path}/tiles/a/data", json={}).status_code == 202
        assert client.get(f"{path}/filters/region/options").json()["options"] == ["EMEA"]
    wait_for(lambda: len(governed.trino.asked) == 6)
    assert sorted(one.user for one in governed.trino.asked) == ["analyst"] * 3 + ["engineer"] * 3


@pytest.mark.parametrize("kind", KINDS)
def test_shared_with_a_group_outside_it_is_read_there(people: People, kind: str) -> None:
    made = make(people.engineer, kind, workspace_id=people.id, shares=[{"group": "auditors"}])
    path = f"/api/v1/{kind}/{made['id']}"
    seen = people.client("auditor").get(path).json()
    assert (seen["workspace"], seen["can_edit"], seen["can_manage"]) == (None, False, False)
    assert seen["shares"] == [{"group": "auditors", "access": "read"}]


def test_they_go_with_their_workspace(people: People) -> None:
    made = {kind: make(people.analyst, kind, workspace_id=people.id) for kind in KINDS}
    own = make(people.analyst, "charts")
    assert people.engineer.post(f"{people.path}/removal", json={"only_try": True}).json()["done"] is False
    assert made["dashboards"]["id"] in ids(people.analyst, "dashboards")
    assert people.engineer.post(f"{people.path}/removal", json={}).json()["done"] is True
    for kind, one in made.items():
        for client in (people.analyst, people.engineer):
            assert client.get(f"/api/v1/{kind}/{one['id']}").status_code == 404
    assert own["id"] in ids(people.analyst, "charts")
    again = people.engineer.post("/api/v1/workspaces", json={"name": TEAM}).json()
    assert ids(people.engineer, "charts", workspace_id=again["id"]) == [], "of that name, and another one"
    people.path = f"/api/v1/workspaces/{again['id']}"


def test_without_the_governor_members_go_on(
    people: People, governed: GovernedWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = make(people.analyst, "charts", workspace_id=people.id)
    path = f"/api/v1/charts/{made['id']}"
    governed.console.workspaces.forget()
    monkeypatch.setattr(governed.console.governor, "_url", "http://127.0.0.1:9")
    assert people.analyst.get(path).json()["workspace"]["name"] == TEAM
    changed = people.analyst.put(path, json=CHART, headers={"If-Match": '"1"'})
    assert (changed.status_code, changed.json()["workspace"]) == (200, None)
    assert people.client("auditor").get(path).status_code == 404
    refused = people.analyst.put(path, json={**CHART, "workspace_id": people.id}, headers={"If-Match": '"2"'})
    assert refused.status_code == 503, "who may put something in is the governor's to say"
