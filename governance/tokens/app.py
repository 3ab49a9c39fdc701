"""The token endpoint over HTTP, for the engines of the lab's own network."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from urllib.parse import parse_qsl

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from governance.tokens.cache import TokenCache, refusal
from governance.tokens.settings import TOKEN_PATH

_FORM_LIMIT_BYTES = 8192
_NO_STORE = {"Cache-Control": "no-store"}


def create_app(cache: TokenCache) -> Starlette:
    """``POST /v1/token``, and whether there is anybody (``GET /health/ready``)."""

    async def token(request: Request) -> Response:
        body = b""
        async for chunk in request.stream():
            body += chunk
            if len(body) > _FORM_LIMIT_BYTES:
                answer = refusal(HTTPStatus.BAD_REQUEST, "invalid_request", "the request is too long")
                return JSONResponse(answer.document, answer.status, headers=_NO_STORE)
        pairs = parse_qsl(body.decode("utf-8", errors="replace"), keep_blank_values=True)
        form = dict(pairs)
        if len(form) != len(pairs):
            # RFC 6749 §3.2: no parameter twice.
            answer = refusal(HTTPStatus.BAD_REQUEST, "invalid_request", "a parameter is there twice")
        else:
            answer = await cache.answer(form)
        return JSONResponse(dict(answer.document), answer.status, headers=_NO_STORE)

    async def ready(_request: Request) -> Response:
        return PlainTextResponse("ready")

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        yield
        await cache.close()

    routes = [Route(TOKEN_PATH, token, methods=["POST"]), Route("/health/ready", ready, methods=["GET"])]
    return Starlette(routes=routes, lifespan=lifespan)
