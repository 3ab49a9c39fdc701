"""Where connections may lead, and what comes from there: nothing of the lab's own, no secret elsewhere."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pyarrow as pa
import pytest
from pyiceberg.catalog.sql import SqlCatalog

from contracts.errors import LabError, UsageError
from control_plane.api.schemas.workspaces import FilesConnection, HttpConnection, S3Connection
from control_plane.api.spaces.destinations import Destinations, guarded_client
from control_plane.api.spaces.errors import DestinationError, SourceError
from control_plane.api.spaces.sources import Sources
from control_plane.api.spaces.workers import CanceledError, work
from ingestion import worker

LISTING = (
    '<?xml version="1.0"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
    "<Contents><Key>in/leads.csv</Key><Size>9</Size></Contents></ListBucketResult>"
)


def resolved(**names: str) -> Callable[[str, int], list[str]]:
    """A resolver that knows these names (``_`` for a dot), and addresses as themselves."""
    known = {name.replace("_", "."): address for name, address in names.items()}

    def resolve(host: str, _: int) -> list[str]:
        if host in known:
            return known[host].split(",")
        if host[0].isdigit() or ":" in host:
            return [host]
        raise OSError("no such host")

    return resolve


@pytest.mark.parametrize(
    ("host", "why"),
    [
        ("127.0.0.1", "this machine"),
        ("127.1.2.3", "this machine"),
        ("0.0.0.0", "this machine"),  # noqa: S104 - asked for, not bound to
        ("::1", "this machine"),
        ("::ffff:127.0.0.1", "this machine"),
        ("64:ff9b::7f00:1", "this machine"),
        ("2002:7f00:1::", "this machine"),
        ("169.254.169.254", "link-local"),
        ("fe80::1", "link-local"),
        ("fd00:ec2::254", "link-local"),
        ("100.100.100.200", "provider"),
        ("224.0.0.1", "nobody"),
        ("evil.example", "this machine"),
        ("both.example", "this machine"),
        ("api.default.svc", "cluster"),
    ],
)
def test_what_is_not_connected_to(host: str, why: str) -> None:
    resolve = resolved(
        evil_example="127.0.0.1", both_example="93.184.216.34,127.0.0.1", api_default_svc="10.0.0.1"
    )
    with pytest.raises(DestinationError, match=why) as refused:
        Destinations(resolve=resolve).address(host, 5432)
    assert "consoleConnectTo" in str(refused.value)


def test_the_labs_own_services_are_not_connected_to() -> None:
    own = ("https://trino.lab.example:8443", "postgresql+psycopg://u:p@10.1.0.7/console")
    resolve = resolved(trino_lab_example="10.1.0.8", alias_example="10.1.0.8", db_example="10.1.0.7")
    destinations = Destinations(own_urls=own, resolve=resolve)
    for host, port in (("trino.lab.example", 8443), ("alias.example", 8443), ("db.example", 5432)):
        with pytest.raises(DestinationError, match="a service of the lab's"):
            destinations.address(host, port)
    assert destinations.address("alias.example", 443) == "10.1.0.8"
    assert destinations.address("93.184.216.34", 443) == "93.184.216.34"
    with pytest.raises(SourceError, match="no host"):
        destinations.address("absent.example", 1)


def test_an_admin_may_permit_more() -> None:
    resolve = resolved(crm_local="127.0.0.1")
    permitted = Destinations(
        ["127.0.0.1:5433", "10.0.0.0/8", "crm.local", "[::1]:80"], ["http://10.0.0.9"], resolve=resolve
    )
    assert permitted.address("127.0.0.1", 5433)
    assert permitted.address("10.0.0.9", 80)
    assert permitted.address("crm.local", 1)
    assert permitted.address("::1", 80)
    for host, port in (("127.0.0.1", 5434), ("::1", 81)):
        with pytest.raises(DestinationError):
            permitted.address(host, port)
    for wrong in ("10.0.0.0/33", "host:x", ":80"):
        with pytest.raises(UsageError):
            Destinations([wrong])


class Server:
    """A web server that notes what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.answers: dict[str, tuple[int, dict[str, str], bytes]] = {}
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.asked.append((self.path, dict(self.headers.items())))
                path = self.path.partition("?")[0]
                status, headers, body = outer.answers.get(path, (404, {}, b""))
                self.send_response(status)
                for name, value in {"Content-Length": str(len(body)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.http.server_address[1]
        self.thread = threading.Thread(target=self.http.serve_forever)
        self.thread.start()

    def stop(self) -> None:
        self.http.shutdown()
        self.thread.join()
        self.http.server_close()


@pytest.fixture
def server() -> Iterator[Server]:
    found = Server()
    yield found
    found.stop()


def sources(server: Server, *roots: Path) -> Sources:
    return Sources(Destinations([f"127.0.0.1:{server.port}"]), roots)


def fetched(found: Sources, config: Any, secret: str | None, name: str) -> bytes:
    taken: list[bytes] = []
    found.fetch(config, secret, name, taken.append)
    return b"".join(taken)


def test_the_address_that_was_looked_at_is_the_one_connected_to(server: Server) -> None:
    """A name that changes its meaning leads nowhere else."""
    answers = [["127.0.0.1"]]
    destinations = Destinations(
        [f"rebind.example:{server.port}"], resolve=lambda *_: answers.pop() if answers else ["10.255.255.1"]
    )
    server.answers["/x"] = (200, {}, b"ok")
    with guarded_client(destinations, httpx.Timeout(2)) as client:
        assert client.get(f"http://rebind.example:{server.port}/x").text == "ok"


def test_files_of_a_web_server(server: Server) -> None:
    base = f"http://127.0.0.1:{server.port}"
    config = HttpConnection(url=f"{base}/data", user="ada")
    server.answers |= {"/data": (200, {}, b""), "/data/a.csv": (200, {}, b"id\n1\n")}
    found = sources(server)
    found.check(config, "pw")
    assert fetched(found, config, "pw", "a.csv") == b"id\n1\n"
    assert server.asked[-1][1]["Authorization"].startswith("Basic ")
    # A redirect is followed where connections may lead, without the secret.
    other = Server()
    try:
        other.answers["/b"] = (200, {}, b"there")
        both = Sources(Destinations([f"127.0.0.1:{server.port}", f"127.0.0.1:{other.port}"]), ())
        server.answers["/data/r"] = (302, {"Location": f"http://127.0.0.1:{other.port}/b"}, b"")
        assert fetched(both, config, "pw", "r") == b"there"
        assert "Authorization" not in other.asked[-1][1]
        with pytest.raises(DestinationError):
            fetched(found, config, "pw", "r")
    finally:
        other.stop()
    server.answers["/data/loop"] = (302, {"Location": "/data/loop"}, b"")
    with pytest.raises(SourceError, match="in circles"):
        fetched(found, config, "pw", "loop")
    server.answers["/data/file"] = (302, {"Location": "file:///etc/passwd"}, b"")
    with pytest.raises(SourceError, match="no web address"):
        fetched(found, config, "pw", "file")
    with pytest.raises(SourceError, match="404"):
        fetched(found, config, "pw", "absent")
    server.answers["/data"] = (401, {}, b"")
    with pytest.raises(SourceError, match="401") as refused:
        found.check(config, "the-secret")
    assert "the-secret" not in str(refused.value)


def test_objects_of_a_bucket(server: Server) -> None:
    config = S3Connection(endpoint_url=f"http://127.0.0.1:{server.port}", bucket="landing", access_key="AK")
    server.answers |= {
        "/landing": (200, {}, LISTING.encode()),
        "/landing/in/leads.csv": (200, {}, b"id\n1\n"),
    }
    found = sources(server)
    found.check(config, "SK")
    assert "AWS4-HMAC-SHA256 Credential=AK/" in server.asked[-1][1]["Authorization"]
    (only,) = found.objects(config, "SK")
    assert (only.name, only.size_bytes) == ("in/leads.csv", 9)
    assert fetched(found, config, "SK", "in/leads.csv") == b"id\n1\n"
    server.answers["/landing"] = (403, {}, b"<Error><Code>AccessDenied</Code></Error>")
    with pytest.raises(SourceError, match="403: AccessDenied"):
        found.check(config, "SK")
    for body in (b"<html>", b'<!DOCTYPE x [<!ENTITY a "b">]><x>&a;</x>'):
        server.answers["/landing"] = (200, {}, body)
        with pytest.raises(SourceError, match="does not answer as an S3 store"):
            found.check(config, "SK")


def test_files_of_a_folder(server: Server, tmp_path: Path) -> None:
    root, outside = tmp_path / "in", tmp_path / "out"
    (root / "sub").mkdir(parents=True)
    outside.mkdir()
    (outside / "secret").write_text("s")
    (root / "sub" / "a.csv").write_bytes(b"id\n1\n")
    (root / "link").symlink_to(outside / "secret")
    (root / "folder").symlink_to(outside)
    found, config = sources(server, root), FilesConnection(folder=str(root))
    found.check(config, None)
    assert [one.name for one in found.objects(config, None)] == ["sub/a.csv"]
    assert fetched(found, config, None, "sub/a.csv") == b"id\n1\n"
    for name in ("../out/secret", "link", "folder/secret", "/etc/passwd", "sub", "sub/a.cvs"):
        with pytest.raises(UsageError):
            fetched(found, config, None, name)
    with pytest.raises(UsageError, match=r"did you mean 'sub/a\.csv'"):
        fetched(found, config, None, "sub/a.cvs")
    for folder in (outside, root / "folder", tmp_path):
        with pytest.raises(DestinationError, match="reads no files there"):
            found.check(FilesConnection(folder=str(folder)), None)
    with pytest.raises(DestinationError, match="no folder"):
        sources(server).check(config, None)


def request(path: Path, **more: Any) -> dict[str, Any]:
    options = {"format": "csv", "source_types": [["Id", "int"], ["Note", "string"]]}
    return {"do": "load", "path": str(path), "name": "leads.csv", "options": options, **more}


class Talk(worker.Conversation):
    """A parent that gives tokens."""

    def __init__(self) -> None:
        self.told: list[dict[str, Any]] = []

    def token(self) -> str:
        return "t"

    def tell(self, document: Any) -> None:
        self.told.append(dict(document))

    def progress(self, now: Any) -> None:
        self.told.append({"rows": now.rows})


def test_the_worker_loads_with_the_sources_own_types(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.file"
    path.write_bytes(b"Id,Note\n1,a\n2,\n")
    catalog = SqlCatalog("t", uri=f"sqlite:///{tmp_path}/c.db", warehouse=f"file://{tmp_path}/w")
    catalog.create_namespace("marketing")
    tokens: list[str] = []

    def opened(uri: str, warehouse: str, token: Callable[[], str]) -> SqlCatalog:
        tokens.append(token() + token())
        assert (uri, warehouse) == ("http://c", "lake")
        return catalog

    monkeypatch.setattr(worker, "open_catalog", opened)
    place = {"uri": "http://c", "warehouse": "lake"}
    talk = Talk()
    done = worker.load(request(path, table="marketing.leads", mode="create", catalog=place), talk)
    assert (done["rows"], done["files"], tokens) == (2, 1, ["tt"])
    assert talk.told[-1] == {"rows": 2}
    held = catalog.load_table("marketing.leads").scan().to_arrow()
    assert held.schema.field("id").type == pa.int32()
    worker.load(request(path, table="marketing.leads", mode="append", catalog=place), talk)
    assert catalog.load_table("marketing.leads").scan().to_arrow().num_rows == 4
    again = request(path, table="marketing.leads", mode="create", catalog=place)
    with pytest.raises(UsageError, match="exists"):
        worker.load(again, talk)
    path.write_bytes(b"Id,Note\n1,a\nx,b\n")
    with pytest.raises(LabError, match="'x' is not a whole number"):
        worker.load(request(path, table="marketing.leads", mode="replace", catalog=place), talk)
    assert catalog.load_table("marketing.leads").scan().to_arrow().num_rows == 4
    catalog.engine.dispose()


async def test_a_worker_that_dies_or_is_slow_is_told_of(tmp_path: Path) -> None:
    path = tmp_path / "x.file"
    path.write_bytes(b"Id,Note\n1,a\n")
    with pytest.raises(LabError, match="ended with status"):
        await work({"do": "preview", "name": "x"})
    with pytest.raises(LabError, match="longer than"):
        await work(request(path, do="preview"), limit_s=0.05)
    found = await work(request(path, do="preview"))
    assert json.dumps(found["rows"]) == '[["1", "a"]]'
    assert issubclass(CanceledError, LabError)
