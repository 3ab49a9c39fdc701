"""Records what a real Trino asks OPA, for the operations that no file in ``recorded/`` holds yet; of the
lab's own identities, for each operation on each catalog.

    LAB_HOME=… ./lab up --set scaleFactor=0.01
    LAB_HOME=… python -m tests.policies.record >> tests/policies/recorded/trino-476.jsonl

A second Trino is started from the running lab's own files, on other ports, with its policy questions going
through a proxy that keeps them. Use a lab with the seed's access data: answers are replayed against it.
"""

from __future__ import annotations

import http.server
import json
import sys
import threading
from pathlib import Path
from typing import Any

import httpx

from bench.governed import trino_twin
from cli.access import token_url, user_tokens
from cli.project import open_lab
from cli.session import Session
from cli.tokens import scope
from contracts.errors import LabError
from contracts.identity import MAINTAINER_CLIENT, Audience
from governance.query import QueryError, TrinoSession
from seed.tokens import ClientCredentials

RECORDED = Path(__file__).parent / "recorded"
HTTPS, INTERNAL = 41050, 41051

STATEMENTS: tuple[tuple[str, str], ...] = (
    ("engineer", "CREATE TABLE raw.rec (a integer, b varchar)"),
    ("engineer", "ALTER TABLE raw.rec ALTER COLUMN a SET DATA TYPE bigint"),
    ("engineer", "ALTER TABLE raw.rec DROP COLUMN b"),
    ("engineer", "COMMENT ON COLUMN raw.rec.a IS 'x'"),
    (
        "engineer",
        "CREATE VIEW raw.rec_v AS SELECT lake.system.bucket(n_nationkey, 4) AS b FROM retail.nation",
    ),
    ("engineer", "COMMENT ON VIEW raw.rec_v IS 'x'"),
    ("admin", "SELECT b FROM raw.rec_v"),
    ("engineer", "ALTER VIEW raw.rec_v RENAME TO raw.rec_w"),
    ("engineer", "DROP VIEW raw.rec_w"),
    ("engineer", "DROP TABLE raw.rec"),
    ("engineer", "SHOW CREATE SCHEMA lake.retail"),
    ("hr", "SHOW CREATE SCHEMA lake.retail"),
    ("hr", "DROP SCHEMA lake.raw"),
    ("admin", "ALTER SCHEMA raw RENAME TO elsewhere"),
    ("admin", "ALTER SCHEMA raw SET AUTHORIZATION admin"),
    ("admin", "ALTER TABLE retail.nation SET AUTHORIZATION admin"),
    ("engineer", "CREATE VIEW raw.rec_x AS SELECT 1 AS a"),
    ("admin", "ALTER VIEW raw.rec_x SET AUTHORIZATION admin"),
    ("engineer", "DROP VIEW raw.rec_x"),
    ("admin", "CREATE CATALOG other USING memory"),
    ("admin", "DROP CATALOG lake"),
    ("admin", "CREATE FUNCTION lake.raw.f(a bigint) RETURNS bigint RETURN a"),
    ("admin", "DROP FUNCTION lake.raw.f(bigint)"),
    ("analyst_emea", "SHOW FUNCTIONS"),
    ("analyst_emea", "SHOW FUNCTIONS FROM system.builtin"),
    # The key of this mask is read as the identity of filters and masks.
    ("analyst_emea", "SELECT min(c_custkey) FROM retail.customer"),
    ("analyst_emea", "SELECT key FROM masking.public.hash_key"),
)

MAINTAINING: tuple[str, ...] = (
    'SELECT content, sum(file_size_in_bytes) FROM retail."customer$files" GROUP BY 1',
    'SELECT lower_bounds FROM retail."customer$files"',
    'SELECT count(*) FROM hr."employees$snapshots"',
    "ALTER TABLE retail.nation EXECUTE optimize(file_size_threshold => '1MB')",
    "ALTER TABLE retail.nation EXECUTE optimize_manifests",
    "ALTER TABLE retail.nation EXECUTE expire_snapshots(retention_threshold => '30d')",
    "ALTER TABLE retail.nation EXECUTE remove_orphan_files(retention_threshold => '30d')",
    "ALTER TABLE retail.nation EXECUTE drop_extended_stats",
    "SELECT count(*) FROM retail.customer",
    "SELECT c_name FROM retail.customer",
    "SELECT query FROM system.runtime.queries",
    "CALL system.runtime.kill_query('20260101_000000_00000_aaaaa')",
    "DELETE FROM retail.nation",
    "SHOW SCHEMAS FROM lake",
    "SHOW TABLES FROM lake.retail",
    "SELECT key FROM masking.public.hash_key",
)
"""What the client that maintains tables runs, and what it must not."""

COUNTING_CLIENT = "governor"
COUNTING: tuple[str, ...] = (
    "SELECT count(*), count_if(lower(c_mktsegment) = 'x') FROM retail.customer",
    'SELECT count(*) FROM retail."customer$files"',
    "DELETE FROM retail.nation",
    "SHOW TABLES FROM lake.retail",
    "SELECT query FROM system.runtime.queries",
    "SELECT key FROM masking.public.hash_key",
)
"""What the client that counts rows for a difference of policies runs, and what it must not."""


