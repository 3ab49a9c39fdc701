"""The services' logs, as admins read them."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, Field


class ServiceLog(BaseModel):
    """A service that has a log."""

    service: str = Field(examples=["trino"])
    size_bytes: int
    changed_at: datetime


class LogLines(BaseModel):
    """Lines of a log, oldest first. What follows begins at ``next`` (bytes); ``skipped``: there are lines
    before the first of these."""

    service: str
    lines: list[str]
    next: int
    skipped: bool
