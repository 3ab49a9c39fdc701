"""Who is signed in."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from pydantic import BaseModel, Field


class Permission(StrEnum):
    """What pages a person gets; the services behind decide again."""

    READ_ACCESS = "read_access"
    EDIT_RULES = "edit_rules"
    EDIT_GRANTS = "edit_grants"
    BREAK_GLASS = "break_glass"
    READ_AUDIT = "read_audit"
    ADMINISTER = "administer"
    CREATE_WORKSPACES = "create_workspaces"
    MANAGE_WORKSPACES = "manage_workspaces"


class SignIn(StrEnum):
    """How the caller showed who they are."""

    SESSION = "session"
    BEARER = "bearer"


class Me(BaseModel):
    """The caller. ``csrf_token`` goes into the header ``X-CSRF-Token`` of every request that changes
    something; None for a bearer token, which needs none."""

    username: str = Field(examples=["steward"])
    name: str = Field(examples=["Stella Steward"])
    email: str | None
    groups: list[str]
    permissions: list[Permission]
    sign_in: SignIn
    csrf_token: str | None
    session_ends_at: datetime | None


class SignInReady(BaseModel):
    """That people can sign in; an error says what stands in the way."""

    ready: bool = True


class SignedOut(BaseModel):
    """Where the browser has to go to end the sign-in at Keycloak, too."""

    url: str


class Info(BaseModel):
    """What this console is part of. ``services`` are those it can reach."""

    lab: str
    version: str
    catalog_kind: str = Field(examples=["polaris"])
    default_catalog: str = Field(examples=["lake"])
    services: list[str] = Field(examples=[["governor", "trino", "spark", "agent"]])
