"""The console's application."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from http import HTTPStatus
from pathlib import Path
from typing import Any

from anyio import to_thread
from fastapi import FastAPI, Request, Response
from fastapi.responses import FileResponse
from fastapi.routing import APIRoute
from sqlalchemy.exc import SQLAlchemyError

from contracts.errors import LabError
from control_plane.api.console import WAITS_FOR_DATABASE, Console
from control_plane.api.problems import add_error_handlers
from control_plane.api.routes import (
    admin,
    charts,
    chat,
    connections,
    datasets,
    explorer,
    governance,
    ingests,
    job_runs,
    jobs,
    logs,
    maintenance,
    queries,
    saved,
    session,
    signed_in,
    sql,
    workspaces,
)
from control_plane.api.schemas.common import Problem
from control_plane.api.security import Security
from control_plane.api.web import add_web
from governance.tasks import end

log = logging.getLogger(__name__)

DESCRIPTION = Path(__file__).with_name("openapi.json")
"""What is described, as a file: making it anew costs a second and memory."""

_ROUTERS = (
    session.browser,
    session.api,
    queries.router,
    sql.router,
    saved.router,
    charts.charts,
    charts.dashboards,
    jobs.router,
    jobs.schedule,
    jobs.permission,
    job_runs.router,
    explorer.router,
    datasets.router,
    workspaces.router,
    ingests.router,
    connections.router,
    governance.router,
    admin.router,
    logs.router,
    signed_in.router,
    maintenance.router,
    chat.router,
)
_PREPARE_EVERY_S = 1.0
_UNPREPARED = "the console can't be prepared; its log says why"
_TIDY_EVERY_S = 300.0


class Api(FastAPI):
    """FastAPI, described with the one form that every error here has."""

    def openapi(self) -> dict[str, Any]:
        """The OpenAPI document."""
        if self.openapi_schema is None:
            # What serves answers with the file, and needs no examples in memory.
            from control_plane.api.examples import add_examples

            document = super().openapi()
            add_examples(document)
            content = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
            document["components"]["responses"] = {
                "Problem": {"description": Problem.__doc__, "content": content}
            }
            for path in document["paths"].values():
                for operation in path.values():
                    for status in ("422", "4XX"):
                        operation["responses"].pop(status, None)
                    operation["responses"]["default"] = {"$ref": "#/components/responses/Problem"}
            document["components"]["schemas"].pop("HTTPValidationError", None)
            document["components"]["schemas"].pop("ValidationError", None)
        return super().openapi()


def described_app() -> FastAPI:
    """The routes without anything behind them."""
    app = Api(
        title="Lakehouse Lab console",
        version="1",
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        generate_unique_id_function=_operation_id,
        lifespan=_lifespan,
    )
    for router in _ROUTERS:
        app.include_router(router, responses={"4XX": {"model": Problem}})
    return app


def create_app(console: Console) -> FastAPI:
    """The application. It starts without anything else being up; the database is prepared as soon as it
    answers."""
    app = described_app()
    app.state.console = console
    add_error_handlers(app)
    _add_health(app, console)
    _add_description(app)
    add_web(app, console.settings.web_dir)
    app.add_middleware(
        Security,
        public_url=console.public_url,
        hosts=console.settings.hosts,
        upload_bytes=console.settings.upload_mib << 20,
    )
    return app


@contextlib.asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    console: Console = app.state.console
    async with console.running():
        loops = [asyncio.create_task(_prepare(console)), asyncio.create_task(_tidy(console))]
        yield
        await end(*loops)


async def _prepare(console: Console) -> None:
    """Brings the schema up to date once the database answers. Whatever stands in the way may pass: it is
    tried again, and said once."""
    said = ""
    while not console.prepared:
        try:
            await to_thread.run_sync(console.prepare)
        except Exception as error:
            line = f"{type(error).__name__}: {error}".splitlines()[0]
            if isinstance(error, SQLAlchemyError):
                console.waits_for = WAITS_FOR_DATABASE
            else:
                console.waits_for = error.what if isinstance(error, LabError) else _UNPREPARED
            if line != said:
                known = isinstance(error, LabError | SQLAlchemyError)
                log.warning("the console can't be prepared yet: %s", line, exc_info=not known)
            said = line
            await asyncio.sleep(_PREPARE_EVERY_S)


async def _tidy(console: Console) -> None:
    """Removes what is past its time."""
    while True:
        await asyncio.sleep(_TIDY_EVERY_S)
        try:
            await console.tidy()
        except SQLAlchemyError as error:
            log.warning("nothing could be tidied: %s", str(error).splitlines()[0])
        except Exception:
            # What is old goes the next time.
            log.exception("nothing could be tidied")


def _add_description(app: FastAPI) -> None:
    @app.get("/api/v1/openapi.json", include_in_schema=False)
    def description() -> FileResponse:
        return FileResponse(DESCRIPTION, media_type="application/json")


def _add_health(app: FastAPI, console: Console) -> None:
    @app.get("/health", include_in_schema=False)
    def health() -> dict[str, str]:
        return {"status": "live"}

    @app.get("/health/ready", include_in_schema=False)
    def ready(_: Request, response: Response) -> dict[str, str]:
        if not console.ready():
            response.status_code = HTTPStatus.SERVICE_UNAVAILABLE
            return {"status": WAITS_FOR_DATABASE if console.prepared else console.waits_for}
        return {"status": "ready"}


def _operation_id(route: APIRoute) -> str:
    return route.name
