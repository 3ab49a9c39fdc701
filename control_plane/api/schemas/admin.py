"""How the lab's services are."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from pydantic import BaseModel, Field


class HealthState(StrEnum):
    """What a probe found. ``ABSENT``: the lab runs without it."""

    UP = "up"
    DEGRADED = "degraded"
    DOWN = "down"
    ABSENT = "absent"


class ComponentHealth(BaseModel):
    """One service as it answered just now. ``latency_ms`` is of the probe, ``detail`` says what is wrong,
    ``url`` is where people reach it."""

    name: str = Field(examples=["trino"])
    title: str
    state: HealthState
    detail: str | None
    latency_ms: float | None
    version: str | None
    url: str | None
    next_command: str | None


class Health(BaseModel):
    """All services, and when they were asked."""

    components: list[ComponentHealth]
    checked_at: datetime


class Persona(BaseModel):
    """A sample user."""

    username: str
    name: str
    groups: list[str]
    description: str


class SecretUse(BaseModel):
    """Secrets of one purpose, none of which the console has but its own. ``services`` are those of this lab
    that hold one; ``command`` makes them anew and starts these services again, and is None for what stays, as
    ``stays`` says why."""

    title: str = Field(examples=["Passwords of databases"])
    services: list[str]
    command: str | None = Field(examples=["lab rotate keys"])
    stays: str | None


class EndedSessions(BaseModel):
    """How many sessions there were."""

    ended: int
