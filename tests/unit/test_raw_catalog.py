"""The door of raw engines to a catalog without grants: what is passed on, and what never reaches it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, get_args

import httpx
import pytest
from pyiceberg.table.update import TableUpdate

from contracts.access import AccessData, Grant, Mask, Privilege, Rule, RuleKind
from contracts.errors import LabError, UsageError
from governance.derivation import RawRights
from governance.governor.auth import Caller
from governance.rawcatalog.door import Answer, CatalogAwayError, Door
from governance.rawcatalog.requests import DATA_UPDATES, LAYOUT_UPDATES, RefusedError

WAREHOUSE = "s3://lab/lake"
UUID = "11111111-2222-3333-4444-555555555555"
BASE = "/iceberg/v1/main%7Clake"
SCHEMA = {"schema-id": 0, "fields": [{"id": 1, "name": "id", "type": "long"}]}
NESTED = {
    "schema-id": 0,
    "fields": [
        {"id": 1, "name": "id", "type": "long"},
        {"id": 2, "name": "who", "type": {"type": "struct", "fields": [{"id": 3, "name": "email"}]}},
        {"id": 4, "name": "all", "type": {"type": "list", "element-id": 5, "element": "string"}},
    ],
}
ACCESS = AccessData(
    grants=(
        Grant(group="engineers", object="raw.*", privileges=tuple(Privilege)),
        Grant(group="engineers", object="shop.*", privileges=tuple(Privilege)),
        Grant(group="engineers", object="hr.*", privileges=tuple(Privilege)),
        Grant(group="analysts", object="shop.nation", privileges=(Privilege.SELECT,)),
        Grant(group="keepers", object="shop.nation", privileges=(Privilege.SELECT, Privilege.INSERT)),
        Grant(group="masked", object="shop.*", privileges=tuple(Privilege)),
    ),
    rules=(
        Rule(
            id="m",
            kind=RuleKind.COLUMN_MASK,
            object="shop.customer.id",
            mask=Mask.NULL,
            exempt=("engineers",),
        ),
    ),
)


class Nessie:
    """Answers everything, and notes what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, Any]] = []
        self.metadata: dict[str, Any] = {}
        self.away = False

    def handle(self, request: httpx.Request) -> httpx.Response:
        if self.away:
            raise httpx.ConnectError("refused")
        path = request.url.raw_path.decode().partition("?")[0]
        if path == "/iceberg/v1/config":
            return httpx.Response(
                200,
                json={
                    "defaults": {"prefix": "main%7Clake", "warehouse": WAREHOUSE, "s3.endpoint": "http://s3"},
                    "overrides": {"uri": "http://nessie/iceberg", "nessie.is-nessie-catalog": "true"},
                },
            )
        self.asked.append((request.method, path, json.loads(request.content or b"null")))
        if path.endswith("/namespaces"):
            return httpx.Response(200, json={"namespaces": [["raw"], ["shop"], ["hr"]]})
        if path.endswith("/tables") and request.method == "GET":
            names = ("nation", "customer")
            return httpx.Response(
                200, json={"identifiers": [{"namespace": ["shop"], "name": name} for name in names]}
            )
        return httpx.Response(200, json={"metadata": self.metadata})


class Asking:
    """The door in front of a catalog, asked as members of groups."""

    def __init__(self) -> None:
        self.nessie = Nessie()
        http = httpx.Client(
            base_url="http://nessie/iceberg", transport=httpx.MockTransport(self.nessie.handle)
        )
        self.door = Door(http, "lake", lambda: RawRights(ACCESS, {}, closed=["hr"], revision=5))

    def __call__(
        self,
        group: str,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        query: Mapping[str, str] | None = None,
    ) -> Answer:
        caller = Caller(username="u", groups=frozenset({group}), service=None)
        content = b"" if body is None else json.dumps(body).encode()
        return self.door.answer(caller, method, path, query or {}, {}, content)

    def load(self, group: str, table: str, **metadata: Any) -> Answer:
        namespace, _, name = table.partition(".")
        place = f"{WAREHOUSE}/{namespace}/{name}_{UUID}"
        self.nessie.metadata = {"location": place, "properties": {}, **metadata}
        return self(group, "GET", f"/v1/lake/namespaces/{namespace}/tables/{name}")


@pytest.fixture
def ask() -> Asking:
    return Asking()


def commit(*updates: Mapping[str, Any], new: bool = False) -> dict[str, Any]:
    requirements = [{"type": "assert-create"}] if new else []
    return {"requirements": requirements, "updates": list(updates)}


