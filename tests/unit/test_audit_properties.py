"""The files by which Trino and OPA report to the audit."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import PurePosixPath

import pytest

from components import governor, opa, trino
from components.opa.properties import command, configuration
from components.trino.properties import config, event_listener
from contracts.workload import Layout


def layout(**ports: int) -> Layout:
    return Layout(
        artifact_dir=PurePosixPath("/artifact"),
        files_dir=PurePosixPath("/files"),
        data_dir=PurePosixPath("/data"),
        scratch_dir=PurePosixPath("/scratch"),
        python="/python",
        source_dir=PurePosixPath("/source"),
        cache_dir=PurePosixPath("/cache"),
        java_home=PurePosixPath("/java"),
        bind_address="127.0.0.1",
        ports=ports,
    )


def test_trino_tells_both_ends_of_each_query_and_the_token_is_not_in_the_file() -> None:
    text = event_listener("http://127.0.0.1:1")
    found = dict(line.split("=", 1) for line in text.splitlines())
    listener = "http-event-listener"
    assert found["event-listener.name"] == "http"
    assert found[f"{listener}.connect-ingest-uri"] == "http://127.0.0.1:1/v1/audit/queries"
    assert (found[f"{listener}.log-created"], found[f"{listener}.log-completed"]) == ("true", "true")
    assert found[f"{listener}.log-split"] == "false"
    assert found[f"{listener}.connect-http-headers"] == "Authorization:Bearer ${ENV:TRINO_AUDIT_TOKEN}"
    assert int(found[f"{listener}.connect-retry-count"]) > 10
    main = config(layout(https=1, internal=2), issuer_url="http://i", realm_url="http://r", heap_mib=1024)
    assert "event-listener.config-files=/files/event-listener.properties" in main.splitlines()


def test_opa_reports_decisions_with_its_token_and_a_bounded_buffer() -> None:
    document = json.loads(configuration(public_key_pem="pem"))
    service = document["services"][document["decision_logs"]["service"]]
    assert service["url"] == "${AUDIT_URL}"
    assert service["credentials"]["bearer"]["token"] == "${AUDIT_TOKEN}"
    assert document["decision_logs"]["resource"] == "/v1/audit/decisions"
    assert document["decision_logs"]["reporting"]["buffer_size_limit_bytes"] > 0
    assert "console" not in document["decision_logs"]
    assert command(layout(http=1))[-2:] == ["/files/authz.rego", "/files/log.rego"]


@pytest.fixture
def event_loop_for_outputs() -> Iterator[None]:
    """What Pulumi's outputs are bound to when they are made outside of a program."""
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    yield
    asyncio.set_event_loop(None)
    loop.close()


@pytest.mark.usefixtures("event_loop_for_outputs")
def test_each_producer_has_a_token_of_its_own_and_the_governor_has_both() -> None:
    asked = trino.TrinoArgs(
        issuer_url="http://i",
        realm_url="http://r",
        token_url="http://t",
        catalog_uri="http://c",
        opa_url="http://o",
        audit_url="http://g",
        heap_mib=1024,
        masking_jdbc_url="jdbc:postgresql://h:1/masking",
        masking_role="masking",
        masking_password="of-masking",
        min_retention_days=7,
        s3_endpoint_url="http://s",
        s3_region="r",
        s3_path_style="true",
        client_secret="client",
        internal_secret="internal",
        audit_token="of-trino",
        server_pem="",
        ca_certificate="",
    )
    engine = trino.workload(asked, layout(https=1, internal=2))
    assert engine.env["TRINO_AUDIT_TOKEN"] == "of-trino"
    assert "event-listener.properties" in engine.files
    given = {"GOVERNOR_AUDIT_TRINO_TOKEN": "of-trino", "GOVERNOR_AUDIT_OPA_TOKEN": "of-opa"}
    collector = governor.workload(
        governor.GovernorArgs(plain={}, from_slot=dict(given), signing_key="", ca_certificate=""),
        layout(http=3),
    )
    assert {key: collector.env[key] for key in given} == given
    assert collector.env["GOVERNOR_AUDIT_SPOOL_DIR"] == "/data/audit"
    (volume,) = collector.volumes
    assert (volume.name, volume.retained) == ("audit", True)
    assert opa.LOG_REGO.name == "log.rego"
    assert opa.LOG_REGO.exists()
