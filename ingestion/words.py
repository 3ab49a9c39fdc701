"""What servers say of loading without what loading takes."""

from __future__ import annotations

from enum import StrEnum


class Mode(StrEnum):
    """What to do with the table."""

    CREATE = "create"
    APPEND = "append"
    REPLACE = "replace"


CANCELED_STATUS = 130
"""How a worker that was told to end says that it did, with nothing committed."""
