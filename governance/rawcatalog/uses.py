"""What raw engines did by the catalog, as the audit keeps it. Pure.

Trino tells of the queries that it runs; what another engine reads it tells nobody. The door sees the moment
in which a table's files are opened to it: that moment is kept. Engines of Iceberg's Java library also report
each scan; what they say of it (columns, condition) is theirs to say, and kept as such.

https://github.com/apache/iceberg/blob/main/open-api/rest-catalog-open-api.yaml
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from http import HTTPStatus
from typing import Any

from contracts.errors import LabError
from governance.audit.records import RAW_USE_PREFIX, REFUSED_USE, Json, plain
from governance.governor.auth import Caller
from governance.rawcatalog.requests import Action, Asked, Table, read_identifier, read_path

_SECRET_KEY = "s3.secret-access-key"
_TEXT_CHARS = 500
_TABLES = 100
_COLUMNS = 500
_SCAN = "scan-report"


class RawUseKind(StrEnum):
    """What a line of the audit says was done."""

    READ = f"{RAW_USE_PREFIX}read"
    SCAN = f"{RAW_USE_PREFIX}scan"
    CREATE = f"{RAW_USE_PREFIX}create"
    COMMIT = f"{RAW_USE_PREFIX}commit"
    DROP = f"{RAW_USE_PREFIX}drop"
    RENAME = f"{RAW_USE_PREFIX}rename"
    REFUSED = REFUSED_USE


_KINDS: Mapping[Action, RawUseKind] = {
    Action.LOAD_TABLE: RawUseKind.READ,
    Action.CREATE_TABLE: RawUseKind.CREATE,
    Action.COMMIT: RawUseKind.COMMIT,
    Action.COMMIT_SEVERAL: RawUseKind.COMMIT,
    Action.DROP_TABLE: RawUseKind.DROP,
    Action.RENAME_TABLE: RawUseKind.RENAME,
}


@dataclass(frozen=True, kw_only=True)
class Exchange:
    """One request at the door and its answer. ``path`` is below the door, still percent-encoded; ``headers``
    by lower-case names."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    status: int
    answer: bytes


def use_record(
    caller: Caller, seen: Exchange, warehouse: str, revision: int | None, at: datetime
) -> Json | None:
    """The record of one exchange; None where nothing was read, written or refused.

    ``revision`` is that of the access data which decided.
    """
    refused = seen.status == HTTPStatus.FORBIDDEN
    try:
        asked = read_path(seen.method, seen.path, warehouse)
    except LabError:
        asked = None
    kind = RawUseKind.REFUSED if refused else _kind(asked, seen)
    if kind is None:
        return None
    document = _document(seen.body)
    return {
        "kind": "raw",
        "user": plain(caller.username),
        "what": kind.value,
        "at": at.isoformat(),
        "tables": _tables(asked, document),
        **({"asked": plain(f"{seen.method} {seen.path}")[:_TEXT_CHARS]} if refused else {}),
        **_more(kind, seen, document),
        "revision": revision,
        "groups": sorted(map(plain, caller.groups)),
        "client": plain(seen.headers.get("user-agent", ""))[:_TEXT_CHARS] or None,
    }


def reads(record: Json) -> bool:
    """Whether files were opened by it: such an answer is given only once the record is on the disk."""
    return bool(record["what"] == RawUseKind.READ)


def _kind(asked: Asked | None, seen: Exchange) -> RawUseKind | None:
    """What it was, when it was not refused."""
    if asked is None or seen.method == "HEAD":
        return None
    if asked.action is Action.REPORT_METRICS:
        scan = _document(seen.body).get("report-type") == _SCAN
        return RawUseKind.SCAN if scan and seen.status < HTTPStatus.BAD_REQUEST else None
    if asked.action is Action.LOAD_TABLE and seen.status != HTTPStatus.OK:
        return None
    return _KINDS.get(asked.action)


def _more(kind: RawUseKind, seen: Exchange, document: Mapping[str, Any]) -> Json:
    if kind is RawUseKind.READ:
        loaded = _document(seen.answer)
        snapshot_id = _integer(_mapping(loaded.get("metadata")).get("current-snapshot-id"))
        return {"keys": _opens_files(loaded), "snapshot_id": snapshot_id}
    if kind is RawUseKind.SCAN:
        names = document.get("projected-field-names")
        columns = [plain(name)[:_TEXT_CHARS] for name in names] if isinstance(names, list) else []
        return {
            "columns": columns[:_COLUMNS],
            "condition": plain(json.dumps(document.get("filter"), ensure_ascii=False))[:_TEXT_CHARS],
            "snapshot_id": _integer(document.get("snapshot-id")),
        }
    return {} if kind is RawUseKind.REFUSED else {"status": seen.status}


def _opens_files(loaded: Mapping[str, Any]) -> bool:
    """Whether keys of the store came with a table; without them its files stay closed."""
    several = loaded.get("storage-credentials")
    configs = [_mapping(one).get("config") for one in several] if isinstance(several, list) else []
    return any(_SECRET_KEY in _mapping(one) for one in (loaded.get("config"), *configs))


def _tables(asked: Asked | None, document: Mapping[str, Any]) -> list[str]:
    """Names of the tables that a request is about, as far as it names them well."""
    if asked is None:
        return []
    named: Sequence[Any] = ()
    if asked.action is Action.CREATE_TABLE:
        named = [{"namespace": list(asked.namespace), "name": document.get("name")}]
    elif asked.action is Action.RENAME_TABLE:
        named = [document.get("source"), document.get("destination")]
    elif asked.action is Action.COMMIT_SEVERAL:
        changes = document.get("table-changes")
        named = [_mapping(one).get("identifier") for one in changes] if isinstance(changes, list) else ()
    found = [asked.table] if asked.table is not None else []
    return [table.dotted.lower() for table in (*found, *_read(named[:_TABLES]))]


def _read(named: Sequence[Any]) -> list[Table]:
    found: list[Table] = []
    for one in named:
        try:
            found.append(read_identifier(one))
        except LabError:
            continue
    return found


def _document(content: bytes) -> Mapping[str, Any]:
    try:
        return _mapping(json.loads(content or b"null"))
    except ValueError:
        return {}


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _integer(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
