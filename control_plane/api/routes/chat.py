"""The agent's chat, for the page that shows it: every request goes on with a token for the agent alone."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator

import httpx
from fastapi import APIRouter, Request, Response
from fastapi.responses import StreamingResponse

from contracts.identity import Audience
from control_plane.api.access import Authenticated, console_of
from control_plane.api.problems import AbsentServiceError, UnavailableError

log = logging.getLogger(__name__)
router = APIRouter(prefix="/api/v1/chat", tags=["chat"])

_TIMEOUT = httpx.Timeout(300.0, connect=3.0)
_SENT = ("accept", "content-type", "last-event-id")
_GIVEN = ("content-type", "cache-control", "etag", "retry-after")
_METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]


@router.api_route("/{path:path}", methods=_METHODS, include_in_schema=False)
async def chat(path: str, request: Request, caller: Authenticated) -> Response:
    """The agent's ``/v1/chat/<path>``, streamed; it ends when the browser goes away."""
    console = console_of(request)
    if console.settings.agent_url is None:
        raise AbsentServiceError("this lab runs without the agent", next_command="lab up agent")
    headers = {name: request.headers[name] for name in _SENT if name in request.headers}
    headers["Authorization"] = f"Bearer {await caller.token(Audience.AGENT)}"
    base = httpx.URL(console.settings.agent_url)
    # Given as segments: a dot or an encoded slash leads nowhere else.
    url = base.copy_with(path=f"/v1/chat/{path}", query=request.url.query.encode() or None)
    if not url.path.startswith("/v1/chat/") or ".." in path.split("/"):
        raise AbsentServiceError("the agent has nothing at this address", value=path)
    asked = console.http.build_request(
        request.method, url, headers=headers, content=await request.body(), timeout=_TIMEOUT
    )
    try:
        answer = await console.http.send(asked, stream=True)
    except httpx.HTTPError as error:
        raise UnavailableError("the agent does not answer", next_command="lab logs agent") from error
    given = {name: answer.headers[name] for name in _GIVEN if name in answer.headers}
    return StreamingResponse(_relayed(answer), status_code=answer.status_code, headers=given)


async def _relayed(answer: httpx.Response) -> AsyncIterator[bytes]:
    try:
        async for part in answer.aiter_raw():
            yield part
    except httpx.HTTPError as error:
        # The page notices that its run's end has not come, and asks for the rest.
        log.info("the agent's answer ended early: %s", type(error).__name__)
    finally:
        await answer.aclose()
