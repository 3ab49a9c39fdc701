"""The console's application."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.routing import APIRoute

from control_plane.api.routes import admin, charts, explorer, governance, queries, saved, session, sql
from control_plane.api.schemas.common import Problem

_ROUTERS = (
    session.browser,
    session.api,
    queries.router,
    sql.router,
    saved.router,
    charts.charts,
    charts.dashboards,
    explorer.router,
    governance.router,
    admin.router,
)


class Api(FastAPI):
    """FastAPI, described with the one form that every error here has."""

    def openapi(self) -> dict[str, Any]:
        """The OpenAPI document."""
        if self.openapi_schema is None:
            document = super().openapi()
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


def create_app() -> FastAPI:
    """The application."""
    app = Api(
        title="Lakehouse Lab console",
        version="1",
        docs_url=None,
        redoc_url=None,
        generate_unique_id_function=_operation_id,
    )
    for router in _ROUTERS:
        app.include_router(router, responses={"4XX": {"model": Problem}})
    return app


def _operation_id(route: APIRoute) -> str:
    return route.name
