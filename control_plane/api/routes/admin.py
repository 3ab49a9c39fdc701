"""How the lab is."""

from __future__ import annotations

from fastapi import APIRouter, Request

from contracts.identity import PERSONAS
from contracts.secret_kinds import SECRET_KINDS
from control_plane.api.access import Authenticated, console_of
from control_plane.api.health import look
from control_plane.api.schemas.admin import Health, Persona, SecretUse

router = APIRouter(prefix="/api/v1/admin", tags=["admin"])


@router.get("/health")
async def get_health(request: Request, _: Authenticated) -> Health:
    """Every service as it answers now. Any signed-in person may see which of them is down."""
    console = console_of(request)
    return await look(console.settings.components, console.http)


@router.get("/personas")
def list_personas(_: Authenticated) -> list[Persona]:
    """The sample users that the lab declares."""
    return [
        Persona(
            username=persona.username,
            name=f"{persona.first_name} {persona.last_name}",
            groups=list(persona.groups),
            description=persona.description,
        )
        for persona in PERSONAS
    ]


@router.get("/secrets")
def list_secrets(request: Request, _: Authenticated) -> list[SecretUse]:
    """What secrets the lab has, what makes each anew, and what that starts again."""
    settings = console_of(request).settings
    absent = {one.name for one in settings.components if one.probe_url is None}
    return [
        SecretUse(
            title=kind.title,
            services=[name for name in kind.holders if name not in absent],
            command=None if kind.rotation is None else f"lab rotate {kind.rotation}",
            stays=kind.stays or None,
        )
        for kind in SECRET_KINDS
        if kind.catalog in (None, settings.catalog_kind)
    ]