def test_clients_are_told_of_this_door_alone(ask: Asking) -> None:
    told = json.loads(ask("analysts", "GET", "/v1/config").content)
    overrides = {"prefix": "lake", "rest-metrics-reporting-enabled": "true"}
    assert told == {"defaults": {"s3.endpoint": "http://s3"}, "overrides": overrides}


@pytest.mark.parametrize(
    ("group", "table", "opens"),
    [
        ("engineers", "shop.customer", True),
        ("engineers", "raw.any", True),
        ("engineers", "hr.people", False),
        ("masked", "shop.customer", False),
        ("masked", "shop.nation", True),
        ("keepers", "shop.nation", True),
        ("analysts", "shop.nation", False),
        ("strangers", "shop.nation", False),
    ],
)
def test_tables_open_to_those_who_read_and_write_them_unruled(
    ask: Asking, group: str, table: str, opens: bool
) -> None:
    if opens:
        assert ask.load(group, table).status == 200
        namespace, _, name = table.partition(".")
        assert ask.nessie.asked == [("GET", f"{BASE}/namespaces/{namespace}/tables/{name}", None)]
        return
    with pytest.raises(RefusedError, match="no raw access"):
        ask.load(group, table)
    assert ask.nessie.asked == []


def test_listings_show_what_one_has(ask: Asking) -> None:
    def listed(group: str, path: str, key: str) -> Any:
        return json.loads(ask(group, "GET", f"/v1/lake/{path}").content)[key]

    assert listed("engineers", "namespaces", "namespaces") == [["raw"], ["shop"]]
    assert listed("keepers", "namespaces", "namespaces") == [["shop"]]
    assert [t["name"] for t in listed("masked", "namespaces/shop/tables", "identifiers")] == ["nation"]
    assert listed("analysts", "namespaces/shop/tables", "identifiers") == []
    assert listed("engineers", "namespaces/shop/views", "identifiers") == []
    assert ask("engineers", "GET", "/v1/lake/namespaces/shop/views/v").status == 404
    with pytest.raises(RefusedError):
        ask("keepers", "GET", "/v1/lake/namespaces/raw")


@pytest.mark.parametrize(
    ("location", "properties"),
    [
        (f"{WAREHOUSE}/hr/people_{UUID}", {}),
        (f"{WAREHOUSE}/raw/../hr/people_{UUID}", {}),
        (f"{WAREHOUSE}/raw/t_{UUID}", {"write.data.path": f"{WAREHOUSE}/hr"}),
        (f"{WAREHOUSE}/raw/t_{UUID}", {"write.object-storage.enabled": "true"}),
    ],
)
def test_a_table_whose_files_lie_elsewhere_is_not_handed_out(
    ask: Asking, location: str, properties: dict[str, str]
) -> None:
    with pytest.raises(RefusedError):
        ask.load("engineers", "raw.t", location=location, properties=properties)


@pytest.mark.parametrize(
    "path",
    [
        "/v1/lake/namespaces/raw/register",
        "/v1/main%7Clake/namespaces/raw/tables",
        "/v1/lake/namespaces/raw/tables/t%40branch",
        "/v1/lake/namespaces/raw/tables/t%23commit",
        "/v1/lake/namespaces/raw/tables/a%2Fb",
        "/v1/lake/namespaces/raw/tables/..",
        "/v1/lake/namespaces/raw%1F..%1Fhr/tables/t",
        "/v1/lake/namespaces/raw/tables/%60t%60",
        "/v1/lake/namespaces//tables/t",
        "/api/v2/trees",
        "/v1/aws/s3/sign",
        "/v1/lake/namespaces/raw/views",
    ],
)
def test_other_paths_and_odd_names_are_not_passed_on(ask: Asking, path: str) -> None:
    method = "POST" if path.endswith(("register", "views", "trees", "sign")) else "GET"
    with pytest.raises(RefusedError):
        ask("engineers", method, path, {} if method == "POST" else None)
    assert ask.nessie.asked == []


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
def test_namespaces_are_not_raw_engines_to_change(ask: Asking, method: str) -> None:
    with pytest.raises(RefusedError):
        ask("engineers", method, "/v1/lake/namespaces/raw", {})
    with pytest.raises(RefusedError):
        ask("engineers", "POST", "/v1/lake/namespaces", {"namespace": ["x"]})
    with pytest.raises(RefusedError):
        ask("engineers", "POST", "/v1/lake/namespaces/raw/properties", {"updates": {"location": "s3://x"}})


