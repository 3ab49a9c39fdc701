"""How the lab is."""

from __future__ import annotations

from fastapi import APIRouter, Request

from control_plane.api.access import Authenticated
from control_plane.api.schemas.admin import Health, Persona

router = APIRouter(prefix="/api/v1/admin", tags=["admin"])


@router.get("/health")
async def get_health(request: Request, caller: Authenticated) -> Health:
    """Every service as it answers now. Any signed-in person may see which of them is down."""
    raise NotImplementedError


@router.get("/personas")
def list_personas(caller: Authenticated) -> list[Persona]:
    """The sample users that the lab declares."""
    raise NotImplementedError
