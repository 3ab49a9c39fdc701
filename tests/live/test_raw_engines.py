"""Engines that go to the catalog and the files: rules that Trino enforces can't be walked around there."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from typing import Any

import httpx
import pyarrow as pa
import pytest
from pyiceberg.exceptions import ForbiddenError, ServerError
from pyiceberg.exceptions import UnauthorizedError as NotAuthorizedError

from cli.conformance_raw import count_rows
from contracts.identity import Audience
from governance.query import DeniedError
from tests.live.conftest import LiveLab
from tests.live.people import People

pytestmark = pytest.mark.live

REFUSALS = (ForbiddenError, ServerError, NotAuthorizedError)
FILES_OF_OTHERS = ("retail.customer", "hr.employees")


def new_name() -> str:
    return f"t{uuid.uuid4().hex[:8]}"


class Rest:
    """The Iceberg REST interface as one user, without a library that tidies requests up."""

    def __init__(self, people: People, persona: str, uri: str | None = None) -> None:
        self._http = people.http
        self._base = uri or people.urls["catalog"]
        self._headers = {"Authorization": f"Bearer {people.tokens(persona, Audience.CATALOG)()}"}
        config = self("GET", "/v1/config?warehouse=lake", prefixed=False)
        settings = config.json() if config.status_code == 200 else {}
        found = {**(settings.get("defaults") or {}), **(settings.get("overrides") or {})}
        self.prefix = found.get("prefix", "lake")

    def __call__(self, method: str, path: str, body: Any = None, *, prefixed: bool = True) -> httpx.Response:
        url = f"{self._base}/v1/{self.prefix}{path}" if prefixed else f"{self._base}{path}"
        return self._http.request(method, url, json=body, headers=self._headers)

    def commit(self, table: str, *updates: dict[str, Any], new: bool = False) -> httpx.Response:
        namespace, _, name = table.partition(".")
        requirements = [{"type": "assert-create"}] if new else []
        body = {"requirements": requirements, "updates": list(updates)}
        return self("POST", f"/namespaces/{namespace}/tables/{name}", body)

    def load(self, table: str) -> httpx.Response:
        namespace, _, name = table.partition(".")
        return self("GET", f"/namespaces/{namespace}/tables/{name}")


@pytest.fixture
def own(people: People) -> Iterator[str]:
    """A table that the engineer made, with three rows."""
    catalog = people.catalog("engineer")
    name = f"raw.{new_name()}"
    catalog.create_table(name, schema=pa.schema([("x", pa.int64())])).append(pa.table({"x": [1, 2, 3]}))
    yield name
    catalog.drop_table(name)


@pytest.fixture(scope="module")
def people_files(people: People) -> dict[str, str]:
    """Where the files of ``hr.employees`` lie, as its own readers may know."""
    (data,) = people.rows("hr", 'SELECT file_path FROM hr."employees$files"')[0]
    (manifests,) = people.rows("hr", 'SELECT manifest_list FROM hr."employees$snapshots"')[0]
    table = str(data).partition("/data/")[0]
    return {
        "data": str(data),
        "manifests": str(manifests),
        "table": table,
        "namespace": table.rpartition("/")[0],
    }


def test_an_engineer_reads_and_writes_what_no_rule_touches(people: People, own: str) -> None:
    catalog = people.catalog("engineer")
    assert catalog.load_table("retail.nation").scan().to_arrow().num_rows == 25
    table = catalog.load_table(own)
    table.append(pa.table({"x": [4]}))
    with table.update_schema() as update:
        update.add_column("more", table.schema().find_field("x").field_type)
    assert catalog.load_table(own).scan().to_arrow().num_rows == 4
    assert people.value("engineer", f"SELECT count(*) FROM {own}") == 4


@pytest.mark.parametrize("persona", ["analyst_emea", "analyst_amer", "steward", "auditor", "hr", "outsider"])
def test_a_reader_under_rules_gets_no_files(people: People, persona: str) -> None:
    try:
        catalog = people.catalog(persona)
    except REFUSALS:
        return  # Not even the catalog's description.
    for table in FILES_OF_OTHERS if persona != "hr" else FILES_OF_OTHERS[:1]:
        with pytest.raises(REFUSALS):
            catalog.load_table(table)


def test_an_engineer_gets_no_people_data_under_any_name(people: People) -> None:
    rest = Rest(people, "engineer")
    for name in (
        "hr/tables/employees",
        "HR/tables/EMPLOYEES",
        "hr%1F/tables/employees",
        "hr/tables/employees%40main",
    ):
        assert rest("GET", f"/namespaces/{name}").status_code in (400, 401, 403, 404, 500), name
    assert "hr" not in [name for (name, *_) in people.catalog("engineer").list_namespaces()]
    with pytest.raises(REFUSALS):
        people.catalog("engineer").list_tables("hr")


def test_listings_show_a_persona_what_it_has(people: People) -> None:
    shown = {name for _, name in people.catalog("engineer").list_tables("retail")}
    assert {"customer", "nation"} <= shown
    listed = people.rows("outsider", "SHOW CATALOGS") if people.ask("outsider", "SHOW CATALOGS").ran else ()
    assert listed == ()
    assert {row[0] for row in people.rows("hr", "SHOW SCHEMAS")} == {"hr", "information_schema"}
    assert people.rows("hr", "SELECT 1 FROM information_schema.tables WHERE table_schema = 'retail'") == ()
    assert "masking" not in {row[0] for row in people.rows("admin", "SHOW CATALOGS")}


def test_where_files_lie_is_not_a_users_to_choose(
    people: People, own: str, people_files: dict[str, str]
) -> None:
    """Credentials that come with a table open its location and what its properties name."""
    rest = Rest(people, "engineer")
    schema = {
        "type": "struct",
        "schema-id": 0,
        "fields": [{"id": 1, "name": "x", "type": "long", "required": False}],
    }
    for place in (people_files["table"], people_files["namespace"]):
        for chosen in (
            {"location": place},
            {"properties": {"write.data.path": place}},
            {"properties": {"write.object-storage.path": place}},
            {"properties": {"write.folder-storage.path": place}},
            {"properties": {"write.metadata.path": place}},
        ):
            for staged in (True, False):
                made = rest(
                    "POST",
                    "/namespaces/raw/tables",
                    {"name": new_name(), "schema": schema, "stage-create": staged, **chosen},
                )
                assert made.status_code >= 400, (chosen, made.text)
        for update in (
            {"action": "set-location", "location": place},
            {"action": "set-properties", "updates": {"write.data.path": place}},
            {"action": "set-properties", "updates": {"write.object-storage.path": place}},
            {"action": "set-properties", "updates": {"location": place}},
        ):
            changed = rest.commit(own, update)
            loaded = rest.load(own).json()
            # A catalog may take what it then ignores.
            assert changed.status_code >= 400 or place not in json.dumps(loaded["metadata"]), update
            assert keys_open_nothing_else(loaded["config"], people_files)
        assert rest.commit(
            f"raw.{new_name()}", {"action": "set-location", "location": place}, new=True
        ).is_error
        moved = rest("POST", "/namespaces/raw/properties", {"updates": {"location": place}, "removals": []})
        assert moved.is_error
        assert rest(
            "POST", "/namespaces", {"namespace": [new_name()], "properties": {"location": place}}
        ).is_error
    assert keys_open_nothing_else(rest.load(own).json()["config"], people_files)


def keys_open_nothing_else(keys: dict[str, str], files: dict[str, str]) -> bool:
    """Whether keys that came with a table are refused at another's files."""
    try:
        count_rows(keys, [files["data"]])
    except DeniedError:
        return True
    return False