class Proxy(http.server.ThreadingHTTPServer):
    """Passes questions on to OPA and keeps them with their answers."""

    daemon_threads = True

    def __init__(self, opa_url: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.client = httpx.Client(base_url=opa_url, trust_env=False)
        self.kept: list[dict[str, Any]] = []


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Proxy
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        answer = self.server.client.post(self.path, content=body)
        asked, decision = json.loads(body)["input"], self.path.rpartition("/")[2]
        self.server.kept.append({"decision": decision, "input": asked, "result": answer.json().get("result")})
        self.send_response(answer.status_code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer.content)))
        self.end_headers()
        self.wfile.write(answer.content)

    def log_message(self, format: str, *args: Any) -> None:
        pass


def ask(session: Session, url: str) -> None:
    """Runs the statements, then what only Trino's HTTP API asks about."""
    outputs = session.outputs()
    people = {who: user_tokens(session, outputs, who, Audience.TRINO) for who, _ in STATEMENTS}
    secrets = session.slot().secrets.client_secrets
    clients = {
        client: ClientCredentials(
            token_url=token_url(outputs),
            client_id=client,
            client_secret=secrets[client],
            scope=scope(Audience.TRINO),
        )
        for client in (MAINTAINER_CLIENT, COUNTING_CLIENT)
    }
    asked = [(who, people[who], sql) for who, sql in STATEMENTS]
    asked += [(MAINTAINER_CLIENT, clients[MAINTAINER_CLIENT], sql) for sql in MAINTAINING]
    asked += [(COUNTING_CLIENT, clients[COUNTING_CLIENT], sql) for sql in COUNTING]
    for who, token, statement in asked:
        with TrinoSession(url, token, outputs.ca_certificate, source="record") as connection:
            try:
                list(connection.run(statement).rows)
            except (QueryError, LabError) as error:
                print(f"{who}: {statement}: {error.what}", file=sys.stderr)
    tokens = {who: user_tokens(session, outputs, who, Audience.TRINO) for who in ("hr", "admin")}
    # The certificate names this address; whose it is was checked by the sessions above.
    with httpx.Client(base_url=url, verify=False, trust_env=False) as client:  # noqa: S501 - loopback, a recording
        headers = {who: {"Authorization": f"Bearer {token()}"} for who, token in tokens.items()}
        client.get("/v1/query", headers={"Authorization": f"Bearer {clients[MAINTAINER_CLIENT]()}"})
        started = client.post("/v1/statement", content="SELECT 1", headers=headers["hr"]).json()
        # A query is only known to others once its owner has come back for it.
        client.get(started["nextUri"], headers=headers["hr"])
        client.get(f"/v1/query/{started['id']}", headers=headers["admin"])
        client.delete(f"/v1/query/{started['id']}", headers=headers["admin"])
        for who in ("hr", "admin"):
            client.get("/v1/node", headers=headers[who])
        json_type = {"Content-Type": "application/json"}
        client.put("/v1/info/state", content='"ACTIVE"', headers={**headers["hr"], **json_type})


def aspect(asked: dict[str, Any]) -> tuple[str, str, str]:
    """What makes a question another one: its operation; of the lab's own identities, also whose it is and the
    catalog that it is about."""
    action, user = asked["action"], asked["context"]["identity"]["user"]
    if not user.startswith(("$", "service-account-")):
        return "", action["operation"], ""
    about = action.get("resource") or (action.get("filterResources") or [{}])[0]
    (inner,) = list(about.values())[:1] or [{}]
    return user, action["operation"], str(inner.get("catalogName") or inner.get("name") or "")


def main() -> None:
    """Prints one line for each question that is not recorded."""
    known = set()
    for path in RECORDED.glob("*.jsonl"):
        for line in path.read_text(encoding="utf-8").splitlines():
            known.add(aspect(json.loads(line)["input"]))
    session = Session(open_lab())
    opa_url = session.outputs().opa_url
    proxy = Proxy(opa_url)
    threading.Thread(target=proxy.serve_forever, daemon=True).start()
    instead = {opa_url: f"http://127.0.0.1:{proxy.server_address[1]}"}
    with trino_twin(session.lab.home, HTTPS, INTERNAL, without=("event-listener.",), instead=instead):
        ask(session, f"https://127.0.0.1:{HTTPS}")
    proxy.shutdown()
    seen = set()
    for one in proxy.kept:
        line = json.dumps(one, separators=(",", ":"), ensure_ascii=False)
        if aspect(one["input"]) not in known and line not in seen:
            seen.add(line)
            print(line)
    found = sorted({" ".join(aspect(json.loads(line)["input"])).strip() for line in seen})
    print(f"recorded: {', '.join(found)}", file=sys.stderr)


if __name__ == "__main__":
    main()
