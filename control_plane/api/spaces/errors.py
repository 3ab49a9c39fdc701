"""What goes wrong with files and connections."""

from __future__ import annotations

from http import HTTPStatus
from typing import ClassVar

from contracts.errors import LabError, UsageError


class TooLargeError(LabError):
    """The file is larger than what is taken (413)."""

    http_status: ClassVar[int] = HTTPStatus.REQUEST_ENTITY_TOO_LARGE


class NoRoomError(LabError):
    """The spool has no room for the file (507)."""

    http_status: ClassVar[int] = HTTPStatus.INSUFFICIENT_STORAGE


class DestinationError(UsageError):
    """The console does not connect to that place (422)."""


class SourceError(UsageError):
    """The place of a connection refused, did not answer, or has no such object (422)."""