def test_files_of_others_do_not_come_in_by_a_commit(
    people: People, own: str, people_files: dict[str, str]
) -> None:
    """A snapshot may name any manifest list; Trino reads tables with keys of its own."""
    rest = Rest(people, "engineer")
    metadata = rest.load(own).json()["metadata"]
    snapshot = {
        "snapshot-id": 4711,
        "parent-snapshot-id": metadata["current-snapshot-id"],
        "sequence-number": metadata["last-sequence-number"] + 1,
        "timestamp-ms": metadata["last-updated-ms"] + 1,
        "manifest-list": people_files["manifests"],
        "summary": {"operation": "append"},
        "schema-id": metadata["current-schema-id"],
    }
    branch = {"action": "set-snapshot-ref", "ref-name": "main", "type": "branch", "snapshot-id": 4711}
    planted = rest.commit(own, {"action": "add-snapshot", "snapshot": snapshot}, branch)
    found = people.ask("engineer", f"SELECT * FROM {own}")
    assert planted.is_error or not found.ran
    assert found.rows in ((), ((1,), (2,), (3,)))


def test_tables_are_not_adopted_by_their_files(people: People) -> None:
    """Registering another table's metadata would give its files away."""
    catalog = people.catalog("engineer")
    location = catalog.load_table("retail.nation").metadata_location
    with pytest.raises(REFUSALS):
        catalog.register_table(f"raw.{new_name()}", location)


