"""Reports as Trino 476 and OPA send them, cut to what matters."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

Json = dict[str, Any]

START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
SERVER = "abcde"


def at(seconds: float) -> str:
    """A time ``seconds`` after the start, as Trino writes it."""
    return (START + timedelta(seconds=seconds)).isoformat(timespec="microseconds").replace("+00:00", "Z")


def query_id(number: int, server: str = SERVER) -> str:
    """The id of a query begun in the second of the start."""
    return f"20260102_030405_{number:05d}_{server}"


def table(
    name: str, *columns: str, masked: tuple[str, ...] = (), filters: int = 0, user: str = "ann"
) -> Json:
    """A TableInfo of ``ns.name``."""
    schema, _, bare = name.partition(".")
    return {
        "catalog": "lake",
        "schema": schema,
        "table": bare,
        "authorization": user,
        "filters": ["region = 'EMEA'"] * filters,
        "columns": [
            {"column": column, **({"mask": "hmac('the key')"} if column in masked else {})}
            for column in columns
        ],
        "directlyReferenced": True,
    }


def created(
    number: int = 1, *, user: str = "ann", begun: float = 0.5, server: str = SERVER, sql: str = "SELECT 1"
) -> Json:
    """A QueryCreatedEvent."""
    return {
        "createTime": at(begun),
        "context": {
            "user": user,
            "groups": ["analysts"],
            "source": "lab",
            "remoteClientAddress": "127.0.0.1",
        },
        "metadata": {"queryId": query_id(number, server), "query": sql, "queryState": "QUEUED", "tables": []},
    }


def completed(
    number: int = 1,
    *tables: Json,
    user: str = "ann",
    begun: float = 0.5,
    ended: float = 1.0,
    error: str | None = None,
    server: str = SERVER,
    sql: str = "SELECT 1",
    rows: int = 7,
) -> Json:
    """A QueryCompletedEvent."""
    event = created(number, user=user, begun=begun, server=server, sql=sql)
    event["metadata"] |= {"tables": list(tables), "plan": "Fragment 0 hmac('the key')"}
    event |= {
        "endTime": at(ended),
        "statistics": {"outputRows": rows, "outputBytes": 70, "physicalInputRows": 1500, "wallTime": 0.5},
        "ioMetadata": {"inputs": []},
    }
    if error is not None:
        event["failureInfo"] = {"errorCode": {"code": 4, "name": error}, "failureMessage": f"{error}!"}
    return event


def decision(
    number: int,
    operation: str = "SelectFromColumns",
    obj: str | None = "retail.customer",
    *,
    user: str = "ann",
    when: float = 0.6,
    allowed: bool = True,
    revision: int = 1,
    server: str = "opa-1",
    of_query: str | None = None,
) -> Json:
    """A decision event, as the lab's log policy leaves it."""
    action: Json = {"operation": operation}
    if obj is not None:
        schema, _, name = obj.partition(".")
        action["resource"] = {"table": {"catalogName": "lake", "schemaName": schema, "tableName": name}}
    context: Json = {"identity": {"user": user, "groups": ["analysts"]}}
    if of_query is not None:
        context["queryId"] = of_query
    return {
        "decision_id": f"d-{number}",
        "labels": {"id": server, "version": "1.22.0"},
        "bundles": {"lab": {"revision": str(revision)}},
        "path": "lab/trino/allow",
        "input": {"action": action, "context": context},
        "result": allowed,
        "timestamp": at(when).replace("Z", "123Z"),
    }
