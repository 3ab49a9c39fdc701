"""The agent over HTTP: the chat, the MCP server beside it, and its health."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from sqlalchemy.exc import SQLAlchemyError
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Receive, Scope, Send

from agent.checkpoints import Graphs
from agent.layers import Layers
from agent.routes import chat_router
from agent.runs import Runs, TooManyError
from agent.store import BusyError, NotFoundError, Store
from agent.threads import in_thread
from agent.values import About
from contracts.errors import LabError, UsageError
from governance.client import PROBLEM_JSON
from governance.governor.auth import (
    ForbiddenError,
    IdentityUnavailableError,
    TokenVerifier,
    UnauthenticatedError,
)
from governance.tasks import end

log = logging.getLogger(__name__)

MCP_PATH = "/mcp"
METADATA_PATH = f"/.well-known/oauth-protected-resource{MCP_PATH}"

_FIRST_RETRY_S = 0.25
_LONGEST_RETRY_S = 15.0
_RETAIN_EVERY_S = 6 * 3600.0

_STATUSES: Sequence[tuple[type[LabError], HTTPStatus]] = (
    (UnauthenticatedError, HTTPStatus.UNAUTHORIZED),
    (ForbiddenError, HTTPStatus.FORBIDDEN),
    (NotFoundError, HTTPStatus.NOT_FOUND),
    (BusyError, HTTPStatus.CONFLICT),
    (TooManyError, HTTPStatus.TOO_MANY_REQUESTS),
    (IdentityUnavailableError, HTTPStatus.SERVICE_UNAVAILABLE),
    (UsageError, HTTPStatus.UNPROCESSABLE_ENTITY),
)

McpFactory = Callable[[], contextlib.AbstractAsyncContextManager[ASGIApp]]
"""Makes the MCP server; it serves as long as it is entered."""


class Readiness:
    """Brings the database to its schema, again until it answers; then removes what is old, now and then."""

    def __init__(
        self, store: Store, graphs: Graphs, *, retention_days: int, audit_retention_days: int
    ) -> None:
        self._store, self._graphs = store, graphs
        self._days = {"conversation_days": retention_days, "step_days": audit_retention_days}
        self.ready = False
        self.reason = "waiting for the database"

    async def run(self, warm: Callable[[], Any] | None = None) -> None:
        """Runs until it is cancelled; ``warm`` is called once, in a thread, when the agent is ready."""
        pause_s = _FIRST_RETRY_S
        while not self.ready:
            try:
                await in_thread(self._store.upgrade)
                interrupted = await in_thread(self._store.interrupt_all)
            except Exception as error:  # whatever stands in the way may pass
                reason = f"the database: {(str(error) or type(error).__name__).splitlines()[0]}"
                if reason != self.reason and not isinstance(error, SQLAlchemyError):
                    log.warning("not ready yet: %s", reason)
                self.reason = reason
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, _LONGEST_RETRY_S)
            else:
                self.ready = True
                if interrupted:
                    log.info("%d runs of an earlier process can be resumed", interrupted)
        if warm is not None:
            await in_thread(warm)
        while True:
            try:
                await self._graphs.forget(await in_thread(lambda: self._store.retain(**self._days)))
            except Exception as error:  # what is old goes the next time
                log.warning("what is old is not removed: %s", type(error).__name__)
            await asyncio.sleep(_RETAIN_EVERY_S)


class LazyMcp:
    """The MCP server, made at its first request. It runs in a task of its own, which its requests outlive."""

    def __init__(self, make: McpFactory) -> None:
        self._make = make
        self._lock = asyncio.Lock()
        self._app: ASGIApp | None = None
        self._task: asyncio.Task[None] | None = None
        self._stopping = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await (await self._started())(scope, receive, send)

    async def _started(self) -> ASGIApp:
        async with self._lock:
            if self._app is None:
                started: asyncio.Future[ASGIApp] = asyncio.get_running_loop().create_future()
                self._task = asyncio.create_task(self._serve(started), name="mcp")
                self._app = await started
            return self._app

    async def _serve(self, started: asyncio.Future[ASGIApp]) -> None:
        try:
            async with self._make() as app:
                started.set_result(app)
                await self._stopping.wait()
        except Exception as error:
            if started.done():
                raise
            started.set_exception(error)

    async def close(self) -> None:
        """Ends it."""
        self._stopping.set()
        if self._task is not None:
            await asyncio.gather(self._task, return_exceptions=True)


class _Outer:
    """Sends MCP's paths to its server and all others to the chat."""

    def __init__(self, app: FastAPI, mcp: LazyMcp) -> None:
        self.app, self._mcp = app, mcp

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope.get("path", "") if scope["type"] == "http" else ""
        to_mcp = path.rstrip("/") in (MCP_PATH, METADATA_PATH)
        await (self._mcp if to_mcp else self.app)(scope, receive, send)


