"""The registry: what is named resolves, the core is always there, ports never move."""

from __future__ import annotations

from importlib import import_module

import pytest

from cli.components import merge
from components.registry import CATALOGS, COMPONENTS, SERVICE_ORDER, ComponentInfo, resolve, selected
from contracts.errors import UsageError


def names(saved: tuple[str, ...], catalog: str = "nessie") -> list[str]:
    return [info.name for info in selected(saved, catalog)]


def test_core_alone_has_the_pinned_catalog_and_no_engine() -> None:
    assert names((), "nessie") == ["keycloak", "nessie", "opa", "governor"]
    assert names((), "polaris") == ["keycloak", "polaris", "opa", "governor"]


def test_the_saved_set_joins_the_core_in_registry_order() -> None:
    assert names(("trino",)) == ["keycloak", "nessie", "opa", "governor", "trino"]


def test_spark_brings_no_other_engine_and_keeps_the_place_that_was_kept_for_it() -> None:
    assert names(("spark",)) == ["keycloak", "nessie", "opa", "governor", "spark"]
    assert SERVICE_ORDER.index("spark") == SERVICE_ORDER.index("trino") + 1


def test_a_catalog_in_the_saved_set_never_overrides_the_pinned_one() -> None:
    assert names(("polaris", "trino"), "nessie") == names(("trino",), "nessie")


def test_an_unknown_component_suggests_the_nearest() -> None:
    with pytest.raises(UsageError, match="did you mean 'trino'"):
        resolve("trinoo")


def test_services_of_one_lab_have_fixed_places() -> None:
    """A lab that is there keeps its ports: what was first stays first."""
    assert SERVICE_ORDER[:5] == ("keycloak", "catalog", "opa", "governor", "trino")
    assert SERVICE_ORDER[5:8] == ("spark", "control-plane", "agent")
    assert {info.service for info in COMPONENTS.values()} <= set(SERVICE_ORDER)
    assert len(set(SERVICE_ORDER)) == len(SERVICE_ORDER)


def test_a_row_needs_a_name_and_a_title() -> None:
    info = ComponentInfo(name="some-name", title="Something")
    assert (info.service, info.module, info.class_name) == ("some-name", "components.some_name", "SomeName")
    assert not info.core


def test_a_saved_component_that_is_gone_is_named_with_the_way_out() -> None:
    with pytest.raises(UsageError) as caught:
        names(("formerly", "trino"))
    assert caught.value.next_command == "lab up --without formerly"
    assert merge(("formerly", "trino"), (), ("formerly",)) == ("trino",)
    with pytest.raises(UsageError, match="no component named 'formerly'"):
        merge(("trino",), (), ("formerly",))
    with pytest.raises(UsageError, match="no component named 'formerly'"):
        merge(("formerly", "trino"), ("trino",), ())


@pytest.mark.parametrize("name", sorted(COMPONENTS))
def test_every_row_names_a_service_that_exists(name: str) -> None:
    info = COMPONENTS[name]
    kind = getattr(import_module(info.module), info.class_name)
    assert kind.kind == name
    assert all(needed in COMPONENTS for needed in info.needs)
    assert set(CATALOGS) <= set(COMPONENTS)