def test_creation_is_passed_on_without_a_place(ask: Asking) -> None:
    path = "/v1/lake/namespaces/raw/tables"
    asked = {"name": "t", "schema": SCHEMA, "location": None, "properties": {"comment": "see https://x"}}
    assert ask("engineers", "POST", path, asked).status == 200
    assert ask.nessie.asked == [("POST", f"{BASE}/namespaces/raw/tables", asked)]
    for wrong in (
        {"location": f"{WAREHOUSE}/hr/people"},
        {"properties": {"write.metadata.path": "x"}},
        {"properties": {"some.thing": "s3://lab/lake/hr"}},
        {"name": "t@main"},
    ):
        with pytest.raises(RefusedError):
            ask("engineers", "POST", path, {**asked, **wrong})
    with pytest.raises(RefusedError):
        ask("masked", "POST", "/v1/lake/namespaces/shop/tables", asked)
    with pytest.raises(RefusedError):
        ask("engineers", "POST", "/v1/lake/namespaces/hr/tables", asked)


def test_the_first_commit_gives_back_the_place_that_the_catalog_staged(ask: Asking) -> None:
    path = "/v1/lake/namespaces/raw/tables/t"
    staged = {"action": "set-location", "location": f"{WAREHOUSE}/raw/t_{UUID}"}
    assert ask("engineers", "POST", path, commit(staged, new=True)).status == 200
    for place in (
        f"{WAREHOUSE}/raw/t",
        f"{WAREHOUSE}/raw/u_{UUID}",
        f"{WAREHOUSE}/hr/people_{UUID}",
        f"{WAREHOUSE}/raw/t_{UUID}/../../hr",
        f"{WAREHOUSE}2/raw/t_{UUID}",
        "",
    ):
        with pytest.raises(RefusedError, match="not a raw engine's to choose"):
            ask("engineers", "POST", path, commit({**staged, "location": place}, new=True))
    with pytest.raises(RefusedError, match="not a raw engine's to choose"):
        ask("engineers", "POST", path, commit(staged))


@pytest.mark.parametrize(
    "update",
    [
        {"action": "set-properties", "updates": {"write.data.path": f"{WAREHOUSE}/hr"}},
        {"action": "set-properties", "updated": {"write.data.path": f"{WAREHOUSE}/hr"}},
        {"action": "set-properties", "updates": {"location": f"{WAREHOUSE}/hr"}},
        {"action": "set-properties", "updates": {"anything": f"{WAREHOUSE}/hr"}},
        {"action": "add-snapshot", "snapshot": {"manifest-list": f"{WAREHOUSE}/hr/people/snap.avro"}},
        {"action": "add-snapshot", "snapshot": {"manifest-list": f"{WAREHOUSE}/raw/../hr/snap.avro"}},
        {"action": "add-snapshot", "snapshot": {}},
        {"action": "set-statistics", "statistics": {"statistics-path": f"{WAREHOUSE}/hr/x.puffin"}},
        {"action": "add-view-version", "view-version": {}},
        {"action": "something-new"},
        {},
    ],
)
def test_commits_choose_no_place_and_nothing_unknown(ask: Asking, update: dict[str, Any]) -> None:
    bodies = (commit(update), commit(update, new=True))
    for body in bodies:
        with pytest.raises(RefusedError):
            ask("engineers", "POST", "/v1/lake/namespaces/raw/tables/t", body)
        change = {"identifier": {"namespace": ["raw"], "name": "t"}, **body}
        with pytest.raises(RefusedError):
            ask("engineers", "POST", "/v1/lake/transactions/commit", {"table-changes": [change]})
    assert ask.nessie.asked == []


def test_what_a_client_of_the_specification_sends_is_known() -> None:
    actions = {one.model_fields["action"].default for one in get_args(get_args(TableUpdate)[0])}
    assert {"add-spec", "add-schema", "add-snapshot", "set-properties"} <= actions
    assert actions <= DATA_UPDATES | LAYOUT_UPDATES


