"""Makes the catalog follow from the access data before a seed counts as done.

A catalog with its own principals and grants (Polaris) refuses the services' tokens until the governor
knows them there, and holds no grant on a table that has just come into being. The governor reconciles by
itself every half minute; nobody should have to wait for that after a seed.
"""

from __future__ import annotations

import time

from contracts.errors import LabError
from governance.client import GovernorClient, ReconcileReport
from seed.connection import Connection

PATIENCE_S = 60.0
_PAUSE_S = 1.0


def settle_catalog(connection: Connection, *, patience_s: float = PATIENCE_S) -> ReconcileReport:
    """Reconciles until a run has no errors; what waits for tables that do not exist yet may remain.

    Raises:
        LabError: the governor can't be reached or refuses, or errors remain after ``patience_s``.
    """
    deadline_s = time.monotonic() + patience_s
    with GovernorClient(connection.governor_url, connection.token_provider()) as client:
        while (report := client.reconcile()).errors:
            if time.monotonic() >= deadline_s:
                raise LabError(
                    f"the catalog does not take the access data: {report.errors[0]}",
                    value=f"{len(report.errors)} errors after {patience_s:g} s",
                    next_command="lab logs governor",
                )
            time.sleep(_PAUSE_S)
    return report