def test_rules_are_about_names_and_names_are_kept(people: People) -> None:
    catalog, rest = people.catalog("engineer"), Rest(people, "engineer")
    for target in ("retail.client", "raw.client"):
        with pytest.raises(REFUSALS):
            catalog.rename_table("retail.customer", target)
    table = catalog.load_table("retail.customer")
    with pytest.raises(REFUSALS), table.update_schema() as update:
        update.rename_column("c_phone", "c_number")
    schema = table.schema().model_dump(mode="json", by_alias=True)
    for field in schema["fields"]:
        if field["name"] == "c_address":
            field["name"] = "c_place"
    schema["schema-id"] = schema["schema-id"] + 1
    changes = [
        {
            "identifier": {"namespace": ["retail"], "name": "customer"},
            "requirements": [],
            "updates": [
                {"action": "add-schema", "schema": schema, "last-column-id": table.metadata.last_column_id},
                {"action": "set-current-schema", "schema-id": -1},
            ],
        }
    ]
    assert rest("POST", "/transactions/commit", {"table-changes": changes}).is_error
    assert "c_address" in catalog.load_table("retail.customer").schema().column_names


def test_keys_of_one_table_open_no_other_and_list_nothing(people: People) -> None:
    from pyarrow import fs

    keys = {
        str(k): str(v)
        for k, v in people.catalog("engineer").load_table("retail.nation").io.properties.items()
    }
    for reference, table in (
        ("engineer", "retail.customer"),
        ("engineer", "web.events"),
        ("hr", "hr.employees"),
    ):
        namespace, _, name = table.partition(".")
        for (path,) in people.rows(reference, f'SELECT file_path FROM {namespace}."{name}$files"')[:2]:
            with pytest.raises(DeniedError):
                count_rows(keys, [str(path)])
            with pytest.raises(DeniedError):
                count_rows({k: v for k, v in keys.items() if k == "s3.endpoint"}, [str(path)])
    store = fs.S3FileSystem(
        access_key=keys["s3.access-key-id"],
        secret_key=keys["s3.secret-access-key"],
        session_token=keys["s3.session-token"],
        endpoint_override=keys["s3.endpoint"],
        region=keys.get("client.region"),
    )
    bucket = str(path).partition("://")[2].split("/")[0]
    for place in (bucket, f"{bucket}/lake", f"{bucket}/lake/hr", bucket.replace("warehouse", "policy")):
        with pytest.raises(OSError, match=r"(?i)access.?denied|403"):
            store.get_file_info(fs.FileSelector(place))


def test_a_sign_in_gives_no_keys_of_the_store(people: People) -> None:
    """The store knows services, and what the catalog hands out."""
    for persona in ("engineer", "analyst_emea"):
        answer = people.http.post(
            people.keys["s3 endpoint"],
            data={
                "Action": "AssumeRoleWithWebIdentity",
                "Version": "2011-06-15",
                "WebIdentityToken": people.tokens(persona, Audience.CATALOG)(),
            },
        )
        assert answer.status_code >= 400, answer.text
    assert people.http.get(people.keys["s3 endpoint"]).status_code == 403
    assert people.lab.json("credentials")["keys"] == {}


def test_the_catalog_behind_the_door_takes_services_alone(people: People, lab: LiveLab) -> None:
    """Nessie's own interfaces could point any name at any metadata file, on any branch."""
    catalog = lab.service("catalog")["ports"]
    origin = f"http://127.0.0.1:{catalog['http']}"
    if people.urls["catalog"].startswith(origin):
        return  # Polaris has grants of its own.
    for persona in ("engineer", "analyst_emea", "admin"):
        direct = Rest(people, persona, uri=f"{origin}/iceberg")
        for prefix in ("main%7Clake", "main", "-"):
            direct.prefix = prefix
            assert direct.load("retail.nation").is_error
            assert direct.commit(
                "retail.nation", {"action": "set-properties", "updates": {"a": "b"}}
            ).is_error
            assert direct("POST", "/namespaces/raw/tables", {"name": new_name()}).is_error
            assert direct(
                "POST", "/namespaces/raw/register", {"name": "x", "metadata-location": "s3://x"}
            ).is_error
        headers = {"Authorization": f"Bearer {people.tokens(persona, Audience.CATALOG)()}"}
        branch = {"type": "BRANCH", "name": "main"}
        for path in ("/api/v2/trees/main", "/api/v2/trees/-/contents/retail.nation", "/api/v1/trees"):
            assert people.http.get(f"{origin}{path}", headers=headers).is_error, path
        made = people.http.post(
            f"{origin}/api/v2/trees", params={"name": "side", "type": "BRANCH"}, json=branch, headers=headers
        )
        assert made.is_error