def test_rights_decide_on_each_kind_of_commit(ask: Asking) -> None:
    append = {
        "action": "add-snapshot",
        "snapshot": {"manifest-list": f"{WAREHOUSE}/shop/t_{UUID}/metadata/snap.avro"},
    }
    assert ask("keepers", "POST", "/v1/lake/namespaces/shop/tables/nation", commit(append)).status == 200
    with pytest.raises(RefusedError, match="alter"):
        ask("keepers", "POST", "/v1/lake/namespaces/shop/tables/nation", commit({"action": "add-schema"}))
    with pytest.raises(RefusedError, match="drop"):
        ask("keepers", "DELETE", "/v1/lake/namespaces/shop/tables/nation")
    with pytest.raises(RefusedError):
        ask("masked", "POST", "/v1/lake/namespaces/shop/tables/customer", commit(append))
    changes = [
        {"identifier": {"namespace": ["shop"], "name": name}, **commit(append)}
        for name in ("nation", "customer")
    ]
    with pytest.raises(RefusedError, match=r"shop\.customer"):
        ask("masked", "POST", "/v1/lake/transactions/commit", {"table-changes": changes})
    assert ask("engineers", "POST", "/v1/lake/transactions/commit", {"table-changes": changes}).status == 200


@pytest.mark.parametrize(
    ("updates", "kept"),
    [
        ([{"action": "add-schema", "schema": NESTED}], True),
        (
            [{"action": "add-schema", "schema": {"fields": [{"id": 1, "name": "plain", "type": "long"}]}}],
            False,
        ),
        (
            [
                {
                    "action": "add-schema",
                    "schema": {
                        "fields": [
                            {
                                "id": 2,
                                "name": "who",
                                "type": {"type": "struct", "fields": [{"id": 3, "name": "x"}]},
                            }
                        ]
                    },
                }
            ],
            False,
        ),
        ([{"action": "set-current-schema", "schema-id": 7}], False),
        ([{"action": "set-current-schema", "schema-id": 0}], True),
        ([{"action": "add-schema", "schema": {"fields": [{"id": 9, "name": "more", "type": "long"}]}}], True),
    ],
)
def test_columns_of_a_table_under_rules_keep_their_names(
    ask: Asking, updates: list[dict[str, Any]], kept: bool
) -> None:
    older = {"schema-id": 7, "fields": [{"id": 1, "name": "number", "type": "long"}]}
    ask.nessie.metadata = {"current-schema-id": 0, "schemas": [NESTED, older]}
    path = "/v1/lake/namespaces/shop/tables/customer"
    if kept:
        assert ask("engineers", "POST", path, commit(*updates)).status == 200
        return
    with pytest.raises(RefusedError, match="keeps its name"):
        ask("engineers", "POST", path, commit(*updates))
    # No rule is about this one.
    assert ask("engineers", "POST", "/v1/lake/namespaces/shop/tables/nation", commit(*updates)).status == 200


@pytest.mark.parametrize(
    ("source", "target", "done"),
    [
        (["raw", "a"], ["raw", "b"], True),
        (["raw", "a"], ["shop", "b"], False),
        (["raw", "a"], ["hr", "b"], False),
        (["hr", "people"], ["raw", "b"], False),
        (["shop", "customer"], ["shop", "b"], False),
    ],
)
def test_renaming_leaves_no_rule_and_no_folder_behind(
    ask: Asking, source: list[str], target: list[str], done: bool
) -> None:
    body = {
        "source": {"namespace": source[:1], "name": source[1]},
        "destination": {"namespace": target[:1], "name": target[1]},
    }
    if done:
        assert ask("engineers", "POST", "/v1/lake/tables/rename", body).status == 200
        return
    with pytest.raises(RefusedError):
        ask("engineers", "POST", "/v1/lake/tables/rename", body)
    assert ask.nessie.asked == []


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"updates": 1}', b'{"updates": [1]}'])
def test_what_can_not_be_read_is_refused(ask: Asking, body: bytes) -> None:
    caller = Caller(username="u", groups=frozenset({"engineers"}), service=None)
    for path in ("/v1/lake/namespaces/raw/tables/t", "/v1/lake/transactions/commit"):
        with pytest.raises((UsageError, RefusedError)):
            ask.door.answer(caller, "POST", path, {}, {}, body)
    assert ask.nessie.asked == []


def test_only_known_parameters_are_passed_on(ask: Asking) -> None:
    ask("engineers", "DELETE", "/v1/lake/namespaces/raw/tables/t", None, {"purgeRequested": "true", "x": "y"})
    (asked,) = ask.nessie.asked
    assert asked[0] == "DELETE"


def test_services_and_a_catalog_that_is_away(ask: Asking) -> None:
    service = Caller(username="service-account-trino", groups=frozenset(), service="trino")
    with pytest.raises(RefusedError, match="services"):
        ask.door.answer(service, "GET", "/v1/config", {}, {}, b"")
    ask.nessie.away = True
    with pytest.raises(CatalogAwayError) as away:
        ask("engineers", "GET", "/v1/config")
    assert isinstance(away.value, LabError)
