"""Engines that go to the catalog directly: rules that Trino enforces can't be walked around there."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pyarrow as pa
import pytest
from pyiceberg.catalog.rest import RestCatalog
from pyiceberg.exceptions import ForbiddenError, ServerError
from pyiceberg.exceptions import UnauthorizedError as NotAuthorizedError

from seed.connection import compatible
from tests.live.conftest import LiveLab

pytestmark = pytest.mark.live


@pytest.fixture(scope="module")
def endpoints(lab: LiveLab) -> dict[str, Any]:
    """Addresses, passwords and client secrets, as an operator may read them."""
    found: dict[str, Any] = lab.json("credentials", "--all")
    return found


@pytest.fixture(scope="module")
def token(endpoints: dict[str, Any]) -> Iterator[Callable[[str, str], str]]:
    """A sample user's token for one audience, by the password grant of client ``personas``."""
    with httpx.Client(trust_env=False, timeout=30) as http:

        def fetch(username: str, audience: str) -> str:
            password = next(p["password"] for p in endpoints["personas"] if p["username"] == username)
            answer = http.post(
                f"{endpoints['urls']['sign-in']}/protocol/openid-connect/token",
                data={
                    "grant_type": "password",
                    "client_id": "personas",
                    "client_secret": endpoints["keys"]["client personas"],
                    "username": username,
                    "password": password,
                    "scope": f"openid {audience}",
                },
            )
            assert answer.status_code == 200, answer.text
            return str(answer.json()["access_token"])

        yield fetch


@pytest.fixture(scope="module")
def catalog_as(endpoints: dict[str, Any], token: Callable[[str, str], str]) -> Callable[[str], RestCatalog]:
    """pyiceberg with a sample user's own token, as anybody may open it."""

    def make(username: str) -> RestCatalog:
        properties: dict[str, Any] = {
            "uri": endpoints["urls"]["catalog"],
            "warehouse": "lake",
            "token": token(username, "catalog"),
            "header.X-Iceberg-Access-Delegation": "vended-credentials",
        }
        return compatible(RestCatalog("raw", **properties))

    return make


REFUSALS = (ForbiddenError, ServerError, NotAuthorizedError)
"""Polaris answers 403 or 401, Nessie 500 (one of its defects)."""


def test_an_engineer_reads_and_writes_what_no_rule_touches(catalog_as: Callable[[str], RestCatalog]) -> None:
    catalog = catalog_as("engineer")
    assert catalog.load_table("retail.nation").scan().to_arrow().num_rows == 25
    name = f"raw.t{uuid.uuid4().hex[:8]}"
    table = catalog.create_table(name, schema=pa.schema([("x", pa.int64())]))
    table.append(pa.table({"x": [1, 2, 3]}))
    assert catalog.load_table(name).scan().to_arrow().num_rows == 3
    catalog.drop_table(name)


@pytest.mark.parametrize("username", ["analyst_emea", "analyst_amer", "steward", "auditor", "hr", "outsider"])
def test_a_reader_under_rules_gets_no_files(catalog_as: Callable[[str], RestCatalog], username: str) -> None:
    with pytest.raises(REFUSALS):
        catalog_as(username).load_table("retail.customer")


def test_an_engineer_gets_no_people_data(catalog_as: Callable[[str], RestCatalog]) -> None:
    with pytest.raises(REFUSALS):
        catalog_as("engineer").load_table("hr.employees")


def test_tables_are_not_adopted_by_their_files(
    catalog_as: Callable[[str], RestCatalog], lab: LiveLab
) -> None:
    """Registering another table's metadata would give its files away."""
    catalog = catalog_as("engineer")
    location = catalog.load_table("retail.nation").metadata_location
    with pytest.raises(REFUSALS):
        catalog.register_table(f"raw.r{uuid.uuid4().hex[:8]}", location)


def test_a_branch_is_not_a_way_around(endpoints: dict[str, Any], token: Callable[[str, str], str]) -> None:
    """Nessie's own API could point any name at any metadata file."""
    base = endpoints["urls"]["catalog"].removesuffix("/iceberg")
    if base == endpoints["urls"]["catalog"]:
        return  # Polaris has no such API.
    headers = {"Authorization": f"Bearer {token('engineer', 'catalog')}"}
    branch = {"type": "BRANCH", "name": "main"}
    with httpx.Client(trust_env=False, timeout=30, headers=headers) as http:
        main = http.get(f"{base}/api/v2/trees/main")
        made = http.post(f"{base}/api/v2/trees", params={"name": "side", "type": "BRANCH"}, json=branch)
    assert main.status_code >= 400
    assert made.status_code >= 400


@pytest.mark.parametrize("audience", ["trino", "governor"])
def test_a_token_for_another_audience_is_refused(
    endpoints: dict[str, Any], token: Callable[[str, str], str], audience: str
) -> None:
    with httpx.Client(trust_env=False, timeout=30) as http:
        answer = http.get(
            f"{endpoints['urls']['catalog']}/v1/config",
            params={"warehouse": "lake"},
            headers={"Authorization": f"Bearer {token('engineer', audience)}"},
        )
    assert answer.status_code == 401


def test_store_keys_are_not_handed_to_people(lab: LiveLab) -> None:
    """Plain credentials show none; only an operator asks for all of them."""
    assert lab.json("credentials")["keys"] == {}