def create_app(
    *,
    store: Store,
    graphs: Graphs,
    runs: Runs,
    layers: Layers,
    verifier: TokenVerifier,
    readiness: Readiness,
    about: Callable[[], About],
    mcp: McpFactory,
    warm: Callable[[], Any] | None = None,
) -> ASGIApp:
    """The application."""
    lazy = LazyMcp(mcp)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        background = asyncio.create_task(readiness.run(warm), name="readiness")
        try:
            yield
        finally:
            await end(background)
            await lazy.close()
            await runs.close()
            await graphs.close()
            await in_thread(store.close)

    app = FastAPI(title="Agent", version="1", lifespan=lifespan, docs_url=None, redoc_url=None)
    app.state.verifier = verifier
    _add_error_handlers(app)
    app.include_router(chat_router(store, runs, layers, about))

    @app.get("/health")
    async def health() -> dict[str, str]:
        return {"status": "live"}

    @app.get("/health/ready")
    async def ready(response: Response) -> dict[str, str]:
        if readiness.ready:
            return {"status": "ready"}
        response.status_code = HTTPStatus.SERVICE_UNAVAILABLE
        return {"status": readiness.reason}

    return _Outer(app, lazy)


def _problem(status: int, error: LabError, headers: dict[str, str] | None = None) -> JSONResponse:
    content: dict[str, Any] = {
        "type": "about:blank",
        "title": error.what,
        "status": int(status),
        **error.as_dict(),
    }
    return JSONResponse(content, status_code=int(status), media_type=PROBLEM_JSON, headers=headers)


def _add_error_handlers(app: FastAPI) -> None:
    @app.exception_handler(LabError)
    async def lab_error(_: Request, error: LabError) -> JSONResponse:
        status = next((s for kind, s in _STATUSES if isinstance(error, kind)), HTTPStatus.BAD_GATEWAY)
        headers = {"WWW-Authenticate": "Bearer"} if status == HTTPStatus.UNAUTHORIZED else None
        return _problem(status, error, headers)

    @app.exception_handler(SQLAlchemyError)
    async def database_error(_: Request, error: SQLAlchemyError) -> JSONResponse:
        log.warning("the database: %s", str(error).splitlines()[0])
        gone = LabError("the agent's database does not answer", next_command="lab status")
        return _problem(HTTPStatus.SERVICE_UNAVAILABLE, gone)

    @app.exception_handler(RequestValidationError)
    async def malformed(_: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        refused = UsageError(
            f"{where}: {first['msg']}", permitted="the request as /openapi.json describes it"
        )
        return _problem(HTTPStatus.UNPROCESSABLE_ENTITY, refused)

    @app.exception_handler(HTTPException)
    async def http_error(request: Request, error: HTTPException) -> JSONResponse:
        what = f"{request.method} {request.url.path}: {error.detail}"
        return _problem(error.status_code, LabError(what), dict(error.headers or {}))
