"""Trino's "Failed to query OPA backend" says nothing by itself: the cause at its bottom is told with it."""

from __future__ import annotations

from typing import Any

import pytest
from trino.exceptions import TrinoQueryError

from control_plane.api.problems import status_of
from control_plane.api.queries.trino import trino_error
from governance.query import DeniedError, query_error
from governance.trino import with_cause

_REFUSED = "Server refused connection: http://127.0.0.1:28016/v1/data/lab/trino/allow"
FAILURE: dict[str, Any] = {
    "type": "io.trino.plugin.opa.OpaQueryException.QueryFailed",
    "message": "Failed to query OPA backend",
    "cause": {
        "type": "java.util.concurrent.ExecutionException",
        "message": f"java.io.UncheckedIOException: {_REFUSED}",
        "cause": {
            "type": "java.io.UncheckedIOException",
            "message": _REFUSED,
            "cause": {"type": "java.net.ConnectException", "message": "Connection refused"},
        },
    },
}
"""What Trino 476 told of a listing while OPA was stopped."""


@pytest.mark.parametrize(
    ("failure", "told"),
    [
        (FAILURE, "Failed to query OPA backend: ConnectException: Connection refused"),
        ({**FAILURE, "cause": {"type": "x.EofException"}}, "Failed to query OPA backend: EofException"),
        ({**FAILURE, "cause": {}}, "Failed to query OPA backend"),
        ({"type": "x.Y", "message": "Failed to query OPA backend"}, "Failed to query OPA backend"),
        (None, "Failed to query OPA backend"),
    ],
)
def test_the_cause_at_the_bottom_is_told(failure: dict[str, Any] | None, told: str) -> None:
    assert with_cause("Failed to query OPA backend", failure) == told


def test_a_query_that_nobody_decided_says_why() -> None:
    error = TrinoQueryError(
        {
            "message": "Failed to query OPA backend",
            "errorName": "GENERIC_INTERNAL_ERROR",
            "failureInfo": FAILURE,
        }
    )
    found = query_error(error)
    assert isinstance(found, DeniedError)
    assert found.what.endswith("Failed to query OPA backend: ConnectException: Connection refused")


def test_the_console_names_opa_and_what_may_pass() -> None:
    error = {
        "message": "Failed to query OPA backend",
        "errorName": "GENERIC_INTERNAL_ERROR",
        "errorType": "INTERNAL_ERROR",
        "failureInfo": FAILURE,
    }
    found = trino_error(error, "q1")
    assert (
        found.what
        == "OPA does not answer, so that Trino allows nothing: ConnectException: Connection refused"
    )
    assert (status_of(found), found.next_command) == (502, "lab status")
    other = trino_error({**error, "failureInfo": {"type": "java.lang.OutOfMemoryError"}}, "q1")
    assert (other.what, other.next_command) == ("Failed to query OPA backend", "lab logs trino")
