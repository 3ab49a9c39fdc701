"""How each service answers, asked from here."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import httpx

from control_plane.api.schemas.admin import ComponentHealth, Health, HealthState

_TIMEOUT = httpx.Timeout(4.0, connect=2.0)
_SLOW_MS = 2000.0


@dataclass(frozen=True, kw_only=True)
class Component:
    """A service of the lab. ``probe_url`` answers with one of ``statuses`` while it is well, None where the
    lab runs without it; ``url`` is where people reach it, ``version`` what was deployed."""

    name: str
    title: str
    probe_url: str | None = None
    statuses: tuple[int, ...] = (200,)
    url: str | None = None
    version: str | None = None


async def look(components: Sequence[Component], http: httpx.AsyncClient) -> Health:
    """All of them as they answer now."""
    found = await asyncio.gather(*(_look(component, http) for component in components))
    return Health(components=list(found), checked_at=datetime.now(tz=UTC))


async def _look(component: Component, http: httpx.AsyncClient) -> ComponentHealth:
    state, detail, latency_ms = HealthState.ABSENT, "the lab runs without it", None
    if component.probe_url is not None:
        begun = time.perf_counter()
        state, detail = await _probe(component.probe_url, component.statuses, http)
        latency_ms = round((time.perf_counter() - begun) * 1000, 1)
        if state is HealthState.UP and latency_ms > _SLOW_MS:
            state, detail = HealthState.DEGRADED, f"it took {latency_ms:.0f} ms to answer"
    absent = state is HealthState.ABSENT
    return ComponentHealth(
        name=component.name,
        title=component.title,
        state=state,
        detail=None if state is HealthState.UP else detail,
        latency_ms=latency_ms,
        version=component.version,
        url=component.url,
        next_command=(
            None
            if state is HealthState.UP
            else f"lab up {component.name}"
            if absent
            else f"lab logs {component.name}"
        ),
    )


async def _probe(url: str, statuses: Sequence[int], http: httpx.AsyncClient) -> tuple[HealthState, str]:
    try:
        response = await http.get(url, timeout=_TIMEOUT)
    except httpx.TimeoutException:
        return HealthState.DOWN, "it does not answer in time"
    except httpx.HTTPError as error:
        return HealthState.DOWN, f"it does not answer: {error}"
    if response.status_code in statuses:
        return HealthState.UP, ""
    return HealthState.DEGRADED, f"it answered {response.status_code}"
