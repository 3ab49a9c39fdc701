"""The audit through the governor, with the user's own token."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cli.operations.access import own_governor, parse_duration
from cli.session import Session

if TYPE_CHECKING:
    from governance.audit.report import AuditReport


def audit(
    session: Session,
    *,
    user: str | None = None,
    since: str | None = None,
    table: str | None = None,
    denied: bool = False,
    query_id: str | None = None,
    limit: int = 50,
    persona: str | None = None,
) -> AuditReport:
    """Queries with their tables, rules and outcome, newest first, and events beside them.

    Args:
        since: how far back (``30m``, ``1h``, ``2d``); None is as far as lines are kept.
        table: ``ns.table`` that a query read, wrote or was denied.
        query_id: that one query alone, with every decision.
        persona: the sample user to ask as; None: who signed in.

    Raises:
        UsageError: ``since`` is no duration, or there is no such sample user.
        GovernorError: the caller may not see that, or the governor does not answer.
    """
    since_s = None if since is None else parse_duration(since).total_seconds()
    with own_governor(session, persona) as client:
        return client.audit(
            user=user, since_s=since_s, table=table, denied=denied, query_id=query_id, limit=limit
        )
