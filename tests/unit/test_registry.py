"""The registry: what is named resolves, the core is always there, ports never move."""

from __future__ import annotations

from importlib import import_module

import pytest

from components.registry import CATALOGS, COMPONENTS, SERVICE_ORDER, resolve, selected
from contracts.errors import UsageError


def names(saved: tuple[str, ...], catalog: str = "nessie") -> list[str]:
    return [info.name for info in selected(saved, catalog)]


def test_core_alone_has_the_pinned_catalog_and_no_engine() -> None:
    assert names((), "nessie") == ["keycloak", "nessie", "opa", "governor"]
    assert names((), "polaris") == ["keycloak", "polaris", "opa", "governor"]


def test_the_saved_set_joins_the_core_in_registry_order() -> None:
    assert names(("trino",)) == ["keycloak", "nessie", "opa", "governor", "trino"]


def test_a_catalog_in_the_saved_set_never_overrides_the_pinned_one() -> None:
    assert names(("polaris", "trino"), "nessie") == names(("trino",), "nessie")


def test_an_unknown_component_suggests_the_nearest() -> None:
    with pytest.raises(UsageError, match="did you mean 'trino'"):
        resolve("trinoo")


def test_services_of_one_lab_have_fixed_places() -> None:
    assert SERVICE_ORDER[:5] == ("keycloak", "catalog", "opa", "governor", "trino")


@pytest.mark.parametrize("name", sorted(COMPONENTS))
def test_every_row_names_a_service_that_exists(name: str) -> None:
    info = COMPONENTS[name]
    kind = getattr(import_module(info.module), info.class_name)
    assert kind.kind == name
    assert all(needed in COMPONENTS for needed in info.needs)
    assert set(CATALOGS) <= set(COMPONENTS)
