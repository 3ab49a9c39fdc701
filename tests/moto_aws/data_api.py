"""The RDS Data API over a real PostgreSQL, in this process or by HTTP: what the provider is tested with."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import psycopg
from botocore.exceptions import ClientError

MASTER = "lab_admin"


class PostgresDataApi:
    """``execute_statement`` on one PostgreSQL, by a master user with the rights that Aurora's has: no
    superuser.

    ``asleep`` answers that many calls as a database that has paused; ``linger_s`` is how long a statement
    takes to commit; ``seen`` is what was sent."""

    def __init__(self, port: int, *, asleep: int = 0, linger_s: float = 0.0) -> None:
        self.asleep, self.linger_s = asleep, linger_s
        self.seen: list[dict[str, Any]] = []
        self._port = port

    def prepare(self) -> None:
        """Makes the master user."""
        with psycopg.connect(
            host="127.0.0.1", port=self._port, dbname="postgres", user="postgres", autocommit=True
        ) as connection:
            connection.execute(f"DROP ROLE IF EXISTS {MASTER}")
            connection.execute(f"CREATE ROLE {MASTER} LOGIN CREATEDB CREATEROLE")
            connection.execute(f"ALTER DATABASE postgres OWNER TO {MASTER}")

    def execute_statement(self, **arguments: Any) -> Mapping[str, Any]:
        """As boto3's client: one statement, ``:name`` bound to ``parameters``, records as typed cells."""
        self.seen.append(arguments)
        if self.asleep > 0:
            self.asleep -= 1
            raise client_error("DatabaseResumingException", "The Aurora DB instance is resuming")
        values = {p["name"]: p["value"]["stringValue"] for p in arguments.get("parameters", [])}
        text = arguments["sql"]
        if values:
            text = re.sub(r"(?<!:):([a-z_]+)\b", r"%(\1)s", text.replace("%", "%%"))
        try:
            with psycopg.connect(
                host="127.0.0.1",
                port=self._port,
                dbname=arguments["database"],
                user=MASTER,
                autocommit=not self.linger_s or text.startswith("CREATE DATABASE"),
            ) as connection:
                cursor = connection.execute(text.encode(), values or None)
                rows = cursor.fetchall() if cursor.description else []
                time.sleep(self.linger_s)
        except psycopg.Error as error:
            raise client_error("DatabaseErrorException", str(error)) from error
        return {"records": [[_cell(value) for value in row] for row in rows], "numberOfRecordsUpdated": 0}


def client_error(code: str, message: str) -> ClientError:
    """What boto3 raises."""
    return ClientError({"Error": {"Code": code, "Message": message}}, "ExecuteStatement")


def _cell(value: Any) -> dict[str, Any]:
    if value is None:
        return {"isNull": True}
    return {"longValue": value} if isinstance(value, int) else {"stringValue": str(value)}


@contextmanager
def served(api: PostgresDataApi) -> Iterator[str]:
    """The URL of a server that answers ``POST /Execute`` as the service does."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            """One statement."""
            arguments = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            try:
                status, answer = 200, dict(api.execute_statement(**arguments))
            except ClientError as error:
                status = 400
                answer = {"message": error.response["Error"]["Message"]}
                self.code = error.response["Error"]["Code"]
            body = json.dumps(answer).encode()
            self.send_response(status)
            if status != 200:
                self.send_header("x-amzn-ErrorType", self.code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
