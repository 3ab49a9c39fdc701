"""What each request's body may look like, for the API's description. Nothing that serves loads this."""

from __future__ import annotations

from typing import Any

_JSON = "application/json"
_ID = "6f1c2f52-9d0a-4c7e-8a55-2f2f0f6f3b11"
_REVENUE = (
    "SELECT o_orderpriority AS priority, sum(o_totalprice) AS revenue"
    " FROM retail.orders WHERE o_orderdate >= :since GROUP BY 1"
)
_NATIONS = "SELECT n_name FROM retail.nation"
_SINCE = {"name": "since", "type": "date", "value": "1997-01-01"}
_SINCE_SPEC = {"name": "since", "type": "date", "label": "Since", "default": "1997-01-01"}
_SHARED = [{"group": "data_stewards", "access": "read"}]
_TAGGED = {"tags": [{"object": "retail.customer.c_name", "tag": "pii.name"}]}
_CONNECTION = {
    "name": "crm",
    "config": {"kind": "postgresql", "host": "crm.example", "database": "crm", "user": "reader", "tls": True},
    "secret": "a password",
}
_QUOTA = {"queries": 4, "jobs": 2, "storage_mib": 10_240}

BODIES: dict[str, dict[str, Any]] = {
    "StartQuery": {
        "statement": _REVENUE,
        "catalog": "lake",
        "namespace": "retail",
        "parameters": [_SINCE],
        "max_rows": 10_000,
    },
    "SqlText": {"statement": _NATIONS},
    "ExplainStatement": {"statement": _NATIONS, "catalog": "lake", "kind": "distributed"},
    "SaveQuery": {
        "title": "Revenue by priority",
        "statement": _REVENUE,
        "parameters": [_SINCE_SPEC],
        "shares": _SHARED,
    },
    "SaveChart": {
        "title": "Revenue by priority",
        "statement": _REVENUE,
        "parameters": [_SINCE_SPEC],
        "spec": {"kind": "bar", "x": "priority", "y": ["revenue"], "number_format": ",.2f"},
    },
    "RunChart": {"parameters": [_SINCE]},
    "SaveDashboard": {
        "title": "Sales",
        "tiles": [
            {"id": "a", "kind": "chart", "chart_id": _ID, "x": 0, "y": 0, "width": 8, "height": 6},
            {"id": "b", "kind": "text", "text": "# Sales", "x": 8, "y": 0, "width": 4, "height": 2},
        ],
        "filters": [{"parameter": "since", "label": "Since", "type": "date", "default": "1997-01-01"}],
    },
    "RunTile": {"filters": [_SINCE]},
    "SaveJob": {
        "title": "Nightly orders",
        "work": {"kind": "sql", "statement": "INSERT INTO raw.orders SELECT * FROM retail.orders"},
        "schedule": {"cron": "30 2 * * *", "time_zone": "Europe/Zurich"},
        "retries": {"count": 2, "first_wait_s": 60, "longest_wait_s": 600},
        "timeout_s": 1800,
    },
    "StartRun": {"parameters": [_SINCE]},
    "AskPermission": {"next": "/jobs"},
    "SaveDataset": {"owner": "engineer", "description": "Who called, by day.", "tags": ["crm", "gold"]},
    "CreateWorkspace": {
        "name": "marketing",
        "description": "Campaigns",
        "owners": ["engineer"],
        "quota": _QUOTA,
    },
    "ChangeWorkspace": {"description": "Campaigns and leads", "quota": _QUOTA},
    "RemoveWorkspace": {"tables": False, "only_try": True},
    "PutMember": {"owner": True},
    "PreviewIngest": {"upload_id": _ID, "options": {"delimiter": ";", "types": {"id": "long"}}},
    "StartIngest": {"upload_id": _ID, "table": "leads", "mode": "append"},
    "SaveConnection": _CONNECTION,
    "FetchObject": {"object": "public.leads"},
    "PreviewChange": {"add": _TAGGED, "users": ["analyst_emea"], "tables": ["retail.customer"]},
    "ChangeAccess": {"add": _TAGGED, "reason": "names are personal data"},
    "CompareRevisions": {"before": 3, "users": ["analyst_emea"]},
    "RollBack": {"revision": 3, "reason": "the last change hid too much"},
    "BreakGlass": {
        "user": "analyst_emea",
        "object": "hr.employees",
        "lasts_s": 3600,
        "reason": "incident 42",
        "privileges": ["select"],
        "lifts": ["hide-salary"],
    },
    "EndException": {"reason": "the incident is over"},
    "PlanMaintenance": {"table": "retail.orders"},
}
"""By the name of the body's schema."""


def add_examples(document: dict[str, Any]) -> None:
    """Puts each body's example to it. Raises KeyError: a body has none."""
    for path in document["paths"].values():
        for operation in path.values():
            body = operation.get("requestBody", {}).get("content", {}).get(_JSON)
            if body is not None:
                body["example"] = BODIES[body["schema"]["$ref"].rpartition("/")[2]]
