"""Cursors of lists that are read newest first, page by page."""

from __future__ import annotations

import base64
import binascii
import json
from datetime import datetime
from uuid import UUID

from contracts.errors import UsageError


def cursor_of(created_at: datetime, row_id: UUID) -> str:
    """What names the place behind a row."""
    place = json.dumps([created_at.isoformat(), str(row_id)])
    return base64.urlsafe_b64encode(place.encode()).decode()


def place(cursor: str) -> tuple[datetime, UUID]:
    """The row that a cursor names. Raises UsageError."""
    try:
        at, row_id = json.loads(base64.urlsafe_b64decode(cursor.encode()))
        moment = datetime.fromisoformat(at)
        if moment.tzinfo is None:
            raise ValueError("no zone")
        return moment, UUID(row_id)
    except (binascii.Error, ValueError, TypeError, AttributeError) as error:
        raise UsageError(
            "this is no cursor", value=cursor, permitted="the 'next' of the page before"
        ) from error
