"""What goes over the wire to a REST catalog: tokens, and what Nessie needs."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar
from uuid import UUID

import pyarrow as pa
import pytest
from pyiceberg.partitioning import UNPARTITIONED_PARTITION_SPEC
from pyiceberg.schema import Schema
from pyiceberg.table.metadata import new_table_metadata
from pyiceberg.table.sorting import UNSORTED_SORT_ORDER
from pyiceberg.types import ListType, LongType, NestedField, StringType

from contracts.errors import LabError
from seed.connection import Connection, open_catalog

SCHEMA = Schema(
    NestedField(1, "id", LongType(), required=True),
    NestedField(2, "tags", ListType(element_id=3, element_type=StringType())),
)

CONFIG = {"s3.endpoint": "http://s3.within.svc:9000", "s3.access-key-id": "vended"}


class Recorder(BaseHTTPRequestHandler):
    """Keycloak's token endpoint and a REST catalog with one table, in one."""

    seen: ClassVar[list[tuple[str, str, str | None, bytes]]] = []
    tokens = 0

    def do_GET(self) -> None:
        self._record(b"")
        self._answer({"defaults": {}, "overrides": {}})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self._record(body)
        if self.path == "/token":
            Recorder.tokens += 1
            self._answer({"access_token": f"token-{Recorder.tokens}", "expires_in": 300})
            return
        metadata = new_table_metadata(
            SCHEMA,
            UNPARTITIONED_PARTITION_SPEC,
            UNSORTED_SORT_ORDER,
            "s3://warehouse/raw/t",
            table_uuid=UUID(int=7),
        )
        document: dict[str, Any] = {"metadata": json.loads(metadata.model_dump_json()), "config": CONFIG}
        self._answer({**document, "metadata-location": "s3://warehouse/raw/t/metadata/1.json"})

    def _record(self, body: bytes) -> None:
        self.seen.append((self.command, self.path, self.headers.get("Authorization"), body))

    def _answer(self, document: dict[str, Any]) -> None:
        content = json.dumps(document).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        """Tests are quiet."""


@pytest.fixture
def url() -> Iterator[str]:
    Recorder.seen.clear()
    Recorder.tokens = 0
    server = ThreadingHTTPServer(("127.0.0.1", 0), Recorder)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def connection(url: str) -> Connection:
    return Connection(
        catalog_uri=f"{url}/catalog",
        warehouse="w",
        token_url=f"{url}/token",
        client_id="seeder",
        client_secret="s3cret-value",
    )


def test_a_table_made_in_one_request_names_its_last_column(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # A proxy for the world must not come between the lab and itself.
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    catalog = open_catalog(connection(url))
    catalog.create_table_transaction("raw.t", SCHEMA).commit_transaction()
    command, path, authorization, body = Recorder.seen[-1]
    assert (command, path) == ("POST", "/catalog/v1/namespaces/raw/tables/t")
    assert authorization == "Bearer token-1"
    document = json.loads(body)
    added = next(update for update in document["updates"] if update["action"] == "add-schema")
    assert added["last-column-id"] == 3
    assert document["requirements"] == [{"type": "assert-create"}]
    assert not any(b"s3cret-value" in body for _, path, _, body in Recorder.seen)


def test_the_store_is_where_the_operator_reaches_it_whatever_the_catalog_says(url: str) -> None:
    within, tunnel = CONFIG["s3.endpoint"], "http://127.0.0.1:28004"
    for own, expected in (({}, within), ({"s3.endpoint": tunnel}, tunnel)):
        catalog = open_catalog(replace(connection(url), properties=own))
        known = catalog.create_table("raw.t", SCHEMA).io.properties
        assert known["s3.endpoint"] == expected
        assert known["s3.access-key-id"] == "vended", "keys are the catalog's to give"


def test_one_token_serves_many_requests(url: str) -> None:
    catalog = open_catalog(connection(url))
    for name in ("a", "b"):
        catalog.create_table_transaction(f"raw.{name}", pa.schema([("x", pa.int64())]))
    assert Recorder.tokens == 1


def test_a_catalog_that_is_not_there_is_named() -> None:
    with pytest.raises(LabError, match="token endpoint can't be reached") as caught:
        open_catalog(connection("http://127.0.0.1:9"))
    assert "lab status" in str(caught.value)
