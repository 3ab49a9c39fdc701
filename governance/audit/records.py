"""What Trino and OPA report, cut down to what the audit keeps. Pure.

Plans, operator statistics and the SQL of filters and masks stay out: a mask's holds the key of its hash.
Trino: https://trino.io/docs/476/admin/event-listeners-http.html; OPA:
https://www.openpolicyagent.org/docs/management-decision-logs/, as ``policies/system/log.rego`` leaves it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from contracts.errors import UsageError

Json = dict[str, Any]

STATEMENT_CHARS = 20_000
"""Of a statement; the rest is cut off, and the record says so."""
_MESSAGE_CHARS = 500
_TAGS = 20
_TAG_CHARS = 200
_NAMES = 2_000
"""Columns or tables of one record; no statement of a person has more."""

RAW_USE_PREFIX = "catalog."
"""How the names of what raw engines did begin, and of nothing else that the audit notes."""
REFUSED_USE = f"{RAW_USE_PREFIX}refused"

QUERY_ID = re.compile(r"(?P<day>\d{8})_(?P<time>\d{6})_(?P<index>\d{5,})_(?P<server>\w+)")
"""A day, a time, a number counted within the day, and a random word of the running server."""


def query_record(event: Mapping[str, Any], catalog: str) -> Json:
    """A QueryCreatedEvent or QueryCompletedEvent. ``catalog``: its tables are named without it.

    Raises:
        UsageError: it is neither.
    """
    try:
        completed = "statistics" in event
        metadata, context = event["metadata"], event["context"]
        record: Json = {
            "kind": "query",
            "stage": "completed" if completed else "created",
            "query_id": plain(metadata["queryId"]),
            "user": plain(context["user"]),
            "groups": sorted(plain(group) for group in context.get("groups") or ()),
            "source": _optional(context.get("source")),
            "tags": sorted(plain(tag)[:_TAG_CHARS] for tag in context.get("clientTags") or ())[:_TAGS],
            "client": _optional(context.get("remoteClientAddress")),
            "begun_at": _time(event["createTime"]),
            **_statement(metadata),
        }
        return record | _completion(event, catalog) if completed else record
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UsageError(
            f"this is no event of a query: {type(error).__name__} {error}",
            permitted="QueryCreatedEvent or QueryCompletedEvent of Trino, as JSON",
        ) from error


def _statement(metadata: Mapping[str, Any]) -> Json:
    text = plain(metadata["query"])
    prepared = _optional(metadata.get("preparedQuery"))
    if prepared:
        text = f"{text} -- {prepared}"
    return {"statement": text[:STATEMENT_CHARS], "cut": len(text) > STATEMENT_CHARS}


def _completion(event: Mapping[str, Any], catalog: str) -> Json:
    failure = event.get("failureInfo") or {}
    statistics = event["statistics"]
    output = (event.get("ioMetadata") or {}).get("output") or {}
    written = _name(output.get("catalogName"), output.get("schema"), output.get("table"), catalog)
    tables = [_table(one, catalog) for one in event["metadata"].get("tables") or ()][:_NAMES]
    return {
        "ended_at": _time(event["endTime"]),
        "error": _optional((failure.get("errorCode") or {}).get("name")),
        "message": (_optional(failure.get("failureMessage")) or "")[:_MESSAGE_CHARS] or None,
        "tables": tables,
        "written": written if output else None,
        "rows": int(statistics.get("outputRows") or 0),
        "bytes": int(statistics.get("outputBytes") or 0),
        "written_rows": int(statistics.get("writtenRows") or 0),
        "read_rows": int(statistics.get("physicalInputRows") or 0),
        "read_bytes": int(statistics.get("physicalInputBytes") or 0),
    }


def _table(info: Mapping[str, Any], catalog: str) -> Json:
    columns = list(info.get("columns") or ())[:_NAMES]
    return {
        "name": _name(info["catalog"], info["schema"], info["table"], catalog),
        "columns": [plain(one["column"]) for one in columns],
        "masked": [plain(one["column"]) for one in columns if one.get("mask")],
        "filters": len(info.get("filters") or ()),
        "as_user": plain(info.get("authorization") or ""),
        "direct": bool(info.get("directlyReferenced", True)),
    }


def decision_records(events: Any, catalog: str) -> list[Json]:
    """The decisions of one upload. Who reaches OPA can ask it about anything: what is no question of Trino's
    is a gap of its own, and the rest of the upload stays.

    Raises:
        UsageError: it is no list.
    """
    if not isinstance(events, list):
        raise UsageError("this is no list of decisions", permitted="OPA's decision events, as JSON")
    return [_decision_or_gap(event, catalog) for event in events]


def _decision_or_gap(event: Any, catalog: str) -> Json:
    try:
        return _decision(event, catalog)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        reason = f"OPA was asked something that is no question of Trino's: {type(error).__name__} {error}"
        return {"kind": "gap", "who": "opa", "reason": plain(reason)[:_MESSAGE_CHARS]}


def _decision(event: Mapping[str, Any], catalog: str) -> Json:
    context, action = event["input"]["context"], event["input"]["action"]
    result = event.get("result")
    revision = str(((event.get("bundles") or {}).get("lab") or {}).get("revision") or "")
    found: Json = {
        "kind": "decision",
        "id": plain(event["decision_id"]),
        "at": _time(event["timestamp"]),
        "server": plain((event.get("labels") or {}).get("id") or ""),
        "user": plain(context["identity"]["user"]),
        # Trino 476 does not say for which query it asks; a later one does.
        "query_id": _optional(context.get("queryId")),
        "operation": plain(action["operation"]),
        "object": _object(action, catalog),
        "revision": int(revision) if revision.isdecimal() else None,
        "allowed": result if isinstance(result, bool) else None,
    }
    if isinstance(result, Mapping):
        found["filters"] = int(result.get("filters") or 0)
        found["masked"] = [plain(name) for name in result.get("masked") or ()][:_NAMES]
    return found


def _object(action: Mapping[str, Any], catalog: str) -> str:
    """What a decision is about, in one word."""
    resource = action.get("resource")
    if resource is None:
        candidates = action.get("filterResources")
        resource = candidates[0] if isinstance(candidates, list) and candidates else {}
    named: tuple[str, Json] = next(iter(resource.items()), ("", {}))
    kind, thing = named
    if kind in ("table", "column"):
        return _name(thing["catalogName"], thing["schemaName"], thing["tableName"], catalog)
    if kind == "schema":
        return _name(thing["catalogName"], thing["schemaName"], "*", catalog)
    if kind == "function":
        return _name(thing.get("catalogName"), thing.get("schemaName"), thing["functionName"], catalog)
    if kind == "catalogSessionProperty":
        return f"{plain(thing['catalogName'])}.{plain(thing['propertyName'])}"
    return plain(thing.get("name") or thing.get("user") or "")


def _name(catalog: Any, schema: Any, name: Any, own: str) -> str:
    parts = [plain(part) for part in (catalog, schema, name) if part]
    return ".".join(parts[1:] if parts and parts[0] == own else parts)


def encode(record: Mapping[str, Any]) -> bytes:
    """A record as it lies in the spool."""
    return json.dumps(record, separators=(",", ":"), ensure_ascii=False).encode()


def plain(value: Any) -> str:
    """Text that PostgreSQL can hold: no NUL, no half of a surrogate pair."""
    return str(value).replace("\0", "\ufffd").encode("utf-8", "replace").decode()


def _optional(value: Any) -> str | None:
    return plain(value) if value else None


def _time(value: Any) -> str:
    """ISO 8601 in UTC, to the microsecond."""
    if isinstance(value, int | float):
        return datetime.fromtimestamp(value, tz=UTC).isoformat()
    # OPA gives nanoseconds, of which the database keeps microseconds.
    text = re.sub(r"(\.\d{6})\d+", r"\1", str(value))
    return datetime.fromisoformat(text.replace("Z", "+00:00")).astimezone(UTC).isoformat()
