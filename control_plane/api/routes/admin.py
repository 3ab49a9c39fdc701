"""How the lab is."""

from __future__ import annotations

from fastapi import APIRouter, Request

from contracts.identity import PERSONAS
from control_plane.api.access import Authenticated, console_of
from control_plane.api.health import look
from control_plane.api.schemas.admin import Health, Persona

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
