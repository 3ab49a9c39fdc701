"""The contract between the stacks survives the trip through exports, and says what is missing."""

from __future__ import annotations

import json

import pytest

from cli.operations.lifecycle import urls_of
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
