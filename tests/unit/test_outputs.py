"""The contract between the stacks survives the trip through exports, and says what is missing."""

from __future__ import annotations

import json

import httpx
import pytest

from cli.access import endpoint
from cli.operations.lifecycle import urls_of
from cli.tokens import Endpoint
from contracts.errors import LabError
from contracts.outputs import LabOutputs, Slot, from_exports, to_exports
from tests.unit.cli_fakes import lab_outputs
from tests.unit.slots import make_slot


def test_a_slot_survives_json() -> None:
    slot = make_slot()
    document = json.loads(json.dumps(to_exports(slot)))
    assert from_exports(Slot, document) == slot


def test_numbers_that_the_engine_turned_into_floats_are_read() -> None:
    document = to_exports(make_slot())
    document["catalog_database"]["port"] = 5432.0
    assert from_exports(Slot, document).catalog_database.port == 5432


@pytest.mark.parametrize(
    "path", ["catalog_database.password", "warehouse.bucket", "secrets.hash_salt", "pki"]
)
def test_a_missing_output_is_named_with_the_next_command(path: str) -> None:
    document = to_exports(make_slot())
    *parents, last = path.split(".")
    inner = document
    for parent in parents:
        inner = inner[parent]
    del inner[last]
    with pytest.raises(LabError) as caught:
        from_exports(Slot, document, path="slots.lab")
    assert f"slots.lab.{path}" in str(caught.value)
    assert caught.value.next_command == "lab bootstrap"


def test_a_wrong_type_is_named() -> None:
    document = to_exports(make_slot())
    document["warehouse"]["path_style"] = "yes"
    with pytest.raises(LabError, match=r"path_style.* bool"):
        from_exports(Slot, document)


def test_a_null_that_the_engine_dropped_is_none() -> None:
    document = to_exports(make_slot())
    del document["warehouse"]["role_arn"]
    assert from_exports(Slot, document) == make_slot()


def test_optional_and_tuple_fields() -> None:
    outputs = LabOutputs(
        lab="lab",
        catalog_kind="nessie",
        catalog_uri="http://127.0.0.1:1/iceberg",
        catalog_warehouse="lake",
        issuer_url="http://127.0.0.1:2/realms/lab",
        governor_url="http://127.0.0.1:3",
        opa_url="http://127.0.0.1:4",
        trino_url=None,
        components=("keycloak", "opa"),
        component_urls={"opa": "http://127.0.0.1:4"},
        ca_certificate="pem",
    )
    assert from_exports(LabOutputs, json.loads(json.dumps(to_exports(outputs)))) == outputs


def test_outputs_of_a_lab_from_before_component_urls_are_read() -> None:
    document = to_exports(lab_outputs())
    del document["component_urls"]
    assert from_exports(LabOutputs, document).component_urls is None


def test_addresses_of_new_components_are_shown_and_none_twice() -> None:
    urls = {"keycloak": "http://a", "nessie": "http://b", "opa": "http://c", "hello": "http://d"}
    shown = urls_of(lab_outputs(component_urls=urls))
    assert list(shown) == ["trino", "sign-in", "catalog", "governor", "opa", "hello"]
    assert shown["hello"] == "http://d"


def test_what_is_published_is_shown_beside_the_operators_own_way() -> None:
    outputs = lab_outputs(
        issuer_url="https://keycloak.lab.example/realms/lab",
        realm_url="http://127.0.0.1:2/realms/lab",
        public_urls={"keycloak": "https://keycloak.lab.example"},
    )
    assert urls_of(outputs)["keycloak, published"] == "https://keycloak.lab.example"
    assert outputs.own_realm_url == "http://127.0.0.1:2/realms/lab"


def test_a_lab_from_before_has_one_address_of_its_realm() -> None:
    outputs = lab_outputs()
    assert outputs.own_realm_url == outputs.issuer_url


def test_a_published_realm_is_asked_where_this_machine_reaches_it() -> None:
    asked = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(str(request.url))
        return httpx.Response(200, json={"access_token": "a.b.c", "expires_in": 60})

    known = endpoint(
        lab_outputs(
            issuer_url="https://keycloak.lab.example/realms/lab", realm_url="http://127.0.0.1:2/realms/lab"
        )
    )
    assert known.issuer_url == "https://keycloak.lab.example/realms/lab", "where browsers are sent"
    Endpoint(
        issuer_url=known.issuer_url, realm_url=known.realm_url, transport=httpx.MockTransport(answer)
    ).token({})
    assert asked == ["http://127.0.0.1:2/realms/lab/protocol/openid-connect/token"]
