"""Rows as each released schema of a database has them, by the migration that made place for them.

A new migration adds its own; what earlier ones have stays as it is, for labs of those releases are there.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from control_plane.api.identity.sealing import Sealer
from control_plane.api.storage.sessions import session_key

Rows = list[tuple[str, dict[str, Any]]]
"""A table and a row of it, in the order in which they are written."""

ENCRYPTION_KEY = "k" * 44
COOKIE = "what-the-browser-has"
PASSWORD = "correct horse"
OFFLINE_TOKEN = "offline"

QUERY, CHART, BOARD, JOB, SPARK_JOB = (UUID(int=number) for number in range(1, 6))
RAN, RAN_LATER = UUID(int=11), UUID(int=12)
WORKSPACE, CONNECTION, UPLOAD, INGEST, LOST_INGEST = (UUID(int=number) for number in range(21, 26))
DONE, WAITS, ALSO_WAITS = (UUID(int=number) for number in range(31, 34))
CONVERSATION, QUESTION = UUID(int=41), UUID(int=42)
TEAM_CHART, TEAM_BOARD = UUID(int=51), UUID(int=52)

LONG_AGO = datetime(2026, 3, 1, 9, 30, 15, 123456, tzinfo=UTC)
RECENTLY = datetime.now(tz=UTC) - timedelta(days=3)
SOON = datetime.now(tz=UTC) + timedelta(days=30)


def _sealed(purpose: str, secret: str, bound_to: str) -> bytes:
    return Sealer(ENCRYPTION_KEY, purpose).seal(secret.encode(), bound_to)


def _kept(kept_id: UUID, kind: str, title: str, version: int, **document: Any) -> tuple[str, dict[str, Any]]:
    return "kept", {
        "id": kept_id,
        "kind": kind,
        "owner": "analyst",
        "title": title,
        "document": {"description": "", **document},
        "version": version,
        "created_at": LONG_AGO,
        "updated_at": RECENTLY,
        "updated_by": "engineer",
    }


def _of_workspace(row: tuple[str, dict[str, Any]]) -> tuple[str, dict[str, Any]]:
    table, values = row
    return table, {**values, "workspace_id": WORKSPACE}


TOKENS = {
    "access_token": "a",
    "refresh_token": "r",
    "id_token": "i",
    "access_ends_at": SOON.timestamp(),
    "sign_in_ends_at": SOON.timestamp(),
}
STATEMENT = (
    "SELECT region, count(*) AS n\nFROM lake.retail.customers -- 100 %\nWHERE since > :since GROUP BY 1"
)
TEXT = {
    "statement": STATEMENT,
    "catalog": None,
    "namespace": "retail",
    "parameters": [{"name": "since", "type": "date", "label": "", "default": "2026-01-01"}],
}
BARS = {
    "kind": "bar",
    "x": "region",
    "y": ["n"],
    "series": None,
    "value": None,
    "stacked": True,
    "horizontal": False,
    "legend": True,
    "sort": "none",
    "limit": None,
    "x_label": "",
    "y_label": "",
    "number_format": ",.2f",
}
OUTCOME = {
    "columns": None,
    "truncated": True,
    "update_type": None,
    "update_count": None,
    "statistics": None,
    "warnings": ["one"],
    "error": None,
}
TILE = {
    "id": "a",
    "kind": "chart",
    "chart_id": str(CHART),
    "text": "",
    "x": 0,
    "y": 0,
    "width": 6,
    "height": 4,
}
STEPS = [{"step": "group", "at": LONG_AGO.isoformat(), "detail": "made ws_leads"}]
NIGHTLY = {
    "work": {
        "kind": "sql",
        "statement": "INSERT INTO leads.t SELECT 1",
        "catalog": "lake",
        "namespace": "leads",
    },
    "parameters": [],
    "schedule": {"cron": "0 3 * * *", "time_zone": "Europe/Berlin"},
    "after": [],
    "max_concurrent": 2,
    "when_busy": "queue",
    "retries": {"count": 0, "first_wait_s": 30, "longest_wait_s": 3600},
    "timeout_s": 3600,
    "restart_lost": True,
    "group": None,
}


def _ran(query_id: UUID, state: str, **more: Any) -> tuple[str, dict[str, Any]]:
    return "query", {
        "id": query_id,
        "owner": "analyst",
        "origin": "worksheet",
        "statement": STATEMENT,
        "catalog": "lake",
        "namespace": "retail",
        "parameters": [{"name": "since", "type": "date", "value": "2026-02-03"}],
        "saved_query_id": QUERY,
        "state": state,
        "trino_query_id": "20260301_093015_00042_abcde",
        "created_at": RECENTLY,
        **more,
    }


def _run(run_id: UUID, number: int, state: str, **more: Any) -> tuple[str, dict[str, Any]]:
    return "job_run", {
        "id": run_id,
        "job_id": JOB,
        "owner": "analyst",
        "number": number,
        "version": 1,
        "trigger": "manual",
        "state": state,
        "parameters": [],
        "requested_by": "analyst",
        "created_at": RECENTLY + timedelta(minutes=number),
        **more,
    }


CONSOLE: Mapping[str, Rows] = {
    "0001": [
        (
            "session",
            {
                "id_hash": session_key(COOKIE),
                "username": "analyst",
                "display_name": "Ana Lyst",
                "email": None,
                "groups": ["analysts"],
                "subject": "s-1",
                "sid": "k-1",
                "tokens": _sealed("sessions", json.dumps(TOKENS), session_key(COOKIE)),
                "access_ends_at": SOON,
                "ends_at": SOON,
            },
        ),
        _kept(QUERY, "query", "By region", 7, **TEXT),
        _kept(CHART, "chart", "Regions", 2, **TEXT, spec=BARS),
        _kept(BOARD, "dashboard", "Board", 1, tiles=[TILE], filters=[]),
        ("share", {"kept_id": QUERY, "group_name": "analysts", "may_edit": False}),
        ("share", {"kept_id": QUERY, "group_name": "data_engineers", "may_edit": True}),
        _ran(RAN, "finished", outcome=OUTCOME, row_count=3, ended_at=RECENTLY + timedelta(seconds=1)),
        _ran(RAN_LATER, "running", outcome={}),
    ],
    "0002": [
        (
            "connection",
            {
                "id": CONNECTION,
                "workspace_id": WORKSPACE,
                "name": "crm",
                "kind": "postgresql",
                "config": {"kind": "postgresql", "host": "db.example", "database": "crm", "user": "reader"},
                "secret": _sealed("connections", PASSWORD, str(CONNECTION)),
                "version": 4,
                "created_by": "engineer",
                "created_at": LONG_AGO,
                "updated_at": RECENTLY,
                "updated_by": "engineer",
            },
        ),
        (
            "upload",
            {
                "id": UPLOAD,
                "workspace_id": WORKSPACE,
                "filename": "leads.csv",
                "origin": {},
                "types": [],
                "state": "ready",
                "size_bytes": 3 << 30,
                "created_by": "engineer",
                "created_at": RECENTLY,
            },
        ),
        *[
            (
                "ingest",
                {
                    "id": ingest_id,
                    "workspace_id": WORKSPACE,
                    "owner": "engineer",
                    "table_name": "leads.contacts",
                    "mode": "append",
                    "source": "leads.csv",
                    "state": state,
                    "progress": {"rows": 1_000},
                    "result": result,
                    "created_at": RECENTLY,
                    "ended_at": None if result is None else RECENTLY,
                },
            )
            for ingest_id, state, result in (
                (INGEST, "finished", {"rows": 1_000, "snapshot_id": "42"}),
                (LOST_INGEST, "running", None),
            )
        ],
        (
            "dataset",
            {
                "table_name": "leads.contacts",
                "owner": "engineer",
                "description": "Who called; é",
                "tags": ["crm", "gold"],
                "version": 3,
                "updated_by": "engineer",
            },
        ),
    ],
    "0003": [
        _kept(JOB, "job", "Nightly", 1, **NIGHTLY),
        (
            "job",
            {
                "id": JOB,
                "next_run_at": SOON,
                "arrived": {str(SPARK_JOB): str(DONE)},
                "last_number": 3,
                "pause": "owner",
                "pause_reason": "holidays",
                "paused_at": RECENTLY,
            },
        ),
        (
            "job_version",
            {
                "job_id": JOB,
                "version": 1,
                "title": "Nightly",
                "document": {"description": "", **NIGHTLY},
                "created_by": "analyst",
            },
        ),
        _run(
            DONE,
            1,
            "succeeded",
            attempt=1,
            attempts=[],
            started_at=RECENTLY,
            ended_at=RECENTLY + timedelta(minutes=5),
        ),
        _run(WAITS, 2, "waiting"),
        ("job_log", {"run_id": DONE, "attempt": 1, "source": "trino", "text": "3 rows"}),
        (
            "job_permission",
            {
                "owner": "analyst",
                "subject": "s-1",
                "token": _sealed("offline tokens", OFFLINE_TOKEN, "analyst"),
                "groups": ["analysts", "ws_leads"],
                "granted_at": RECENTLY,
                "checked_at": RECENTLY,
            },
        ),
    ],
    "0004": [
        (
            "workspace_quota",
            {"workspace": "leads", "workspace_id": WORKSPACE, "jobs": 3, "noted_at": RECENTLY},
        ),
        _run(ALSO_WAITS, 3, "waiting", workspace="leads"),
    ],
    "0005": [
        _of_workspace(_kept(TEAM_CHART, "chart", "Calls", 2, **TEXT, spec=BARS)),
        _of_workspace(
            _kept(
                TEAM_BOARD,
                "dashboard",
                "Leads",
                3,
                tiles=[{**TILE, "chart_id": str(TEAM_CHART)}],
                filters=[],
            )
        ),
    ],
}

ACCESS = {
    "grants": [{"group": "analysts", "object": "retail", "privilege": "select"}],
    "tags": [{"object": "retail.customers.email", "tag": "pii"}],
    "rules": [],
}
QUERY_ID = "20260301_093015_00042_abcde"
DETAIL = {"statement": "SELECT 1", "groups": ["analysts"], "rows": 1}

GOVERNANCE: Mapping[str, Rows] = {
    "0001": [
        ("access_revision", {"document": ACCESS, "author": "ada", "reason": "first", "created_at": LONG_AGO}),
        (
            "access_revision",
            {"document": {**ACCESS, "tags": []}, "author": "bob", "reason": "second", "based_on": 1},
        ),
        ("access_seed", {"name": "access", "document": ACCESS, "digest": "d" * 64}),
        ("table_owner", {"table_name": "leads.t", "group_name": "ws_leads", "registered_by": "engineer"}),
        ("publication", {"revision": 1, "issued_at": RECENTLY, "etag": '"e1"', "first_issued_at": LONG_AGO}),
        ("governor_event", {"at": LONG_AGO, "who": "ada", "what": "access.write", "detail": {"revision": 1}}),
    ],
    "0002": [
        *[
            (
                "audit_query",
                {
                    "query_id": QUERY_ID,
                    "stage": stage,
                    "recorded_at": LONG_AGO,
                    "username": "analyst",
                    "begun_at": LONG_AGO,
                    "ended_at": ended_at,
                    "denied": False,
                    "tables": ["retail.customers"],
                    "detail": DETAIL,
                },
            )
            for stage, ended_at in (("created", None), ("completed", LONG_AGO + timedelta(seconds=2)))
        ],
        (
            "audit_decision",
            {
                "decision_id": "d-1",
                "recorded_at": LONG_AGO,
                "at": LONG_AGO + timedelta(seconds=1),
                "username": "analyst",
                "operation": "SelectFromColumns",
                "object": "retail.customers",
                "allowed": True,
                "revision": 1,
                "detail": {},
            },
        ),
        ("audit_event", {"recorded_at": LONG_AGO, "who": "trino", "what": "gap", "detail": {"count": 2}}),
        ("audit_state", {"name": "spool trino", "value": {"delivered": 17}}),
    ],
    "0003": [
        (
            "maintenance_revision",
            {"document": {"tables": []}, "seed": {"tables": []}, "author": "seeder", "reason": "seed"},
        ),
        (
            "maintenance_run",
            {
                "table_name": "retail.customers",
                "asked_by": "schedule",
                "scheduled": True,
                "started_at": LONG_AGO,
                "ended_at": LONG_AGO + timedelta(minutes=1),
                "outcome": "done",
                "detail": {"policy": {}, "steps": []},
            },
        ),
    ],
    "0004": [
        (
            "workspace",
            {
                "id": WORKSPACE,
                "name": "leads",
                "description": "Who called",
                "owners": ["engineer"],
                "quota": {"queries": 4, "jobs": 3, "storage_mib": 100},
                "state": "ready",
                "steps": STEPS,
                "location": "s3://lakehouse/warehouse/leads",
                "drop_tables": False,
                "created_by": "admin",
                "created_at": LONG_AGO,
            },
        )
    ],
}

AGENT: Mapping[str, Rows] = {
    "0001": [
        (
            "conversation",
            {"id": CONVERSATION, "username": "analyst", "title": "Customers", "created_at": LONG_AGO},
        ),
        (
            "run",
            {
                "id": QUESTION,
                "conversation_id": CONVERSATION,
                "number": 1,
                "username": "analyst",
                "question": "How many customers are there?",
                "state": "stopped",
                "planner": "semantic",
                "created_at": LONG_AGO,
                "ended_at": LONG_AGO,
            },
        ),
        (
            "step",
            {
                "run_id": QUESTION,
                "conversation_id": CONVERSATION,
                "seq": 1,
                "username": "analyst",
                "channel": "chat",
                "node": "question",
                "detail": {"text": "How many?"},
                "recorded_at": LONG_AGO,
            },
        ),
        ("semantic_model", {"name": "mine", "text": "tables: []", "registered_by": "engineer"}),
    ],
}
